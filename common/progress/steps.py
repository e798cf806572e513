"""Steps of the demonstrations: one line each, with its time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.progress.output import put

WIDTH = 68  # characters; of a line before its time


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what is done now, and when it has ended the seconds that it took."""
    put(f"{text:<{WIDTH}}", end="")
    start, end = time.perf_counter(), "failed"
    try:
        yield
        end = f"{time.perf_counter() - start:6.1f} s"
    finally:
        put(end)


def shown_command(program: str, words: Sequence[str]) -> str:
    """Return a command line as short as it can be typed in the folder of its files."""
    kept = [word for word in words if word not in ("--overwrite", "--quiet")]
    return " ".join([program, *(Path(word).name if "/" in word else word for word in kept)])
