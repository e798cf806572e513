"""Polyharmonic spline surfaces in NumPy: positions, the float64 solve, evaluation. No Keras.

f(p) = Σ_i w_i φ(|p - c_i|) + v · (p, 1), with p = (y, x), rows first, both in [0, 1).
"""

import numpy as np
from scipy import linalg

from common.progress.stopping import stop_if_asked

SPLINE_ORDERS = (1, 2, 3)  # of the polyharmonic spline
MIN_SQUARED_DISTANCE = 1e-10  # floor inside log and sqrt: phi and its slope stay finite at 0
POSITIONS_AT_ONCE = 4096  # positions; with 32 control points the temporaries stay in cache


def grid_positions(
    shape: tuple[int, int], extent: tuple[float, float] | None = None, dtype: type = np.float64
) -> np.ndarray:
    """Return the centres of a grid of cells, shape (H * W, 2), row by row.

    Parameters
    ----------
    shape : (H, W)
    extent : (float, float), optional
        Rows and columns that make up 1.0; `shape` if not given. For the pixels of an image that
        was downscaled by `factor` to (h, w) cells it is (factor * h, factor * w), so that a cell
        and the pixels under it share one place also where the last cell is only partly filled.
    dtype : numpy dtype

    Returns
    -------
    array
        ((row + 0.5) / extent[0], (column + 0.5) / extent[1]).
    """
    rows, columns = extent or shape
    y = (np.arange(shape[0]) + 0.5) / rows
    x = (np.arange(shape[1]) + 0.5) / columns
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2).astype(dtype)


def place_random(count: int, seed: int) -> np.ndarray:
    """Return `count` uniformly random positions in [0, 1)², shape (N, 2)."""
    return np.random.default_rng(seed).random((count, 2))


def place_grid(count: int, shape: tuple[int, int]) -> np.ndarray:
    """Return exactly `count` positions in even rows, shape (N, 2), about square on the image.

    Where `count` does not fill a rectangle some rows get one position more than others.
    """
    rows = int(np.clip(round((count * shape[0] / shape[1]) ** 0.5), 1, count))
    ends = np.round(np.linspace(0, count, rows + 1)).astype(int)
    return np.concatenate(
        [
            np.stack(
                [np.full(n, (row + 0.5) / rows), (np.arange(n) + 0.5) / n],
                axis=-1,
            )
            for row, n in enumerate(np.diff(ends))
        ]
    )


def radial_basis(squared_distance: np.ndarray, order: int) -> np.ndarray:
    """Return φ of the squared distance: r, r² log r (thin plate) or r³ for order 1, 2, 3."""
    floored = np.maximum(squared_distance, MIN_SQUARED_DISTANCE)
    if order == 2:
        return 0.5 * squared_distance * np.log(floored)
    root = np.sqrt(floored)
    return root if order == 1 else squared_distance * root


def check_order(order: int) -> int:
    """Return the order, or raise ValueError if no basis function has it."""
    if order not in SPLINE_ORDERS:
        raise ValueError(f"order must be one of {SPLINE_ORDERS}. Received: order={order}")
    return order


def check_control_points(control_points: np.ndarray) -> np.ndarray:
    """Return them as float64, shape (N, 2), or raise ValueError."""
    points = np.asarray(control_points, np.float64)
    if points.ndim != 2 or points.shape[-1] != 2 or not len(points):
        raise ValueError(
            f"control_points must have shape (N, 2) with N > 0, rows first. Received: "
            f"shape={points.shape}"
        )
    return points


def squared_distances(positions: np.ndarray, control_points: np.ndarray) -> np.ndarray:
    """Return (P, N) from (P, 2) and (N, 2)."""
    squared = (positions[:, :1] - control_points[:, 0]) ** 2
    squared += (positions[:, 1:] - control_points[:, 1]) ** 2
    return squared


def solve_interpolation(
    control_points: np.ndarray, values: np.ndarray, order: int = 2, regularization: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spline that takes given values at its control points, in float64.

    Solves [[A + λI, B], [Bᵀ, 0]] [w; v] = [values; 0] with A_ij = φ(|c_i - c_j|), B_i = (c_i, 1).

    Parameters
    ----------
    control_points : array, shape (N, 2)
    values : array, shape (N, C)
    order : {1, 2, 3}
    regularization : float
        λ; 0 goes through the values, more is smoother.

    Returns
    -------
    weights : array, shape (N, C)
    affine : array, shape (3, C)
        Coefficients of y, x and 1. Where the control points do not determine them (fewer than
        three, or on one line) the solution of least norm is returned.

    Raises
    ------
    ValueError
        If a shape, the order or the regularisation is out of range, or a value is not finite.
    """
    points = check_control_points(control_points)
    check_order(order)
    values = np.asarray(values, np.float64)
    count = len(points)
    if values.ndim != 2 or len(values) != count:
        raise ValueError(f"values must have shape ({count}, C). Received: shape={values.shape}")
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise ValueError("control_points and values must be finite: replace missing values first.")
    if not regularization >= 0:
        raise ValueError(f"regularization must be 0 or more. Received: {regularization}")
    matrix = np.zeros((count + 3, count + 3))
    matrix[:count, :count] = radial_basis(squared_distances(points, points), order)
    matrix[:count, :count] += regularization * np.eye(count)
    matrix[:count, count:-1] = points
    matrix[:count, -1] = 1
    matrix[count:, :count] = matrix[:count, count:].T
    right = np.concatenate([values, np.zeros((3, values.shape[1]))])
    solution = linalg.lstsq(matrix, right)[0]  # a plain solve fails on points that lie on a line
    return solution[:count], solution[count:]


def evaluate_spline(
    control_points: np.ndarray,
    weights: np.ndarray,
    affine: np.ndarray,
    order: int,
    positions: np.ndarray,
) -> np.ndarray:
    """Return the spline at any number of positions, shape (P, C), float64.

    Works in chunks of CHUNK positions, so that memory does not grow with P times N.

    Parameters
    ----------
    control_points : array, shape (N, 2)
    weights : array, shape (N, C)
    affine : array, shape (3, C)
    order : {1, 2, 3}
    positions : array, shape (P, 2)
    """
    points = check_control_points(control_points)
    check_order(order)
    weights, affine = np.asarray(weights, np.float64), np.asarray(affine, np.float64)
    positions = np.asarray(positions, np.float64)
    out = np.empty((len(positions), weights.shape[1]))
    for start in range(0, len(positions), POSITIONS_AT_ONCE):
        stop_if_asked()
        part = positions[start : start + POSITIONS_AT_ONCE]
        basis = radial_basis(squared_distances(part, points), order)
        out[start : start + POSITIONS_AT_ONCE] = basis @ weights + part @ affine[:2] + affine[2]
    return out
