"""A picture's local level and its noise, which grows with the light.

The network sees what a pixel has beside its level, in units of the noise: nebulae of a hundred
sigma and their noise are both within its reach then. Both maps are put back afterwards, so that
they lose nothing.
"""

import itertools

import numpy as np
from scipy import ndimage, optimize

from bgrem.frame.background import Statistics
from common.blocks import block_reduce

LEVEL_BLOCK_PX = 8  # px; medians of such blocks are the level: wider than a star's core
LEVEL_BLOCKS = 3  # blocks; a median over 3x3 of them passes by a bright star
NOISE_LAG_PX = 3  # px; second differences over it: neighbours of resampled frames are correlated
NOISE_BINS = 12  # of the level, in which the noise is measured
LAW_PIXELS = 3_000_000  # pixels that stand for all where the noise is measured against the light
MIN_BIN = 400  # differences that tell the noise of a bin
LOW_QUANTILE = 0.3  # of the differences; stars and edges make the large ones
NORMAL_QUANTILE = 0.38532  # of |z| of a normal distribution, at the same probability
NOISE_MESH_PX = 128  # px; coverage and resampling change the noise from place to place
MESH_RANGE = (0.5, 2.0)  # of the noise in a mesh / that which its level predicts
MIN_NOISE = 1e-6  # of the picture's range; pictures without noise have none
# axes of second differences: along each axis alone, and along both. Texture is least in the latter,
# crowded stars in the former.
AXES = (((0,), (1,)), ((0, 1),))
Differences = tuple[np.ndarray, np.ndarray, list[np.ndarray]]  # values, levels, planes


def picture_statistics(pixels: np.ndarray, missing: np.ndarray | None = None) -> Statistics:
    """Return the local level of a plane and the noise of its pixels, float32.

    Parameters
    ----------
    pixels : array, shape (H, W)
        Linear.
    missing : bool array, shape (H, W), optional
        Default: what is not finite.

    Raises
    ------
    ValueError
        If no pixel is measured, or all are equal.
    """
    missing = ~np.isfinite(pixels) if missing is None else missing
    if missing.all():
        raise ValueError("no pixel is measured: there is nothing to denoise.")
    known = pixels[~missing]
    if known.min() == known.max():
        raise ValueError("all pixels are equal: there is no noise to take out.")
    plane = np.where(missing, np.nan, pixels).astype(np.float32)
    level = _level(plane)
    sigma = _noise(plane, level)
    least = MIN_NOISE * float(np.quantile(known, 0.99) - np.quantile(known, 0.01)) or MIN_NOISE
    return Statistics(level.astype(np.float32), np.maximum(sigma, least).astype(np.float32))


def noise_at_levels(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return levels of a plane (H, W) from dark to bright, and the noise there, both (N,)."""
    plane = np.where(np.isfinite(pixels), pixels, np.nan).astype(np.float32)
    if min(plane.shape) <= 4 * LEVEL_BLOCK_PX or not np.isfinite(plane).any():
        return np.zeros(0), np.zeros(0)
    flat, at, _ = _differences(plane, _level(plane))
    return _binned(flat, at)


def _level(plane: np.ndarray) -> np.ndarray:
    """Return medians of blocks, without stars, as a smooth plane (H, W)."""
    blocks = block_reduce(plane, LEVEL_BLOCK_PX)
    blocks = _without_holes(blocks)
    blocks = ndimage.median_filter(blocks, LEVEL_BLOCKS, mode="nearest")
    blocks = ndimage.gaussian_filter(blocks, 0.7, mode="nearest")
    return _stretch(blocks, LEVEL_BLOCK_PX, plane.shape)


def _without_holes(blocks: np.ndarray) -> np.ndarray:
    """Return blocks whose missing ones have the value of the nearest measured one."""
    holes = ~np.isfinite(blocks)
    if holes.all():
        return np.zeros_like(blocks)
    if not holes.any():
        return blocks
    nearest = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
    return blocks[tuple(nearest)]


def _stretch(blocks: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return a plane (H, W) of blocks, linear between their centres."""
    found = blocks.astype(np.float32)
    for axis, length in enumerate(shape):
        place = np.clip((np.arange(length) + 0.5) / side - 0.5, 0, blocks.shape[axis] - 1)
        lower = np.minimum(place.astype(int), max(blocks.shape[axis] - 2, 0))
        part = (place - lower).astype(np.float32).reshape((-1, 1)[:: 1 - 2 * axis])
        upper = np.minimum(lower + 1, blocks.shape[axis] - 1)
        first, second = np.take(found, lower, axis), np.take(found, upper, axis)
        found = first * (1 - part) + second * part
    return found


def _noise(plane: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the noise of each pixel: a + b x level, times what meshes have beside it."""
    flat, at, differences = _differences(plane, level)
    if not flat.size:
        return np.full(plane.shape, np.nanstd(plane))
    offset, slope, base = _noise_law(flat, at)
    sigma = np.sqrt(np.maximum(offset + slope * np.maximum(level - base, 0), 1e-30))
    return np.asarray(sigma * _by_mesh(differences, sigma))


def _differences(plane: np.ndarray, level: np.ndarray) -> Differences:
    """Return |differences| of the noise's size and their levels, both (N,), and their planes.

    Light only adds to differences: of those along one axis and along both the smaller ones have
    the least of it.
    """
    if min(plane.shape) <= 2 * NOISE_LAG_PX or not np.isfinite(plane).any():
        return np.zeros(0), np.zeros(0), []
    found = [_in_proportion(plane, level, directions) for directions in AXES]
    found = [one for one in found if one[0].size]
    return min(found, key=lambda one: _sigma_of(one[0]), default=(np.zeros(0), np.zeros(0), []))


def _in_proportion(
    plane: np.ndarray, level: np.ndarray, directions: tuple[tuple[int, ...], ...]
) -> Differences:
    """Return differences of neighbours over the part of the noise that they show.

    They have the least of a picture's texture in them, but of correlated noise they show a part
    only. It is the same part at every level, and texture makes it look smaller: the largest part
    of all levels is that of the noise.
    """
    far, far_at, _ = _second_differences(plane, level, directions, NOISE_LAG_PX)
    near, near_at, planes = _second_differences(plane, level, directions, 1)
    parts = [0.0]
    for low, high in itertools.pairwise(_bin_edges(far_at)):
        ours, theirs = near[_between(near_at, low, high)], far[_between(far_at, low, high)]
        if min(ours.size, theirs.size) >= MIN_BIN:
            parts.append(_sigma_of(ours) / max(_sigma_of(theirs), 1e-30))
    part = np.float32(min(1.0, max(parts)))
    if not part > 0:  # too few pixels to tell
        return _second_differences(plane, level, directions, NOISE_LAG_PX)
    return near / part, near_at, [one / part for one in planes]


def _second_differences(
    plane: np.ndarray, level: np.ndarray, directions: tuple[tuple[int, ...], ...], lag: int
) -> Differences:
    """Return second differences over a lag, of the noise's standard deviation.

    Their absolute values and levels, both (N,), and a plane for each direction.
    """
    values, levels, planes = [], [], []
    step = 1 + plane.size // LAW_PIXELS
    for axes in directions:
        found, at = plane, level
        for axis in axes:
            found, at = np.moveaxis(found, axis, 0), np.moveaxis(at, axis, 0)
            found = found[2 * lag :] - 2 * found[lag:-lag] + found[: -2 * lag]
            found, at = np.moveaxis(found, 0, axis), np.moveaxis(at[lag:-lag], 0, axis)
        found = found / np.float32(np.sqrt(6) ** len(axes))
        flat = found.ravel()[::step]
        kept = np.isfinite(flat)
        values.append(np.abs(flat[kept]))
        levels.append(at.ravel()[::step][kept])
        planes.append(found)
    return np.concatenate(values), np.concatenate(levels), planes


def _sigma_of(differences: np.ndarray) -> float:
    """Return the standard deviation of noise from |differences|, most of them without light."""
    return float(np.quantile(differences, LOW_QUANTILE)) / NORMAL_QUANTILE


def _noise_law(differences: np.ndarray, level: np.ndarray) -> tuple[float, float, float]:
    """Return variance at the darkest level, its slope, and that level."""
    base = float(np.quantile(level, 0.01))
    total = _sigma_of(differences) ** 2
    levels, noise = _binned(differences, level)
    if len(levels) < 3 or not total > 0:
        return total, 0.0, base
    lights, variances = np.maximum(levels - base, 0), noise**2
    # relative errors: each bin has as many pixels
    weight = 1 / np.maximum(variances, 1e-3 * total)
    unit = max(float(lights.max()), 1e-30)
    design = np.stack([np.ones_like(lights), lights / unit], 1) * weight[:, None]
    (offset, slope), _ = optimize.nnls(design, variances * weight)
    if not offset > 0:
        return total, 0.0, base
    return float(offset), float(slope / unit), base


def _binned(differences: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return median levels and noise of bins with equally many pixels, from dark to bright."""
    rows = []
    for bin_ in itertools.pairwise(_bin_edges(level)):
        inside = _between(level, *bin_)
        if inside.sum() >= MIN_BIN:
            rows.append((float(np.median(level[inside])), _sigma_of(differences[inside])))
    found = np.reshape(rows, (-1, 2))
    return found[:, 0], found[:, 1]


def _bin_edges(level: np.ndarray) -> np.ndarray:
    """Return edges of bins with equally many levels."""
    if not level.size:
        return level
    return np.unique(np.quantile(level, np.linspace(0, 1, NOISE_BINS + 1)))


def _between(level: np.ndarray, low: float, high: float) -> np.ndarray:
    return (level >= low) & (level < high)


def _by_mesh(differences: list[np.ndarray], sigma: np.ndarray) -> np.ndarray:
    """Return the measured noise of meshes over the predicted one, smooth, (H, W)."""
    shape = sigma.shape
    rows, columns = (max(1, -(-side // NOISE_MESH_PX)) for side in shape)
    grid = np.full((rows, columns), np.nan)
    for i in range(rows):
        for j in range(columns):
            part = np.s_[i * NOISE_MESH_PX : (i + 1) * NOISE_MESH_PX,
                         j * NOISE_MESH_PX : (j + 1) * NOISE_MESH_PX]  # fmt: skip
            values = np.concatenate([one[part].ravel() for one in differences])
            values = np.abs(values[np.isfinite(values)])
            if values.size >= MIN_BIN:
                grid[i, j] = _sigma_of(values) / float(np.median(sigma[part]))
    if not np.isfinite(grid).any():
        return np.ones(shape)
    grid = ndimage.median_filter(_without_holes(grid), 3, mode="nearest")
    return _stretch(np.clip(grid, *MESH_RANGE), NOISE_MESH_PX, shape)
