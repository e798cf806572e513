"""Which cells are sky: objects are recognised from the image alone, without knowing the truth.

A small network, trained on simulated frames, tells where objects are (`bgoptimizer.recognition`).
Then the map grows: a surface fitted without a guard ring around it predicts the ring, and cells
that lie above the prediction by more than its own uncertainty belong to the object's faint
outskirts.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bgoptimizer.cells import cell_noise
from bgoptimizer.guidance.guidance import OBJECT, SKY
from bgoptimizer.recognition.features import USUAL_FACTOR, smooth_trend
from bgoptimizer.recognition.network import object_logits
from bgoptimizer.robust.smoothing import Grid, Prior, Surface, choose_priors
from common.robust import mad_sigma

SEED_LOGIT = 1.5  # log odds of an object from which a cell seeds the map: 82 %
LOGIT_PER_PROTECTION = 1.5  # log odds by which half or twice the strictness moves that
LOGIT_STEP = 0.25  # by which it rises where nearly all would be an object
GUARD_RING_HEIGHTS = 0.06  # heights of the frame; ring around objects
GROW_NOISE_SIGMA = 2.0  # sigma of the smoothed cells
GROW_MODEL_SIGMA = 2.0  # sigma of the prediction
MAX_GROW_ROUNDS = 25  # of growing the objects
COMPACT_SIGMA = 4.0  # sigma above the surrounding 7x7 cells: a star
FLOOR_DEPTH_SIGMA = -8.0  # sigma of a cell: what was cut off must lie clearly below
MAX_OBJECT_SHARE = 0.85  # of the frame; a map that covers more has lost the sky
ROBUST_CLIP = 2.5  # σ; from there on a cell loses weight
BOUND_START = 0.5  # σ by which a surface may exceed a bounding cell without a penalty
BOUND_RANGE = 2.0  # σ beyond it in which the cell gains its whole weight
FLOOR_SIDE = 5  # cells; median filter that a plateau is looked for in
FLOOR_OPENING = 2  # cells; thinner plateaus are noise
FLOOR_RIM = 3  # cells around a plateau that the median filter and the opening have lost
COMPACT_SIDE = 7  # cells; the surroundings of a star
LEAST_SKY = 0.3  # of the frame; from less a plateau's background is not extrapolated
CHOOSE_EVERY = 5  # rounds of growth for which a choice of prior stands
LEAST_OUTSIDE = 0.05  # of the frame beyond the guard ring; from less nothing is predicted
GROW_SCALES = (2.0, 4.0)  # cells; Gaussians under which outskirts are looked for
MEAN_MISS = 0.8  # mean of |z| of a normal distribution: held-out cells of a true prior miss so
MIN_SAMPLE_CELLS = 12  # cells; from fewer points of sky no surface is laid
SURE_WEIGHT = 10.0  # of a cell that the user calls sky: more than a bootstrap gives any other


@dataclass(frozen=True)
class ObjectMap:
    """What a fit may use of one channel.

    Attributes
    ----------
    sky : float array, shape (h, w)
        Weight of each cell before objects are taken out: 0 for stars and missing cells,
        `SURE_WEIGHT` where the user calls it sky.
    objects : bool array, shape (h, w)
        Extended objects.
    floor : bool array, shape (h, w)
        Cells cut off at zero: the background is at most there.
    rounds : list of (objects, surface)
        The map and the surface after each round of growth, for pictures.
    """

    sky: np.ndarray
    objects: np.ndarray
    floor: np.ndarray
    rounds: list


def _smooth(values: np.ndarray, use: np.ndarray, scale: float) -> np.ndarray:
    """Gaussian mean over the used cells only."""
    total = ndimage.gaussian_filter(use.astype(float), scale, mode="constant")
    mean = ndimage.gaussian_filter(np.where(use, values, 0), scale, mode="constant")
    return mean / np.maximum(total, 1e-3)


def _connected(strong: np.ndarray, weak: np.ndarray) -> np.ndarray:
    """Parts of `weak` that hold a cell of `strong`."""
    labels, _ = ndimage.label(weak)
    kept = np.unique(labels[strong & weak])
    return np.isin(labels, kept[kept > 0])


def robust_weights(
    residual: np.ndarray, weights: np.ndarray, noise: float, bound: np.ndarray | None = None
) -> np.ndarray:
    """Reweight cells by their residual: high ones lose weight fast, low ones slowly.

    `bound` marks cells that only bound the surface from above (objects add light): they count
    where the surface exceeds them. `SURE_WEIGHT` is the user's word and stays.
    """
    used = residual[weights > 0.5]
    scale = max(noise, float(mad_sigma(used, 0.0))) if used.size else noise
    z = residual / scale
    far = np.maximum(1, np.abs(z) / ROBUST_CLIP)
    new = weights * np.where(z > 0, 1 / far**2, 1 / far)
    if bound is not None:
        above = np.clip((-z - BOUND_START) / BOUND_RANGE, 0, 1) / np.maximum(1, -z / ROBUST_CLIP)
        new = new + np.where(bound, above, 0)
    return np.where(weights >= SURE_WEIGHT, weights, new)


def robust_fit(
    prior: Prior,
    cells: np.ndarray,
    weights: np.ndarray,
    stiffness: float,
    noise: float,
    *,
    rounds: int = 4,
    bound: np.ndarray | None = None,
) -> tuple[Surface, np.ndarray]:
    """Return the surface and the weights (h, w) of an iteratively reweighted fit."""
    current = weights
    for _ in range(rounds):
        surface = prior.fit(cells, current, stiffness)
        current = robust_weights(cells - surface.values, weights, noise, bound)
    return surface, current


def _floor(cells: np.ndarray, use: np.ndarray, noise: float) -> np.ndarray:
    """Cells of a plateau at zero under an otherwise positive image: values cut off there."""
    level = ndimage.median_filter(cells, FLOOR_SIDE)
    plateau = use & (np.abs(level) < noise)
    plateau = ndimage.binary_opening(plateau, iterations=FLOOR_OPENING)
    plateau = ndimage.binary_dilation(plateau, iterations=FLOOR_RIM)
    if (use & ~plateau).mean() < LEAST_SKY:  # a subtracted sky is around zero
        return np.zeros_like(use)
    return plateau


def find_stars(cells: np.ndarray, present: np.ndarray, noise: float) -> np.ndarray:
    """Return cells (h, w) that stand out of their surroundings, and their neighbours."""
    above = cells - ndimage.median_filter(cells, COMPACT_SIDE) > COMPACT_SIGMA * noise
    return ndimage.binary_dilation(present & above)


def recognise_objects(
    cells: np.ndarray,
    grid: Grid,
    noise: float,
    allowed: np.ndarray | None = None,
    trend: np.ndarray | float = 0.0,
    known: np.ndarray | None = None,
    strictness: float = 1.0,
    logits: np.ndarray | None = None,
) -> ObjectMap:
    """Return the object map of one channel.

    Parameters
    ----------
    cells : float array, shape (h, w)
        Sky values of the blocks, linear; NaN = missing.
    grid : Grid
        The surfaces of this frame.
    noise : float
        Standard deviation of a cell.
    allowed : float array, shape (h, w), optional
        The user's mask: 1 = use, 0 = never.
    trend : array, shape (h, w), optional
        A first sky.
    known : int array, shape (h, w), optional
        `SKY`, `OBJECT`, or 0 where the user has not said.
    strictness : float
        Times all thresholds of what is called object.
    logits : array, shape (h, w), optional
        Log odds that cells have light of an object; default: from this channel alone.
    """
    present = np.isfinite(cells)
    if logits is None:
        logits = find_logits([cells], USUAL_FACTOR)[..., 0]
    filled = np.where(present, cells, np.median(cells[present]))
    flat = np.where(present, cells - trend, 0)
    sky = (present & ~find_stars(flat, present, noise)).astype(float)
    if allowed is not None:
        sky = sky * allowed
    floor = _floor(filled, sky > 0, noise)
    if known is not None:
        sky = np.where((known == SKY) & present, SURE_WEIGHT, sky)
    if floor.any():
        below = np.where(floor, 0.0, sky)
        found = _recognise(flat, grid, noise, present, below, floor, known, strictness, logits)
        if _goes_on_below(filled, grid, found, noise):
            return found
    none = np.zeros_like(floor)
    return _recognise(flat, grid, noise, present, sky, none, known, strictness, logits)


def find_logits(channels: list[np.ndarray], factor: float) -> np.ndarray:
    """Return the log odds that cells have light of an object, shape (h, w, C).

    Parameters
    ----------
    channels : list of array, shape (h, w)
        Cells of all channels of a frame; NaN = missing.
    factor : float
        Side of a cell in pixels.
    """
    cells = np.stack(channels, -1)
    present = np.isfinite(cells).all(-1)
    if present.sum() < MIN_SAMPLE_CELLS:
        return np.full(cells.shape, -np.inf)
    stars = find_stars_of_channels(cells, present)
    return object_logits(np.where(present[..., None], cells, np.nan), stars, factor)


def find_stars_of_channels(cells: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the cells with stars, over a polynomial under each channel: bool (h, w, C).

    Parameters
    ----------
    cells : array, shape (h, w, C)
    present : bool array, shape (h, w)
    """
    stars = np.zeros(cells.shape, bool)
    for c in range(cells.shape[-1]):
        flat = np.where(present, cells[..., c] - smooth_trend(cells[..., c], present), 0)
        noise = cell_noise(np.where(present, flat, np.nan))
        stars[..., c] = find_stars(flat, present, noise)
    return stars


def _goes_on_below(cells: np.ndarray, grid: Grid, found: ObjectMap, noise: float) -> bool:
    """Tell whether the sky beside a plateau at zero predicts values clearly below it there."""
    weights = found.sky * ~found.objects
    name, stiffness, _ = choose_priors(grid, cells, weights, noise, thorough=False)[0]
    surface, _ = robust_fit(grid.priors[name], cells, weights, stiffness, noise)
    return bool(np.median(surface.values[found.floor]) < FLOOR_DEPTH_SIGMA * noise)


def _recognise(filled, grid, noise, present, sky, floor, known, strictness, logits) -> ObjectMap:
    """Seeds and their growth, over the sky that is not cut off."""
    limit = SEED_LOGIT + LOGIT_PER_PROTECTION * np.log2(strictness)
    while ((logits > limit) & present).mean() > MAX_OBJECT_SHARE:  # the surest are left
        limit += LOGIT_STEP
    objects = (logits > limit) & present & ~floor
    objects = ndimage.binary_closing(objects) | objects
    above = _above_samples(filled, grid, sky, noise, known, strictness)
    objects = _with_known(objects | above, known)
    objects, rounds = _grow(filled, grid, sky, objects, noise, known, strictness)
    return ObjectMap(sky, objects & present, floor, rounds)


def _with_known(objects: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return a map with what the user knows."""
    return objects if known is None else (objects & (known != SKY)) | (known == OBJECT)


def _above_samples(
    cells: np.ndarray, grid: Grid, sky: np.ndarray, noise: float, known: np.ndarray | None,
    strictness: float,
) -> np.ndarray:  # fmt: skip
    """Return cells above the surface through the user's points of sky, where these determine it."""
    sure = np.where(sky >= SURE_WEIGHT, sky, 0.0)
    if known is None or (sure > 0).sum() < MIN_SAMPLE_CELLS:
        return np.zeros(cells.shape, bool)
    name, stiffness, miss = choose_priors(grid, cells, sure, noise, thorough=False)[0]
    prior = grid.priors[name]
    surface = prior.fit(cells, sure, stiffness)
    unsure = prior.deviation(sure, stiffness, noise) * max(1.0, miss / MEAN_MISS)
    return _excess(cells - surface.values, sky, unsure, noise, None, strictness)


def _excess(
    residual: np.ndarray,
    sky: np.ndarray,
    unsure: np.ndarray,
    noise: float,
    outside: np.ndarray | None,
    strictness: float,
) -> np.ndarray:
    """Return where smoothed cells lie above a prediction by more than both can be off.

    `outside` are cells whose scatter counts where it is more than the noise's.
    """
    found = np.zeros(residual.shape, bool)
    for scale in GROW_SCALES:
        level = _smooth(residual, sky > 0, scale)
        spread = noise / (2 * np.sqrt(np.pi) * scale)
        if outside is not None:
            spread = max(spread, float(mad_sigma(level[outside], 0.0)))
        limit = GROW_NOISE_SIGMA * spread + GROW_MODEL_SIGMA * unsure
        found |= level > strictness * limit
    return found


def _grow(cells, grid, sky, objects, noise, known, strictness):
    """Extend the map over the outskirts that a prediction from further out does not explain."""
    ring = max(2, round(GUARD_RING_HEIGHTS * grid.rows))
    rounds = []
    for number in range(MAX_GROW_ROUNDS):
        weights = sky * ~objects
        if (weights > 0).mean() < 1 - MAX_OBJECT_SHARE or not objects.any():
            break
        if number % CHOOSE_EVERY == 0:
            name, stiffness, miss = choose_priors(grid, cells, weights, noise, thorough=False)[0]
            prior = grid.priors[name]
        guard = ndimage.distance_transform_edt(~objects) <= ring
        if known is not None:
            guard &= known != SKY
        if ((weights > 0) & ~guard).mean() < LEAST_OUTSIDE:
            break
        surface, used = robust_fit(prior, cells, weights * ~guard, stiffness, noise, rounds=3)
        unsure = prior.deviation(used, stiffness, noise) * max(1.0, miss / MEAN_MISS)
        residual = cells - surface.values
        rounds.append((objects, surface.values))
        excess = _excess(residual, sky, unsure, noise, (weights > 0) & ~guard, strictness)
        grown = _connected(objects, (excess & guard) | objects)
        grown = ndimage.binary_fill_holes(ndimage.binary_opening(grown) | objects)
        grown = _with_known(grown, known)
        if grown.mean() > MAX_OBJECT_SHARE or (grown == objects).all():
            break
        objects = grown
    return objects, rounds
