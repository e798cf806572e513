"""Reads many damaged files and counts what comes of it; anything but one clear line is a finding.

    make fuzz INPUTS=10000
    python tests/fuzz/run.py --inputs 10000 --seed 1 --keep build/fuzz
    python tests/fuzz/run.py --only 4711 --seed 1      # one input again, with its traceback

The inputs follow from seed and number alone. They are read in child processes with limited memory
and time, so that a death or a hang is counted and the input kept.
"""

import argparse
import importlib
import json
import mmap
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from mutate import mutate  # noqa: E402
from targets import TARGETS, read  # noqa: E402

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 10  # of one input: the slowest good one takes a tenth of a second
GRACE_SECONDS = 20  # more until a child that does not react is killed
MEMORY_BYTES = 2 << 30  # address space beyond what the libraries take when loaded
BATCH = 20_000  # inputs that a child reads
OUTCOMES = ("read", "ValueError", "OSError", "escaped", "unclear", "hang", "memory", "death")
FINDINGS = OUTCOMES[3:]
KINDS = tuple(TARGETS)
CELL = struct.Struct("q")


class Counts:
    """Numbers in a file that outlive the child: the input at work, and one for each outcome."""

    def __init__(self, path):
        size = CELL.size * (1 + len(KINDS) * len(OUTCOMES))
        if not path.exists():
            path.write_bytes(bytes(size))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), size)

    def get(self, place):
        return CELL.unpack_from(self.memory, CELL.size * place)[0]

    def put(self, place, value):
        CELL.pack_into(self.memory, CELL.size * place, value)

    def add(self, kind, outcome):
        place = 1 + KINDS.index(kind) * len(OUTCOMES) + OUTCOMES.index(outcome)
        self.put(place, self.get(place) + 1)

    def table(self):
        cells = [self.get(1 + place) for place in range(len(KINDS) * len(OUTCOMES))]
        width = len(OUTCOMES)
        return {kind: cells[at * width : (at + 1) * width] for at, kind in enumerate(KINDS)}


class Hang(BaseException):
    """An input took too long."""


def make_input(seed, number, kinds):
    """Return kind, file name, bytes and the generator that goes on from them."""
    rng = random.Random(f"{seed}/{number}")  # noqa: S311
    kind = rng.choices(kinds, [TARGETS[one][2] for one in kinds])[0]
    name = rng.choice(TARGETS[kind][1])
    suffix = "." + name.split(".", 1)[1]
    return kind, name, mutate((CORPUS / name).read_bytes(), suffix, rng), rng


def classify(error, path):
    """Return the outcome of an exception."""
    if isinstance(error, Hang):
        return "hang"
    if isinstance(error, MemoryError):
        return "memory"
    if not isinstance(error, (ValueError, OSError)):
        return "escaped"
    text = str(error)
    named = str(path.parent) in text or path.name in text
    if not named or "\n" in text.strip():
        return "unclear"
    return "OSError" if isinstance(error, OSError) else "ValueError"


def work(arguments):
    """Read inputs from `start` on; the parent reads the counts and the lines of findings."""
    counts = Counts(arguments.counts)
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))

    def stop(*_):
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    load()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES,) * 2)
    for number in range(arguments.start, arguments.stop):
        counts.put(0, number)
        kind, name, content, rng = make_input(arguments.seed, number, arguments.kinds)
        path = folder / name
        path.write_bytes(content)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        outcome, error = "read", None
        try:
            read(kind, path, rng, folder)
        except (Exception, Hang) as caught:
            error, outcome = caught, classify(caught, path)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        counts.add(kind, outcome)
        if outcome in FINDINGS:
            finding = {"number": number, "kind": kind, "outcome": outcome, "place": place_of(error),
                       "error": f"{type(error).__name__}: {error}"[:300]}  # fmt: skip
            with open(arguments.findings, "a") as file:
                print(json.dumps(finding), file=file)
    counts.put(0, arguments.stop)


LIBRARIES = (
    "astropy.io.fits", "astropy.wcs", "scipy.ndimage", "bgoptimizer.config",
    "bgrem.commands.compare_files", "bgrem.commands.reproduce", "bgrem.denoising.bundle",
    "bgrem.denoising.uncertainty", "bgrem.training.checkpoint", "bgrem.training.pairs",
    "common.fits.read", "common.fits.write", "common.xisf.convert",
)  # fmt: skip


def load():
    """Import what the targets need, once and before the memory is limited."""
    for name in LIBRARIES:
        importlib.import_module(name)


def place_of(error):
    """Return the innermost line of ours in a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if str(ROOT) in one.filename and "/tests/" not in one.filename]
    last = ours[-1] if ours else frames[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def memory_folder():
    """Return a folder in memory, where files are quick; None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def watch(child, counts):
    """Wait for a child; return whether it hung, so that it was killed."""
    seen, since = counts.get(0), time.monotonic()
    while child.poll() is None:
        time.sleep(0.05)
        now = counts.get(0)
        if now != seen:
            seen, since = now, time.monotonic()
        # loading the libraries counts as one input, on a busy machine a slow one
        if time.monotonic() - since > SECONDS + GRACE_SECONDS:
            child.kill()
            child.wait()
            return True
    return False


def drive(arguments):
    """Run children over all inputs; print a table and the findings; return the exit code."""
    keep = arguments.keep
    started, findings = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory_folder()) as folder:
        counts = Counts(Path(folder) / "counts")
        number, last = arguments.first, arguments.first + arguments.inputs
        while number < last:
            stop = min(number + BATCH, last)
            counts.put(0, number)
            lines = Path(folder) / "findings"
            lines.write_text("")
            errors = Path(folder) / "errors"
            child = subprocess.Popen(
                [sys.executable, __file__, "--work", "--start", str(number), "--stop", str(stop),
                 "--seed", str(arguments.seed), "--counts", str(Path(folder) / "counts"),
                 "--folder", folder, "--findings", str(lines), "--kinds", *arguments.kinds],
                stdout=subprocess.DEVNULL, stderr=open(errors, "w"), cwd=folder,
                env=os.environ | {"TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
            hung = watch(child, counts)
            before = len(findings)
            findings += map(json.loads, lines.read_text().splitlines())
            number = counts.get(0)
            if child.returncode > 0:  # a fault of this program, which no input explains
                raise RuntimeError(errors.read_text()[-2000:])
            if number < stop:  # it did not come to its end
                kind = make_input(arguments.seed, number, arguments.kinds)[0]
                outcome = "hang" if hung else "death"
                counts.add(kind, outcome)
                findings.append({"number": number, "kind": kind, "outcome": outcome, "place": "",
                                 "error": f"exit status {child.returncode}"})  # fmt: skip
                number += 1
            for one in findings[before:]:  # at once: a long run may be stopped
                save_finding(one, arguments, keep)
            if arguments.log:
                for one in findings[before:]:
                    print(json.dumps(one))
                done = number - arguments.first
                rate = done / (time.monotonic() - started)
                print(f"{done} inputs, {len(findings)} findings, {rate:.0f} a second", flush=True)
        rows = counts.table()
    report(rows, findings, time.monotonic() - started, arguments)
    return 1 if findings else 0


def save_finding(one, arguments, keep):
    if keep is None:
        return
    keep.mkdir(parents=True, exist_ok=True)
    _, name, content, _ = make_input(arguments.seed, one["number"], arguments.kinds)
    (keep / f"{one['outcome']}-{one['number']}-{name}").write_bytes(content)


def report(rows, findings, seconds, arguments):
    width = max(map(len, KINDS))
    print(f"{'kind':{width}} {'inputs':>8}", *(f"{one:>10}" for one in OUTCOMES))
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    for kind, cells in [*rows.items(), ("all", total)]:
        print(f"{kind:{width}} {sum(cells):8}", *(f"{one:10}" for one in cells))
    print(f"{sum(total)} inputs of seed {arguments.seed}, from {arguments.first} on, "
          f"in {seconds:.0f} s: {len(findings)} findings")  # fmt: skip
    groups = {}
    for one in findings:
        key = one["kind"], one["outcome"], one["place"], one["error"].partition(":")[0]
        groups.setdefault(key, []).append(one)
    for key, group in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        print(len(group), *key, "| first:", group[0]["number"], group[0]["error"])


def again(arguments):
    """Read one input in this process, with the traceback."""
    kind, name, content, rng = make_input(arguments.seed, arguments.only, arguments.kinds)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        print(kind, name, len(content), "bytes")
        read(kind, path, rng, Path(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--keep", type=Path, help="folder for inputs that are findings")
    parser.add_argument("--only", type=int, help="read this input alone, with its traceback")
    parser.add_argument("--log", action="store_true", help="a line after each batch")
    for name, kind in {
        "start": int,
        "stop": int,
        "counts": Path,
        "folder": Path,
        "findings": Path,
    }.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        return work(arguments)
    if arguments.only is not None:
        return again(arguments)
    return drive(arguments)


if __name__ == "__main__":
    sys.exit(main())
