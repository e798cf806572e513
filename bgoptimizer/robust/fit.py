"""The objective `robust`: blocks, object map, stiffness, the mean surface of the best priors."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bgoptimizer.cells import automatic_factor, median_bias, pixel_step, sky_of_integers
from bgoptimizer.config import PROTECTIONS, BackgroundConfig
from bgoptimizer.guidance.guidance import Guidance
from bgoptimizer.model import BackgroundModel, SurfacePlane
from bgoptimizer.robust.mask import find_logits
from bgoptimizer.robust.plans import (
    MIN_CELLS,
    Channel,
    Plan,
    plan_channel,
    plan_difference,
    plan_with_objects,
)
from bgoptimizer.robust.smoothing import Grid
from bgoptimizer.robust.tasks import Fitted, Task, solve
from bgoptimizer.robust.uncertainty import bootstrap_sigma
from common import scratch
from common.blocks import block_reduce
from common.scratch import row_blocks

POINTS_PER_HEIGHT = 14  # a glow of sigma = 0.09 heights is followed, the texture of a nebula is not
LAST_ROUNDS = 6  # of reweighting in the last fit
QUANTILE_PIXELS = 4_000_000  # pixels behind a quantile


def fit_robust(
    pixels: np.ndarray, guidance: Guidance, config: BackgroundConfig, name: str,
    progress: Callable[[float], None],
) -> BackgroundModel:  # fmt: skip
    """Return the background of pixels, shape (H, W, C), with the user's help.

    Raises
    ------
    ValueError
        If a channel has too few usable blocks, or nothing in common with the reference; `name` is
        that of the image in the message.
    """
    channels, factor = cut_channels(pixels, guidance, config, name)
    grid = grid_of(
        channels[0].cells.shape, config, (pixels.shape[0] / factor, pixels.shape[1] / factor)
    )
    plans = []
    if guidance.reference is None and guidance.objects is None:
        logits = find_logits([channel.cells for channel in channels], factor)
        channels = [replace(one, logits=logits[..., c]) for c, one in enumerate(channels)]
    reference = None if guidance.reference is None else guidance.reference.cells(factor)
    for c, channel in enumerate(channels):
        if reference is not None:
            plans.append(plan_difference(channel, grid, reference[..., c], name))
        elif guidance.objects is not None:
            plans.append(plan_with_objects(channel, grid, guidance.objects[..., c]))
        else:
            plans.append(plan_channel(channel, grid))
        progress((c + 1) / (len(channels) + 1))  # the last fit takes about as long as a channel
    tasks = [plan.tasks() for plan in plans]
    fit = _solver(config.solver)
    fitted = fit(grid, [task for part in tasks for task in part], LAST_ROUNDS)
    parts, sigmas = [], []
    for c, plan in enumerate(plans):
        own, fitted = fitted[: len(tasks[c])], fitted[len(tasks[c]) :]
        part, sigma = plan.surface(own), None
        if config.uncertainty:
            sigma = bootstrap_sigma(plan, grid, part.values, config)
        if config.downscaling_func == "median" and reference is None:
            bias = _confusion(plan, part, pixels[..., c], factor)
            part = replace(part, points=part.points - bias, values=part.values - bias)
            # a third of the correction is uncertain
            sigma = None if sigma is None else np.hypot(sigma, 0.3 * bias)
        parts.append(part)
        sigmas.append(sigma)
    spline = np.stack([grid.to_spline @ part.points for part in parts], -1)
    spline_weights, affine = np.split(spline, [-3])
    extent = float(factor * grid.rows)
    plane = SurfacePlane(grid.control_points, spline_weights, affine, grid.order, (extent, extent))
    found = [plan.found for plan in plans]
    return BackgroundModel(
        pixels.shape,
        config,
        (plane,),
        factor,
        np.stack([channel.cells for channel in channels], -1),
        np.stack([one.objects for one in found], -1),
        np.stack([part.used for part in parts], -1),
        np.stack([sigma for sigma in sigmas if sigma is not None], -1)
        if config.uncertainty
        else None,
        [*found[0].rounds, (found[0].objects, parts[0].values)],
        _notes(plans),
    )


def _solver(name: str) -> Callable[[Grid, list[Task], int], list[Fitted]]:
    """Return what fits tasks: "solve" or "descent"."""
    if name == "solve":
        return solve
    from bgoptimizer.robust.descent import descend

    return descend


def grid_of(
    shape: tuple[int, ...], config: BackgroundConfig, extent: tuple[float, float] | None = None
) -> Grid:
    """Return the surfaces of frames with so many blocks (h, w); `extent` is that of `Grid`."""
    aspect = min(max(shape) / min(shape), 4.0)
    points = config.control_points or round(POINTS_PER_HEIGHT**2 * aspect)
    return Grid(shape[0], shape[1], points, config.order or 3, extent)


def cut_channels(
    pixels: np.ndarray, guidance: Guidance, config: BackgroundConfig, name: str
) -> tuple[list[Channel], int]:
    """Return the channels of pixels (H, W, C) in blocks, and the side of a block.

    Raises
    ------
    ValueError
        If a channel has too few usable blocks.
    """
    height, width, channels = pixels.shape
    factor = config.downscaling_factor or automatic_factor(height, width)
    weights, known = guidance.weights, guidance.known_cells(factor)
    found = []
    for c in range(channels):
        mask = None if weights is None else weights[..., c]
        cells, allowed = _cells(pixels[..., c], mask, factor, config.downscaling_func)
        if np.isfinite(cells).sum() < MIN_CELLS:
            raise ValueError(
                f"{name}: channel {c} has {int(np.isfinite(cells).sum())} usable "
                f"blocks of {factor} px, {MIN_CELLS} are needed. Lower --downscaling-factor "
                "or mask less."
            )
        found.append(Channel(cells, allowed, known, PROTECTIONS[config.protect]))
    return found, factor


def _notes(plans: list[Plan]) -> tuple[str, ...]:
    covered = np.mean([plan.found.objects.mean() for plan in plans])
    notes = [f"objects cover {100 * covered:.0f} % of the frame"]
    if any(plan.found.floor.any() for plan in plans):
        notes.append("part of the frame is cut off at zero; the model is extrapolated there")
    return (*notes, *dict.fromkeys(plan.note for plan in plans if plan.note))


def _cells(
    plane: np.ndarray, weights: np.ndarray | None, factor: int, statistic: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the sky values of the blocks of a plane, and the mean mask of each."""
    step = pixel_step(plane) if statistic == "median" else 0.0

    def reduce(part: np.ndarray) -> np.ndarray:
        return (
            sky_of_integers(part, factor, step) if step else block_reduce(part, factor, statistic)
        )

    if weights is None:
        return reduce(plane), None
    allowed = block_reduce(weights, factor, "mean")
    allowed = allowed / np.nanmax(allowed)  # weights are relative: a grey mask is one of 1
    return reduce(np.where(weights > 0, plane, np.nan)), allowed


def _spread(plane: np.ndarray) -> np.ndarray:
    """Return integers spread evenly over their step where it is not small against the noise.

    A median of integers is an integer (or half of one); of spread ones it moves as finely as the
    sky.
    """
    step = pixel_step(plane)
    if not step:
        return plane
    rng, spread = np.random.default_rng(0), scratch.empty(plane.shape, plane.dtype)
    for rows in row_blocks(plane.shape, plane, spread):
        part = rng.uniform(-step / 2, step / 2, plane[rows].shape)
        spread[rows] = plane[rows] + part.astype(plane.dtype)
    return spread


def _confusion(plan: Plan, part: Fitted, plane: np.ndarray, factor: int) -> float:
    """Return the bias of faint stars in medians of the sky."""
    rows, columns = np.nonzero((part.used > 0.5) & (plan.found.sky > 0.5))
    if not rows.size:
        return 0.0
    plane = _spread(plane)
    step = -(-rows.size * factor**2 // QUANTILE_PIXELS)
    sample = []
    for row, column in zip(rows[::step], columns[::step], strict=True):
        block = plane[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        sample.append(block.ravel() - part.values[row, column])
    residual = np.concatenate(sample)
    return median_bias(residual[np.isfinite(residual)])
