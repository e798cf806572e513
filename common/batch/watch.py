"""`--watch`: inputs as a capture program writes them, until Ctrl-C."""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import cli
from common.batch.inputs import expand_inputs, is_output
from common.command import Call
from common.progress import events

LOOK_SECONDS = 0.5  # s; between two looks at the folder
STEADY_SECONDS = 2.0  # s; a file whose size and time have not changed for so long is complete
State = tuple[int, int]  # size in bytes, time of the last change in ns


class Watch:
    """The inputs of a call that are complete, each once.

    An input is complete when it is not empty and its size and time have not changed for
    `STEADY_SECONDS`. One that failed is given again when it has changed since.

    Parameters
    ----------
    call : Call

    Raises
    ------
    ValueError
        If a folder is missing, or an argument needs the whole list of inputs.
    """

    def __init__(self, call: Call) -> None:
        if call.args.shard is not None:
            raise ValueError("--watch: not with --shard. Give each process a folder of its own.")
        for name in call.args.inputs:
            folder = Path(name).parent if any(mark in name for mark in "*?[") else Path(name)
            if not folder.is_dir():
                raise ValueError(f"--watch: {folder} is no folder. Make it first.")
        self.call = call
        self.left_out: set[Path] = set()
        self.changing: dict[Path, tuple[State, float]] = {}  # with the time at which it was seen
        self.given: dict[Path, State] = {}
        self.failed: set[Path] = set()
        self.latencies: list[float] = []

    def ready(self) -> list[Path]:
        """Return the inputs that have become complete since the last look, in order of names."""
        found, now = [], time.monotonic()
        for path in self._names():
            if (path in self.given and path not in self.failed) or path in self.left_out:
                continue
            state = _state(path)
            if state is None or state == self.given.get(path):
                continue
            before, since = self.changing.get(path, (None, now))
            if state != before:
                self.changing[path] = state, now
            elif now - since >= STEADY_SECONDS:
                del self.changing[path]
                if is_output(self.call, path, say=False):
                    self.left_out.add(path)
                    continue
                self.given[path] = state
                self.failed.discard(path)
                found.append(path)
        return found

    def _names(self) -> list[Path]:
        names: list[Path] = []
        for one in self.call.args.inputs:
            try:
                names += expand_inputs([one])
            except ValueError:  # none yet
                continue
        return list(dict.fromkeys(names))

    def note(self, path: Path, *, failed: bool) -> None:
        """Note that an input is done or failed; say how long after it was written it was done."""
        if failed:
            self.failed.add(path)
            return
        latency = round(time.time() - self.given[path][1] / 1e9, 1)
        self.latencies.append(latency)
        events.emit("info", topic="latency", input=path, seconds=latency)
        self.call.say(f"{path}: done {latency:.1f} s after it was written", event=False)

    @contextmanager
    def until_interrupt(self) -> Iterator[None]:
        """Let Ctrl-C end the block; then, and at other ends, a line says what was done."""
        try:
            yield
        except KeyboardInterrupt:
            if not cli.take_interrupt():
                raise
        finally:
            self._say_summary()

    def _say_summary(self) -> None:
        """Say how many inputs are done, how many failed, and how late they were done."""
        line = f"{len(self.latencies)} inputs done, {len(self.failed)} failed"
        if self.latencies:
            middle, last = statistics.median(self.latencies), max(self.latencies)
            line += f"; done {middle:.1f} s after they were written (median), {last:.1f} s at most"
        self.call.say(line)


def _state(path: Path) -> State | None:
    """Return size and time of a file; None if it is empty or gone."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if found.st_size else None
