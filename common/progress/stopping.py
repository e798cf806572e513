"""A run that another thread may stop: long work asks between its steps whether it still is wanted.

A command in the foreground is stopped by a signal instead (`common.cli`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Stopped(Exception):
    """The run is not wanted any more."""


_is_unwanted: ContextVar[Callable[[], bool] | None] = ContextVar("_is_unwanted", default=None)


@contextmanager
def stopped_when(is_unwanted: Callable[[], bool]) -> Iterator[None]:
    """Let `stop_if_asked` raise inside the block, in this thread, once the function says True."""
    token = _is_unwanted.set(is_unwanted)
    try:
        yield
    finally:
        _is_unwanted.reset(token)


def stop_if_asked() -> None:
    """Raise `Stopped` if the run is not wanted any more; between steps of a second or less."""
    is_unwanted = _is_unwanted.get()
    if is_unwanted is not None and is_unwanted():
        raise Stopped
