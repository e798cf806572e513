"""The update repository of the PixInsight script."""

import hashlib
import importlib.util
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "pixinsight"
SECONDS = 1_800_000_000  # 15 January 2027


@pytest.fixture(scope="module")
def make_repository():
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make_repository.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_repository


def test_the_same_sources_give_the_same_bytes(make_repository, tmp_path):
    first, second = (make_repository(tmp_path / name, "1.2.3", SECONDS) for name in "ab")
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_the_zip_has_all_scripts_where_pixinsight_keeps_scripts(make_repository, tmp_path):
    package, _ = make_repository(tmp_path, "1.2.3", SECONDS)
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        for script in FOLDER.glob("*.js"):
            inside = f"src/scripts/BackgroundToolkit/{script.name}"
            assert inside in names
            assert archive.read(inside) == script.read_bytes()
        assert len(names) == len(list(FOLDER.glob("*.js")))
        assert {one.date_time for one in archive.infolist()} == {(2027, 1, 15, 8, 0, 0)}


def test_updates_xri_names_the_zip_and_its_sha1(make_repository, tmp_path):
    package, updates = make_repository(tmp_path, "1.2.3", SECONDS)
    root = ElementTree.fromstring(updates.read_text("utf-8"))  # noqa: S314 - our own file
    entry = root.find("platform/package")
    assert entry.get("fileName") == package.name == "BackgroundToolkit-1.2.3.zip"
    assert entry.get("sha1") == hashlib.sha1(package.read_bytes()).hexdigest()  # noqa: S324
    assert (entry.get("type"), entry.get("releaseDate")) == ("script", "20270115")
    assert root.find("platform").get("version").startswith("1.9.4:")
