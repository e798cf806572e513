"""Record what all commands of a checkout write, and compare two recordings.

    python tests/compare_outputs.py record FOLDER          # FOLDER must be new
    python tests/compare_outputs.py compare BEFORE AFTER   # 0: equal, 1: a line for each difference

A change of the code that is to change no result is recorded before and after. Each case of
`recording_cases.CASES` runs its commands in a folder of its own with inputs of
`recording_inputs.INPUTS`; FOLDER keeps all files that appeared there, and exit code, stdout and
stderr of each command. TensorFlow and its like are loaded once, and each command is a fork of that
process, in which its module runs as by `python -m`; with `--fresh` it is a new interpreter, which
takes three times as long and also sees imports that are missing. Networks run on one thread, as
sums depend on the number of threads.

FITS files are compared HDU by HDU: all cards, all pixels (NaN equals NaN); catalogues byte for
byte; XISF by header and blocks, pictures by decoded pixels, JSON by values, weights by their
arrays (and by the SHA-256 in their card), text by lines. Not compared is only what no two runs
have in common:

- XISF:CreationTime, the time when an XISF file was written,
- "seconds" in JSON and in history.csv, what a run took,
- names of temporary folders, and the places of checkout, recording and interpreter, in messages,
- the middle of a traceback (`--debug`), which has lines of the source,
- the commit in environment.json, and seconds.json.

FITS files need no exception: the packages write no DATE, and checksums without their time. A
recording is of one machine: processor and versions are in headers, and in environment.json.
"""

import argparse
import contextlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable
from importlib import import_module, metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
HELPERS = str(CHECKOUT / "tests" / "helpers")
sys.path.insert(0, HELPERS)

from recording_cases import CASES, SEXTRACTOR, Case  # noqa: E402
from recording_differences import ENVIRONMENT, compare_recordings  # noqa: E402
from recording_inputs import INPUTS  # noqa: E402

MODULES = {"bgrem": "bgrem.cli", "bgoptimizer": "bgoptimizer.cli"}
# slow to load; nothing of the project, so that each command still loads its own modules
LOADED_ONCE = (
    "tensorflow", "keras", "galsim", "sep", "scipy.ndimage", "scipy.optimize", "scipy.signal",
    "scipy.sparse.linalg", "scipy.special", "scipy.stats", "astropy.io.fits", "astropy.table",
    "astropy.wcs", "astropy.visualization", "matplotlib.backends.backend_agg", "matplotlib.figure",
    "PIL.Image", "skimage.metrics",
)  # fmt: skip
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS",
           "TF_NUM_INTEROP_THREADS")  # fmt: skip
KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR")  # of the environment; nothing else counts
DISTRIBUTIONS = ("numpy", "scipy", "astropy", "tensorflow", "keras", "sep", "galsim", "matplotlib",
                 "scikit-image", "h5py", "lz4", "zstandard", "astroscrappy", "jax")  # fmt: skip


def environment(root: Path) -> dict[str, str]:
    """Return the variables under which all commands run."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    fixed = {"PYTHONPATH": str(root), "LANG": "C.UTF-8", "COLUMNS": "100", "MPLBACKEND": "Agg",
             "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}  # fmt: skip
    return kept | fixed | dict.fromkeys(THREADS, "1")


def describe_environment(root: Path) -> dict[str, str | None]:
    """Return what results depend on beside the code."""
    commit = subprocess.run(
        ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True
    )
    found: dict[str, str | None] = {"commit": commit.stdout.strip(), "python": sys.version}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    for line in Path("/proc/cpuinfo").read_text("ascii", "ignore").splitlines():
        if line.startswith("model name"):
            found["processor"] = line.partition(":")[2].strip()
            break
    program = shutil.which(SEXTRACTOR)
    if program:
        version = subprocess.run([program, "--version"], capture_output=True, text=True)
        program = version.stdout.strip() or version.stderr.strip()
    return found | {SEXTRACTOR: program}


def record(folder: Path, cases: list[Case], root: Path, jobs: int, fresh: bool) -> int:
    """Run cases side by side; return how many could not be run."""
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(
        json.dumps(describe_environment(root), indent=1) + "\n"
    )
    wanted = {name for case in cases for name in case.inputs.values()}
    (folder / "inputs").mkdir()
    for name in sorted(wanted):
        INPUTS[name](folder / "inputs" / name)
    load_once(root, fresh)
    started, running, failed, left = {}, {}, 0, list(cases)
    begin = time.perf_counter()
    seconds: dict[str, float] = {}
    while left or running:
        while left and len(running) < jobs:
            case = left.pop(0)
            started[case.name] = time.perf_counter()
            running[fork(lambda: run_case(case, folder, root, fresh))] = case.name  # noqa: B023
        pid, status, used = os.wait4(-1, 0)
        name = running.pop(pid)
        took = time.perf_counter() - started[name]
        seconds[name] = round(used.ru_utime + used.ru_stime, 1)  # of the processor
        failed += status != 0
        verdict = " FAILED" if status else ""
        print(f"{name}: {took:.1f} s, of the processor {seconds[name]}{verdict}", flush=True)
    total = round(time.perf_counter() - begin, 1)
    (folder / "seconds.json").write_text(json.dumps({"all": total} | seconds, indent=1) + "\n")
    processor = sum(seconds.values())
    print(f"{len(cases)} cases in {total} s, of the processor {processor:.0f}: {folder}")
    return failed


def load_once(root: Path, fresh: bool) -> None:
    """Set the environment of this process, see whose code will run, load what is slow to load."""
    variables = environment(root)
    os.environ.clear()
    os.environ.update(variables)
    where = "import bgrem, bgoptimizer, common, sys; print(bgrem.__file__)"
    # matplotlib says on stderr that it makes its list of fonts, once
    where += "; import matplotlib.font_manager"
    done = subprocess.run([sys.executable, "-c", where], capture_output=True, text=True, check=True)
    if Path(done.stdout.strip()).resolve().parents[1] != root:
        raise SystemExit(f"{done.stdout.strip()} would run, not the code in {root}.")
    if fresh:
        return
    filters = warnings.filters[:]
    with silence():
        for name in LOADED_ONCE:
            import_module(name)
    warnings.filters[:] = filters  # type: ignore[index]
    mine = (HELPERS, str(CHECKOUT / "tests"))
    sys.path[:] = [str(root), *(place for place in sys.path if place not in mine)]


@contextlib.contextmanager
def silence():
    """Drop what native code writes on stderr: TensorFlow announces itself."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def fork(work) -> int:
    """Call `work` in a forked process; its return value is the exit status."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX and Python warn of threads; none is started yet
        pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        status = work() or 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def run_case(case: Case, folder: Path, root: Path, fresh: bool) -> int:
    """Run the commands of a case one after the other; leave what they wrote."""
    place = folder / case.name
    place.mkdir()
    for target, name in case.inputs.items():
        (place / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "inputs" / name, place / target)
    os.chdir(place)
    names = {str(place.resolve()): "CASE", str(folder.resolve()): "RECORDING",
             str(root): "CHECKOUT", sys.prefix: "PYTHON"}  # fmt: skip
    for number, command in enumerate(case.commands, 1):
        code = run_command(shlex.split(command), fresh)
        said = [Path(name).read_text("utf-8", "replace") for name in (".stdout", ".stderr")]
        text = f"$ {command}\nexit code {code}\n-- stdout\n{said[0]}-- stderr\n{said[1]}"
        for path, word in names.items():
            text = text.replace(path, word)
        text = re.sub(r"/\S*?/\.bgrem(-\w+){3}/new", "TEMPORARY", text)
        Path(f"command_{number:02d}.txt").write_text(text, "utf-8")
        Path(".stdout").unlink(), Path(".stderr").unlink()
    for target, name in case.inputs.items():  # one that was changed stays, as a difference
        if (place / target).read_bytes() == (folder / "inputs" / name).read_bytes():
            (place / target).unlink()
    return 0


def run_command(words: list[str], fresh: bool) -> int:
    """Run one command with its output in .stdout and .stderr; return its exit code."""
    with open(".stdout", "wb") as out, open(".stderr", "wb") as errors:
        if fresh:
            program = ["-m", MODULES[words[0]]] if words[0] in MODULES else []
            line = [sys.executable, *program, *words[1:]]
            return subprocess.run(
                line, stdout=out, stderr=errors, stdin=subprocess.DEVNULL
            ).returncode
        pid = fork(lambda: run_forked(words, out.fileno(), errors.fileno()))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_forked(words: list[str], out: int, errors: int) -> None:
    """Be `python -m MODULE ...` or `python FILE ...` in this process."""
    os.dup2(out, 1)
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path.insert(0, os.getcwd())
    sys.argv = words
    if words[0] in MODULES:
        runpy.run_module(MODULES[words[0]], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")


def choose(only: str | None) -> list[Case]:
    """Return the cases whose name or commands have one of some words; all without words."""
    words = only.split(",") if only else []
    chosen = [case for case in CASES if not words or any(case.is_about(word) for word in words)]
    if not chosen:
        raise SystemExit(f"--only {only}: no such case. --list has all.")
    return chosen


def leave_out_unable(cases: list[Case]) -> list[Case]:
    """Return the cases for which everything is installed; say which others there are."""
    able = []
    for case in cases:
        missing = [name for name in case.needs if not (shutil.which(name) or _is_installed(name))]
        if missing:
            print(f"{case.name}: SKIPPED, {', '.join(missing)} is not installed", flush=True)
        else:
            able.append(case)
    return able


def _is_installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def compare(before: Path, after: Path, only: str | None) -> int:
    """Print a line for each difference, or one that there is none."""
    for folder in (before, after):
        if not (folder / ENVIRONMENT).is_file():
            raise SystemExit(f"{folder}: is no recording.")
    found, number = compare_recordings(before, after, only and [one.name for one in choose(only)])
    if found:
        print("\n".join(found))
        print(f"{len(found)} differences between {before} and {after}")
        return 1
    print(f"equal: {number} files of {before} and {after}")
    return 0


def main(argv: Iterable[str] | None = None) -> int:
    """Run the script and return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser(
        "record", help="run all commands and keep what they write"
    ).add_argument
    add("folder", type=Path, nargs="?", help="new folder of the recording")
    add(
        "--only", metavar="WORD,...", help="cases with one of these words as command or in the name"
    )
    add("--list", action="store_true", help="print the cases and their commands; run nothing")
    add("--jobs", type=int, default=2, help="cases at once (default: 2)")
    add("--fresh", action="store_true", help="a new interpreter for each command")
    add("--root", type=Path, default=CHECKOUT, help="checkout whose code runs (default: this one)")
    add = commands.add_parser("compare", help="compare two recordings").add_argument
    add("before", type=Path)
    add("after", type=Path)
    add("--only", metavar="WORD,...", help="as for record: the rest may be missing in one of both")
    args = parser.parse_args(None if argv is None else list(argv))
    if args.command == "compare":
        return compare(args.before, args.after, args.only)
    cases = choose(args.only)
    if args.list:
        for case in cases:
            print(f"{case.name}\n    " + "\n    ".join(case.commands))
        return 0
    if args.folder is None:
        parser.error("name the folder of the recording")
    if args.folder.exists():
        raise SystemExit(f"{args.folder}: exists already. Record into a new folder.")
    return (
        1 if record(args.folder.resolve(), cases, args.root.resolve(), args.jobs, args.fresh) else 0
    )


if __name__ == "__main__":
    sys.exit(main())
