"""The tutorials can be typed as they stand: a page runs in order, and its files are there."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "tutorials"
FILE = re.compile(r"`([\w/]+\.(?:fits|xisf|png|reg|ldac|html))`")
USERS = ("survey_astronomer", "astrophotographer", "satellite_tracker", "hst_observer")


@pytest.fixture(scope="module")
def tutorials():
    """The extension that types the pages when the documentation is built."""
    sys.path.insert(0, str(ROOT / "docs" / "_extensions"))
    yield importlib.import_module("tutorials")
    sys.path.pop(0)


def test_there_is_a_tutorial_for_each_user():
    assert {path.stem for path in FOLDER.glob("*.md")} == {"index", *USERS}


@pytest.mark.parametrize("user", USERS)
def test_a_tutorial_shows_what_its_commands_make(user, tutorials):
    assert tutorials.PICTURE.findall((FOLDER / f"{user}.md").read_text("utf-8"))


def test_pictures_are_made_once_and_again_when_the_page_changes(tutorials, tmp_path, monkeypatch):
    monkeypatch.setattr(tutorials, "RUNS", tmp_path / "runs")
    page = tmp_path / "page.md"

    def make(text):
        page.write_text(f"```python\nopen('one.png', 'a').write('x')\n{text}```\n")
        tutorials.made_folder.cache_clear()
        return (tutorials.made_folder(page) / "one.png").read_text()

    assert make("") == make("") == "x"
    (tmp_path / "runs" / "page" / "one.png").write_text("kept")
    assert make("") == "kept"
    assert make("a = 1\n") == "x"
    with pytest.raises(RuntimeError, match=r"(?s)page.md cannot be typed.*NameError"):
        make("b\n")


@pytest.mark.slow  # all networks of the package
@pytest.mark.parametrize("user", USERS)
def test_a_tutorial_can_be_typed_as_it_stands(user, tutorials, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (FOLDER / f"{user}.md").read_text("utf-8")
    tutorials.run_page(page, user)
    named = [*FILE.findall(page), *tutorials.PICTURE.findall(page)]
    assert not [name for name in named if not Path(name).exists()]
