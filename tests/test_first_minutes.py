"""What a stranger sees in the first minutes: quiet steps of the demo, true captions."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.pictures import circle
from common.progress.steps import shown_command, step

ROOT = Path(__file__).parents[1]


def test_a_step_is_one_line_with_its_time(capsys):
    with step("simulate a field"):
        pass
    assert re.fullmatch(r"simulate a field {20,}0\.0 s\n", capsys.readouterr().out)


def test_a_step_that_fails_says_so(capsys):
    with pytest.raises(ValueError, match="no field"), step("simulate a field"):
        raise ValueError("no field")
    assert capsys.readouterr().out.endswith("failed\n")


def test_a_command_is_shown_as_it_can_be_typed():
    words = ["denoise", "demo/denoise/field.fits", "-o", "clean", "--overwrite", "--quiet"]
    assert shown_command("bgrem", words) == "bgrem denoise field.fits -o clean"


def test_the_installer_prints_errors_alone_and_make_no_command_lines():
    text = (ROOT / "Makefile").read_text("utf-8")
    assert "PIP_FLAGS := --quiet --quiet" in text
    recipe = text.partition("\ndemo: ")[2].partition("\n\n")[0].splitlines()[1:]
    assert recipe
    assert all(line.startswith("\t@") for line in recipe)


def test_circles_are_where_they_are_put():
    marked = circle(np.zeros((40, 60, 3), np.uint8), np.array([[30.0, 20.0]]), 7, (255, 200, 60))
    assert marked[20, 23].tolist() == [255, 200, 60]
    assert marked[20, 30].tolist() == [0, 0, 0]


@pytest.mark.slow
def test_in_python_nothing_is_printed_when_the_libraries_start():
    script = """
import numpy as np
from bgoptimizer import BackgroundConfig, fit_background, make_scene
from bgrem import denoise
denoise(np.random.default_rng(0).normal(100, 5, (64, 64)), steps=1)
fit_background(make_scene(3, shape=(96, 144)).observed, BackgroundConfig(objective="original",
                                                                         epochs=5))
"""
    bare = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=bare
    )
    # some versions of TensorFlow say once, long after their start, that XLA has compiled something
    late = ("Compiled cluster using XLA", "before absl::InitializeLog")
    said = [one for one in done.stderr.splitlines() if not any(word in one for word in late)]
    assert (done.returncode, done.stdout, said) == (0, "", [])


@pytest.mark.slow
def test_the_demo_prints_its_steps_and_nothing_of_its_libraries(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bgrem.demo", str(tmp_path), "--side", "256"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
    steps = [line for line in done.stdout.splitlines() if re.search(r" \d+\.\d s$", line)]
    assert [line.split()[:2] for line in steps] == [
        ["simulate", "256"], ["bgrem", "denoise"], ["count", "true"], ["simulate", "a"],
        ["bgrem", "denoise"], ["simulate", "a"], ["bgrem", "enhance"], ["simulate", "a"],
        ["bgrem", "noisemap"],
    ]  # fmt: skip
    pictures = re.findall(r"^(?:look at)? +(\S+\.png)  ", done.stdout, re.MULTILINE)
    assert len(pictures) == 5
    assert all(Path(picture).exists() for picture in pictures)
