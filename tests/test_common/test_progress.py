"""Progress: events for programs with --json, a bar for people on a terminal."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from printed_events import events_of, results_of

from bgoptimizer import make_scene
from bgoptimizer.cli import main
from common import AstroImage, write_image
from common.cli import run
from common.progress import Passes, Reporter, events, expect_passes, output
from common.progress.passes import begin_pass

pty = pytest.importorskip("pty")  # not on Windows


@pytest.fixture
def frames(tmp_path, monkeypatch):
    """Two frames in the present folder."""
    monkeypatch.chdir(tmp_path)
    return write_frames()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """What a run over two frames prints with --json."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        names = write_frames()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main([*names, "-o", "out", "--json"]) == 0
    return events_of(printed.getvalue())


def write_frames():
    """Names of two frames that are written into the present folder."""
    for seed in (3, 4):
        scene = make_scene(seed, shape=(96, 144))
        write_image(Path(f"s{seed}.fits"), AstroImage(scene.observed))
    return ["s3.fits", "s4.fits"]


def told(do, arguments=("--json",)):
    """Events that a function emits inside a command line."""
    stream, before = io.StringIO(), sys.stdout
    sys.stdout = stream
    try:
        with events.printed(list(arguments)):
            do()
    finally:
        sys.stdout = before
    return events_of(stream.getvalue())


# --- events of a command -------------------------------------------------------------------------


def test_a_run_over_files_says_what_it_does(spoken):
    assert {one["event"] for one in spoken} == {"info", "status", "progress", "result"}
    assert spoken[0]["topic"] == "version"
    assert spoken[0]["files"] == 2
    assert spoken[-1] == {"event": "status", "phase": "complete", "message": "Done"}
    phases = [one["phase"] for one in spoken if one["event"] == "status"]
    assert phases == ["reading", "running", "saving"] * 2 + ["complete"]
    inputs = [one["input"] for one in spoken if one["event"] == "result"]
    assert inputs == ["s3.fits", "s4.fits"]


def test_progress_goes_from_0_to_100_over_all_files_and_never_back(spoken):
    done = [one["done"] for one in spoken if one["event"] == "progress"]
    assert (done[0], done[-1]) == (0, 100)
    assert done == sorted(set(done))


def test_an_input_that_fails_is_an_event_with_its_name_and_the_others_go_on(frames, capsys):
    Path("broken.fits").write_text("no image")
    assert main(["broken.fits", frames[0], "-o", "out", "--json"]) == 1
    printed = capsys.readouterr()
    (error,) = events_of(printed.out, "error")
    assert (error["input"], error["code"]) == ("broken.fits", 2)
    assert error["message"] in printed.err
    assert len(results_of(printed.out)) == 1
    assert events_of(printed.out, "progress")[-1]["done"] == 100


@pytest.mark.parametrize("words", [["nowhere.fits"], ["--nonsense"], ["a.fits", "-N", "many"]])
def test_bad_input_is_an_error_event_beside_the_line_on_stderr(
    words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_image(Path("a.fits"), AstroImage(make_scene(3, shape=(96, 144)).observed))
    assert main([*words, "--json"]) == 2
    printed = capsys.readouterr()
    (error,) = events_of(printed.out, "error")
    assert error["code"] == 2
    assert error["message"] in printed.err


def test_with_quiet_there_is_one_line_for_each_input(frames, capsys):
    assert main([frames[0], "-o", "out", "--json", "--quiet"]) == 0
    assert [one["event"] for one in events_of(capsys.readouterr().out)] == ["result"]


def test_without_json_there_is_no_event(frames, capsys):
    assert main([frames[0], "-o", "out"]) == 0
    assert capsys.readouterr().out.startswith("s3.fits: wrote out/")


def test_a_flag_may_be_shortened_as_argparse_allows(frames, capsys):
    assert main([frames[0], "-o", "out", "--js"]) == 0
    assert len(results_of(capsys.readouterr().out)) == 1


def test_a_warning_is_an_event_too(frames, capsys):
    main([frames[0], "-o", "out", "--quiet"])
    main([frames[0], "out", "-o", "out2", "--json"])  # the files in out/ are of the command
    printed = capsys.readouterr()
    lines = [one["message"] for one in events_of(printed.out, "info") if "message" in one]
    assert len(lines) == 3
    assert all("left out" in line and line in printed.err for line in lines)


def test_values_that_json_lacks_become_null_lists_and_text():
    values = {"a": np.float32(1.5), "b": float("nan"), "c": np.arange(2), "d": Path("x")}
    (event,) = told(lambda: events.emit("result", values))
    assert event == {"event": "result", "a": 1.5, "b": None, "c": [0, 1], "d": "x"}


def test_events_end_with_the_run(capsys):
    run(lambda words: None, ["--json"], tool="tool")
    events.emit("result", a=1)
    assert capsys.readouterr().out == ""


def test_a_stopped_run_ends_with_an_error_event(capsys):
    def stopped(words):
        raise KeyboardInterrupt

    assert run(stopped, ["--json"], tool="tool") == 130
    assert events_of(capsys.readouterr().out, "error") == [{"message": "interrupted", "code": 130}]


# --- tiles ---------------------------------------------------------------------------------------


def test_passes_over_tiles_add_up_to_the_whole():
    done = []
    passes = Passes(done.append)
    expect_passes(passes, 2)
    for _ in range(2):
        begin_pass(passes, 4)
        passes(3)
        passes(1)
    assert done == [0.375, 0.5, 0.875, 1]


def test_a_pass_that_begins_again_with_smaller_tiles_does_not_fall_back():
    done = []
    passes = Passes(done.append)
    passes.expect(1)
    passes.begin(4)
    passes(2)
    passes.begin(16)
    passes(4)
    passes(12)
    assert done == [0.5, 0.5, 1]


def test_other_callables_get_tiles_alone():
    expect_passes(print, 3)
    begin_pass(None, 3)


def test_parts_of_parts_are_told_as_one_whole(monkeypatch):
    monkeypatch.setattr("common.progress.reporter.EVENT_SECONDS", 0)

    def work():
        with Reporter("tool", bar=False) as reporter:
            for first in (0, 0.5):
                with reporter.part(first, first + 0.5), reporter.part(0.5, 1):
                    reporter.done(0.5)

    assert [one["done"] for one in told(work)] == [0, 25, 37.5, 50, 75, 87.5, 100]


# --- the bar -------------------------------------------------------------------------------------

BAR = """
import fcntl, struct, sys, termios, time
fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
from common.cli import silenced_stderr
from common.progress import Reporter
from common.progress.output import put
with Reporter("tool", bar=True) as reporter:
    reporter.status("reading", "Reading", input="folder/night.fits")
    with silenced_stderr():
        print("noise of a library", file=sys.stderr)
        time.sleep(0.3)  # the bar is drawn at most every 0.1 s
        reporter.done(0.5)
    put("a line")
"""


def on_a_terminal(script):
    """What a script prints on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen([sys.executable, "-c", script], stdout=theirs, stderr=theirs)
    os.close(theirs)
    found = b""
    try:
        while block := os.read(ours, 4096):
            found += block
    except OSError:  # the end, on Linux
        pass
    finally:
        os.close(ours)
    assert run.wait() == 0
    return found.decode()


def test_a_terminal_gets_a_bar_with_file_part_and_time_left():
    shown = on_a_terminal(BAR)
    assert "tool night.fits:  50 %|" in shown
    assert "left" in shown
    assert "noise of a library" not in shown


def test_the_bar_makes_room_for_a_line_and_leaves_nothing_behind():
    shown = on_a_terminal(BAR)
    before, _, after = shown.partition("a line")
    assert before.rpartition("\r")[2] == ""
    assert after.replace("\r", "").strip() == ""


def test_there_is_no_bar_where_stderr_is_no_terminal(capsys):
    with Reporter("tool", bar=True) as reporter:
        reporter.done(0.5)
    assert capsys.readouterr().err == ""


def test_a_line_that_nobody_reads_is_dropped(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def fileno(self):
            return os.open(os.devnull, os.O_WRONLY)

    monkeypatch.setattr(sys, "stdout", Closed())
    output.put("a line")


def test_every_kind_of_event_is_on_the_page():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "events.md").read_text("utf-8")
    assert [kind for kind in events.KINDS if f"| `{kind}` |" not in page] == []
    assert f'"schema": {events.SCHEMA}' in page
    for line in page.splitlines():
        if line.startswith('{"event"'):
            assert json.loads(line)["event"] in events.KINDS
