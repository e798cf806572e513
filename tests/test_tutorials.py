"""The tutorials can be typed as they stand: a page runs in order, and its files are there."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w/]+\.(?:fits|xisf|png|reg|ldac|html))`")
USERS = ("survey_astronomer", "astrophotographer", "satellite_tracker", "hst_observer")


def test_there_is_a_tutorial_for_each_user():
    assert {path.stem for path in FOLDER.glob("*.md")} == {"index", *USERS}


@pytest.mark.slow  # all networks of the package
@pytest.mark.parametrize("user", USERS)
def test_a_tutorial_can_be_typed_as_it_stands(user, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (FOLDER / f"{user}.md").read_text("utf-8")
    names = {"__name__": "__main__"}
    for language, text in BLOCK.findall(page):
        if language == "python":
            exec(compile(text, f"{user}.md", "exec"), names)  # noqa: S102
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line)
            code = import_module(f"{program}.cli").main(words)
            assert code == 0, f"{line}\n{capsys.readouterr().err}"
    missing = [name for name in FILE.findall(page) if not Path(name).exists()]
    assert not missing
