"""`--watch`: frames as a capture program writes them."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from light_command import main as capitals
from printed_events import events_of

from common.batch import watch as module
from common.batch.watch import Watch

HELPERS = Path(__file__).parents[1] / "helpers"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder `night` in the present one."""
    monkeypatch.chdir(tmp_path)
    Path("night").mkdir()
    return Path("night")


# --- which files are complete --------------------------------------------------------------------


@pytest.fixture
def looks(folder, monkeypatch):
    """Look at the folder at a time of a clock that is set by hand; returns names."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    call = SimpleNamespace(
        args=argparse.Namespace(inputs=["night"], shard=None),
        command=SimpleNamespace(name="bgoptimizer", skips=()),
        say=lambda line, event=True: None,
    )
    found = Watch(call)

    def look(seconds):
        clock.now = seconds
        return [path.name for path in found.ready()]

    look.watch = found
    return look


def test_a_file_is_complete_when_it_has_not_changed_for_two_seconds(looks, folder):
    assert looks(0) == []
    (folder / "a.fits").write_text("a")
    assert looks(1) == looks(2.9) == []
    assert looks(3) == ["a.fits"]
    assert looks(9) == []


def test_a_file_that_grows_is_not_complete(looks, folder):
    for second in range(5):
        with (folder / "a.fits").open("a") as file:
            file.write("more")
        assert looks(second) == []
    assert looks(6) == ["a.fits"]


def test_empty_hidden_and_other_files_are_not_taken(looks, folder):
    (folder / "a.fits").touch()
    (folder / ".b.fits").write_text("b")
    (folder / "c.fits.part").write_text("c")
    looks(0)
    assert looks(9) == []
    (folder / "c.fits.part").rename(folder / "c.fits")
    looks(10)
    assert looks(12) == ["c.fits"]


def test_an_input_that_failed_is_given_again_when_it_has_changed(looks, folder):
    (folder / "a.fits").write_text("half")
    looks(0)
    assert looks(2) == ["a.fits"]
    looks.watch.note(folder / "a.fits", failed=True)
    looks(3)
    assert looks(6) == []
    (folder / "a.fits").write_text("the whole")
    looks(7)
    assert looks(9) == ["a.fits"]
    looks.watch.note(folder / "a.fits", failed=False)
    assert not looks.watch.failed and len(looks.watch.latencies) == 1


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
@pytest.mark.parametrize("jobs", [[], ["--jobs", "2"]])
def test_frames_are_done_as_they_come_and_ctrl_c_ends_with_a_summary(folder, jobs):
    if jobs:
        pytest.importorskip("distributed", reason="pip install 'bgrem[dask]'")
    (folder / "a.fits").write_text("text a")
    path = os.pathsep.join([str(HELPERS), str(ROOT)])
    words = [sys.executable, "-m", "light_command", "--watch", "night", "-o", "out", "--json"]
    with subprocess.Popen(
        [*words, *jobs, "--resume", "done.jsonl"], env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip

        def wait_for(name):
            deadline = time.monotonic() + 120
            while not (Path("out") / f"{name}_capitals.fits").exists():
                assert time.monotonic() < deadline and child.poll() is None, child.communicate()
                time.sleep(0.05)

        wait_for("a")
        (folder / "b.fits").write_text("fail no such luck")
        (folder / "c.fits").write_text("text c")
        wait_for("c")
        (folder / "b.fits").write_text("text b")
        wait_for("b")
        (folder / "d.fits").write_text("wait 60")
        time.sleep(4)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert err == "bgoptimizer: error: night/b.fits: no such luck\n"
    assert events_of(out)[0]["files"] is None
    assert [one["input"] for one in events_of(out, "result")] == [
        f"night/{letter}.fits" for letter in "acb"
    ]
    assert not events_of(out, "progress")
    late = [one["seconds"] for one in events_of(out, "info") if one["topic"] == "latency"]
    assert len(late) == 3 and min(late) >= module.STEADY_SECONDS
    assert "3 inputs done, 0 failed; done" in events_of(out, "status")[-2]["message"]
    assert len(Path("done.jsonl").read_text().splitlines()) == 3
    assert sorted(file.name for file in Path("out").glob("*_capitals.fits")) == [
        f"{letter}_capitals.fits" for letter in "abc"
    ]
    assert not list(Path("out").glob(".*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere is no folder"),
        (["night/a.fits"], "night/a.fits is no folder"),
        (["night", "--shard", "1/2"], "not with --shard"),
        (["night", "-o", "out.fits"], "need a folder"),
    ],
)
def test_what_cannot_be_watched_is_refused(folder, words, said, capsys):
    (folder / "a.fits").write_text("text a")
    assert capitals([*words, "--watch"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_sequence_is_not_watched(folder, capsys):
    from bgoptimizer.cli import main

    assert main(["night", "-o", "out", "--sequence", "--watch"]) == 2
    assert "--sequence: not with --watch" in capsys.readouterr().err
