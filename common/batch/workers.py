"""The loop over inputs on workers: each takes one at a time, the parent reports and keeps lists."""

import argparse
import os
import secrets
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli
from common.atomic import remove_leftovers
from common.batch.cluster import LOCAL, PROTOCOLS, TRIES, connect, count_cores, list_gpus
from common.batch.done import DoneList, is_listed
from common.batch.outputs import Files, make_folders, remove_empty
from common.batch.remote import is_remote
from common.batch.watch import LOOK_SECONDS, Watch
from common.batch.worker import ERROR, FILE_WARNING, Job, Outcome, stop_working, work_on
from common.command import Call
from common.progress import events
from common.progress.output import put
from common.reading.notice import FileWarning

if TYPE_CHECKING:
    from distributed import Client, Future

# what a worker is not to do itself: choose inputs, keep the list, start workers
OF_THE_PARENT = ("jobs", "scheduler", "shard", "resume", "watch")


def wants_workers(call: Call, number: int) -> bool:
    """Return whether `number` inputs are for workers.

    Raises
    ------
    ValueError
        If ``--jobs`` is below 1, or does not fit ``--scheduler``.
    """
    jobs, scheduler = call.args.jobs, call.args.scheduler
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs {jobs}: expected a whole number from 1.")
    if scheduler not in (None, LOCAL):
        if not scheduler.startswith(PROTOCOLS):
            raise ValueError(
                f"--scheduler {scheduler}: expected {LOCAL}, or an address as tcp://HOST:8786."
            )
        if jobs is not None:
            raise ValueError("--jobs: is for this machine. Leave it out beside an address.")
        return True
    return number > 1 and _local_jobs(call) > 1


def _local_jobs(call: Call) -> int:
    """Return how many processes of this machine are wanted."""
    if call.args.jobs is None and call.args.scheduler == LOCAL:
        return len(list_gpus()) or count_cores()
    return call.args.jobs or 1


def run_on_workers(
    call: Call, paths: Sequence[Path], name: Callable[[Path], Files], done: DoneList | None,
    watch: Watch | None = None,
) -> int:  # fmt: skip
    """Run over the inputs on workers of Dask; return the exit code.

    An input whose worker dies is tried again on another one. With `watch` it gives the inputs.

    Raises
    ------
    OSError
        If no other input could be written either, or the scheduler is lost.
    """
    run = _Run(call, paths, name, done, watch)
    if not run.is_going_on():
        return run.code
    scheduler = call.args.scheduler or LOCAL
    jobs = _local_jobs(call) if watch else min(_local_jobs(call), len(run.waiting))
    places = paths or [Path("any.fits")]  # with --watch: the folder for outputs is that of any name
    with _output_folders(call, places, name), connect(scheduler, jobs) as client:
        client.subscribe_topic("all", run.note_event)
        try:
            with nullcontext() if watch is None else watch.until_interrupt():
                run.work(client)
        except Exception as error:
            if client.status == "running":
                raise
            raise OSError(
                f"--scheduler {scheduler}: the connection is lost. Start the run again; with "
                "--resume what is done stays done."
            ) from error
        finally:
            if run.flying and client.status == "running":
                with suppress(Exception):  # what is being written is not to appear
                    client.run(stop_working, on_error="ignore")
    if watch is not None:
        return cli.EXIT_SOME_FAILED if watch.failed else cli.EXIT_DONE
    return run.code


@contextmanager
def _output_folders(
    call: Call, paths: Sequence[Path], name: Callable[[Path], Files]
) -> Iterator[None]:
    """Make the folders of outputs, before workers do so at once; tidy them up at the end.

    What is empty goes, and the temporary folders of workers of this machine that died.
    """
    made: list[Path] = []
    written = {Path(tempfile.gettempdir())}
    for path in paths:
        with suppress(ValueError, OSError):  # the worker says what is wrong with its name
            files = name(path)
            here = [file for file in files.values() if not is_remote(file)]
            written |= {Path(os.path.realpath(file)).parent for file in here}
            if here and call.args.output is not None:
                made += make_folders(here[0].parent)
    try:
        yield
    finally:
        for folder in written:
            remove_leftovers(folder)
        remove_empty(made)


class _Run:
    """One run on workers: what is to come, what is being done, what failed."""

    def __init__(
        self, call: Call, paths: Sequence[Path], name: Callable[[Path], Files],
        done: DoneList | None, watch: Watch | None,
    ) -> None:  # fmt: skip
        self.call, self.name, self.done, self.watch = call, name, done, watch
        self.number, self.finished = len(paths), 0
        call.reporter.done(0)
        self.waiting: deque[Path] = deque()
        self.add(paths)
        self.flying: dict[Future, Path] = {}
        self.events: deque[dict[str, Any]] = deque()  # of the scheduler; another thread adds them
        self.died: set[Path] = set()  # inputs whose worker died
        self.fresh: set[Path] = set()  # inputs that had no output when they were given to a worker
        self.code = cli.EXIT_DONE
        args = argparse.Namespace(**vars(call.args) | dict.fromkeys(OF_THE_PARENT))
        self.job = Job(
            secrets.token_hex(8), call.command, args, call.version, os.getcwd(),
            events.printed_kinds(),
        )  # fmt: skip

    def add(self, paths: Sequence[Path]) -> None:
        """Add inputs to those that wait, unless they are done already."""
        for path in paths:
            if is_listed(self.call, path, self.name, self.done):
                self._count()
            else:
                self.waiting.append(path)

    def is_going_on(self) -> bool:
        """Return whether inputs wait, are worked on, or may come."""
        return bool(self.waiting or self.flying or self.watch)

    def work(self, client: "Client") -> None:
        """Work until no input is left.

        Each worker has one input. So a death counts against the one that it was working on.
        """
        from distributed import wait

        told = False
        while self.is_going_on():
            if self.watch is not None:
                self.add(self.watch.ready())
            workers = len(client.nthreads())
            if not workers and not told:
                self.call.say("no worker is there yet: waiting")
                told = True
            while self.waiting and len(self.flying) < max(1, workers):
                path = self.waiting.popleft()
                with suppress(ValueError, OSError):  # the worker says what is wrong with its name
                    if not any(file.exists() for file in self.name(path).values()):
                        self.fresh.add(path)
                self._submit(client, path, self.job)
            if not self.flying:
                time.sleep(LOOK_SECONDS)
                continue
            with suppress(TimeoutError):
                wait(list(self.flying), timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")
            self._say_deaths()
            for future in [one for one in self.flying if one.done()]:
                if future.cancelled():
                    raise ConnectionError("the scheduler has forgotten an input")
                error = future.exception()
                found = future.result() if error is None else None  # again if its worker dies now
                self._say_deaths()
                path = self.flying.pop(future)
                if found is None:
                    self._take(path, Outcome([], 0.0, self._explain(error, path)))
                elif found.failure and path in self.died & self.fresh:
                    self.fresh.remove(path)  # its worker may have died when its files were there
                    self._submit(client, path, self.job.overwriting())
                else:
                    self._take(path, found)

    def _submit(self, client: "Client", path: Path, job: Job) -> None:
        """Give an input to a worker."""
        self.flying[client.submit(work_on, job, str(path), pure=False)] = path

    def note_event(self, event: tuple[float, Any]) -> None:
        """Keep an event of the scheduler."""
        self.events.append(event[1])

    def _say_deaths(self) -> None:
        """Say of which inputs the worker died."""
        paths = {future.key: path for future, path in self.flying.items()}
        while self.events:
            event = self.events.popleft()
            if not isinstance(event, dict) or event.get("action") != "remove-worker":
                continue
            lost = (*event.get("processing-tasks", ()), *event.get("lost-computed-tasks", ()))
            for path in {paths[key] for key in lost if key in paths}:
                self.died.add(path)
                self.call.warn(f"{path}: its worker died. The input is tried again.")

    def _take(self, path: Path, outcome: Outcome) -> None:
        """Say what came of an input, and add it to the list."""
        self.died.discard(path)
        self.fresh.discard(path)
        for where, line in outcome.lines:
            if where == FILE_WARNING:
                warnings.warn(line, FileWarning, stacklevel=1)  # once in a run
            else:
                put(line, error=where == ERROR)
        if outcome.failure is None:
            if self.done is not None:
                self.done.add(path, self.name(path), outcome.seconds)
        elif outcome.ends_run:
            raise OSError(outcome.failure[1])
        else:
            self._fail(path, *outcome.failure)
        self._count()
        if self.watch is not None:
            self.watch.note(path, failed=outcome.failure is not None)

    def _explain(self, error: BaseException | None, path: Path) -> tuple[int, str]:
        """Return the exit code and the line for an error of Dask's."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            return cli.EXIT_NO_DEVICE, (
                f"{path}: its worker died {TRIES} times, perhaps for want of memory. Try it alone."
            )
        if isinstance(error, Exception):
            return cli.describe_error(error)
        raise RuntimeError(f"{path}: {error}")

    def _fail(self, path: Path, code: int, message: str) -> None:
        """Say that an input failed; the only one's error is the run's."""
        only = self.number == 1  # 0 with --watch
        self.code = code if only else cli.EXIT_SOME_FAILED
        more: dict[str, Any] = {} if only else {"input": path}
        cli.say_error(self.call.command.program, message, code, **more)

    def _count(self) -> None:
        self.finished += 1
        if self.number:
            self.call.reporter.done(self.finished / self.number)
