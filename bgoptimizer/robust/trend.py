"""A first sky: a polynomial under the frame's bright side, of the lowest degree that will do."""

from dataclasses import dataclass

import numpy as np

from bgoptimizer.robust.smoothing import Grid
from common.robust import mad_sigma

CLIP_BELOW = 3.0  # sigma; cells further below do not count
CLIP_ABOVE = 1.5  # sigma; objects add light
CLIP_ROUNDS = 20  # of fitting and clipping; most end after ten
DARK_SHARE = 0.68  # of the cells below the polynomial: their depth is the spread of the dark side
MAX_RANGE = 1.5  # of the cells' range; beyond it a polynomial runs away where nothing holds it
DEGREE_MARGIN = 0.02  # relative; a higher degree must make the dark side calmer by as much


@dataclass(frozen=True, eq=False)
class Trend:
    """A polynomial: at the control points (N,), on the cells (h, w), and its degree."""

    points: np.ndarray
    values: np.ndarray
    degree: int


def no_trend(grid: Grid) -> Trend:
    """Return a sky of 0."""
    return Trend(np.zeros(len(grid.control_points)), np.zeros((grid.rows, grid.columns)), 0)


def dark_side(values: np.ndarray) -> tuple[float, float]:
    """Return centre and spread of values (N,) that light of objects has lifted, from the dark side.

    The centre is the median of what is not clipped above it. 0, 0 without values.
    """
    if not values.size:
        return 0.0, 0.0
    values = np.sort(values)
    centre, spread = float(np.median(values)), 0.0
    for _ in range(CLIP_ROUNDS):
        below = centre - values[: np.searchsorted(values, centre)]
        spread = float(np.quantile(below, DARK_SHARE)) if below.size else 0.0
        kept = values[: np.searchsorted(values, centre + CLIP_ABOVE * spread, "right")]
        kept = kept[np.searchsorted(kept, centre - CLIP_ABOVE * spread) :]
        new = float(np.median(kept)) if kept.size else centre
        if abs(new - centre) <= 1e-3 * spread:
            break
        centre = new
    return centre, spread


def find_trend(cells: np.ndarray, weights: np.ndarray, grid: Grid) -> Trend:
    """Return the polynomial of the lowest degree under which the dark side is about calmest.

    Parameters
    ----------
    cells : array, shape (h, w)
        Finite.
    weights : array, shape (h, w)
        0: not measured.
    grid : Grid
    """
    means, weight = grid.bin(cells, weights)
    shown = float(np.ptp(np.quantile(means[weight > 0.5], (0.01, 0.99))))
    found = []
    for degree, prior in grid.polynomials.items():
        measured = weight > 0.5
        use = measured
        for _ in range(CLIP_ROUNDS):
            basis, root = prior.basis[use], np.sqrt(weight[use])
            solution = np.linalg.lstsq(basis * root[:, None], means[use] * root, rcond=None)[0]
            residual = means - prior.basis @ solution
            middle, sigma = np.median(residual[use]), mad_sigma(residual[use])
            above = residual - middle
            new = measured & (above > -CLIP_BELOW * sigma) & (above < CLIP_ABOVE * sigma)
            if (new == use).all() or new.sum() < 3 * basis.shape[1]:
                break
            use = new
        if degree > 1 and np.ptp(prior.basis @ solution) > MAX_RANGE * shown:
            continue
        centre, spread = dark_side(residual[measured])
        solution[0] += centre  # the constant term
        found.append((degree, prior, solution, spread))
    limit = min(one[-1] for one in found) * (1 + DEGREE_MARGIN)
    degree, prior, solution, _ = next(one for one in found if one[-1] <= limit)
    return Trend(prior.to_points @ solution, grid.refine(prior.basis @ solution), degree)
