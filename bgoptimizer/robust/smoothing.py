"""Smooth surfaces on fixed control points, and how stiff they must be: the fit behind `robust`."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.linalg import cho_factor, cho_solve, eigh, solve_triangular

from bgoptimizer.surface import radial_basis, squared_distances
from common.blocks import cut_blocks
from common.progress.stopping import stop_if_asked

STIFFNESSES = 10.0 ** np.arange(-13, 1.1)  # scanned, then refined by half a decade
VALIDATION_FOLDS = 5  # of the cross-validation that chooses stiffness and prior
FIT_BIN_CELLS = 2  # cells; the fit sees 2x2 cells as one: the narrowest glow is still many of them
# Priors on the surface. Light pollution, vignettes and moonlight differ in scale from frame to
# frame: "spline" is the bending energy of the spline, a number is the length (in heights of the
# frame) of a rational quadratic covariance. Held-out blocks choose; near ties are averaged.
PRIORS: dict[str, float | None] = {
    "spline": None, "rq 0.3": 0.3, "rq 0.5": 0.5, "rq 0.8": 0.8,
}  # fmt: skip
FREE = 1e3  # variance of a plane over that of the rest; with 1e6 not all systems can be solved
DEGREES = (1, 2, 3, 4, 5, 6)  # of the polynomials, which are priors without a penalty
# relative; priors this close to the best are averaged: less error under the mask
AVERAGE_MARGIN = 0.03


def control_grid(rows: int, columns: int, count: int) -> np.ndarray:
    """Return about `count` control points (N, 2), as (y, x) in heights, 5 % beyond the edges."""
    aspect = columns / rows
    down = max(2, round(np.sqrt(count / aspect)))
    across = max(2, round(count / down))
    y = np.linspace(-0.05, 1.05, down)
    x = np.linspace(-0.05, 1.05, across) * aspect
    return np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)


def spline_basis(positions: np.ndarray, control_points: np.ndarray, order: int) -> np.ndarray:
    """Return φ(|p - c|) and the affine part, shape (P, N + 3)."""
    radial = radial_basis(squared_distances(positions, control_points), order)
    return np.hstack([radial, positions, np.ones((len(positions), 1))])


@dataclass(frozen=True)
class Surface:
    """A fitted surface: its values on the cells and its coefficients in a prior's basis."""

    values: np.ndarray
    coefficients: np.ndarray


class Grid:
    """Cells of one frame and the cubic spline through its control points.

    Parameters
    ----------
    rows, columns : int
        Shape of the cells. Positions are cell centres in units of the number of rows.
    control_points : int
        About so many, on a regular grid.
    order : {2, 3}
        Of the spline between them.
    extent : (float, float), optional
        Height and width of the frame in cells, where the last ones are cut; default: whole cells.
    """

    def __init__(
        self, rows: int, columns: int, control_points: int, order: int = 3,
        extent: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        self.order = order
        self.rows, self.columns = rows, columns
        extent = (rows, columns) if extent is None else extent
        self.centres = [_centres(length) for length in extent]  # of the cells, in cells
        self.coarse_centres = [_means(places) for places in self.centres]
        self.coarse_shape = (-(-rows // FIT_BIN_CELLS), -(-columns // FIT_BIN_CELLS))
        y, x = np.meshgrid(*self.coarse_centres, indexing="ij")
        centres = np.stack([y, x], -1).reshape(-1, 2) / rows
        self.control_points = control_grid(rows, columns, control_points)
        points = self.control_points
        count = len(points)
        affine = np.hstack([points, np.ones((count, 1))])
        system = np.zeros((count + 3, count + 3))
        system[:count] = spline_basis(points, points, order)
        system[count:, :count] = affine.T
        # values at the control points -> spline weights and affine part
        self.to_spline = np.linalg.solve(system, np.eye(count + 3)[:, :count])
        self.cardinal = spline_basis(centres, points, order) @ self.to_spline
        self.polynomials = {degree: Polynomial(self, degree) for degree in DEGREES}

    @cached_property
    def priors(self) -> dict[str, "Prior"]:
        """All priors by their names; made when they are first needed."""
        return {
            **{f"polynomial {degree}": one for degree, one in self.polynomials.items()},
            **{name: Prior(self, scale) for name, scale in PRIORS.items()},
        }

    def bin(self, cells: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weighted means and mean weights of the coarse cells, both flat."""

        def total(values: np.ndarray) -> np.ndarray:
            return cut_blocks(values, FIT_BIN_CELLS, 0.0).sum((1, 3)).ravel()

        weight = total(weights)
        return total(cells * weights) / np.maximum(weight, 1e-9), weight / FIT_BIN_CELLS**2

    def refine(self, coarse: np.ndarray) -> np.ndarray:
        """Return values on the cells from values on the coarse cells (cubic)."""
        return resample(coarse.reshape(self.coarse_shape), self.coarse_centres, self.centres)


def resample(
    values: np.ndarray, knots: list[np.ndarray], places: list[np.ndarray]
) -> np.ndarray:  # fmt: skip
    """Return values (h, w) given at knots along both axes at other places: cubic, also beyond."""
    for axis, (known, wanted) in enumerate(zip(knots, places, strict=True)):
        degree = min(3, len(known) - 1)
        values = make_interp_spline(known, values, k=degree, axis=axis)(wanted)
    return values


def _centres(length: float) -> np.ndarray:
    """Return the centres of the cells from 0 to a length; the last may be cut."""
    edges = np.append(np.arange(0, length), length)
    return (edges[1:] + edges[:-1]) / 2


def _means(places: np.ndarray) -> np.ndarray:
    """Return where the means of `FIT_BIN_CELLS` cells lie."""
    starts = np.arange(0, len(places), FIT_BIN_CELLS)
    return np.add.reduceat(places, starts) / np.diff(np.append(starts, len(places)))


class Prior:
    """One assumption of smoothness: a basis in which its energy is a sum of squares."""

    stiffnesses: np.ndarray = STIFFNESSES

    def __init__(self, grid: Grid, scale: float | None) -> None:
        stop_if_asked()
        self.grid = grid
        points = grid.control_points
        count = len(points)
        square = squared_distances(points, points)
        if scale is None:
            gram = grid.cardinal.T @ grid.cardinal / len(grid.cardinal)
            energy = radial_basis(square, grid.order) @ grid.to_spline[:count]
            energy = grid.to_spline[:count].T @ energy
            energy = (energy + energy.T) / 2
            ridge = 1e-12 * np.trace(gram) / count
            values, vectors = eigh(energy, gram + ridge * np.eye(count))
            self.energy = np.maximum(values, 0)
        else:
            plane = np.hstack([points - points.mean(0), np.ones((count, 1))])
            covariance = 1 / (1 + square / (2 * scale**2)) + FREE * plane @ plane.T
            values, vectors = eigh(covariance)
            keep = values > 1e-9
            vectors = vectors[:, keep] * np.sqrt(values[keep])
            self.energy = np.ones(keep.sum())
        self.to_points = vectors
        self.basis = grid.cardinal @ vectors

    def normal(
        self, means: np.ndarray, weights: np.ndarray, chosen: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the weighted normal matrix, right-hand side and total weight."""
        use = weights > 0 if chosen is None else (weights > 0) & chosen
        basis = self.basis[use]
        weighted = basis * weights[use, None]
        return weighted.T @ basis, weighted.T @ means[use], float(weights[use].sum())

    def factor(self, matrix: np.ndarray, total: float, stiffness: float) -> tuple:
        """Cholesky factor of the penalised normal matrix."""
        penalised = matrix / total
        penalised[np.diag_indices_from(penalised)] += stiffness * self.energy + 1e-13
        return cho_factor(penalised)

    def fit(self, cells: np.ndarray, weights: np.ndarray, stiffness: float) -> Surface:
        """Return the penalised weighted least-squares surface through the cells."""
        stop_if_asked()
        matrix, right, total = self.normal(*self.grid.bin(cells, weights))
        coefficients = cho_solve(self.factor(matrix, total, stiffness), right / total)
        return Surface(self.grid.refine(self.basis @ coefficients), coefficients)

    def deviation(self, weights: np.ndarray, stiffness: float, noise: float) -> np.ndarray:
        """Return the posterior standard deviation of the surface on the cells.

        `noise` is the standard deviation of one cell; the prior's amplitude is what the stiffness
        says of it.
        """
        matrix, _, total = self.normal(*self.grid.bin(np.zeros_like(weights), weights))
        upper, lower = self.factor(matrix, total, stiffness)
        half = solve_triangular(upper, self.basis.T, lower=lower, trans=0 if lower else 1)
        return self.grid.refine(np.sqrt((half**2).sum(0) / total)) * noise / FIT_BIN_CELLS

    def held_out(
        self, cells: np.ndarray, weights: np.ndarray, noise: float, *, refine: bool = True
    ) -> tuple[float, float]:
        """Return the stiffness that predicts held-out blocks best, and its mean error in noise.

        Blocks are an eighth of the frame's height: the surface has to bridge holes, not pixels.
        Errors are clipped at 5 σ: stars must not decide.
        """
        means, weight = self.grid.bin(cells, weights)
        rows, columns = self.grid.coarse_shape
        side = max(2, self.grid.rows // 8 // FIT_BIN_CELLS)
        down, across = -(-rows // side), -(-columns // side)
        fold = np.random.default_rng(0).permutation(down * across) % VALIDATION_FOLDS
        fold = np.kron(fold.reshape(down, across), np.ones((side, side), int))
        fold = fold[:rows, :columns].ravel()
        parts = [self.normal(means, weight, fold == k) for k in range(VALIDATION_FOLDS)]
        tests = []
        for k in range(VALIDATION_FOLDS):
            rest = [part for j, part in enumerate(parts) if j != k]
            total = sum(p[2] for p in rest)
            test = (fold == k) & (weight > 0.5)
            if total > 0 and test.any():
                matrix, right = sum(p[0] for p in rest), sum(p[1] for p in rest)
                unit = FIT_BIN_CELLS * np.sqrt(weight[test]) / noise
                tests.append((matrix, right, total, means[test], self.basis[test], unit))
        errors: dict[float, float] = {}

        def try_all(candidates: np.ndarray) -> float:
            for stiffness in candidates:
                stop_if_asked()
                clipped = [np.minimum(np.abs(self._misses(test, stiffness)), 5.0) for test in tests]
                errors[float(stiffness)] = float(np.mean(np.concatenate(clipped)))
            limit = min(errors.values()) * 1.005
            return max(s for s, error in errors.items() if error <= limit)  # the stiffest of equals

        best = try_all(self.stiffnesses)
        if refine and len(self.stiffnesses) > 1:
            best = try_all(best * 10.0 ** np.array([-0.5, 0.5]))
        return best, min(errors.values())

    def _misses(self, test: tuple, stiffness: float) -> np.ndarray:
        """By how many σ a fit to the other folds misses the held-out cells."""
        matrix, right, total, means, basis, unit = test
        coefficients = cho_solve(self.factor(matrix, total, stiffness), right / total)
        return (means - basis @ coefficients) * unit


class Polynomial(Prior):
    """A polynomial of a total degree, free of any penalty."""

    stiffnesses = np.zeros(1)

    def __init__(self, grid: Grid, degree: int) -> None:
        self.grid = grid
        middle = np.array([0.5, grid.columns / grid.rows / 2])
        v, u = ((grid.control_points - middle) / middle).T
        terms = np.polynomial.chebyshev.chebvander2d(v, u, [degree, degree])
        i, j = np.mgrid[: degree + 1, : degree + 1].reshape(2, -1)
        self.to_points = terms[:, i + j <= degree]
        self.energy = np.zeros(self.to_points.shape[1])
        self.basis = grid.cardinal @ self.to_points


def choose_priors(
    grid: Grid, cells: np.ndarray, weights: np.ndarray, noise: float, *, thorough: bool = True
) -> list[tuple[str, float, float]]:
    """Return (prior, stiffness, held-out error) of the best prior and of its near ties.

    Best first; with `thorough` False one prior is returned, on a coarser scan, and none that is
    sure of itself far from the cells, as polynomials are.
    """
    rows = [(name, *prior.held_out(cells, weights, noise, refine=thorough))
            for name, prior in grid.priors.items() if thorough or name in PRIORS]  # fmt: skip
    best = min(rows, key=lambda row: row[2])
    if not thorough:
        return [best]
    limit = best[2] * (1 + AVERAGE_MARGIN)
    return [best] + [row for row in rows if row is not best and row[2] <= limit]
