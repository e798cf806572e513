"""What a worker does: it sets a command up once, then works on one input after the other."""

import argparse
import errno
import os
import platform
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from common import cli
from common.batch.remote import as_path
from common.command import Call, Command
from common.progress import events, output
from common.reading.notice import FileWarning

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # of a disk that takes no other file either
OUT, ERROR, FILE_WARNING = "out", "error", "file warning"  # where a line belongs


@dataclass(frozen=True)
class Job:
    """A command as a worker gets it.

    Attributes
    ----------
    key : str
        No other job has it.
    command : Command
    args : argparse.Namespace
        What the user typed, less what says which inputs and where.
    version : str
        Of the program.
    folder : str
        The present folder: relative names start there.
    kinds : tuple of str
        Of the events that are printed.
    """

    key: str
    command: Command
    args: argparse.Namespace
    version: str
    folder: str
    kinds: tuple[str, ...]

    def overwriting(self) -> "Job":
        """Return the job for an input whose files are of its own first try."""
        args = argparse.Namespace(**vars(self.args) | {"overwrite": True})
        return replace(self, key=f"{self.key} overwriting", args=args)


@dataclass(frozen=True)
class Outcome:
    """What came of one input.

    Attributes
    ----------
    lines : list of (str, str)
        What was printed: `OUT`, `ERROR` or `FILE_WARNING`, and the text.
    seconds : float
    failure : (int, str) or None
        Exit code and message.
    ends_run : bool
        Whether no other input can fare better.
    """

    lines: list[tuple[str, str]]
    seconds: float
    failure: tuple[int, str] | None = None
    ends_run: bool = False


_one_at_a_time = threading.Lock()  # of a worker with several threads
_kept: dict[str, Callable[[Path], None]] = {}  # key of the last job -> its work on one input


def work_on(job: Job, path: str) -> Outcome:
    """Do a job on one input in this process; the model stays loaded for the next one."""
    lines: list[tuple[str, str]] = []
    start, failure, ends_run = time.perf_counter(), None, False
    with _one_at_a_time, _lines_into(lines, job):
        try:
            _go_to(job.folder)
            if job.key not in _kept:
                cli.take_interrupt()  # of an earlier job, whose parent has stopped
                _kept.clear()
                _kept[job.key] = _set_up(job)
                lines.clear()  # the parent has said them
            _kept[job.key](as_path(path))
        except Exception as error:
            failure, ends_run = cli.describe_error(error), concerns_all(error)
            if job.args.debug:
                lines.append((ERROR, traceback.format_exc().rstrip()))
        except KeyboardInterrupt:  # the parent is stopping
            failure = cli.EXIT_INTERRUPTED, "interrupted"
    return Outcome(lines, time.perf_counter() - start, failure, ends_run)


def _go_to(folder: str) -> None:
    """Make a folder the present one; ValueError where this machine has it not."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise ValueError(
            f"{folder}: is not there on {platform.node()} ({error.strerror}). All workers need the "
            "same file system."
        ) from None


def _set_up(job: Job) -> Callable[[Path], None]:
    """Run a command as far as its work on one input, and return that.

    Raises
    ------
    ValueError
        If this is another version of the program.
    """
    version = import_module(job.command.program).__version__
    if version != job.version:
        raise ValueError(
            f"{job.command.program} on {platform.node()} is {version}, here it is {job.version}. "
            "Install the same version on all workers."
        )
    kept: list[Callable[[Path], None]] = []

    def keep(run_one: Callable[[Path], None]) -> int:
        kept.append(run_one)
        return cli.EXIT_DONE

    def run_no_other(words: list[str]) -> int:
        raise ValueError(f"{job.command.name}: runs other commands, which no worker can.")

    Call(job.command, job.args, job.version, {}, run_no_other, keep_work=keep).run()
    return kept[0]


@contextmanager
def _lines_into(lines: list[tuple[str, str]], job: Job) -> Any:
    """Gather what is printed, as the parent would print it; it says progress itself."""
    kinds = tuple(kind for kind in job.kinds if kind != "progress")

    def take(text: str, error: bool) -> None:
        lines.append((ERROR if error else OUT, text))

    with output.taken_by(take), events.only(kinds), warnings.catch_warnings():
        warnings.simplefilter("always", FileWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, FileWarning):
                lines.append((FILE_WARNING, str(message)))
            else:
                usual(message, category, *place)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def concerns_all(error: BaseException) -> bool:
    """Return whether an error is of a disk on which no other input can be written either."""
    return isinstance(error, OSError) and error.errno in FULL


def stop_working() -> None:
    """Let no further file of this process appear: the parent is stopping."""
    cli.note_stop()
