"""Many inputs: `--shard` for several processes, `--resume` after a stop."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from bgoptimizer import make_scene
from bgoptimizer.cli import main
from common import AstroImage, write_image


@pytest.fixture
def night(tmp_path):
    """A folder with four frames."""
    folder = tmp_path / "night"
    folder.mkdir()
    for seed in range(4):
        pixels = make_scene(seed, shape=(96, 120), objects="none").observed
        write_image(folder / f"frame{seed}.fits", AstroImage(pixels))
    return folder


def run(night, *words):
    return main([str(night), "-o", str(night.parent / "out"), "--no-save-mask", *words])


def results(night):
    files = (night.parent / "out").glob("*_bgSubtracted.fits")
    return {file.name: file.stat().st_mtime_ns for file in files}


def entries(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_shards_are_all_inputs_once(night):
    assert run(night, "--shard", "1/3") == 0
    first = results(night)
    assert sorted(first) == ["frame0_bgSubtracted.fits", "frame3_bgSubtracted.fits"]
    assert run(night, "--shard", "2/3") == run(night, "--shard", "3/3") == 0
    assert len(results(night)) == 4
    assert {name: results(night)[name] for name in first} == first


@pytest.mark.parametrize("wanted", ["0/3", "4/3", "2", "a/b", "1/-2"])
def test_a_shard_that_there_is_not_is_refused(night, wanted, capsys):
    assert run(night, "--shard", wanted) == 2
    assert "--shard" in capsys.readouterr().err
    assert not results(night)


def test_a_second_run_does_what_is_not_done(night, tmp_path, capsys):
    done = tmp_path / "done.jsonl"
    assert run(night, "--resume", str(done), "--shard", "1/2") == 0
    before = results(night)
    assert [one["input"][-11:] for one in entries(done)] == ["frame0.fits", "frame2.fits"]
    capsys.readouterr()
    assert run(night, "--resume", str(done)) == 0
    assert capsys.readouterr().out.count("is done already") == 2
    assert {name: results(night)[name] for name in before} == before
    assert len(entries(done)) == len(results(night)) == 4


@pytest.mark.parametrize("change", ["input", "parameter", "output"])
def test_what_has_changed_is_done_again(night, tmp_path, change):
    done, words = tmp_path / "done.jsonl", ["--overwrite"]
    assert run(night, "--resume", str(done)) == 0
    before = results(night)
    if change == "input":
        file = night / "frame1.fits"
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns + 1))
    elif change == "parameter":
        words += ["--pedestal", "0.25"]
    else:
        (tmp_path / "out" / "frame1_bgModel.fits").unlink()
    assert run(night, "--resume", str(done), *words) == 0
    changed = [name for name, when in results(night).items() if before[name] != when]
    expected = 4 if change == "parameter" else 1
    assert len(changed) == expected
    assert len(entries(done)) == 4 + expected


def test_a_poisoned_frame_fails_alone_and_is_tried_again(night, tmp_path, capsys):
    (night / "frame1.fits").write_bytes(b"no FITS at all")
    done = tmp_path / "done.jsonl"
    for _ in range(2):
        assert run(night, "--resume", str(done)) == 1
        assert "frame1.fits" in capsys.readouterr().err
    assert len(entries(done)) == len(results(night)) == 3


def test_a_torn_line_is_no_entry_and_harms_no_other(night, tmp_path):
    done = tmp_path / "done.jsonl"
    assert run(night, "--resume", str(done), "--shard", "1/4") == 0
    with open(done, "a", encoding="ascii") as file:
        file.write('{"key": "12')
    assert run(night, "--resume", str(done), "--shard", "2/4") == 0
    assert run(night, "--resume", str(done), "--overwrite") == 0
    lines = done.read_text("ascii").splitlines()
    assert len(lines) == 5 and lines[1] == '{"key": "12'


def test_a_file_of_another_kind_is_refused(night, tmp_path, capsys):
    other = tmp_path / "notes.txt"
    other.write_text("first line\n", "utf-8")
    assert run(night, "--resume", str(other)) == 2
    assert "no list of finished inputs" in capsys.readouterr().err
    assert other.read_text("utf-8") == "first line\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="SIGKILL")
def test_after_a_kill_the_second_run_does_the_rest(night, tmp_path):
    done = tmp_path / "done.jsonl"
    words = [sys.executable, "-m", "bgoptimizer", str(night), "-o", str(tmp_path / "out")]
    words += ["--resume", str(done)]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not done.exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    child.wait()
    finished = len(entries(done))
    assert finished >= 1
    again = subprocess.run([*words, "--overwrite"], capture_output=True, text=True, check=True)
    assert again.stdout.count("is done already") == finished
    assert len(results(night)) == 4
    for file in (tmp_path / "out").glob("*_bgSubtracted.fits"):
        from common import read_image

        assert np.isfinite(read_image(file).pixels).all()
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {".fits", ".json", ".png"}
