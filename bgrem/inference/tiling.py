"""Cut an image into overlapping tiles and put them together again without seams."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from common import scratch
from common.progress.stopping import stop_if_asked

TILE_MULTIPLE = 16  # px; the networks halve a tile four times


@dataclass(frozen=True)
class TilePlan:
    """Where tiles lie in an image of any shape.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the image.
    tile : int
        Largest side of a tile: a multiple of 16. Tiles are as small as their number allows.
    overlap : int
        Pixels that neighbours share, fewer than a tile has: their outer quarter is dropped, over
        the rest one tile fades into the next.
    """

    shape: tuple[int, int]
    tile: int = 576
    overlap: int = 64

    def __post_init__(self) -> None:
        if self.tile < TILE_MULTIPLE or self.tile % TILE_MULTIPLE:
            raise ValueError(f"tile must be a multiple of {TILE_MULTIPLE}. Received: {self.tile}")
        if not 0 <= self.overlap <= self.tile - TILE_MULTIPLE:
            raise ValueError(
                f"overlap must be from 0 to {self.tile - TILE_MULTIPLE} (tile {self.tile}). "
                f"Received: {self.overlap}"
            )

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        height, width = (_side(length, self.tile, self.overlap) for length in self.shape)
        return height, width

    def starts(self) -> list[tuple[int, int]]:
        """Return the first (row, column) of each tile; the last ones may reach over the edge."""
        rows, columns = (
            _starts(length, side, self.overlap)
            for length, side in zip(self.shape, self.sides, strict=True)
        )
        return [(row, column) for row in rows for column in columns]

    def batches(self, size: int) -> Iterator[list[tuple[int, int]]]:
        """Give the starts in groups of `size`; the last may be shorter."""
        starts = self.starts()
        for first in range(0, len(starts), size):
            yield starts[first : first + size]


def _side(length: int, tile: int, overlap: int) -> int:
    """Return the smallest side with which as few tiles reach from end to end as with `tile`."""
    number = max(1, -(-(length - overlap) // (tile - overlap)))
    needed = -(-(length + (number - 1) * overlap) // number)
    return min(tile, -(-needed // TILE_MULTIPLE) * TILE_MULTIPLE)


def _starts(length: int, side: int, overlap: int) -> list[int]:
    if length <= side:
        return [0]
    number = -(-(length - overlap) // (side - overlap))
    # spread evenly, so that the last tile ends at the edge and overlaps are never less than asked
    return [round(k * (length - side) / (number - 1)) for k in range(number)]


def cut(image: np.ndarray, start: tuple[int, int], sides: tuple[int, int]) -> np.ndarray:
    """Return a tile (rows, columns) of an image (H, W), mirrored where it reaches over the edge."""
    part = image[start[0] : start[0] + sides[0], start[1] : start[1] + sides[1]]
    missing = [(0, side - length) for side, length in zip(sides, part.shape, strict=True)]
    return np.pad(part, missing, mode="symmetric") if any(m[1] for m in missing) else part


def fade(side: int, overlap: int, *, first: bool, last: bool) -> np.ndarray:
    """Return a tile's weights along one axis, shape (side,): 1 inside, falling at inner edges."""
    weights = np.ones(side)
    drop = overlap // 4
    ramp = overlap - 2 * drop
    if ramp > 0:
        rise = np.sin(np.pi / 2 * (np.arange(ramp) + 0.5) / ramp) ** 2
        edge = np.concatenate([np.zeros(drop), rise])
        if not first:
            weights[: len(edge)] *= edge
        if not last:
            weights[-len(edge) :] *= edge[::-1]
    return weights


def map_tiles(
    image: np.ndarray,
    plan: TilePlan,
    function: Callable[[np.ndarray], np.ndarray],
    *,
    batch_size: int = 2,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return `function` of all tiles, put together; memory does not grow with their number.

    Parameters
    ----------
    image : array, shape (H, W), float32
    plan : TilePlan
    function : callable
        Takes and returns (B, rows, columns, 1), float32.
    batch_size : int
        Tiles at once.
    progress : callable, optional
        Called with the number of tiles that are done.

    Returns
    -------
    array, shape (H, W), float32
        Of `common.scratch`.
    """
    sides = plan.sides
    found = scratch.empty(plan.shape, np.float32)
    seam = _Seam(found, plan)
    for starts in plan.batches(batch_size):
        stop_if_asked()
        batch = np.stack([cut(image, start, sides) for start in starts])[..., None]
        # one shape for all batches: a network is not compiled again for the last one
        filled = np.concatenate([batch, np.repeat(batch[-1:], batch_size - len(batch), axis=0)])
        results = function(np.ascontiguousarray(filled, np.float32))[: len(starts), ..., 0]
        for (row, column), result in zip(starts, results, strict=True):
            if row > seam.top:
                scratch.release(image)
            seam.add(result, row, column)
        if progress is not None:
            progress(len(starts))
    seam.finish(plan.shape[0])
    return found


class _Seam:
    """The rows of an image that further tiles may reach: sums of results and of their weights."""

    def __init__(self, found: np.ndarray, plan: TilePlan) -> None:
        self.found, self.plan, self.top = found, plan, 0
        self.total, self.weight = (
            np.zeros((plan.sides[0], plan.shape[1]), np.float32) for _ in range(2)
        )

    def add(self, result: np.ndarray, row: int, column: int) -> None:
        """Add a tile; all rows above it are complete."""
        self.finish(row)
        plan = self.plan
        window = np.outer(*(
            fade(side, plan.overlap, first=start == 0, last=start + side >= length)
            for side, start, length in zip(plan.sides, (row, column), plan.shape, strict=True)
        )).astype(np.float32)  # fmt: skip
        area = self.total[:, column : column + result.shape[1]]
        window = window[:, : area.shape[1]]
        area += window * result[:, : area.shape[1]]
        self.weight[:, column : column + result.shape[1]] += window

    def finish(self, row: int) -> None:
        """Write the rows above `row`."""
        done = min(row, self.plan.shape[0]) - self.top
        if done <= 0:
            return
        self.found[self.top : self.top + done] = self.total[:done] / self.weight[:done]
        scratch.release(self.found)
        for plane in (self.total, self.weight):
            plane[:-done] = plane[done:].copy()
            plane[len(plane) - done :] = 0
        self.top += done
