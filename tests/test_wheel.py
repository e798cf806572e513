"""What is released: a wheel that is the same bytes again, whole weights, true least versions."""

import configparser
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGES = ("bgoptimizer", "bgrem", "common")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
EPOCH = "1700000000"  # s; of all entries of the wheel
INSPECT = """
import json, sys
from pathlib import Path
import bgrem
from bgrem.models import WEIGHTS_FOLDER, list_models
from bgrem.config import TrainConfig
TrainConfig.read("optical")  # a file of the package
print(json.dumps([str(Path(bgrem.__file__).parents[1]), str(WEIGHTS_FOLDER), list_models()]))
"""


def build(folder, *, mtime, environment):
    """Build the wheel from a copy of the source whose files have this time of change."""
    source = folder / "source"
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source / name)
    for file in source.rglob("*"):
        os.utime(file, (mtime, mtime))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(
        command, check=True, umask=0o022,
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH, "PYTHONWARNINGS": ""} | environment,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    environment = {"TZ": "UTC", "PYTHONHASHSEED": "1"}
    return build(tmp_path_factory.mktemp("first"), mtime=1e9, environment=environment)


@pytest.mark.slow
def test_a_wheel_that_is_built_again_elsewhere_and_later_has_the_same_bytes(wheel, tmp_path):
    folder = tmp_path / "another place" / "deeper"
    environment = {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "2"}
    again = build(folder, mtime=1.6e9, environment=environment)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_wheel_has_all_files_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected


@pytest.mark.slow
def test_the_wheel_holds_the_hashes_of_its_weights_twice(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith("/RECORD"))
        rows = (row.rsplit(",", 2) for row in archive.read(record).decode("utf-8").splitlines())
        hashes = {name: value for name, value, _ in rows}
        names = [name for name in archive.namelist() if name.endswith("/weights.npz")]
        weights = [name for name in names if name.startswith("bgrem/")]
        assert len(weights) == 5
        assert len(names) == 6  # that of the object map has its hash in the code
        for name in weights:
            found = hashlib.sha256(archive.read(name))
            card = json.loads(archive.read(name.replace("weights.npz", "model.json")))
            assert card["sha256"] == found.hexdigest()
            kind, _, text = hashes[name].partition("=")
            assert kind == "sha256"
            assert urlsafe_b64decode(text + "=") == found.digest()


@pytest.mark.slow
def test_a_wheel_that_is_installed_into_a_folder_finds_its_weights_and_they_are_whole(
    wheel, tmp_path
):
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    environment = os.environ | {"PYTHONWARNINGS": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*command, "--target", str(target), str(wheel)], check=True, env=environment)
    done = subprocess.run(
        [sys.executable, "-c", INSPECT], check=True, capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
    )  # fmt: skip
    place, folder, cards = json.loads(done.stdout)
    assert Path(place) == target
    assert len(cards) == 5
    for name, card in cards.items():
        content = (Path(folder) / name / "weights.npz").read_bytes()
        assert hashlib.sha256(content).hexdigest() == card["sha256"]


def test_the_oldest_stack_is_the_one_that_the_metadata_allows():
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = metadata["options"]["install_requires"].split()
    least = {one.name: str(one.specifier) for one in map(Requirement, lines)}
    text = (ROOT / "tests" / "oldest.txt").read_text("utf-8")
    pinned = dict(line.split("==") for line in text.splitlines() if line[:1] not in ("", "#"))
    assert least.keys() <= pinned.keys()
    for name, specifier in least.items():
        assert specifier.startswith(">=")
        assert Version(pinned[name]) == Version(specifier[2:]), name
