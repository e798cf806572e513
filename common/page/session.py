"""What the page works on: one frame, its views, the settings, and one job at a time."""

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import cli
from common.atomic import write_together
from common.command import Call
from common.config import from_mapping
from common.image import AstroImage
from common.page.form import command_words, form_of
from common.page.marks import FARTHEST_PX, Marks
from common.page.plane import View
from common.page.viewing import Job, Viewing
from common.progress.output import plain
from common.progress.stopping import Stopped, stop_if_asked, stopped_when
from common.provenance import write_params

SETTINGS_ENDING = "PageParams"  # last part of the name of the file with the page's settings
BUSY = "a job is running. Cancel it first."
END_SECONDS = 5.0  # that a stopped command has to remove its temporary files


class Busy(ValueError):
    """A job is running already."""


Report = Callable[[float | None, str], None]  # part that is done (None: unknown), what goes on


KeepMarks = Callable[[Marks, Callable[[Path], bool]], tuple[dict[type, Any], list[Path]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """What a command gives to its page.

    Attributes
    ----------
    call : Call
    path : path
        The input.
    image : AstroImage
    config : type
        The settings that the page shows.
    main : sequence of str
        Those that are seen first.
    verb, about : str
        What the button of the work says, and where the work happens.
    views : sequence of View
        What can be shown before any work; the first one is the input.
    work : callable
        Takes the config, `Marks`, the middle of what is on the screen (x, y) and a `Report`;
        returns views and notes. The report raises `Stopped` after a cancel.
    kinds : mapping of str
        Kind of area -> its label; empty: nothing can be drawn.
    marks : Marks
        At the start.
    folder : path
        Where settings and marks are written.
    stem : str
        First part of their names.
    keep_marks : callable, optional
        Takes marks and a function that says whether a file may be replaced; writes them and
        returns type of config -> config with their names, and the files.
    stretched : mapping of str
        Control of the stretch -> setting that it is for the fit.
    """

    call: Call
    path: Path
    image: AstroImage
    config: type
    main: Sequence[str]
    verb: str
    about: str
    views: Sequence[View]
    work: Callable[[Any, Marks, tuple[float, float], Report], tuple[Sequence[View], Sequence[str]]]
    folder: Path
    stem: str
    kinds: Mapping[str, str] = field(default_factory=dict)
    marks: Marks = field(default_factory=Marks)
    keep_marks: KeepMarks | None = None
    stretched: Mapping[str, str] = field(default_factory=dict)


class Session(Viewing):
    """The state behind the page of a command; all methods can be called by several threads."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(
            bench.path.name, bench.image.shape, bench.views, kinds=bench.kinds, marks=bench.marks
        )
        self.bench = bench
        self._own: set[Path] = set()  # files that this page has written: it may replace them
        self._working = threading.Lock()  # a cancelled fit runs to its next stop before another

    # --- what the page asks for ---

    def state(self) -> dict[str, Any]:
        """Return all that the page shows but pixels."""
        bench, call = self.bench, self.bench.call
        return super().state() | plain({
            "tool": call.command.name, "version": call.version, "verb": bench.verb,
            "about": bench.about, "form": form_of(call.settings[bench.config], bench.main),
            "stretched": dict(bench.stretched), "settings_file": self.settings_file().name,
        })  # fmt: skip

    def ask(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, as of `Viewing`; `run`, `full`, `cancel` and `save`, too.

        Raises
        ------
        KeyError
            If there is no such request.
        Busy, FileExistsError, ValueError, OSError
            If it cannot be done; the message says why.
        """
        if name == "save":
            return {"files": self.save(content)}
        if name == "run":
            self.run(content)
        elif name == "full":
            self.run_at_full_size(content)
        elif name == "cancel":
            self.cancel()
        else:
            return super().ask(name, content)
        return self.progress()

    # --- jobs ---

    def run(self, content: Mapping[str, Any]) -> None:
        """Start the work with settings and marks; ValueError if they are wrong."""
        config, marks = self.read(content)
        middle = _pair(content.get("middle"))
        if middle is None:
            height, width = self.bench.image.shape[:2]
            middle = width / 2, height / 2
        self._start("work", lambda job: self._work(job, config, marks, middle))

    def run_at_full_size(self, content: Mapping[str, Any]) -> None:
        """Start the command itself on the file, with settings and marks."""
        if self.job.state == "running":
            raise Busy(BUSY)
        self.save(content)
        again = bool(content.get("overwrite"))
        self._start("full", lambda job: self._full(job, again))

    def cancel(self) -> None:
        """Ask the job to stop."""
        with self._lock:
            job = self.job
            job.stop.set()
            if job.state == "running" and job.kind == "work":
                job.state, job.text = "cancelled", "cancelled"
            child = job.child
        if child is not None:
            child.terminate()

    def close(self) -> None:
        """Stop the job and wait for its files to go."""
        self.cancel()
        if (child := self.job.child) is not None:
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()

    def save(self, content: Mapping[str, Any]) -> list[str]:
        """Write settings and marks; return the names of the files.

        Raises
        ------
        ValueError
            If they are wrong.
        FileExistsError
            If a file is there already, and `content` has no "overwrite".
        """
        config, marks = self.read(content)
        again = bool(content.get("overwrite"))
        written = self._write(config, marks, lambda file: again or file in self._own)
        self._own |= set(written)
        return [str(one) for one in written]

    def settings_file(self) -> Path:
        """Return where "Save settings" writes."""
        return self.bench.folder / f"{self.bench.stem}{SETTINGS_ENDING}.json"

    def read(self, content: Mapping[str, Any]) -> tuple[Any, Marks]:
        """Return the config and the marks that a page sends; ValueError if they are wrong."""
        values = content.get("values", {})
        if not isinstance(values, dict):
            raise ValueError("values: expected names and values of settings.")
        shown: Any = self.bench.call.settings[self.bench.config]
        kept = dataclasses.asdict(shown)
        config: Any = from_mapping(self.bench.config, kept | values, "the page")
        return config, Marks.read(content.get("marks", {}), list(self.bench.kinds))

    # --- inside ---

    def _write(self, config: Any, marks: Marks, may_replace: Callable[[Path], bool]) -> list[Path]:
        bench, call, file = self.bench, self.bench.call, self.settings_file()
        bench.folder.mkdir(parents=True, exist_ok=True)
        with write_together():
            settings: dict[type, Any] = dict(call.settings)
            files: list[Path] = []
            if bench.keep_marks is not None:
                changed, files = bench.keep_marks(marks, may_replace)
                settings |= changed
            settings[bench.config] = config
            parameters: dict[str, Any] = {}
            for one in settings.values():
                parameters |= dataclasses.asdict(one)
            write_params(
                file, call.command.name, call.version, bench.path, parameters,
                overwrite=may_replace(file),
            )  # fmt: skip
        return [file, *files]

    def _start(self, kind: str, work: Callable[[Job], str]) -> None:
        with self._lock:
            if self.job.state == "running":
                raise Busy(BUSY)
            job = self.job = Job(kind=kind, state="running", text="starting")
        threading.Thread(target=self._run, args=(job, work), daemon=True).start()

    def _run(self, job: Job, work: Callable[[Job], str]) -> None:
        state, text = "done", ""
        try:
            with self._working:
                text = work(job)
        except Stopped:
            state, text = "cancelled", "cancelled"
        except Exception as error:  # the page says what it was
            state, text = "failed", cli.describe_error(error)[1]
        with self._lock:
            job.state, job.text = (
                (state, text) if not job.stop.is_set() else ("cancelled", "cancelled")
            )

    def _work(self, job: Job, config: Any, marks: Marks, middle: tuple[float, float]) -> str:
        def report(done: float | None, text: str) -> None:
            stop_if_asked()
            with self._lock:
                if not job.stop.is_set():
                    job.done, job.text = done, text

        with stopped_when(job.stop.is_set):
            views, notes = self.bench.work(config, marks, middle, report)
            report(1.0, "drawing")
        with self._lock:
            if job.stop.is_set():
                raise Stopped
            self._views = {one.name: one for one in (*self.bench.views, *views)}
            self._encoded = {name: data for name, data in self._encoded.items()
                             if name in {one.name for one in self.bench.views}}  # fmt: skip
            self._version += 1
        return "; ".join(notes)

    def _full(self, job: Job, overwrite: bool) -> str:
        call = self.bench.call
        words = command_words(call, self.bench.path, self.settings_file(), overwrite=overwrite)
        program = [sys.executable, "-m", call.command.program, *words]
        outcome: Mapping[str, Any] = {}
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(program, stdout=subprocess.PIPE, stderr=said, text=True) as child,
        ):
            with self._lock:
                job.child, job.text = child, "the command runs"
                if job.stop.is_set():  # cancelled before there was a command to stop
                    child.terminate()
            for line in child.stdout or ():
                outcome = self._heard(job, line) or outcome
            code = child.wait()
            said.seek(0)
            complaints = said.read().strip().splitlines()
        if job.stop.is_set():
            raise Stopped
        if code:
            message = complaints[-1] if complaints else f"the command ended with exit code {code}."
            raise ValueError(message.partition(": error: ")[2] or message)
        outputs = outcome.get("outputs", {})
        return "wrote " + ", ".join(str(one) for one in outputs.values())

    def _heard(self, job: Job, line: str) -> Mapping[str, Any]:
        """Take in a line of the command; return what it says of its outputs."""
        with contextlib.suppress(ValueError):
            content = json.loads(line)
            if isinstance(content, dict) and "outputs" in content:
                return content
            if isinstance(content, dict) and isinstance(content.get("done"), (int, float)):
                job.done = content["done"] / 100
        return {}


def _pair(value: Any) -> tuple[float, float] | None:
    """Return two numbers of JSON; None where it has others."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not all(isinstance(one, (int, float)) and abs(one) < FARTHEST_PX for one in value):
        return None
    return float(value[0]), float(value[1])
