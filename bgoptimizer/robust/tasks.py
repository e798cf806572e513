"""The last fits of a frame: what is to be fitted, solved or descended."""

from dataclasses import dataclass

import numpy as np

from bgoptimizer.robust.mask import robust_fit
from bgoptimizer.robust.smoothing import Grid


@dataclass(frozen=True, eq=False)
class Task:
    """One surface to fit.

    Attributes
    ----------
    prior : str
        Of the grid.
    stiffness, noise : float
        `noise` is the standard deviation of a cell.
    cells, weights : array, shape (h, w)
    bound : bool array, shape (h, w), or None
        Cells that only bound the surface from above.
    """

    prior: str
    stiffness: float
    noise: float
    cells: np.ndarray
    weights: np.ndarray
    bound: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A surface at the control points (N,), on the cells (h, w), and the last weights (h, w)."""

    points: np.ndarray
    values: np.ndarray
    used: np.ndarray


def solve(grid: Grid, tasks: list[Task], rounds: int) -> list[Fitted]:
    """Return the surface of each task, solved and reweighted `rounds` times."""
    fitted = []
    for task in tasks:
        prior = grid.priors[task.prior]
        surface, used = robust_fit(
            prior, task.cells, task.weights, task.stiffness, task.noise, rounds=rounds,
            bound=task.bound,
        )  # fmt: skip
        fitted.append(Fitted(prior.to_points @ surface.coefficients, surface.values, used))
    return fitted
