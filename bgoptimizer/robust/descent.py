"""The solved objective by gradient descent, on the processor or a GPU: all surfaces at once.

Each surface minimises a weighted mean of squared residuals plus an energy, as `Prior.fit` solves
it. Here it is descended with Nesterov's momentum in the prior's own basis, each coefficient in
units of its curvature. Keras is imported when a fit starts; TensorFlow and JAX run it alike.
"""

import functools
from typing import Any

import numpy as np

from bgoptimizer.backends import start_backend
from bgoptimizer.robust.mask import robust_weights
from bgoptimizer.robust.smoothing import Grid
from bgoptimizer.robust.tasks import Fitted, Task
from common.progress.stopping import stop_if_asked

DESCENT_STEPS = 5000  # of one descent; it ends sooner when the gradient is small
STEPS_AT_ONCE = 100  # between two looks at the gradient, which cost a transfer from the device
SMALL_GRADIENT = 5e-6  # of the first gradient's size
POWER_STEPS = 30  # of the power iteration that finds the largest curvature
CURVATURE_MARGIN = 1.1  # the power iteration approaches it from below


def descend(grid: Grid, tasks: list[Task], rounds: int) -> list[Fitted]:
    """Return the surface of each task, reweighted `rounds` times.

    Parameters
    ----------
    grid : Grid
    tasks : list of Task
        Of all channels and priors.
    rounds : int
    """
    priors = [grid.priors[task.prior] for task in tasks]
    width = max(prior.basis.shape[1] for prior in priors)
    bases = np.stack([_widened(prior.basis, width) for prior in priors]).astype(np.float32)
    energies = np.stack([
        _widened(task.stiffness * prior.energy[None], width)[0] + 1e-13
        for task, prior in zip(tasks, priors, strict=True)
    ])  # fmt: skip
    # float32 has seven digits: levels are taken off, and the noise is the unit
    levels = [float(np.median(task.cells)) for task in tasks]
    scaled = [(task.cells - level) / task.noise
              for task, level in zip(tasks, levels, strict=True)]  # fmt: skip
    current = [task.weights for task in tasks]
    found = np.zeros((len(tasks), width), np.float32)
    for _ in range(rounds):
        binned = [grid.bin(cells, weights) for cells, weights in zip(scaled, current, strict=True)]
        means, shares = (np.stack(part) for part in zip(*binned, strict=True))
        shares = shares / shares.sum(1, keepdims=True)
        found = _minimise(bases, energies, means, shares, found)
        fitted = []
        for k, (task, prior) in enumerate(zip(tasks, priors, strict=True)):
            coefficients = found[k, : prior.basis.shape[1]].astype(np.float64) * task.noise
            values = grid.refine(prior.basis @ coefficients) + levels[k]
            residual = task.cells - values
            current[k] = robust_weights(residual, task.weights, task.noise, task.bound)
            fitted.append(Fitted(prior.to_points @ coefficients + levels[k], values, current[k]))
    return fitted


def _widened(columns: np.ndarray, width: int) -> np.ndarray:
    return np.pad(columns, ((0, 0), (0, width - columns.shape[1])))


def _minimise(
    bases: np.ndarray, energies: np.ndarray, means: np.ndarray, shares: np.ndarray,
    start: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return coefficients (K, J) of least loss.

    Parameters
    ----------
    bases : array, shape (K, P, J)
    energies : array, shape (K, J)
        Weight of each squared coefficient.
    means, shares : array, shape (K, P)
        Values and their weights, whose sum is 1.
    start : array, shape (K, J)
    """
    start_backend()
    from keras import ops

    matrices, right = _normal_equations(bases, energies, means, shares)
    curvature = np.einsum("kjj->kj", np.asarray(ops.convert_to_numpy(matrices), np.float64))
    unit = np.asarray(1 / np.sqrt(np.maximum(curvature, 1e-12)), np.float32)
    matrices, right = matrices * unit[:, :, None] * unit[:, None], right * unit
    step = _step_sizes(matrices)
    now = ops.convert_to_tensor(np.asarray(start / unit, np.float32))
    state = (now, now, ops.ones((len(bases), 1)))
    run, first = _compiled_steps(), None
    for _ in range(0, DESCENT_STEPS, STEPS_AT_ONCE):
        stop_if_asked()
        *state, gradient = run(*state, step, matrices, right)
        size = np.asarray(ops.convert_to_numpy(ops.norm(gradient, axis=1)))
        first = size if first is None else np.maximum(first, size)
        if (size <= SMALL_GRADIENT * first).all():
            break
    return np.asarray(ops.convert_to_numpy(state[0])) * unit


def _normal_equations(
    bases: np.ndarray, energies: np.ndarray, means: np.ndarray, shares: np.ndarray
) -> tuple[Any, Any]:
    """Return half the curvature of each loss (K, J, J) and half its slope at 0, negative (K, J)."""
    from keras import ops

    values, weighted = (ops.convert_to_tensor(np.asarray(one, np.float32))
                        for one in (bases, bases * shares[..., None]))  # fmt: skip
    turned = ops.transpose(weighted, (0, 2, 1))
    matrices = ops.matmul(turned, values) + np.asarray(
        energies[:, None] * np.eye(energies.shape[1]), np.float32
    )
    target = ops.convert_to_tensor(np.asarray(means, np.float32)[..., None])
    return matrices, ops.matmul(turned, target)[..., 0]


def _gradient(values: Any, matrices: Any, right: Any) -> Any:
    """Return half the gradient of the loss of each surface, (K, J)."""
    from keras import ops

    return ops.matmul(matrices, values[..., None])[..., 0] - right


def _step_sizes(matrices: Any) -> Any:
    """Return 1 / largest curvature of each surface, (K, 1), by a power iteration."""
    from keras import ops

    rng = np.random.default_rng(0)
    vector = ops.convert_to_tensor(rng.standard_normal(matrices.shape[:2]).astype(np.float32))
    for _ in range(POWER_STEPS):
        vector = vector / ops.norm(vector, axis=1, keepdims=True)
        vector = _gradient(vector, matrices, 0.0)
    return 1 / (CURVATURE_MARGIN * ops.norm(vector, axis=1, keepdims=True))


@functools.cache
def _compiled_steps() -> Any:
    """Return `STEPS_AT_ONCE` steps with momentum, restarted where they go uphill, compiled."""
    import keras
    from keras import ops

    from bgoptimizer.backends import compiler

    def steps(now: Any, before: Any, time: Any, step: Any, *tensors: Any) -> Any:
        def one(_: Any, state: Any) -> Any:
            now, before, time, _ = state
            later = (1 + ops.sqrt(1 + 4 * time**2)) / 2
            ahead = now + (time - 1) / later * (now - before)
            gradient = _gradient(ahead, *tensors)
            new = ahead - step * gradient
            uphill = ops.sum(gradient * (new - now), axis=1, keepdims=True) > 0
            return new, now, ops.where(uphill, ops.ones_like(later), later), gradient

        start = (now, before, time, ops.zeros_like(now))
        return ops.fori_loop(0, STEPS_AT_ONCE, one, start)

    return compiler(keras.backend.backend())(steps)
