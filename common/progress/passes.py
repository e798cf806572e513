"""How much of the tiles of an image is done, where a network passes over it several times."""

from collections.abc import Callable


class Passes:
    """Counts tiles; what functions of the library take as `progress`.

    Parameters
    ----------
    tell : callable
        Takes what is done, from 0 to 1. It never falls.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._expected = self._finished = 0
        self._tiles = self._done = 0
        self._told = 0.0

    def expect(self, number: int) -> None:
        """Add passes over all tiles to those that are to come."""
        self._expected += number

    def begin(self, tiles: int) -> None:
        """Begin a pass of so many tiles, or the same one again with smaller tiles."""
        self._tiles, self._done = tiles, 0

    def __call__(self, tiles: int = 1) -> None:
        """Go on by a number of tiles."""
        self._done += tiles
        number = max(self._expected, self._finished + 1)
        done = (self._finished + self._done / max(self._tiles, self._done)) / number
        if self._done >= self._tiles:
            self._finished, self._done = self._finished + 1, 0
        self._told = max(self._told, done)
        self._tell(self._told)


def expect_passes(progress: Callable[[int], None] | None, number: int) -> None:
    """Say that a network will pass so many times over all tiles, if `progress` can take it."""
    if isinstance(progress, Passes):
        progress.expect(number)


def begin_pass(progress: Callable[[int], None] | None, tiles: int) -> None:
    """Say that a pass of so many tiles begins, if `progress` can take it."""
    if isinstance(progress, Passes):
        progress.begin(tiles)
