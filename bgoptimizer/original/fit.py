"""The objective `original`: stretch, blocks, the published descent."""

from collections.abc import Callable

import numpy as np

from bgoptimizer.cells import automatic_factor
from bgoptimizer.config import BackgroundConfig
from bgoptimizer.guidance.guidance import Guidance
from bgoptimizer.model import BackgroundModel, SurfacePlane
from bgoptimizer.original.descent import fit_by_descent
from bgoptimizer.surface import evaluate_spline, grid_positions
from common.blocks import block_reduce
from common.stretch import MtfStretch

ANIMATION_EPOCHS = 50  # descent steps between two frames of the animation


def fit_original(
    pixels: np.ndarray, guidance: Guidance, config: BackgroundConfig, name: str,
    progress: Callable[[float], None],
) -> BackgroundModel:  # fmt: skip
    """Return the background of pixels, shape (H, W, C), weighted by the user's mask.

    Raises
    ------
    ValueError
        If a channel cannot be stretched or all pixels are masked; `name` is that of the image in
        the message.
    """
    height, width, channels = pixels.shape
    weights = guidance.weights
    factor = config.downscaling_factor or min(8, automatic_factor(height, width))
    missing = ~np.isfinite(pixels)
    stretch = MtfStretch.fit(pixels, missing, quantile=config.delinearization_quantile, name=name)
    stretched = stretch.forward(pixels)
    cells = np.stack(
        [block_reduce(stretched[..., c], factor, config.downscaling_func) for c in range(channels)],
        -1,
    )
    mask = ((cells >= config.threshold_min) & (cells <= config.threshold_max)).astype(np.float32)
    if weights is not None:
        mask *= np.nan_to_num(
            np.stack([block_reduce(weights[..., c], factor, "mean") for c in range(channels)], -1)
        )
    if not mask.any():
        raise ValueError(
            f"{name}: all pixels are masked. Widen --threshold-min and --threshold-max."
        )
    filled = np.where(np.isfinite(cells), cells, 0).astype(np.float32)
    order = config.order or 2
    rounds: list = []
    positions = grid_positions(cells.shape[:2])

    def keep(epoch: int, loss: float, spline: tuple) -> None:
        progress(epoch / config.epochs)
        if epoch % ANIMATION_EPOCHS == 0:
            points, weights_, affine = spline
            surface = evaluate_spline(points, weights_, affine, order, positions)[:, 0]
            rounds.append((None, surface.reshape(cells.shape[:2])))

    result = fit_by_descent(
        filled, mask, control_points=config.control_points or 32, order=order,
        initializer=config.initializer, alpha=config.alpha, epochs=config.epochs,
        learning_rate=config.learning_rate, seed=config.seed, on_epoch=keep,
    )  # fmt: skip
    last = evaluate_spline(result.control_points, result.weights, result.affine, order, positions)
    rounds.append((None, last[:, 0].reshape(cells.shape[:2])))
    extent = (float(factor * cells.shape[0]), float(factor * cells.shape[1]))
    plane = SurfacePlane(
        result.control_points, result.weights, result.affine, result.order, extent, stretch
    )
    return BackgroundModel(
        (height, width, channels), config, (plane,), factor, cells,
        (mask == 0) & np.isfinite(cells), mask, None, rounds,
        (f"{result.epochs} descent steps",),
    )  # fmt: skip
