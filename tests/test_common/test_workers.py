"""`--jobs` and `--scheduler`: the loop over inputs on workers of Dask."""

import ctypes.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from light_command import main as capitals
from printed_events import events_of

from common.batch import cluster

pytest.importorskip("distributed", reason="pip install 'bgrem[dask]'")
psutil = pytest.importorskip("psutil")  # comes with distributed
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")

HELPERS = Path(__file__).parents[1] / "helpers"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """Six inputs a.fits to f.fits in the present folder; returns a function that writes others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    for letter in "abcdef":
        Path(f"{letter}.fits").write_text(f"text {letter}")

    def write(**others):
        for name, text in others.items():
            Path(f"{name}.fits").write_text(text)

    return write


def run(*words, inputs="*.fits"):
    return capitals([inputs, "-o", "out", "--jobs", "2", *words])


def results():
    return {file.name[0]: file.read_text() for file in Path("out").glob("*_capitals.fits")}


def hidden_files():
    """Temporary files and folders beside inputs and outputs, and in the folder for them."""
    found = [*Path().glob(".*"), *Path("out").glob(".*"), *Path("temp").iterdir()]
    return [str(one) for one in found]


def entries(path="done.jsonl"):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


# --- the loop ------------------------------------------------------------------------------------


def test_two_processes_do_all_inputs_and_each_is_set_up_once(texts, capsys):
    assert run("--json") == 0
    assert results() == {letter: f"TEXT {letter.upper()}" for letter in "abcdef"}
    printed = events_of(capsys.readouterr().out)
    processes = {one["process"] for one in printed if one["event"] == "result"}
    assert len(processes) == 2 and os.getpid() not in processes
    assert sorted(Path("set_up.log").read_text().split()) == sorted(
        map(str, [os.getpid(), *processes])
    )
    assert hidden_files() == []


def test_events_are_those_of_the_plain_loop(texts, capsys):
    texts(g="fail no such luck")

    def told(*words):
        code = capitals(["*.fits", "-o", "out", "--overwrite", "--json", *words])
        found = events_of(capsys.readouterr().out)
        for one in found:
            for key in ("seconds", "process", "eta"):
                one.pop(key, None)
        return code, found

    code, plain = told()
    other, found = told("--jobs", "2")
    assert code == other == 1
    assert found[0] == plain[0] and found[-1] == plain[-1]

    def about(letter, events):
        return [one for one in events if f"'{letter}.fits'" in str(one)]

    for letter in "abcdefg":
        assert about(letter, found) == about(letter, plain)
    progress = [one["done"] for one in found if one["event"] == "progress"]
    assert progress == sorted(progress) and progress[-1] == 100


def test_lines_are_those_of_the_plain_loop(texts, capsys):
    texts(g="fail no such luck", h="warn a line of a file", i="warn a line of a file", j="say so")
    assert capitals(["*.fits", "-o", "out"]) == 1
    plain = capsys.readouterr()
    assert run("--overwrite") == 1
    found = capsys.readouterr()
    assert sorted(found.out.splitlines()) == sorted(plain.out.splitlines())
    assert sorted(found.err.splitlines()) == sorted(plain.err.splitlines())
    assert found.err.count("a line of a file") == 1


def test_quiet_is_quiet(texts, capfd):
    texts(j="say so")
    assert run("--quiet") == 0
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_worker_that_dies_is_started_anew_and_its_input_is_done(texts, capsys):
    texts(k="kill 1")
    assert run("--resume", "done.jsonl") == 0
    assert results()["k"] == "KILL 1"
    assert "k.fits: its worker died. The input is tried again." in capsys.readouterr().err
    assert len(entries()) == len(results()) == 7
    assert hidden_files() == []


def test_an_input_that_kills_every_worker_fails_and_the_others_are_done(texts, capsys):
    texts(k="kill 99")
    assert run("--resume", "done.jsonl", "--json") == 1
    printed = capsys.readouterr()
    (error,) = events_of(printed.out, "error")
    assert (error["input"], error["code"]) == ("k.fits", 3)
    assert f"k.fits: its worker died {cluster.TRIES} times" in printed.err
    assert Path("k.tries").stat().st_size == cluster.TRIES
    assert sorted(results()) == list("abcdef")
    assert len(entries()) == 6
    assert hidden_files() == []


def test_a_second_run_starts_no_worker_for_what_is_done(texts, capsys):
    assert run("--resume", "done.jsonl") == 0
    capsys.readouterr()
    Path("set_up.log").unlink()
    assert run("--resume", "done.jsonl") == 0
    assert capsys.readouterr().out.count("is done already") == 6
    assert Path("set_up.log").read_text().split() == [str(os.getpid())]
    assert len(entries()) == 6


def test_a_folder_that_nothing_came_into_is_not_left(texts):
    for letter in "abcdef":
        Path(f"{letter}.fits").write_text("fail")
    assert run() == 1
    assert not Path("out").exists()


def test_an_existing_output_is_not_replaced_when_its_worker_died(texts, capsys):
    texts(k="kill 1")
    Path("out").mkdir()
    Path("out/k_capitals.fits").write_text("older")
    assert run() == 1
    assert results()["k"] == "older"
    assert "k_capitals.fits: exists already" in capsys.readouterr().err


# --- stops and full disks ------------------------------------------------------------------------


@pytest.fixture
def start(texts, tmp_path):
    """Start the light command as a process of its own; it is killed at the end."""
    started = []

    def start(*words, jobs=("--jobs", "2")):
        path = os.pathsep.join([str(HELPERS), str(ROOT)])
        child = subprocess.Popen(
            [sys.executable, "-m", "light_command", "*.fits", "-o", "out", *jobs, *words],
            env=os.environ | {"PYTHONPATH": path}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(child):
    """The processes that work for one, not those that help it."""
    try:
        found = psutil.Process(child.pid).children(recursive=True)
        return [one for one in found if "spawn_main" in " ".join(one.cmdline())]
    except psutil.Error:
        return []


def test_ctrl_c_stops_all_processes_and_leaves_no_file(start, texts):
    texts(**{letter: "wait 30" for letter in "cdef"})
    child = start("--resume", "done.jsonl")
    wait_until(lambda: Path("done.jsonl").exists() and len(entries()) == 2)
    workers = workers_of(child)
    assert len(workers) == 2
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does it: to all of its processes
    out, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert err == "bgoptimizer: interrupted\n"
    assert out.count("wrote") == 2
    assert not any(one.is_running() for one in workers)
    assert sorted(results()) == ["a", "b"]
    assert hidden_files() == []


def test_workers_end_when_their_parent_is_killed(start, texts):
    texts(**{letter: "wait 30" for letter in "cdef"})
    child = start("--resume", "done.jsonl")
    wait_until(lambda: Path("done.jsonl").exists() and len(entries()) == 2)
    workers = workers_of(child)
    child.kill()
    wait_until(lambda: not any(one.is_running() for one in workers), seconds=60)
    texts(**{letter: "quick" for letter in "cdef"})
    assert run("--resume", "done.jsonl") == 0
    assert len(results()) == 6
    assert hidden_files() == []


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    if not hasattr(libc, "mount") or libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=64k"):
        pytest.skip("*** no small disk: needs root on Linux")
    yield folder
    libc.umount(bytes(folder))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_full_disk_ends_the_run_with_one_line_and_no_half_file(texts, small_disk, jobs, capsys):
    for letter in "abcdef":
        Path(f"{letter}.fits").write_text(letter * 20_000)
    assert capitals(["*.fits", "-o", str(small_disk), "--jobs", jobs]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the disk is full" in line
    files = sorted(small_disk.iterdir())
    assert files  # some fitted
    assert all(file.stat().st_size in range(1, 20_001) for file in files)
    for file in small_disk.glob("*_capitals.fits"):
        assert file.read_text() == file.name[0].upper() * 20_000


# --- a scheduler that runs already ---------------------------------------------------------------


@pytest.fixture
def scheduler(tmp_path):
    """Start a scheduler with one worker in another folder; gives its process and its address."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    path = os.pathsep.join([str(HELPERS), str(ROOT)])
    started = []

    def start(*words):
        started.append(subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_spec", *words], cwd=place,
            env=os.environ | {"PYTHONPATH": path, "TMPDIR": str(place)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ))  # fmt: skip
        return started[-1]

    note = place / "scheduler.json"
    options = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    options["scheduler_file"] = str(note)
    process = start("--spec", json.dumps({"cls": "distributed.Scheduler", "opts": options}))
    wait_until(lambda: note.exists() and note.read_text().strip().endswith("}"))
    address = json.loads(note.read_text())["address"]
    options = {"nthreads": 2, "host": "127.0.0.1", "local_directory": str(place)}
    worker = {"cls": "distributed.Nanny", "opts": options}
    start(address, "--spec", json.dumps(worker))
    yield process, address
    for one in reversed(started):
        one.terminate()
    for one in started:
        one.wait(30)


def test_workers_of_a_scheduler_do_the_work(texts, scheduler, capsys):
    texts(k="kill 1", g="fail no such luck", w="warn a line of a file")
    words = ["*.fits", "-o", "out", "--scheduler", scheduler[1], "--resume", "done.jsonl"]
    assert capitals(words) == 1
    assert sorted(results()) == list("abcdefkw")
    err = capsys.readouterr().err
    assert "its worker died" in err and "no such luck" in err and "a line of a file" in err
    assert capitals([*words, "--json"]) == 1
    assert capsys.readouterr().out.count("is done already") == len(entries()) == 8
    assert hidden_files() == []


def test_the_error_of_a_single_input_is_that_of_the_command(texts, scheduler, capsys):
    texts(g="fail no such luck")
    assert capitals(["g.fits", "-o", "out", "--scheduler", scheduler[1]]) == 2
    assert capsys.readouterr().err == "bgoptimizer: error: g.fits: no such luck\n"


def test_a_scheduler_that_is_lost_ends_the_run_with_one_line(texts, scheduler, start):
    texts(**{letter: "wait 30" for letter in "bcdef"})
    child = start("--scheduler", scheduler[1], "--resume", "done.jsonl", jobs=())
    wait_until(lambda: Path("done.jsonl").exists())
    scheduler[0].kill()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 2
    assert f"--scheduler {scheduler[1]}: the connection is lost" in err
    assert len(err.splitlines()) == 1, err


def test_where_no_scheduler_answers_one_line_says_so(texts, monkeypatch, capsys):
    dask = pytest.importorskip("dask")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert capitals(["*.fits", "-o", "out", "--scheduler", "tcp://127.0.0.1:9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--scheduler tcp://127.0.0.1:9: no scheduler answers" in line
    assert not Path("out").exists()


def test_another_version_on_the_workers_is_refused(texts, scheduler, monkeypatch, capsys):
    monkeypatch.setattr("light_command.__version__", "99")
    assert capitals(["a.fits", "-o", "out", "--scheduler", scheduler[1]]) == 2
    assert "here it is 99" in capsys.readouterr().err


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--jobs", "0"], "--jobs 0"),
        (["--scheduler", "cluster"], "--scheduler cluster"),
        (["--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"], "Leave it out"),
    ],
)
def test_what_does_not_fit_is_refused(texts, words, said, capsys):
    assert capitals(["*.fits", "-o", "out", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not Path("out").exists()


def test_without_dask_one_line_says_how_to_install_it(texts, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert run() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert cluster.INSTALL in line


# --- GPUs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"), [("0,2", ["0", "2"]), ("", []), ("-1", []), ("GPU-5a, ", ["GPU-5a"])]
)
def test_the_gpus_are_those_that_the_variable_names(monkeypatch, given, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert cluster.list_gpus() == found


def test_without_the_variable_the_driver_lists_them(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster.list_gpus() == []
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 0\necho 1\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert cluster.list_gpus() == ["0", "1"]


def test_each_process_sees_one_gpu_and_shares_it_where_there_are_fewer():
    seen = [cluster._environment(number, 3, ["4", "7"]) for number in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in seen] == ["4", "7", "4"]
    assert all(one["TF_FORCE_GPU_ALLOW_GROWTH"] == "true" for one in seen)
    assert cluster._environment(1, 2, ["4", "7"]) == {"CUDA_VISIBLE_DEVICES": "7"}
    assert cluster._environment(0, 2, []) == {}
