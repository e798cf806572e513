"""From pixels to cells: the image in blocks, each with its sky value, before any fit."""

import numpy as np

from common.robust import difference_noise, neighbour_differences

CELLS_PER_SHORT_SIDE = 125  # cells; a cell then averages the noise, and stars are points in it


def automatic_factor(height: int, width: int) -> int:
    """Return the side of a block, px, with `CELLS_PER_SHORT_SIDE` blocks on the short side."""
    return max(1, round(min(height, width) / CELLS_PER_SHORT_SIDE))


def cell_noise(cells: np.ndarray) -> float:
    """Return the noise of a cell from the differences of neighbours (robust; no gradient in it)."""
    return difference_noise(neighbour_differences(cells, np.isfinite(cells)))


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
