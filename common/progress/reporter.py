"""Progress of a run over files and their parts: a bar on a terminal, events with `--json`."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.progress import events, output

EVENT_SECONDS = 0.2  # between two events of progress: a driver's bar moves evenly
BAR = "{desc}: {percentage:3.0f} %|{bar}| {elapsed}, {remaining} left"  # as tqdm takes it


class Reporter:
    """What a run tells of its progress.

    Parameters
    ----------
    label : str
        What is going on.
    bar : bool
        Show a bar on stderr where it is a terminal; never beside events.

    Attributes
    ----------
    endless : bool
        Whether it is not known how much is to come: then nothing is said of what is done.
    """

    endless = False

    def __init__(self, label: str, *, bar: bool) -> None:
        self._label, self._wanted = label, bar
        self._bar: Any = None
        self._stream: Any = None
        self._first, self._share = 0.0, 1.0  # where a part begins, and its share of the whole
        self._done = 0.0
        self._start = time.monotonic()
        self._last_event = float("-inf")

    def __enter__(self) -> "Reporter":
        """Begin at 0."""
        self._start = time.monotonic()
        if (
            self._wanted
            and not self.endless
            and not events.wanted("result")
            and sys.stderr.isatty()
        ):
            from tqdm import tqdm

            # of its own: stderr is silenced where libraries print on it
            self._stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8")
            self._bar = tqdm(
                total=1.0, desc=self._label, file=self._stream, leave=False, bar_format=BAR,
                dynamic_ncols=True,
            )  # fmt: skip
            output.make_room_by(self._bar.clear)
        return self

    def __exit__(self, *exception: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            output.make_room_by(None)
            self._bar.close()
            self._stream.close()
            self._bar = None

    @contextmanager
    def part(self, first: float, last: float) -> Iterator[None]:
        """Take what is told inside for a part of the present one, from 0 to 1."""
        before = self._first, self._share
        self._first, self._share = before[0] + before[1] * first, before[1] * (last - first)
        try:
            self.done(0.0)
            yield
            self.done(1.0)
        finally:
            self._first, self._share = before

    def done(self, fraction: float) -> None:
        """Say that so much of the present part is done, from 0 to 1."""
        whole = min(self._first + self._share * fraction, 1.0)
        if whole < self._done or self.endless:
            return
        step, self._done = whole - self._done, whole
        if self._bar is not None:
            self._bar.update(step)
        now = time.monotonic()
        late = now - self._last_event >= EVENT_SECONDS or whole > 1 - 1e-9  # rounding errors
        if events.wanted("progress") and late and (step or not whole):
            self._last_event = now
            left = {"eta": round((now - self._start) * (1 / whole - 1), 1)} if whole else {}
            events.emit("progress", done=round(100 * whole, 1), **left)

    def status(self, phase: str, message: str, **more: Any) -> None:
        """Say what is going on now.

        Parameters
        ----------
        phase : str
            One word for programs.
        message : str
            The same for people.
        **more
            Further keys of the event: `input`, `output`.
        """
        if self._bar is not None:
            name = Path(more["input"]).name if "input" in more else ""
            self._bar.set_description_str(f"{self._label} {name}".rstrip(), refresh=False)
        events.emit("status", phase=phase, message=message, **more)
