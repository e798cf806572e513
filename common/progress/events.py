"""Events: what `--json` prints while a command runs, one JSON object a line on stdout.

The form is that of the command of RC-Astro, which drivers of astrophotography programs know:
`{"event": "progress", "done": 12.5, "eta": 3.1}`. docs/reference/events.md lists all.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from common.progress.output import plain, put

SCHEMA = 1  # grows when an event loses a key or changes its meaning
KINDS = ("info", "status", "progress", "warning", "result", "error")  # values of `event`
# with --quiet: as few lines as a script needs
QUIET_KINDS = ("result", "error")

_kinds: tuple[str, ...] = ()  # what is printed; none without --json


@contextmanager
def printed(arguments: list[str]) -> Iterator[None]:
    """Print the events that a command line asks for while the block runs."""
    kinds = _kinds
    if _given("--json", arguments):
        kinds = QUIET_KINDS if _given("--quiet", arguments) else KINDS
    with only(kinds):
        yield


@contextmanager
def only(kinds: tuple[str, ...]) -> Iterator[None]:
    """Print events of these kinds alone while the block runs."""
    global _kinds
    before, _kinds = _kinds, kinds
    try:
        yield
    finally:
        _kinds = before


def printed_kinds() -> tuple[str, ...]:
    """Return the kinds that are printed."""
    return _kinds


def _given(flag: str, arguments: list[str]) -> bool:
    """Return whether a flag is among the arguments, also shortened as argparse allows it."""
    return any(len(one) > 2 and flag.startswith(one) for one in arguments)


def wanted(kind: str) -> bool:
    """Return whether events of a kind are printed."""
    return kind in _kinds


def emit(kind: str, content: Mapping[str, Any] | None = None, /, **more: Any) -> None:
    """Print an event if it is wanted; NaN and infinity become null."""
    if kind in _kinds:
        put(json.dumps({"event": kind, **plain(content or {}), **plain(more)}, allow_nan=False))
