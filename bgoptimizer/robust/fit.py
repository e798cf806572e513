"""The objective `robust`: blocks, object map, stiffness, the mean surface of the best priors."""

from dataclasses import dataclass, replace

import numpy as np

from bgoptimizer.cells import automatic_factor, cell_noise, median_bias, pixel_step
from bgoptimizer.config import BackgroundConfig
from bgoptimizer.guidance.guidance import OBJECT, SKY, Guidance
from bgoptimizer.guidance.reference import MIN_SCALE_SIGMA, scale_of
from bgoptimizer.model import BackgroundModel, SurfacePlane
from bgoptimizer.robust.mask import (
    SURE_WEIGHT,
    ObjectMap,
    find_stars,
    recognise_objects,
    robust_fit,
)
from bgoptimizer.robust.smoothing import Grid, choose_priors
from bgoptimizer.robust.trend import Trend, dark_side, find_trend
from common.blocks import block_reduce

POINTS_PER_HEIGHT = 14  # a glow of sigma = 0.09 heights is followed, the texture of a nebula is not
FLAT_MARGIN = 0.02  # relative; by so much the cells without the first sky must be predicted better
MIN_CELLS = 16  # cells; fewer do not determine a surface
QUANTILE_PIXELS = 4_000_000  # pixels behind a quantile


@dataclass(frozen=True, eq=False)
class ChannelFit:
    """The surface of one channel and what it was fitted to; (h, w) are blocks.

    Attributes
    ----------
    cells : array, shape (h, w)
        Sky values of the blocks; NaN = missing.
    found : ObjectMap
    points : array, shape (N,)
        Surface at the control points: all that the spline needs.
    values : array, shape (h, w)
        Surface on the blocks.
    used : array, shape (h, w)
        Weight of each block in the last fit.
    sigma : array, shape (h, w), or None
        Standard deviation of the surface, if it was asked for.
    note : str
        What the user should know of this channel.
    """

    cells: np.ndarray
    found: ObjectMap
    points: np.ndarray
    values: np.ndarray
    used: np.ndarray
    sigma: np.ndarray | None
    note: str = ""


def fit_robust(
    pixels: np.ndarray, guidance: Guidance, config: BackgroundConfig, name: str
) -> BackgroundModel:
    """Return the background of pixels, shape (H, W, C), with the user's help.

    Raises
    ------
    ValueError
        If a channel has too few usable blocks, or nothing in common with the reference; `name` is
        that of the image in the message.
    """
    height, width, channels = pixels.shape
    factor = config.downscaling_factor or automatic_factor(height, width)
    shape = (-(-height // factor), -(-width // factor))
    aspect = min(max(shape) / min(shape), 4.0)
    points = config.control_points or round(POINTS_PER_HEIGHT**2 * aspect)
    grid = Grid(*shape, points, config.order or 3)
    fitted: list[ChannelFit] = []
    weights, known = guidance.weights, guidance.known_cells(factor)
    reference = None if guidance.reference is None else guidance.reference.cells(factor)
    for channel in range(channels):
        mask = None if weights is None else weights[..., channel]
        cells, allowed = _cells(pixels[..., channel], mask, factor, config.downscaling_func)
        if np.isfinite(cells).sum() < MIN_CELLS:
            raise ValueError(
                f"{name}: channel {channel} has {int(np.isfinite(cells).sum())} usable "
                f"blocks of {factor} px, {MIN_CELLS} are needed. Lower --downscaling-factor "
                "or mask less."
            )
        if reference is None:
            part = _fit_channel(cells, allowed, grid, config, known)
        else:
            part = _fit_difference(
                cells, allowed, grid, config, known, reference[..., channel], name
            )
        if config.downscaling_func == "median" and reference is None:
            part = _without_confusion(part, pixels[..., channel], factor)
        fitted.append(part)
    spline = np.stack([grid.to_spline @ part.points for part in fitted], -1)
    spline_weights, affine = np.split(spline, [-3])
    extent = float(factor * grid.rows)
    plane = SurfacePlane(grid.control_points, spline_weights, affine, grid.order, (extent, extent))
    first = fitted[0]
    sigmas = [part.sigma for part in fitted if part.sigma is not None]
    return BackgroundModel(
        (height, width, channels),
        config,
        (plane,),
        factor,
        np.stack([part.cells for part in fitted], -1),
        np.stack([part.found.objects for part in fitted], -1),
        np.stack([part.used for part in fitted], -1),
        np.stack(sigmas, -1) if sigmas else None,
        [*first.found.rounds, (first.found.objects, first.values)],
        _notes(fitted),
    )


def _notes(fitted: list[ChannelFit]) -> tuple[str, ...]:
    covered = np.mean([part.found.objects.mean() for part in fitted])
    notes = [f"objects cover {100 * covered:.0f} % of the frame"]
    if any(part.found.floor.any() for part in fitted):
        notes.append("part of the frame is cut off at zero; the model is extrapolated there")
    notes += [part.note for part in fitted if part.note]
    return tuple(notes)


def _cells(
    plane: np.ndarray, weights: np.ndarray | None, factor: int, statistic: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the sky values of the blocks of a plane, and the mean mask of each.

    A median of integers is an integer (or half of one). Where their step is not small against the
    noise, pixels are spread evenly over the step first: the median moves as finely as the sky.
    """
    if statistic == "median" and (step := pixel_step(plane)):
        rng = np.random.default_rng(0)
        plane = plane + rng.uniform(-step / 2, step / 2, plane.shape).astype(plane.dtype)
    if weights is None:
        return block_reduce(plane, factor, statistic), None
    allowed = block_reduce(weights, factor, "mean")
    allowed = allowed / np.nanmax(allowed)  # weights are relative: a grey mask is one of 1
    return block_reduce(np.where(weights > 0, plane, np.nan), factor, statistic), allowed


def _fit_channel(
    cells: np.ndarray,
    allowed: np.ndarray | None,
    grid: Grid,
    config: BackgroundConfig,
    known: np.ndarray | None = None,
) -> ChannelFit:
    """Recognise objects, choose priors, fit."""
    present = np.isfinite(cells)
    measured = present.astype(float) if allowed is None else present * allowed
    first = find_trend(np.where(present, cells, np.median(cells[present])), measured, grid)
    spread = float(np.nanmax(cells) - np.nanmin(cells))
    # noiseless simulations have none
    noise = max(cell_noise(cells - first.values), 1e-7 * spread)
    found = recognise_objects(cells, grid, noise, allowed, first.values, known)
    filled = np.where(present, cells, np.median(cells[present]))
    chosen, filled, first = _choose(grid, filled, found.sky * ~found.objects, noise, first)
    points, values, used = fit_average(filled, found, grid, chosen, noise)
    sigma = _sigma(filled, found, grid, chosen, noise, values, config)
    return ChannelFit(cells, found, points + first.points, values + first.values, used, sigma)


def _sigma(
    cells: np.ndarray,
    found: ObjectMap,
    grid: Grid,
    chosen: list[tuple[str, float, float]],
    noise: float,
    values: np.ndarray,
    config: BackgroundConfig,
) -> np.ndarray | None:
    if not config.uncertainty:
        return None
    from bgoptimizer.uncertainty import bootstrap_sigma

    return bootstrap_sigma(cells, found, grid, chosen, noise, values, config)


def _fit_difference(
    cells: np.ndarray,
    allowed: np.ndarray | None,
    grid: Grid,
    config: BackgroundConfig,
    known: np.ndarray | None,
    reference: np.ndarray,
    name: str,
) -> ChannelFit:
    """Fit what a frame has more than a reference (h, w), whose sky is taken for flat.

    Nothing is an object then, but what the user calls so.
    """
    present = np.isfinite(cells) & np.isfinite(reference)
    measured = present.astype(float) if allowed is None else present * allowed
    if (measured > 0).sum() < MIN_CELLS:
        raise ValueError(
            f"{name}: {int((measured > 0).sum())} blocks overlap the reference, {MIN_CELLS} are "
            "needed. Give one that covers the frame."
        )
    stars = np.zeros_like(present)
    for plane in (cells, reference):
        first = find_trend(np.where(present, plane, np.median(plane[present])), measured, grid)
        noise = cell_noise(np.where(present, plane - first.values, np.nan))
        stars |= find_stars(np.where(present, plane - first.values, 0), present, noise)
    scale, error = scale_of(cells, reference, present & ~stars)
    if scale < MIN_SCALE_SIGMA * error:
        raise ValueError(
            f"{name}: has no structure in common with the reference. Choose one of the same field "
            "and passband."
        )
    left = np.where(present, cells - scale * reference, np.nan)
    filled = np.where(present, left, np.median(left[present]))
    noise = max(cell_noise(left), 1e-7 * float(np.ptp(left[present])))
    sky, objects = measured * ~stars, np.zeros_like(present)
    if known is not None:
        sky, objects = np.where((known == SKY) & present, SURE_WEIGHT, sky), known == OBJECT
    found = ObjectMap(sky, objects, np.zeros_like(present), [])
    chosen = choose_priors(grid, filled, sky * ~objects, noise)
    points, values, used = fit_average(filled, found, grid, chosen, noise, bounded=False)
    sigma = _sigma(filled, found, grid, chosen, noise, values, config)
    level = scale * dark_side(reference[present])[0]
    share = present.mean() / max(np.isfinite(cells).mean(), 1e-9)
    note = f"reference: light {scale:.3g} times as strong, over {100 * share:.0f} % of the frame"
    return ChannelFit(cells, found, points + level, values + level, used, sigma, note)


def _choose(
    grid: Grid, cells: np.ndarray, weights: np.ndarray, noise: float, first: Trend
) -> tuple[list[tuple[str, float, float]], np.ndarray, Trend]:
    """Return priors for the cells or for what the first sky leaves, whichever they predict better.

    Also the cells that they are for, and the first sky that was taken off, perhaps none.
    """
    plain = choose_priors(grid, cells, weights, noise)
    none = Trend(np.zeros_like(first.points), np.zeros_like(first.values), 0)
    if first.degree <= 1:  # all priors have a plane
        return plain, cells, none
    flat = choose_priors(grid, cells - first.values, weights, noise)
    if min(one[2] for one in plain) <= min(one[2] for one in flat) * (1 + FLAT_MARGIN):
        return plain, cells, none
    return flat, cells - first.values, first


def _without_confusion(part: ChannelFit, plane: np.ndarray, factor: int) -> ChannelFit:
    """Return the surface without the bias of faint stars in medians; a third of it is uncertain."""
    rows, columns = np.nonzero((part.used > 0.5) & (part.found.sky > 0.5))
    if not rows.size:
        return part
    step = -(-rows.size * factor**2 // QUANTILE_PIXELS)
    sample = []
    for row, column in zip(rows[::step], columns[::step], strict=True):
        block = plane[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        sample.append(block.ravel() - part.values[row, column])
    residual = np.concatenate(sample)
    bias = median_bias(residual[np.isfinite(residual)])
    sigma = None if part.sigma is None else np.hypot(part.sigma, 0.3 * bias)
    return replace(part, points=part.points - bias, values=part.values - bias, sigma=sigma)


def fit_average(
    cells: np.ndarray,
    found: ObjectMap,
    grid: Grid,
    chosen: list[tuple[str, float, float]],
    noise: float,
    *,
    bounded: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean surface of the chosen priors: at the control points, on the cells, weights.

    Where objects lie the cells bound the surface from above, if `bounded`: objects add light.
    """
    weights = found.sky * ~found.objects
    bound = (found.objects & (found.sky > 0)) | found.floor if bounded else None
    points, values, used = (np.zeros(1) for _ in range(3))
    for name, stiffness, _ in chosen:
        prior = grid.priors[name]
        surface, final = robust_fit(prior, cells, weights, stiffness, noise, rounds=6, bound=bound)
        points = points + prior.to_points @ surface.coefficients
        values = values + surface.values
        used = used + final
    count = len(chosen)
    return points / count, values / count, used / count
