"""Lines on stdout and stderr: what is not read any more stops nothing, a bar makes room."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

_make_room: list[Callable[[], None]] = []  # what takes a bar off the line before something else
_taken: Callable[[str, bool], None] | None = None  # what gets the lines in place of the streams


def put(text: str, *, error: bool = False, end: str = "\n") -> None:
    """Print on stdout or stderr; where nobody reads it any more the run goes on.

    Raises
    ------
    OSError
        If stdout cannot be written, as on a full disk.
    """
    if _taken is not None:
        _taken(text, error)
        return
    for clear in _make_room:
        clear()
    stream = sys.stderr if error else sys.stdout
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError as failed:
        drop_unread(stream)
        if not error and not isinstance(failed, BrokenPipeError):
            raise OSError(f"stdout: cannot be written ({failed.strerror}).") from None


@contextmanager
def taken_by(take: Callable[[str, bool], None]) -> Iterator[None]:
    """Let a function get the lines of the block in place of stdout and stderr (True)."""
    global _taken
    before, _taken = _taken, take
    try:
        yield
    finally:
        _taken = before


def make_room_by(clear: Callable[[], None] | None) -> None:
    """Let `put` call a function before each line; None: none."""
    _make_room[:] = [] if clear is None else [clear]


def drop_unread(stream: TextIO | None) -> None:
    """Flush a stream; if that fails, drop what it holds and will be given."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # Python flushes it once more at its exit
        os.close(nowhere)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: lists for arrays, text for paths, null for NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
