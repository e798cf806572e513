"""Reduce a plane to blocks of pixels."""

import numpy as np

from common.progress.stopping import stop_if_asked
from common.scratch import release


def block_reduce(plane: np.ndarray, factor: int, statistic: str = "median") -> np.ndarray:
    """Return the median or mean of every block of a plane, missing pixels left out.

    Parameters
    ----------
    plane : array, shape (H, W)
        NaN = missing.
    factor : int
        Side of a block, pixels. Blocks at the lower and right edge may be smaller; nothing is
        padded into them.
    statistic : {"median", "mean"}

    Returns
    -------
    array, shape (ceil(H / factor), ceil(W / factor)), float64
        NaN where less than a quarter of the block was measured.
    """
    height, width = plane.shape
    rows, columns = -(-height // factor), -(-width // factor)
    out = np.empty((rows, columns))
    for row in range(rows):
        stop_if_asked()
        strip = plane[row * factor : (row + 1) * factor]
        blocks = cut_blocks(strip, factor, np.nan)[0].swapaxes(0, 1).reshape(columns, -1)
        inside = len(strip) * np.minimum(factor, width - factor * np.arange(columns))
        out[row] = _row_statistic(blocks, statistic, np.maximum(1, inside // 4))
        release(plane)
    return out


def cut_blocks(plane: np.ndarray, factor: int, fill: float) -> np.ndarray:
    """Return a plane (H, W) in blocks: (rows, factor, columns, factor), `fill` beyond its edges."""
    height, width = plane.shape
    rows, columns = -(-height // factor), -(-width // factor)
    padded = np.full((rows * factor, columns * factor), fill, plane.dtype)
    padded[:height, :width] = plane
    return padded.reshape(rows, factor, columns, factor)


def _row_statistic(blocks: np.ndarray, statistic: str, needed: np.ndarray) -> np.ndarray:
    """Statistic of the finite values along the last axis; NaN where fewer than `needed`."""
    count = np.isfinite(blocks).sum(1)
    enough = np.maximum(count, 1)
    if statistic == "mean":
        value = np.where(np.isfinite(blocks), blocks, 0).sum(1, dtype=np.float64) / enough
    else:
        ordered = np.sort(blocks, axis=1)  # NaN last
        index = np.arange(len(blocks))
        value = 0.5 * (
            ordered[index, (enough - 1) // 2].astype(np.float64) + ordered[index, enough // 2]
        )
    return np.where(count >= needed, value, np.nan)
