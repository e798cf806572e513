"""From pixels to cells: the image in blocks, each with its sky value, before any fit."""

import numpy as np
from scipy.special import ndtri

from common.blocks import cut_blocks
from common.robust import difference_noise, neighbour_differences

STEP_ROWS = 200  # rows of a plane that stand for all when its step is looked for
STEP_REPEATS = 20  # pixels of one value; fewer are chance
STEP_NOISE = 0.3  # of the noise; a finer step moves no median
LEAST_SHARE = 0.03  # of a block on either side of two limits that tell its noise: some ten pixels
LEAST_BLOCKS = 16  # blocks; from fewer no noise of integers is measured
WIDEST_STEP_NOISE = 4.0  # noise; with a wider step hardly a block has values of three integers
CELLS_PER_SHORT_SIDE = 125  # cells; a cell then averages the noise, and stars are points in it


def automatic_factor(height: int, width: int) -> int:
    """Return the side of a block, px, with `CELLS_PER_SHORT_SIDE` blocks on the short side."""
    return max(1, round(min(height, width) / CELLS_PER_SHORT_SIDE))


def cell_noise(cells: np.ndarray) -> float:
    """Return the noise of a cell from the differences of neighbours (robust; no gradient in it)."""
    return difference_noise(neighbour_differences(cells, np.isfinite(cells)))


def pixel_step(plane: np.ndarray) -> float:
    """Return the step between the values of pixels where it is not small against their noise.

    0 for finer values. Each value of a frame with such a step is there many times.

    Parameters
    ----------
    plane : array, shape (H, W)
        NaN = missing.
    """
    found = plane[:: max(1, len(plane) // STEP_ROWS)]
    values, counts = np.unique(found[np.isfinite(found)], return_counts=True)
    if len(values) < 2 or np.median(np.repeat(counts, counts)) < STEP_REPEATS:
        return 0.0
    step = float(np.median(np.repeat(np.diff(values), counts[1:])))
    noise = difference_noise(neighbour_differences(found, np.isfinite(found)))
    return step if step > STEP_NOISE * noise else 0.0


def sky_of_integers(plane: np.ndarray, factor: int, step: float) -> np.ndarray:
    """Return the sky of every block of a plane whose step is not small against the noise.

    The median of integers moves by whole steps, and that of integers spread over their step in
    waves. Here the shares of pixels below the two limits around the median's integer say where the
    normal distribution lies that was rounded: m = limit - sigma * Phi^-1(share). The noise sigma is
    that of the frame, from blocks where two limits tell it. Counts of few photons are no rounded
    normal distribution: their sky comes out near the lowest integer, as their median does.

    Parameters
    ----------
    plane : array, shape (H, W)
        NaN = missing.
    factor : int
        Side of a block, pixels.
    step : float
        Between neighbouring values; see `pixel_step`.

    Returns
    -------
    array, shape (ceil(H / factor), ceil(W / factor)), float64
        NaN where less than a quarter of the block was measured.
    """
    middles, below, counts = [], [], []
    for top in range(0, plane.shape[0], factor):
        strip = plane[top : top + factor].astype(np.float64)
        blocks = cut_blocks(strip, factor, np.nan)[0].swapaxes(0, 1)
        blocks = np.sort(blocks.reshape(len(blocks), -1), axis=1)  # NaN last
        count = np.isfinite(blocks).sum(1)
        middle = blocks[np.arange(len(blocks)), np.maximum(count - 1, 0) // 2]
        inside = len(strip) * np.minimum(factor, plane.shape[1] - factor * np.arange(len(blocks)))
        middles.append(np.where(count >= np.maximum(1, inside // 4), middle, np.nan))
        limits = middle[:, None] + step * np.array([-0.5, 0.5])
        below.append((blocks[:, :, None] < limits[:, None]).sum(1))
        counts.append(count)
    middle, count = np.stack(middles), np.maximum(np.stack(counts), 1)[..., None]
    share = np.stack(below) / count
    deviate = ndtri(np.clip(share, 0.5 / count, 1 - 0.5 / count))
    limit = middle[..., None] + step * np.array([-0.5, 0.5])
    sure = (share > LEAST_SHARE).all(-1) & (share < 1 - LEAST_SHARE).all(-1)
    widths = step / np.diff(deviate[sure], axis=-1)
    sigma = float(np.median(widths)) if len(widths) >= LEAST_BLOCKS else step / WIDEST_STEP_NOISE
    # the variance of a share is p (1 - p) / N, that of the deviate by the density there
    density = np.exp(-0.5 * deviate**2)
    weight = density**2 / np.maximum(share * (1 - share), 0.25 / count)
    return ((limit - sigma * deviate) * weight).sum(-1) / weight.sum(-1)


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
