import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from common.batch import expand_inputs
from common.cli import Progress, add_common_flags, emit_json, run
from common.config import add_config_flags, config_from_args, option

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Config:
    steps: int = field(default=5, metadata={"help": "number of steps", "flags": ("-s", "--steps")})
    strength: float = field(default=1.0, metadata={"help": "100 % is all", "unit": "sigma"})
    clip: bool = field(default=True, metadata={"help": "clip the sky"})
    operation: str = option("subtract", "what is done", choices=("subtract", "divide"))
    tile: tuple[int, ...] = (256, 256)
    mask: Path | None = None
    hidden: int = field(default=3, metadata={"flags": ()})

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}.")


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tool")
    add_common_flags(parser, "1.2")
    add_config_flags(parser, Config)
    return parser


def test_without_flags_the_config_has_its_defaults(parser):
    assert config_from_args(parser.parse_args([]), Config) == Config()


def test_flags_of_every_type_reach_the_config(parser):
    arguments = "-s 7 --strength 0.5 --no-clip --operation divide --tile 1,2 --mask m.fits"
    assert config_from_args(parser.parse_args(arguments.split()), Config) == Config(
        steps=7, strength=0.5, clip=False, operation="divide", tile=(1, 2), mask=Path("m.fits")
    )


def test_flags_win_over_replayed_parameters_and_those_over_defaults(parser):
    replayed = {"steps": 9, "strength": 2, "tile": [3, 4], "mask": "m.fits", "hidden": 1}
    config = config_from_args(parser.parse_args(["--steps", "7"]), Config, replayed)
    assert config == Config(steps=7, strength=2.0, tile=(3, 4), mask=Path("m.fits"), hidden=1)
    with pytest.raises(ValueError, match=r"unknown parameters stepz\. Known are steps"):
        config_from_args(parser.parse_args([]), Config, {"stepz": 1})


def test_help_shows_default_unit_and_percent_signs(parser):
    text = " ".join(parser.format_help().split())
    assert "number of steps (default: 5)" in text
    assert "100 % is all (unit: sigma; default: 1.0)" in text
    assert "(default: 256,256)" in text
    assert "--no-clip" in text
    assert "hidden" not in text


class ResourceExhaustedError(Exception):
    """As TensorFlow calls it."""


DEVICE_FAILED = (
    "tool: error: the device failed: OOM. CUDA_VISIBLE_DEVICES=-1 before the command takes the "
    "processor instead.\n"
)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("a.fits: bad.\nSee."), 2, "tool: error: a.fits: bad. See.\n"),
        (FileNotFoundError("a.fits: no file."), 2, "tool: error: a.fits: no file.\n"),
        (MemoryError(), 3, "tool: error: out of memory (no details). Use smaller tiles or "),
        (ResourceExhaustedError("OOM"), 3, DEVICE_FAILED),
        (TypeError("oops"), 1, "tool: error: TypeError: oops. --debug shows where.\n"),
        (KeyboardInterrupt(), 130, "tool: interrupted\n"),
        (SystemExit(2), 2, ""),
        (SystemExit(None), 0, ""),
    ],
)
def test_each_failure_has_its_exit_code_and_one_line(capsys, error, code, line):
    def main(arguments):
        raise error

    assert run(main, [], tool="tool") == code
    assert capsys.readouterr().err.startswith(line)


def test_debug_adds_the_traceback(capsys):
    def main(arguments):
        raise ValueError("bad")

    assert run(main, ["--debug"], tool="tool") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_code_of_the_command_is_passed_on(returned, code):
    assert run(lambda arguments: returned, []) == code


def test_importing_the_command_line_loads_no_heavy_package():
    script = (
        "import common.cli, common.batch, common.atomic, sys;"
        "print([m for m in ('numpy', 'astropy', 'scipy', 'tqdm', 'keras') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_json_goes_to_stdout_with_null_for_nan(capsys):
    emit_json({"a": np.float32(1.5), "b": float("nan"), "c": np.arange(2), "d": Path("x")})
    assert json.loads(capsys.readouterr().out) == {"a": 1.5, "b": None, "c": [0, 1], "d": "x"}


def test_progress_is_silent_where_stderr_is_no_terminal(capsys):
    with Progress(3, "tiles") as progress:
        progress.update()
    assert capsys.readouterr().err == ""


# --- batch -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.fits", "a.FITS", "c.xisf", "notes.txt", ".hidden.fits"):
        (tmp_path / name).touch()
    return tmp_path


def test_folders_and_patterns_expand_to_image_files_once_each(folder):
    names = [path.name for path in expand_inputs([folder, f"{folder}/*.fits", "no.fits"])]
    assert names == ["a.FITS", "b.fits", "c.xisf", "no.fits"]
    with pytest.raises(ValueError, match="no image file there"):
        expand_inputs([f"{folder}/*.png"])
