"""Completion: what shtab makes of both parsers, asked by a shell."""

import importlib
import shutil
import subprocess

import pytest

shtab = pytest.importorskip("shtab", minversion="1.7")
BASH = shutil.which("bash")


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("bgrem den", ["denoise"]),
        ("bgrem denoise --kee", ["--keep"]),
        ("bgrem denoise --keep so", ["sources"]),
        ("bgrem denoise fie", ["field.fits"]),
        ("bgoptimizer --operation d", ["divide"]),
        ("bgoptimizer nig", ["night.fits"]),
    ],
)
def test_a_shell_completes_commands_options_values_and_files(words, completed, tmp_path):
    for name in ("field.fits", "night.fits"):
        (tmp_path / name).touch()
    program, *_ = words.split()
    parser = importlib.import_module(f"{program}.cli").build_parser()
    (tmp_path / "completion").write_text(shtab.complete(parser, "bash"))
    script = (
        f"source ./completion; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        f'_shtab_{program}; echo "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        [BASH, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == completed


@pytest.mark.parametrize("program", ["bgrem", "bgoptimizer"])
def test_zsh_completes_files_too(program):
    parser = importlib.import_module(f"{program}.cli").build_parser()
    assert "_files" in shtab.complete(parser, "zsh")
