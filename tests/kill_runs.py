"""Kill commands at random moments and count what they leave.

    python tests/kill_runs.py --runs 20                 # 20 kills of each command
    python tests/kill_runs.py --seconds 600 --seed 3    # 10 minutes, the same time for each command

Every command that writes runs in a process of its own, a fork of one that has loaded TensorFlow and
its like (`compare_outputs.py` does the same), and is killed by SIGKILL, SIGTERM or SIGINT. With
`--fresh` it is a new interpreter, which is also killed while it loads TensorFlow. The
moment is drawn: one half over the whole run, one half within the time in which it writes. Half of
the runs find files of an earlier run and replace them. Then the files are looked at:

- half: a file that is neither the old one nor the new one, byte for byte,
- mixed: files of one input of which some are old or missing and some are new,
- wrong end: another exit code than 128 + signal (or 0 where the run was quicker), a traceback, or
  temporary files after SIGTERM or SIGINT,
- left: temporary files or folders, beside the outputs or in the folder for temporary files, after
  the kill; and after the next run of the same command, which must succeed.

`--renames` draws no moment: it kills with SIGKILL as soon as the first file has its name. That is
the one moment at which a set can be mixed, and it is a measure of how long it lasts.

A training is judged by what it keeps: its model must have the SHA-256 of its card, the history must
end with the checkpoint's epoch, and the next run must finish it.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import compare_outputs as forks
import numpy as np
from recording_inputs import INPUTS

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)  # half of them SIGKILL
PYTHON_STARTS = 0.1  # seconds in which no line of ours has run
COLUMNS = (
    "SIGKILL",
    "SIGTERM",
    "SIGINT",
    "in time",
    "half",
    "mixed",
    "wrong end",
    "left",
    "left after next run",
)
TIME_OF_XISF = re.compile(rb'id="XISF:CreationTime"[^>]*>')
SECONDS = re.compile(rb'"seconds": [0-9.]+')
TINY_TRAINING = (
    "--fields 2 --validation-fields 1 --field-shape 96,96 --tile 32 --batch-size 2 --epochs 3 "
    "--steps-per-epoch 2 --validation-steps 1 --warm-up-steps 1"
)
DENOISED = (
    "bgrem denoise zipped.fits.gz field.fits -o out -s 1",
    "bgrem denoise field.fits -o out/a.fits -s 1 --background out/a_back.fits --residual "
    "out/a_rest.fits --bundle out/a_all.fits --quality out/a_dq.fits --before-after out/a_look.png",
)


@dataclass(frozen=True)
class Case:
    """One command that is killed.

    Attributes
    ----------
    name : str
    command : str
        Writes into out/.
    inputs : tuple of str
        Rows of `recording_inputs.INPUTS`.
    old, new : str
        What is added to the command for the files of the earlier run, and for those of the killed
        one, so that they differ. Where there are no such settings the earlier file is any other.
    before : str
        A command that makes further inputs.
    """

    name: str
    command: str
    inputs: tuple[str, ...] = ()
    old: str = "--seed 1"
    new: str = "--seed 2"
    before: str = ""


CASES = [
    Case("bgoptimizer", "bgoptimizer nebula.fits colour.xisf zipped.fits.gz -o out",
         ("nebula.fits", "colour.xisf", "zipped.fits.gz"), old="-N 40", new="-N 60"),
    Case("bgrem denoise", DENOISED[0], ("zipped.fits.gz", "field.fits")),
    Case("bgrem denoise, all files", DENOISED[1], ("field.fits",)),
    Case("bgrem catalog", "bgrem catalog field.fits -o out/a.ldac --segmentation out/a_seg.fits "
         "-s 1", ("field.fits",), old="--threshold 3", new="--threshold 2"),
    Case("bgrem enhance", "bgrem enhance hubble.fits -i SCI -o out", ("hubble.fits",),
         old="--ratio 3", new="--ratio 2"),
    Case("bgrem noisemap", "bgrem noisemap streaks.fits -o out --runs 1", ("streaks.fits",)),
    Case("bgrem validate", "bgrem validate field.fits -o out --side 128 --repeats 1 --no-halos "
         "--steps 1 --injections 20", ("field.fits",)),
    Case("bgrem simulate", "bgrem simulate decam --shape 96,96 -o out --number 3", (),
         old="--sky 500", new="--sky 600"),
    Case("bgrem calibrate", "bgrem calibrate pair1.fits pair2.fits pair3.fits pair4.fits "
         "-o out/a.json --steps 1", ("pair1.fits", "pair2.fits", "pair3.fits", "pair4.fits")),
    Case("bgrem restore", "bgrem restore all.fits -o out/a.fits", ("field.fits",), old="",
         new="", before="bgrem denoise field.fits -o all_d.fits -s 1 --bundle all.fits"),
    Case("bgrem train", f"bgrem train optical -o out {TINY_TRAINING}", (), old="", new=""),
]  # fmt: skip
Files = dict[str, str]  # name below out/ -> digest


def digests(folder: Path) -> Files:
    """Return the files of a folder, hidden ones left out, without what no two runs share."""
    found = {}
    for path in sorted(visible(folder)):
        content = SECONDS.sub(b"", TIME_OF_XISF.sub(b"", path.read_bytes()))
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def visible(folder: Path) -> Iterator[Path]:
    """Give the files below a folder that are in no hidden one."""
    for path in folder.rglob("*"):
        if path.is_file() and not any(p[0] == "." for p in path.relative_to(folder).parts):
            yield path


def left_over(place: Path) -> list[Path]:
    """Return the temporary files and folders of a run."""
    return [*place.glob("out/**/.*"), *place.glob(".bgrem*"), *(place / "tmp").iterdir()]


def sets_of(case: Case, names: set[str]) -> list[set[str]]:
    """Return the files by the input that they come from: one set appears together."""
    if case.name == "bgrem simulate":
        return [{name} for name in names]
    if case.name == "bgrem validate":
        return [names]
    stems = {name.split("_")[0].split(".")[0] for name in names}
    return [{name for name in names if re.match(rf"{stem}[_.]", name)} for stem in stems]


class Workplace:
    """A folder in which one case runs again and again, and what its files are."""

    def __init__(self, case: Case, folder: Path, fresh: bool) -> None:
        self.case, self.place, self.fresh = case, folder, fresh
        self.used = 0.0  # seconds
        (folder / "tmp").mkdir(parents=True)
        for name in case.inputs:
            INPUTS[name](folder / name)
        if case.before:
            self.wait(self.start(case.before))
        self.clear(old=False)
        if case.new:
            self.finish(case.old)
            (folder / "out").rename(folder / "kept")
        else:
            (folder / "kept").mkdir()
            (folder / "kept" / "a.fits").write_bytes(b"old")
        self.clear(old=False)
        start = time.perf_counter()
        pid = self.start(f"{case.command} {case.new}")
        while not self.writes() and not self.ended(pid):
            time.sleep(0.0005)
        self.first_write = time.perf_counter() - start
        self.wait(pid)
        self.seconds = time.perf_counter() - start
        self.new = digests(folder / "out")
        print(
            f"{case.name}: {self.seconds:.1f} s, writes from {self.first_write:.1f} s", flush=True
        )

    def start(self, command: str) -> int:
        """Start a command in a process of its own."""
        words, place = shlex.split(command), self.place

        def work() -> int:
            os.chdir(place)
            os.setsid()
            os.environ["TMPDIR"] = str(place / "tmp")
            tempfile.tempdir = None
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command takes it
            with open("stdout", "wb") as out, open("stderr", "wb") as errors:
                if self.fresh:
                    os.dup2(out.fileno(), 1), os.dup2(errors.fileno(), 2)
                    program = [sys.executable, "-m", *words]
                    os.execv(sys.executable, program)  # noqa: S606 - no shell
                forks.run_forked(words, out.fileno(), errors.fileno())
            return 0

        self.status: int | None = None
        return forks.fork(work)

    def ended(self, pid: int) -> bool:
        """Return whether a process has ended."""
        if self.status is None:
            done, status = os.waitpid(pid, os.WNOHANG)
            self.status = status if done else None
        return self.status is not None

    def wait(self, pid: int) -> int:
        """Return the exit code of a process, minus the signal that ended it."""
        if self.status is None:
            self.status = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(self.status)

    def finish(self, more: str) -> Files:
        """Run the command to its end and return its files."""
        code = self.wait(self.start(f"{self.case.command} {more}"))
        if code:
            raise SystemExit(f"{self.case.name}: {(self.place / 'stderr').read_text()}")
        return digests(self.place / "out")

    def clear(self, *, old: bool) -> None:
        """Remove the files, or put those of the earlier run there."""
        shutil.rmtree(self.place / "out", ignore_errors=True)
        if old:
            shutil.copytree(self.place / "kept", self.place / "out")
        elif "-o out/" in self.case.command:
            (self.place / "out").mkdir()

    def writes(self) -> bool:
        """Return whether a temporary folder is there."""
        return any(self.place.glob("out/.bgrem*")) or any(self.place.glob(".bgrem*"))

    def kill(self, rng: random.Random, number: int, *, renames: bool) -> Counter[str]:
        """Run once, kill, look, run again."""
        training = self.case.name == "bgrem train"
        old = bool(rng.getrandbits(1)) and not training
        self.clear(old=old)
        before = digests(self.place / "out") if old else {}
        again = "" if training else " --overwrite"
        command = f"{self.case.command} {self.case.new}"
        begin = time.perf_counter()
        pid = self.start(command + again)
        if renames:
            self._wait_for_rename(pid, set(self.new))
        elif rng.getrandbits(1):
            first = PYTHON_STARTS if self.fresh else 0
            until = begin + rng.uniform(first, 1.05 * self.seconds)
            while time.perf_counter() < until and not self.ended(pid):
                time.sleep(0.001)
        else:
            while not self.writes() and not self.ended(pid):
                time.sleep(0.0003)
            time.sleep(rng.uniform(0, self.seconds - self.first_write))
        in_time = not self.ended(pid)
        if in_time:
            os.kill(pid, number)
        code = self.wait(pid)
        found = Counter({signal.Signals(number).name: 1, "in time": int(in_time)})
        said = (self.place / "stderr").read_text("utf-8", "replace").splitlines()
        # a signal may end it as the system does, for a shell with the same code: Python repeats
        # SIGINT at its exit, and before there is a handler there is no other way
        code = 128 - code if code < 0 else code
        if code not in (128 + number, 0) or any("Traceback" in line for line in said):
            found["wrong end"] += 1
            print(f"{self.case.name}: signal {number}, exit code {code}", *said[-6:], sep="\n    ")
        found.update(self.judge(before))
        found["left"] += bool(left_over(self.place))
        if found["left"] and number != signal.SIGKILL:
            found["wrong end"] += 1
            print(f"{self.case.name}: signal {number} left", *left_over(self.place))
        if found["left"] or training:
            if self.finish(self.case.new + again) != self.new and not training:
                raise SystemExit(f"{self.case.name}: the next run has other files.")
            found["left after next run"] += bool(left_over(self.place))
        return found

    def _wait_for_rename(self, pid: int, names: set[str]) -> None:
        paths = [str(self.place / "out" / name) for name in names]

        def inodes() -> list[int]:
            return [os.stat(path).st_ino if os.path.exists(path) else 0 for path in paths]

        first = inodes()
        while inodes() == first and not self.ended(pid):
            pass

    def judge(self, before: Files) -> Counter[str]:
        """Return how many files are half and how many sets are mixed."""
        if self.case.name == "bgrem train":
            return self._judge_training()
        now = digests(self.place / "out")
        found: Counter[str] = Counter()
        names = set(before) | set(self.new) | set(now)
        for name in names:
            if now.get(name) not in {before.get(name), self.new.get(name)}:
                found["half"] += 1
                print(f"{self.case.name}: {name} is neither old nor new")
        for group in sets_of(self.case, names):
            for state in (before, self.new):
                if all(now.get(name) == state.get(name) for name in group):
                    break
            else:
                found["mixed"] += 1
        return found

    def _judge_training(self) -> Counter[str]:
        folder, found = self.place / "out", Counter[str]()
        card, table = folder / "model" / "model.json", folder / "history.csv"
        checkpoint = folder / "checkpoint.npz"
        if len({one.exists() for one in (card, table, checkpoint)}) > 1:
            found["mixed"] += 1
        elif card.exists():
            sha256 = hashlib.sha256((folder / "model" / "weights.npz").read_bytes()).hexdigest()
            with np.load(checkpoint) as file:
                state = json.loads(str(file["state"]))
            rows = list(csv.DictReader(table.open()))
            told = json.loads(card.read_text())
            found["mixed"] += (
                told["sha256"] != sha256
                or told["training"]["epoch"] != state["best_epoch"]
                or len(rows) != state["epoch"]
            )
        return found


def main() -> int:
    """Kill, print the table, and return 1 if a run left what it must not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, help="kills of each command (default: 10)")
    parser.add_argument("--seconds", type=float, help="go on in turn for so long instead")
    parser.add_argument("--only", default="", help="commands that begin so, parted by commas")
    parser.add_argument("--seed", type=int, default=0, help="of moments and signals (default: 0)")
    parser.add_argument("--renames", action="store_true", help="kill between the renames")
    parser.add_argument("--fresh", action="store_true", help="a new interpreter for each run")
    args = parser.parse_args()
    rng = random.Random(args.seed)  # noqa: S311 - no secret
    wanted = tuple(args.only.split(","))
    cases = [one for one in CASES if one.name.startswith(wanted)]
    forks.load_once(forks.CHECKOUT, fresh=args.fresh)
    forks.MODULES.update(bgrem="bgrem", bgoptimizer="bgoptimizer")  # all that Ctrl-C can meet
    table: dict[str, Counter[str]] = {case.name: Counter() for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        places = [
            Workplace(case, Path(folder) / str(k), args.fresh) for k, case in enumerate(cases)
        ]
        kills = 0
        while (
            sum(one.used for one in places) < args.seconds
            if args.seconds
            else kills < args.runs * len(places)
        ):
            # every command the same number of times, or for the same time
            one = min(places, key=lambda x: x.used) if args.seconds else places[kills % len(places)]
            number, begin = rng.choice(SIGNALS), time.perf_counter()
            number = signal.SIGKILL if args.renames else number
            table[one.case.name].update(one.kill(rng, number, renames=args.renames))
            one.used += time.perf_counter() - begin
            kills += 1
    return report(table)


def report(table: dict[str, Counter[str]]) -> int:
    """Print a row for each command; return 1 where something is wrong."""
    total = sum(table.values(), Counter())
    print(f"| command | {' | '.join(COLUMNS)} |")
    print("|---|" + "---|" * len(COLUMNS))
    for name, row in [*table.items(), ("all", total)]:
        print(f"| {name} | " + " | ".join(str(row[one]) for one in COLUMNS) + " |")
    wrong = ("half", "mixed", "wrong end", "left after next run")
    return int(any(total[one] for one in wrong))


if __name__ == "__main__":
    sys.exit(main())
