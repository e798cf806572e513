"""From pixels to cells: the image in blocks, each with its sky value, before any fit."""

import numpy as np

ROWS = 125  # cells along the short side: a cell then averages the noise, and stars are points in it


def automatic_factor(height: int, width: int) -> int:
    """Return the side of a block in pixels that gives about `ROWS` cells on the short side."""
    return max(1, round(min(height, width) / ROWS))


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
        strip = plane[row * factor : (row + 1) * factor]
        padded = np.full((factor, columns * factor), np.nan, plane.dtype)
        padded[: strip.shape[0], :width] = strip
        blocks = padded.reshape(factor, columns, factor).swapaxes(0, 1).reshape(columns, -1)
        inside = len(strip) * np.minimum(factor, width - factor * np.arange(columns))
        out[row] = _row_statistic(blocks, statistic, np.maximum(1, inside // 4))
    return out


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


def cell_noise(cells: np.ndarray) -> float:
    """Return the noise of a cell from the differences of neighbours (robust; no gradient in it)."""
    step = np.diff(cells, axis=1)
    step = step[np.isfinite(step)]
    if step.size == 0:
        return 0.0
    return float(1.4826 * np.median(np.abs(step - np.median(step))) / np.sqrt(2))


def median_bias(residual: np.ndarray) -> float:
    """Return by how much faint unresolved stars lift the median of sky pixels.

    A share e of pixels pushed above the rest shifts the quartiles and the median of a normal
    distribution of width s by 0.79, 2.36 and 1.25 e s: q25 + q75 - 2 q50 = 0.64 e s, and the
    median's shift is 1.96 times that. Negative values are noise and give 0.

    Parameters
    ----------
    residual : array
        Sky pixels minus their surface.
    """
    if residual.size < 1000:
        return 0.0
    low, middle, high = np.quantile(residual, (0.25, 0.5, 0.75))
    return float(np.clip(1.96 * (low + high - 2 * middle), 0, 0.1 * (high - low)))
