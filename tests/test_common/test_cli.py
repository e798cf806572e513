import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from common.atomic import atomic_write
from common.batch import OutputPlace, expand_inputs, run_over_files
from common.cli import add_common_flags, run
from common.command import Call, Command
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


# --- stops and streams ---------------------------------------------------------------------------


RUN = """
import os, signal, sys, time
from common.cli import put, raise_if_stopped, run

def main(words):
    {body}

sys.exit(run(main, tool="tool"))
"""


def run_body(body, **options):
    """Run a command with this body in a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        [sys.executable, "-c", RUN.format(body=body)], cwd=ROOT, text=True, timeout=60, **options
    )


STOPS = [
    ("SIGINT", 130, "tool: interrupted\n"),
    ("SIGTERM", 143, "tool: stopped by SIGTERM\n"),
    ("SIGHUP", 129, "tool: stopped by SIGHUP\n"),
]


@pytest.mark.parametrize(("name", "code", "line"), STOPS)
def test_a_signal_that_asks_to_stop_is_one_line_and_its_exit_code(name, code, line):
    done = run_body(f"os.kill(os.getpid(), signal.{name}); time.sleep(20)")
    assert (done.returncode, done.stderr) == (code, line)


@pytest.mark.parametrize(("name", "code", "line"), STOPS)
def test_a_stop_in_code_compiled_from_text_is_its_exit_code_with_python_m(
    tmp_path, name, code, line
):
    body = f"exec('os.kill(os.getpid(), signal.{name})\\ntime.sleep(20)')"
    (tmp_path / "stopped.py").write_text(RUN.format(body=body))
    done = subprocess.run(
        [sys.executable, "-m", "stopped"], cwd=tmp_path, text=True, timeout=60,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, line)


@pytest.mark.parametrize(("name", "code", "line"), STOPS)
def test_a_stop_that_a_library_turns_into_another_error_is_a_stop(name, code, line):
    body = f"""
    try:
        os.kill(os.getpid(), signal.{name}); time.sleep(20)
    except BaseException:
        raise ImportError("initialization failed") from None
"""
    done = run_body(body)
    assert (done.returncode, done.stderr) == (code, line)


def test_a_stop_that_a_library_swallows_is_raised_at_the_next_occasion():
    body = """
    try:
        os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)
    except BaseException:
        pass
    raise_if_stopped()
"""
    assert run_body(body).returncode == 143


def test_a_stop_where_python_cannot_raise_comes_a_moment_later():
    body = """
    class Closing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.001)
    Closing()
    for _ in range(2000):
        time.sleep(0.01)
"""
    done = run_body(body)
    assert (done.returncode, done.stderr) == (143, "tool: stopped by SIGTERM\n")


def test_a_stop_waits_for_the_end_of_what_holds_it():
    body = """
    from common.cli import hold_stops
    with hold_stops():
        with hold_stops():
            os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.01)
        put("held")
    put("never")
"""
    done = run_body(body)
    assert (done.returncode, done.stdout) == (143, "held\n")


def test_after_a_stop_no_file_is_put_in_place(tmp_path):
    body = f"""
    from common.atomic import atomic_write
    with atomic_write({str(tmp_path / "a")!r}):
        try:
            os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)
        except BaseException:
            pass
"""
    assert run_body(body).returncode == 143
    assert list(tmp_path.iterdir()) == []


def test_a_signal_at_the_exit_changes_nothing():
    script = RUN.format(body="put('done')") + ""
    script = script.replace("sys.exit(run", "code = run").replace('"tool"))', '"tool")')
    script += "os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_signal_that_was_ignored_before_stays_ignored():
    done = run_body(
        "os.kill(os.getpid(), signal.SIGHUP); put('goes on')",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_run_goes_on_where_nobody_reads_it(stream, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    mark = tmp_path / "mark"
    body = f"""
    for k in range(3):
        put("x" * 100_000, error={stream == "stderr"})
    open({str(mark)!r}, "w").close()
"""
    with os.fdopen(writer, "w") as closed:
        done = run_body(body, **{stream: closed})
    assert (done.returncode, done.stderr or "") == (0, "")
    assert mark.exists()


def test_help_that_nobody_reads_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = run_body("import common.cli; common.cli.Parser().parse_args(['-h'])", stdout=closed)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_result_that_cannot_be_printed_is_an_error():
    with open("/dev/full", "w") as full:
        done = run_body("put('result')", stdout=full)
    assert done.returncode == 2
    assert done.stderr == "tool: error: stdout: cannot be written (No space left on device).\n"


def test_a_command_runs_without_stdout_and_stderr():
    done = run_body("put('x'); put('y', error=True)", stdout=None, stderr=None,
                    preexec_fn=lambda: (os.close(1), os.close(2)))  # fmt: skip
    assert done.returncode == 0


def test_names_that_the_terminal_lacks_are_printed_with_backslashes(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    body = """
    put("星 é")
    raise ValueError("星")
"""
    done = run_body(body, encoding="cp1252")
    assert done.stdout == "\\u661f é\n"
    assert done.stderr == "tool: error: \\u661f\n"


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


NAMES = ("one", "two")  # what the command of these tests writes


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Run a command that writes <stem>_one and <stem>_two, and its log of inputs, with options."""
    monkeypatch.chdir(tmp_path)
    for path in ("A/L.fits", "B/L.fits", "A/other.fits", "A/L.xisf", "A/OTHER.fits"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(path)

    def begin(*inputs, output=None, fail_on=(), overwrite=False, swallow=None):
        command = Command(name="tool", about="", run="")
        args = argparse.Namespace(
            inputs=inputs,
            output=output,
            overwrite=overwrite,
            json=True,
            quiet=False,
            watch=False,
            jobs=None,
            scheduler=None,
            shard=None,
            resume=None,
        )

        def name(call, path):
            place = OutputPlace.of(path, args)
            return {word: place.file(word, ".txt") for word in NAMES}

        def work(path, found, files):
            for word, file in files.items():
                with atomic_write(file, overwrite) as temporary:
                    temporary.write_text(f"{word} of {path}")
                if path.as_posix() in fail_on:
                    raise ValueError(f"{path}: is bad.")
            if swallow is not None:
                with contextlib.suppress(KeyboardInterrupt):
                    os.kill(os.getpid(), swallow)
                    time.sleep(1)
            return {}

        call = Call(command, args, "1", {}, lambda words: 0)
        return run(lambda words: run_over_files(call, lambda path: path, work, name=name), [],
                   tool="tool")  # fmt: skip

    return begin


def written(folder="out"):
    return sorted(path.name for path in Path(folder).iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("other", ["B/L.fits", "A/L.xisf"])
def test_two_inputs_that_lead_to_one_file_are_refused_before_any_work(
    start, capsys, other, overwrite
):
    assert start("A/L.fits", other, output=Path("out"), overwrite=overwrite) == 2
    line = f"tool: error: A/L.fits and {other} would both be written to out/L_one.txt. Run them "
    assert capsys.readouterr().err.startswith(line)
    assert not Path("out").exists()


def test_an_output_that_leads_to_a_link_of_another_is_the_same_file(start, capsys):
    Path("out").mkdir()
    Path("out/other_one.txt").symlink_to("L_one.txt")
    assert start("A/L.fits", "A/other.fits", output=Path("out"), overwrite=True) == 2
    assert "A/L.fits and A/other.fits would both" in capsys.readouterr().err


def test_names_that_differ_in_case_are_one_file_where_the_folder_takes_them_for_one(start, capsys):
    assert start("A/other.fits", "A/OTHER.fits", output=Path("out")) == 0
    Path("named").mkdir()
    Path("NAMED").symlink_to("named")  # as a file system without case would answer
    assert start("A/other.fits", "A/OTHER.fits", output=Path("named")) == 2
    assert "A/other.fits and A/OTHER.fits would both" in capsys.readouterr().err


def test_an_output_that_would_replace_another_input_is_refused_before_any_work(start, capsys):
    Path("A/L_one.fits").write_text("input")
    Path("L_one.txt").symlink_to("A/L_one.fits")
    assert start("A/L.fits", "A/L_one.fits", overwrite=True) == 2
    assert "its output L_one.txt would replace the input A/L_one.fits" in capsys.readouterr().err
    assert Path("A/L_one.fits").read_text() == "input"


def test_of_a_failed_input_nothing_is_written_and_the_others_are_done(start, capsys):
    assert start("A/L.fits", "A/other.fits", output=Path("out"), fail_on=["A/L.fits"]) == 1
    assert written() == ["other_one.txt", "other_two.txt"]
    assert capsys.readouterr().err == "tool: error: A/L.fits: is bad.\n"


def test_a_stop_that_was_swallowed_ends_the_batch_and_writes_nothing(start, capsys):
    inputs = ("A/L.fits", "A/other.fits")
    assert start(*inputs, output=Path("out"), swallow=signal.SIGTERM) == 143
    assert not Path("out").exists()
    assert capsys.readouterr().err == "tool: stopped by SIGTERM\n"
