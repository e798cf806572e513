"""How the packages stand to each other: who imports whom, one version, and a quick --help."""

import ast
import configparser
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "common": {"bgrem", "bgoptimizer", "tensorflow", "keras", "jax", "torch"},
    "bgrem": {"bgoptimizer"},
    "bgoptimizer": {"bgrem"},
}
HEAVY = ("tensorflow", "keras", "jax", "numpy", "scipy", "astropy", "matplotlib")


# what each room of `bgrem` may import of the others, with all that stands before it; a room imports
# none that stands after it. Rooms on one line are siblings: they import each other only as said.
ROOMS = (
    ("config", "networks", "cards"),
    ("models",),
    ("frame",),
    ("inference", "simulate"),
    ("denoising",),
    ("enhancing", "noise_mapping", "cataloguing"),
    ("training", "validation"),
    ("commands", "doctor"),
    ("cli",),
    ("__main__",),
    ("demo_systems",),
    ("demo",),
)
NEVER = {  # further arrows that must not be
    "inference": {"simulate"},
    "denoising": {"simulate"},
    "enhancing": {"simulate", "denoising"},
    "noise_mapping": {"simulate", "denoising"},
    "cataloguing": {"simulate"},
    "validation": {"simulate", "training"},
    "simulate": {"models", "networks", "inference"},
}
MOST_FILES = 15


def imported_modules(file):
    """Dotted names of all modules of ours that a file imports, those inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
    return names & set(MODULES)


def _dotted(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_dotted(file): file for package in FORBIDDEN for file in (ROOT / package).rglob("*.py")}


def circles(arrows):
    """Sets of modules of which each reaches all others, from module -> imported modules."""

    def reached(start):
        seen, waiting = set(), [start]
        while waiting:
            for name in arrows[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    reach = {name: reached(name) for name in arrows}
    inside = {name: {other for other in reach[name] if name in reach[other]} for name in arrows}
    return {frozenset(found) for found in inside.values() if found}


def test_no_module_is_part_of_an_import_circle():
    assert circles({name: imported_modules(file) for name, file in MODULES.items()}) == set()


def test_circles_are_found():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}
    assert circles(arrows) == {frozenset({"b", "c"})}


def test_rooms_import_only_what_stands_before_them():
    level = {room: number for number, row in enumerate(ROOMS) for room in row}
    wrong = []
    for name, file in MODULES.items():
        package, *inner = name.split(".")
        if package != "bgrem" or not inner:
            continue
        assert inner[0] in level, f"{name}: a room that {__file__} does not list"
        for other in imported_modules(file):
            there = other.split(".")
            if there[0] != "bgrem" or len(there) == 1 or there[1] == inner[0]:
                continue
            if level[there[1]] >= level[inner[0]] or there[1] in NEVER.get(inner[0], ()):
                wrong.append(f"{name} -> {other}")
    assert not wrong


def test_a_folder_has_few_files():
    folders = {file.parent for file in MODULES.values()}
    crowded = {
        str(folder.relative_to(ROOT)): number
        for folder in folders
        if (number := len(list(folder.glob("*.py")))) > MOST_FILES
    }
    assert not crowded


def test_the_presets_of_the_config_are_those_of_the_simulator():
    from bgrem.config import PRESET_NAMES
    from bgrem.simulate.presets import PRESETS

    assert tuple(PRESETS) == PRESET_NAMES


def imported_packages(file):
    """Top-level names of all imports in a file, those inside functions and of TYPE_CHECKING too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            head, dot, _ = node.value.partition(".")  # rows of a lazy __init__
            names |= {head} if dot and head in FORBIDDEN else set()
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_imports_none_of_its_siblings(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imported_packages(file) & FORBIDDEN[package]
    }
    assert not wrong


def test_the_import_scan_sees_every_form_of_import(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("import bgrem.cli as a\ndef f():\n    from keras import ops\nx = 'common.io'\n")
    assert imported_packages(file) == {"bgrem", "keras", "common"}


def test_common_is_ours_and_not_another_package_of_that_name():
    folders = {Path(import_module(name).__file__).parents[1] for name in FORBIDDEN}
    assert len(folders) == 1


@pytest.mark.parametrize("package", ["bgrem", "bgoptimizer"])
def test_the_version_is_the_one_of_the_metadata(package):
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg", encoding="utf-8")
    assert import_module(package).__version__ == metadata["metadata"]["version"]


@pytest.mark.parametrize("package", ["bgrem", "bgoptimizer"])
def test_every_public_name_can_be_imported(package):
    module = import_module(package)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", ["bgrem", "bgoptimizer"])
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_load_no_heavy_library(package, flag):
    code = (
        f"import sys\nfrom {package}.cli import main\ncode = main([{flag!r}])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert done.stderr == ""


def test_a_missing_file_is_one_line_and_exit_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "bgrem.cli", "denoise", "night.fits", "-s", "6"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("bgrem: error: night.fits: ")
    assert len(done.stderr.splitlines()) == 1
