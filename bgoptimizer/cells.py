"""From pixels to cells: the image in blocks, each with its sky value, before any fit."""

import numpy as np

from common.robust import difference_noise, neighbour_differences

STEP_ROWS = 200  # rows of a plane that stand for all when its step is looked for
STEP_REPEATS = 20  # pixels of one value; fewer are chance
STEP_NOISE = 0.3  # of the noise; a finer step moves no median
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
