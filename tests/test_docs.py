"""What the pages say is true: code runs, commands parse, links lead somewhere, options exist."""

import doctest
import importlib
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from common import AstroImage, write_image

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
# of other people's programs and of the scripts in benchmarks/ these pages may speak freely
OWN_OPTIONS = [page for page in PAGES if not page.startswith(("docs/results", "docs/development"))]
README_LINES = 120
FENCE = re.compile(r"^```([\w{}-]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCES = [
    path for name in ("common", "bgoptimizer", "bgrem") for path in (ROOT / name).rglob("*.py")
]


@pytest.fixture(scope="module")
def option_tables():
    """The module that reads the parsers for the reference."""
    sys.path.insert(0, str(ROOT / "docs" / "_extensions"))
    yield importlib.import_module("option_tables")
    sys.path.pop(0)


@pytest.fixture(scope="module")
def parsers(option_tables):
    """Tool -> parser."""
    return {tool: option_tables.load_parser(tool) for tool in option_tables.PARSERS}


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language):
    """(line, text) of all fenced blocks of a language."""
    text = read(page)
    return [
        (text[: found.start()].count("\n") + 1, found[2])
        for found in FENCE.finditer(text)
        if found[1] == language
    ]


def commands(page):
    """Lines of `bash` blocks, and of indented ones, that begin with one of the two commands."""
    inside = [line for _, text in blocks(page, "bash") for line in text.splitlines()]
    outside = FENCE.sub("", read(page)).splitlines()
    lines = inside + [line[4:] for line in outside if line.startswith("    ")]
    return [line for line in lines if line.startswith(("bgrem ", "bgoptimizer "))]


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    """A folder with the files that the pages name, a few hundred pixels wide at most."""
    import numpy as np

    from bgoptimizer import make_scene
    from bgrem.cli import main

    folder = tmp_path_factory.mktemp("docs")
    scene = make_scene(3, shape=(96, 144))
    for name in ("night.fits", "night3.fits"):
        write_image(folder / name, AstroImage(scene.observed))
    simulated = folder / "fields" / "meerlicht_3.fits"
    options = ["--shape", "160,160", "--seed", "3", "--stars", "3000", "--quiet"]
    assert main(["simulate", "meerlicht", "-o", str(simulated.parent), *options]) == 0
    shutil.copy(simulated, folder / "field.fits")
    rng = np.random.default_rng(0)
    raw = rng.normal(1000, 8, (128, 128)).astype(np.float32)
    write_image(folder / "raw.fits", AstroImage(raw))
    exposure = rng.poisson(40, (128, 128)).astype(np.float32)
    write_image(folder / "ima.fits", AstroImage(exposure, cards=[("BUNIT", "electrons", "")]))
    return folder


# tutorials run with their commands: test_tutorials.py
WITH_PYTHON = [page for page in ["README.md", *PAGES] if blocks(page, "python")]
WITH_PYTHON = [page for page in WITH_PYTHON if not page.startswith("docs/tutorials/")]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_blocks_of_a_page_run_in_order(page, small_files, tmp_path, monkeypatch):
    folder = tmp_path / "page"
    shutil.copytree(small_files, folder)
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    for line, text in blocks(page, "python"):
        # as many empty lines before, so that a traceback names the line of the page
        exec(compile("\n" * line + text, page, "exec"), names)  # noqa: S102


@pytest.mark.parametrize("page", [p for p in ["README.md", *PAGES] if commands(p)])
def test_the_commands_of_a_page_are_understood(page, parsers, capsys):
    for line in commands(page):
        tool, *arguments = shlex.split(line, comments=True)
        try:
            parsers[tool].parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{page}: {line}\n{capsys.readouterr().err}")


@pytest.mark.parametrize("page", ["README.md", *OWN_OPTIONS])
def test_an_option_that_a_page_names_exists(page, parsers, option_tables):
    known = {
        flag
        for parser in parsers.values()
        for command in option_tables.commands_of(parser).values()
        for action in command._actions
        for flag in action.option_strings
    }
    named = set(re.findall(r"`(--[a-z][a-z0-9-]*)", FENCE.sub("", read(page))))
    assert named <= known


def test_the_guide_says_of_every_setting_how_to_choose_it(parsers, option_tables):
    from bgoptimizer.cli import COMMAND
    from bgrem.commands import COMMANDS
    from common.config import settings_of

    named = set(re.findall(r"`(--[a-z][a-z0-9-]*)", read("docs/guide/choosing.md")))
    configs = {config for one in (COMMAND, *COMMANDS.values()) for config in one.configs}
    settings = {name for config in configs for name in settings_of(config)}
    options = {
        tuple(action.option_strings)
        for parser in parsers.values()
        for command in option_tables.commands_of(parser).values()
        for action in command._actions
        if action.dest in settings and action.option_strings
    }
    assert len(options) > 100
    assert {one for one in options if not named & set(one)} == set()


def test_every_option_of_every_command_has_a_line_with_a_text(parsers, option_tables):
    for parser in parsers.values():
        for name, command in option_tables.commands_of(parser).items():
            tables = dict(option_tables.option_tables(command))
            shown = {
                option.flags.split(" ")[0].rstrip(",")
                for rows in tables.values()
                for option in rows
            }
            expected = {
                action.option_strings[0] for action in command._actions if action.option_strings
            }
            assert expected - shown == {"-h"}, name
            assert all(option.what for rows in tables.values() for option in rows), name


def test_a_help_text_is_split_into_what_unit_and_default(option_tables):
    import argparse

    parser = argparse.ArgumentParser()
    for flag, text in (
        ("--a", "of a tile (unit: px; default: 64)"),
        ("--b", "level (the median), none, or a number (default: level)"),
        ("--c", "brings the noise to 1; default: measured"),
        ("--d", "smaller pixels (original)"),
    ):
        parser.add_argument(flag, metavar="N", help=text)
    ((_, rows),) = option_tables.option_tables(parser)
    assert [(one.flags, one.what, one.default) for one in rows] == [
        ("--a N", "of a tile (unit: px)", "64"),
        ("--b N", "level (the median), none, or a number", "level"),
        ("--c N", "brings the noise to 1", "measured"),
        ("--d N", "smaller pixels (original)", ""),
    ]


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= README_LINES


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *PAGES])
def test_relative_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", FENCE.sub("", read(page)))
    local = [one for one in targets if "://" not in one]
    missing = [one for one in local if not (ROOT / page).parent.joinpath(one).exists()]
    assert not missing


def test_every_keyword_that_is_written_is_explained():
    page = read("docs/reference/header_keywords.md")
    written = {
        keyword
        for path in SOURCES
        for keyword in re.findall(r'"(BG[A-Z]{3,6})"', path.read_text(encoding="utf-8"))
    }
    assert len(written) > 15
    assert {keyword for keyword in written if f"`{keyword}`" not in page} == set()


def with_examples():
    """Names of the modules whose docstrings have examples."""
    found = [path for path in SOURCES if ">>> " in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(found)]


@pytest.mark.parametrize("module", with_examples())
def test_the_examples_in_docstrings_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.attempted
    assert not result.failed
