"""What is shown of one frame: its views and marks; it answers what a page asks, over any link."""

import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.page.marks import Marks
from common.page.plane import View
from common.progress.output import plain


@dataclass
class Job:
    """What is going on, or how it ended; a page that only shows has none."""

    kind: str = ""
    state: str = "idle"  # idle, running, done, failed, cancelled
    done: float | None = None  # part, 0 to 1; None: unknown
    text: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    child: subprocess.Popen | None = None


class Viewing:
    """The state behind a page that only shows; all methods can be called by several threads.

    Parameters
    ----------
    name : str
        Of the frame.
    shape : (H, W, C)
    views : sequence of View
        The first one is the input.
    kinds : mapping of str, optional
        Kind of area -> its label; empty: nothing can be drawn.
    marks : Marks, optional
        At the start.
    """

    def __init__(
        self, name: str, shape: tuple[int, int, int], views: Sequence[View], *,
        kinds: Mapping[str, str] | None = None, marks: Marks | None = None,
    ) -> None:  # fmt: skip
        self.name, self.shape = name, shape
        self.kinds, self.marks = dict(kinds or {}), marks or Marks()
        self.job = Job()
        self._views = {one.name: one for one in views}
        self._encoded: dict[str, bytes] = {}
        self._version = 1  # of the views
        self._lock = threading.Lock()

    def state(self) -> dict[str, Any]:
        """Return all that the page shows but pixels."""
        height, width, channels = self.shape
        with self._lock:
            views = [{"name": one.name, "label": one.label, "mask": one.is_mask}
                     for one in self._views.values()]  # fmt: skip
            version = self._version
        return plain({
            "tool": "", "version": "", "name": self.name,
            "width": width, "height": height, "colours": channels,
            "verb": "", "about": "", "views": views, "views_version": version,
            "form": [], "kinds": self.kinds, "points": bool(self.kinds),
            "marks": self.marks.plain(), "stretched": {}, "job": self.progress(),
        })  # fmt: skip

    def plane(self, name: str) -> bytes:
        """Return the bytes of a view; KeyError if there is none."""
        with self._lock:
            view, first = self._views[name], next(iter(self._views.values()))
            if name in self._encoded:
                return self._encoded[name]
        encoded = view.encode(first)
        with self._lock:
            if self._views.get(name) is view:
                self._encoded[name] = encoded
        return encoded

    def view(self, name: str) -> View:
        """Return a view; KeyError if there is none."""
        with self._lock:
            return self._views[name]

    def progress(self) -> dict[str, Any]:
        """Return how the job stands."""
        with self._lock:
            job = self.job
            return {"kind": job.kind, "state": job.state, "done": job.done, "text": job.text,
                    "views_version": self._version}  # fmt: skip

    def ask(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request of the page.

        Raises
        ------
        KeyError
            If there is no such request.
        ValueError, OSError
            If it cannot be done; the message says why.
        """
        if name == "state":
            return self.state()
        if name == "job":
            return self.progress()
        raise KeyError(name)
