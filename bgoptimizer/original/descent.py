"""Fit a spline surface to the cells of one image by gradient descent, control points included.

The original's method: start from an interpolation of the pixels under the control points, then
move all parameters down the loss of `objective` with Adam. The loop runs compiled, on TensorFlow
and on JAX alike; Keras is imported when a fit starts.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bgoptimizer.backends import compiler, start_backend
from bgoptimizer.surface import (
    check_order,
    evaluate_spline,
    grid_positions,
    place_grid,
    place_random,
    solve_interpolation,
)
from common.progress.stopping import stop_if_asked

PATIENCE_RATE = 50  # epochs without progress after which the learning rate is halved (original)
PATIENCE_STOP = 100  # epochs without progress after which the fit ends (original)
MIN_LOSS_DECREASE = 5e-5  # a smaller decrease of the loss is no progress (original)
MIN_LEARNING_RATE = 1e-4  # floor of the halved learning rate (original)
ADAM_DECAY_MEAN = 0.9  # of the mean gradient; default of Keras
ADAM_DECAY_SQUARE = 0.999  # of the mean squared gradient; default of Keras
ADAM_EPSILON = 1e-7  # default of Keras
REPORT_EPOCHS = 10  # epochs between two calls of on_epoch


@dataclass(frozen=True, eq=False)
class DescentResult:
    """A fitted surface, the best of all epochs, and how the loss fell.

    Attributes
    ----------
    control_points, weights, affine : float32 arrays, shapes (N, 2), (N, C), (3, C)
    order : int
    losses : float32 array, shape (epochs,)
        Loss before each update; `losses.min()` belongs to the surface.
    epochs : int
        Epochs run, less than asked if the fit stopped early.
    """

    control_points: np.ndarray
    weights: np.ndarray
    affine: np.ndarray
    order: int
    losses: np.ndarray
    epochs: int

    def evaluate(self, positions: np.ndarray) -> np.ndarray:
        """Return the surface at positions (P, 2), float64, shape (P, C)."""
        return evaluate_spline(
            self.control_points, self.weights, self.affine, self.order, positions
        )


OnEpoch = Callable[[int, float, tuple[np.ndarray, np.ndarray, np.ndarray]], Any]


def fit_by_descent(
    stretched_cells: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    control_points: int = 32,
    order: int = 2,
    initializer: str = "random",
    alpha: float = 5.0,
    epochs: int = 1000,
    learning_rate: float = 1e-3,
    seed: int = 0,
    regularization: float = 0.1,
    on_epoch: OnEpoch | None = None,
) -> DescentResult:
    """Fit a smooth surface under the cells of a stretched, downscaled image.

    Parameters
    ----------
    stretched_cells : array, shape (h, w, C)
        Stretched pixels, the sky near 0.25. NaN are left out like masked cells.
    mask : array, shape (h, w), (h, w, 1) or (h, w, C), optional
        Weight of each cell in [0, 1]; 1 counts fully. Cells that are 0 in all channels are not
        evaluated.
    control_points : int
        N.
    order : {1, 2, 3}
        Of the spline; 2 is the thin plate.
    initializer : {"random", "grid"}
        First places of the control points.
    alpha : float
        Weight of a surface above the image or below 0.
    epochs : int
        At most so many; an epoch is one update from all cells.
    learning_rate : float
    seed : int
        Of the random places. Same seed and machine, same result.
    regularization : float
        Of the interpolation that the fit starts from.
    on_epoch : callable, optional
        Called as on_epoch(epoch, loss, (control_points, weights, affine)) every 10 epochs and at
        the end.

    Returns
    -------
    DescentResult

    Raises
    ------
    ValueError
        If an argument is out of range or every cell is masked.
    """
    cells, mask = _check_cells(stretched_cells, mask)
    check_order(order)
    if control_points < 1 or epochs < 1:
        raise ValueError(
            f"control_points and epochs must be 1 or more. Received: "
            f"control_points={control_points}, epochs={epochs}"
        )
    if not (learning_rate > 0 and alpha >= 0):
        raise ValueError(
            f"learning_rate must be above 0 and alpha 0 or more. Received: "
            f"learning_rate={learning_rate}, alpha={alpha}"
        )
    if initializer not in INITIALIZERS:
        raise ValueError(
            f"initializer must be one of {tuple(INITIALIZERS)}. Received: {initializer!r}"
        )
    points = INITIALIZERS[initializer](control_points, cells.shape[:2], seed)
    values = starting_values(cells, mask, points)
    start = (points, *solve_interpolation(points, values, order, regularization))

    kept = (mask > 0).any(axis=-1)  # (h, w)
    positions = grid_positions(cells.shape[:2]).reshape(*kept.shape, 2)[kept]
    data = (positions, cells[kept], mask[kept], alpha)
    return _descend(start, data, order, epochs, learning_rate, on_epoch)


def _check_cells(cells: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return cells without NaN and the mask of the same shape that is 0 there, both float32."""
    cells = np.asarray(cells, np.float32)
    if cells.ndim != 3 or 0 in cells.shape:
        raise ValueError(f"stretched_cells must have shape (h, w, C). Received: {cells.shape}")
    mask = np.ones_like(cells) if mask is None else np.asarray(mask, np.float32)
    if mask.ndim == 2:
        mask = mask[..., None]
    if mask.shape not in (cells.shape, (*cells.shape[:2], 1)):
        raise ValueError(
            f"mask must have shape {cells.shape} or {cells.shape[:2]}. Received: {mask.shape}"
        )
    if not ((mask >= 0) & (mask <= 1)).all():
        raise ValueError(
            f"mask must lie in [0, 1]. Received: {mask.min()} to {mask.max()}. Divide by its "
            "maximum, and replace NaN by 0."
        )
    missing = ~np.isfinite(cells)
    mask = np.where(missing, 0, mask).astype(np.float32)
    empty = ~(mask > 0).any(axis=(0, 1))
    if empty.any():
        raise ValueError(
            f"every cell of channel {int(np.argmax(empty))} is masked or missing. Mask less: "
            "check the mask file and the thresholds."
        )
    return np.where(missing, 0, cells).astype(np.float32), mask


def starting_values(cells: np.ndarray, mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the values (N, C) that the first surface interpolates.

    The cell under each control point, blended by its mask towards the median of the cells that
    are not fully masked.
    """
    height, width = cells.shape[:2]
    row = np.clip((points[:, 0] * height).astype(int), 0, height - 1)
    column = np.clip((points[:, 1] * width).astype(int), 0, width - 1)
    median = [np.median(cells[..., c][mask[..., c] > 0]) for c in range(cells.shape[-1])]
    share = mask[row, column]  # (N, C)
    return share * cells[row, column] + (1 - share) * np.array(median)


def _random(count: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    return place_random(count, seed)


def _grid(count: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    return place_grid(count, shape)


INITIALIZERS: dict[str, Callable[[int, tuple[int, int], int], np.ndarray]] = {
    "random": _random,
    "grid": _grid,
}


def _descend(
    start: tuple[np.ndarray, ...],
    data: tuple[Any, ...],
    order: int,
    epochs: int,
    learning_rate: float,
    on_epoch: OnEpoch | None,
) -> DescentResult:
    """Run the compiled loop, in one call or, to report, in calls of REPORT_EVERY epochs."""
    start_backend()
    from keras import ops

    run = _compiled_run(*start[1].shape, order)
    parameters = [ops.convert_to_tensor(part, "float32") for part in start]
    tensors = [ops.convert_to_tensor(part, "float32") for part in data]
    zeros = [ops.zeros_like(part) for part in parameters]
    state = (
        (parameters, zeros, zeros, parameters),  # now, first and second moments, best
        ops.convert_to_tensor([np.inf, np.inf, learning_rate], "float32"),
        ops.zeros((3,), "int32"),
        ops.zeros((epochs,), "float32"),
    )
    done = 0
    while True:
        stop_if_asked()
        end = min(epochs, done + REPORT_EPOCHS) if on_epoch else epochs
        state = run(state, ops.convert_to_tensor(end, "int32"), tensors)
        (_, _, _, best), _, counts, losses = state
        done, idle, _ = (int(n) for n in ops.convert_to_numpy(counts))
        ended = done >= epochs or idle >= PATIENCE_STOP
        if on_epoch or ended:
            points, weights, affine = (np.array(ops.convert_to_numpy(part)) for part in best)
            losses = np.array(ops.convert_to_numpy(losses)[:done])
        if on_epoch:
            on_epoch(done, float(losses[-1]), (points, weights, affine))
        if ended:
            return DescentResult(points, weights, affine, order, losses, done)


@functools.lru_cache(maxsize=8)
def _compiled_run(count: int, channels: int, order: int) -> Callable:
    """Return run(state, end, data) -> state for one kind of spline, compiled by the backend."""
    import keras
    from keras import ops

    from bgoptimizer.original.objective import background_loss
    from bgoptimizer.original.spline import SplineSurface

    backend = keras.backend.backend()
    compiled = compiler(backend)
    layer = SplineSurface(np.zeros((count, 2)), channels, order)  # trained through its call alone
    layer.build((None, 2))

    def loss_of(parameters: Any, data: Any) -> Any:
        positions, values, mask, alpha = data
        surface, _ = layer.stateless_call(parameters, [], positions)
        return background_loss(values, mask, surface, alpha)

    value_and_gradient = GRADIENTS[backend](loss_of)

    def one_epoch(state: Any, data: Any) -> Any:
        (now, first, second, best), levels, counts, losses = state
        lowest, reference, rate = levels[0], levels[1], levels[2]
        epoch, idle, idle_rate = counts[0], counts[1], counts[2]
        loss, gradient = value_and_gradient(now, data)

        best = [ops.where(loss < lowest, new, old) for new, old in zip(now, best, strict=True)]
        progress = loss < reference - MIN_LOSS_DECREASE
        idle = ops.where(progress, 0, idle + 1)
        idle_rate = ops.where(progress, 0, idle_rate + 1)
        halve = idle_rate >= PATIENCE_RATE
        # never above its own value: a rate that starts under the floor stays where it is
        halved = ops.minimum(rate, ops.maximum(0.5 * rate, MIN_LEARNING_RATE))
        rate = ops.where(halve, halved, rate)
        idle_rate = ops.where(halve, 0, idle_rate)
        lowest = ops.minimum(lowest, loss)
        reference = ops.where(progress, loss, reference)
        losses = ops.where(ops.arange(losses.shape[0]) == epoch, loss, losses)

        step = ops.cast(epoch + 1, "float32")
        scale = (
            rate
            * ops.sqrt(1 - ops.power(ADAM_DECAY_SQUARE, step))
            / (1 - ops.power(ADAM_DECAY_MEAN, step))
        )
        first = [
            ADAM_DECAY_MEAN * m + (1 - ADAM_DECAY_MEAN) * g
            for m, g in zip(first, gradient, strict=True)
        ]
        second = [
            ADAM_DECAY_SQUARE * v + (1 - ADAM_DECAY_SQUARE) * g * g
            for v, g in zip(second, gradient, strict=True)
        ]
        now = [
            p - scale * m / (ops.sqrt(v) + ADAM_EPSILON)
            for p, m, v in zip(now, first, second, strict=True)
        ]
        return (
            (now, first, second, best),
            ops.stack([lowest, reference, rate]),
            ops.stack([epoch + 1, idle, idle_rate]),
            losses,
        )

    def run(state: Any, end: Any, data: Any) -> Any:
        def goes_on(*state: Any) -> Any:
            counts = state[2]
            return ops.logical_and(counts[0] < end, counts[1] < PATIENCE_STOP)

        return ops.while_loop(goes_on, lambda *state: one_epoch(state, data), state)

    return compiled(run)


def _gradient_tensorflow(function: Callable) -> Callable:
    import tensorflow as tf

    def value_and_gradient(parameters: Any, data: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            value = function(parameters, data)
        return value, tape.gradient(value, parameters)

    return value_and_gradient


def _gradient_jax(function: Callable) -> Callable:
    import jax

    return jax.value_and_grad(function)


# by Keras backend; another backend needs one function in each
GRADIENTS = {"tensorflow": _gradient_tensorflow, "jax": _gradient_jax}
