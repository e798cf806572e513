"""`fit_background`: one image in, its background model out; the whole flow on one screen."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np

from bgoptimizer.cells import automatic_factor, block_reduce, cell_noise, median_bias
from bgoptimizer.config import BackgroundConfig
from bgoptimizer.mask import ObjectMap, recognise_objects, robust_fit
from bgoptimizer.model import BackgroundModel, SurfacePlane
from bgoptimizer.smoothing import Grid, choose_priors
from common.image import AstroImage, is_bayer

POINTS_PER_HEIGHT = 14  # a glow of σ = 0.09 heights is followed, a nebula's texture is not
MINIMUM_CELLS = 16
FRAME_EPOCHS = 50  # descent steps between two frames of the animation
SAMPLE = 4_000_000  # pixels behind a quantile


def fit_background(
    image: AstroImage | np.ndarray,
    config: BackgroundConfig | None = None,
    *,
    mask: np.ndarray | None = None,
) -> BackgroundModel:
    """Return the background of an image.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, C)
        Linear; NaN = missing. Never changed.
    config : BackgroundConfig, optional
    mask : array, shape (H, W) or (H, W, C), any dtype, optional
        1 = use, 0 = leave out (0...1 in between); integers are scaled by the dtype's largest
        value unless they are 0 and 1.

    Raises
    ------
    ValueError
        If nothing is left to fit (all missing, constant, all masked) or the mask does not fit.

    Notes
    -----
    `robust`: sky values of blocks → objects recognised (`mask`) → the smooth surface that
    predicts held-out blocks best (`smoothing`), bounded from above where objects lie. The
    objective is quadratic between reweightings, so it is solved instead of descended.
    `original`: the published loss, descended with Adam (`descent`).

    Examples
    --------
    >>> import numpy as np
    >>> from bgoptimizer import fit_background, make_scene
    >>> scene = make_scene(4, shape=(96, 144), objects="galaxy")
    >>> model = fit_background(scene.observed)
    >>> error = model.evaluate() - scene.background
    >>> bool(np.std(error) < 0.1 * np.std(scene.background))
    True
    """
    image = image if isinstance(image, AstroImage) else AstroImage(image)
    config = config or BackgroundConfig()
    weights = prepare_mask(mask, image)
    _check_pixels(image, weights)
    bayer = config.bayer or is_bayer(image)
    if bayer and config.uncertainty:
        raise ValueError(
            f"{image.name}: a Bayer mosaic has no sigma map. Debayer first, or leave out "
            "--uncertainty."
        )
    fit = _fit_original if config.objective == "original" else _fit_robust
    with _one_blas_thread():
        if not bayer:
            return fit(image.pixels, weights, config, image)
        parts = []
        for phase in range(4):
            top, left = divmod(phase, 2)
            part = None if weights is None else weights[top::2, left::2]
            parts.append(fit(image.pixels[top::2, left::2], part, config, image))
    return replace(
        parts[0],
        shape=image.shape,
        planes=tuple(part.planes[0] for part in parts),
        notes=("Bayer mosaic: each of the four colours has its own background",),
    )


def _one_blas_thread() -> AbstractContextManager:
    """Keep BLAS to one thread where threadpoolctl can: its threads only wait on small matrices."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(1, user_api="blas")


def prepare_mask(mask: np.ndarray | None, image: AstroImage) -> np.ndarray | None:
    """Return a user's mask as float weights 0...1, shape (H, W, C)."""
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.ndim == 2:
        mask = mask[..., None]
    if mask.shape[:2] != image.shape[:2] or mask.shape[-1] not in (1, image.shape[-1]):
        raise ValueError(
            f"mask: expected shape {image.shape[:2]} with 1 or {image.shape[-1]} channels, "
            f"got {mask.shape}. Make it on the same frame."
        )
    if mask.dtype.kind in "iu" and mask.max(initial=0) > 1:
        weights = mask / float(np.iinfo(mask.dtype).max)
    else:
        weights = np.nan_to_num(mask.astype(np.float32))
        if weights.max(initial=0) > 1:
            # masks of 8 and 16 bits read from a file arrive as floats in their own units
            weights = weights / (255.0 if weights.max() <= 255 else 65535.0)
    if not (weights > 0).any():
        raise ValueError("mask: all pixels are masked. 1 means use, 0 means leave out: invert it.")
    return np.broadcast_to(np.clip(weights, 0, 1), image.shape).astype(np.float32)


def _check_pixels(image: AstroImage, weights: np.ndarray | None) -> None:
    for channel in range(image.shape[-1]):
        plane = image.pixels[..., channel]
        good = np.isfinite(plane)
        if not good.any():
            raise ValueError(
                f"{image.name}: channel {channel} has no measured pixel (all NaN, zero or "
                "missing). Check the file, or read its zeros as data with --zeros data."
            )
        low, high = (
            np.min(plane, where=good, initial=np.inf),
            np.max(plane, where=good, initial=-np.inf),
        )
        if low == high:
            raise ValueError(
                f"{image.name}: channel {channel} is constant ({low:g}). There is no background "
                "to fit."
            )
        if weights is not None and not (good & (weights[..., channel] > 0)).any():
            raise ValueError(
                f"{image.name}: channel {channel} has no pixel that the mask leaves. "
                "1 means use, 0 means leave out."
            )


def _cells(plane: np.ndarray, weights: np.ndarray | None, factor: int, statistic: str):
    """Sky values of the blocks of a plane and the mean mask of each."""
    if weights is None:
        return block_reduce(plane, factor, statistic), None
    allowed = block_reduce(weights, factor, "mean")
    return block_reduce(np.where(weights > 0, plane, np.nan), factor, statistic), allowed


def _fit_robust(pixels, weights, config, image) -> BackgroundModel:
    height, width, channels = pixels.shape
    factor = config.downscaling_factor or automatic_factor(height, width)
    shape = (-(-height // factor), -(-width // factor))
    aspect = min(max(shape) / min(shape), 4.0)
    points = config.control_points or round(POINTS_PER_HEIGHT**2 * aspect)
    grid = Grid(*shape, points, config.order or 3)
    fitted = []
    for channel in range(channels):
        mask = None if weights is None else weights[..., channel]
        cells, allowed = _cells(pixels[..., channel], mask, factor, config.downscaling_func)
        if np.isfinite(cells).sum() < MINIMUM_CELLS:
            raise ValueError(
                f"{image.name}: channel {channel} has {int(np.isfinite(cells).sum())} usable "
                f"blocks of {factor} px, {MINIMUM_CELLS} are needed. Lower --downscaling-factor "
                "or mask less."
            )
        part = _fit_channel(cells, allowed, grid, config)
        if config.downscaling_func == "median":
            _take_off_confusion(part, pixels[..., channel], factor)
        fitted.append(part)
    weights_, affine = np.split(
        np.stack([grid.to_spline @ part["points"] for part in fitted], -1), [-3]
    )
    extent = float(factor * grid.rows)
    plane = SurfacePlane(grid.control_points, weights_, affine, grid.order, (extent, extent))
    covered = np.mean([part["map"].objects.mean() for part in fitted])
    notes = [f"objects cover {100 * covered:.0f} % of the frame"]
    if any(part["map"].floor.any() for part in fitted):
        notes.append("part of the frame is cut off at zero; the model is extrapolated there")
    return BackgroundModel(
        (height, width, channels), config, (plane,), factor,
        np.stack([part["cells"] for part in fitted], -1),
        np.stack([part["map"].objects for part in fitted], -1),
        np.stack([part["used"] for part in fitted], -1),
        np.stack([part["sigma"] for part in fitted], -1) if config.uncertainty else None,
        [*fitted[0]["map"].rounds, (fitted[0]["map"].objects, fitted[0]["values"])],
        tuple(notes),
    )  # fmt: skip


def _fit_channel(cells, allowed, grid: Grid, config) -> dict:
    """Recognise, choose, fit; values at the control points are all that the spline needs."""
    present = np.isfinite(cells)
    noise = cell_noise(cells)
    spread = float(np.nanmax(cells) - np.nanmin(cells))
    noise = max(noise, 1e-7 * spread)  # noiseless simulations
    found = recognise_objects(cells, grid, noise, allowed)
    filled = np.where(present, cells, np.median(cells[present]))
    chosen = choose_priors(grid, filled, found.sky * ~found.objects, noise)
    points, values, used = fit_average(filled, found, grid, chosen, noise)
    sigma = None
    if config.uncertainty:
        from bgoptimizer.uncertainty import bootstrap_sigma

        sigma = bootstrap_sigma(filled, found, grid, chosen, noise, values, config)
    return {
        "cells": cells, "map": found, "points": points, "values": values, "used": used,
        "sigma": sigma,
    }  # fmt: skip


def _take_off_confusion(part: dict, plane: np.ndarray, factor: int) -> None:
    """Lower the surface by the bias of faint stars in medians; a third of it is uncertain."""
    rows, columns = np.nonzero((part["used"] > 0.5) & (part["map"].sky > 0.5))
    if not rows.size:
        return
    step = -(-rows.size * factor**2 // SAMPLE)
    sample = []
    for row, column in zip(rows[::step], columns[::step], strict=True):
        block = plane[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        sample.append(block.ravel() - part["values"][row, column])
    residual = np.concatenate(sample)
    bias = median_bias(residual[np.isfinite(residual)])
    part["points"] = part["points"] - bias
    part["values"] = part["values"] - bias
    if part["sigma"] is not None:
        part["sigma"] = np.hypot(part["sigma"], 0.3 * bias)


def fit_average(
    cells: np.ndarray,
    found: ObjectMap,
    grid: Grid,
    chosen: list[tuple[str, float, float]],
    noise: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean surface of the chosen priors: at the control points, on the cells, weights.

    Where objects lie the cells bound the surface from above: objects add light.
    """
    weights = found.sky * ~found.objects
    bound = (found.objects & (found.sky > 0)) | found.floor
    points, values, used = (np.zeros(1) for _ in range(3))
    for name, stiffness, _ in chosen:
        prior = grid.priors[name]
        surface, final = robust_fit(prior, cells, weights, stiffness, noise, rounds=6, bound=bound)
        points = points + prior.to_points @ surface.coefficients
        values = values + surface.values
        used = used + final
    count = len(chosen)
    return points / count, values / count, used / count


def _fit_original(pixels, weights, config, image) -> BackgroundModel:
    from bgoptimizer.descent import fit_by_descent
    from bgoptimizer.surface import evaluate_spline, grid_positions
    from common.stretch import MtfStretch

    height, width, channels = pixels.shape
    factor = config.downscaling_factor or min(8, automatic_factor(height, width))
    missing = ~np.isfinite(pixels)
    stretch = MtfStretch.fit(
        pixels, missing, quantile=config.delinearization_quantile, name=image.name
    )
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
            f"{image.name}: all pixels are masked. Widen --threshold-min and --threshold-max."
        )
    filled = np.where(np.isfinite(cells), cells, 0).astype(np.float32)
    order = config.order or 2
    rounds: list = []
    positions = grid_positions(cells.shape[:2])

    def keep(epoch: int, loss: float, spline: tuple) -> None:
        if epoch % FRAME_EPOCHS == 0:
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
