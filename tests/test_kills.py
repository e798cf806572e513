"""Commands are killed, run out of disk, meet each other: old files or whole new ones, nothing else.

`tests/kill_runs.py` kills; here it runs with few kills.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from recording_inputs import INPUTS

ROOT = Path(__file__).parents[1]
PRODUCTS = ("Mask.fits", "Mask.png", "Model.fits", "Params.json", "Subtracted.fits")


def kill_runs(*options):
    """The rows of the table of `kill_runs.py`: command -> column -> number."""
    script = Path(__file__).with_name("kill_runs.py")
    done = subprocess.run(
        [sys.executable, str(script), *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    columns = cells[0][1:]
    return {row[0]: dict(zip(columns, map(int, row[1:]), strict=True)) for row in cells[2:]}


def test_bgoptimizer_can_be_killed():
    total = kill_runs("--runs", "5", "--only", "bgoptimizer", "--fresh", "--seed", "4")["all"]
    assert total["in time"] >= 3  # else it tests nothing


@pytest.mark.slow
def test_every_command_that_writes_can_be_killed():
    rows = kill_runs("--runs", "3", "--seed", "7")
    assert len(rows) == 12
    assert rows["all"]["in time"] >= 15


@pytest.mark.slow
def test_a_command_can_be_killed_while_it_loads_tensorflow():
    rows = kill_runs("--runs", "8", "--only", "bgrem catalog", "--fresh", "--seed", "2")
    assert rows["all"]["in time"] >= 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The present folder, with a.fits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    INPUTS["nebula.fits"](tmp_path / "a.fits")
    return tmp_path


def start(*words, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-m", *words], text=True, **options)


def finish(process):
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_two_runs_on_one_output_leave_the_files_of_one_of_them(folder, options):
    Path("out").mkdir()
    command = ["bgoptimizer", "a.fits", "-o", "out", *options]
    runs = [start(*command, "-N", number) for number in ("40", "60")]
    ends = [finish(run) for run in runs]
    assert names("out") == [f"a_bg{one}" for one in PRODUCTS]
    points = json.loads(Path("out/a_bgParams.json").read_text())["parameters"]["control_points"]
    for product in ("Model", "Mask", "Subtracted"):
        assert f"control_points = {points}" in str(
            fits.getheader(f"out/a_bg{product}.fits")["HISTORY"]
        )
    if options:
        assert [code for code, _, _ in ends] == [0, 0]
        return
    assert sorted(code for code, _, _ in ends) == [0, 2]
    said = "".join(err for _, _, err in ends)
    assert len(said.splitlines()) == 1
    assert "a_bg" in said


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_an_input_that_is_changed_during_the_run_is_one_line(folder, change):
    script = f"""
import sys, bgoptimizer.command as command
from pathlib import Path
from bgoptimizer.cli import main

fit = command.fit_guided

def change_input(*arguments, **options):
    Path("a.fits").unlink()
    if {change == "replaced"}:
        Path("a.fits").write_bytes(b"other")
    return fit(*arguments, **options)

command.fit_guided = change_input
sys.exit(main(["a.fits", "-o", "out"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "since it was read" in done.stderr
    assert not Path("out").exists()


def test_a_limit_of_the_file_size_leaves_the_old_files(folder):
    assert finish(start("bgoptimizer", "a.fits", "-o", "out"))[0] == 0
    before = {name: Path("out", name).read_bytes() for name in names("out")}
    limit = (Path("out/a_bgModel.fits").stat().st_size - 1,) * 2
    code, _, err = finish(start(
        "bgoptimizer", "a.fits", "-o", "out", "--overwrite", "-N", "60",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    ))  # fmt: skip
    assert (code, len(err.splitlines())) == (2, 1)
    assert "could not be written, the file would be larger than the limit" in err
    assert {name: Path("out", name).read_bytes() for name in names("out")} == before


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_name_that_the_terminal_lacks_is_written(folder, monkeypatch, options):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    Path("a.fits").rename("星.fits")
    code, out, err = finish(start("bgoptimizer", "星.fits", "-o", "out", *options))
    assert (code, err) == (0, "")
    assert r"out/\u661f_bgSubtracted.fits" in out
    assert names("out") == [f"星_bg{one}" for one in PRODUCTS]
    assert np.isfinite(fits.getdata("out/星_bgModel.fits")).all()


def test_a_pipe_that_nobody_reads_stops_nothing(folder):
    Path("b.fits").write_bytes(Path("a.fits").read_bytes())
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        run = start("bgoptimizer", "a.fits", "b.fits", "-o", "out", "--json", stdout=closed)
        code, _, err = finish(run)
    assert (code, err) == (0, "")
    assert len(names("out")) == 2 * len(PRODUCTS)


def test_ctrl_c_while_the_command_line_is_loaded_is_one_line(folder):
    rng = random.Random(3)  # noqa: S311 - no secret
    early = "import sys, time; print('started', flush=True); from bgrem.__main__ import main; "
    script = early + "sys.exit(main())"
    for _ in range(6):
        run = subprocess.Popen(
            [sys.executable, "-c", script, "models", "--quiet"], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(rng.uniform(0.01, 0.1))
        run.send_signal(signal.SIGINT)
        code, _, err = finish(run)
        if "KeyboardInterrupt" in err and "bgrem" not in err:
            continue  # Python had not begun with the package yet
        assert (code, err) in [(130, "bgrem: interrupted\n"), (-2, "bgrem: interrupted\n"), (0, "")]
