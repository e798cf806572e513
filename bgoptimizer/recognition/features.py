"""What the network sees of a frame's cells: structure on every scale, in units of its noise."""

import numpy as np
from scipy import ndimage

from bgoptimizer.cells import cell_noise
from bgoptimizer.robust.smoothing import Grid, resample
from bgoptimizer.robust.trend import find_trend
from common.blocks import cut_blocks

SCALES_CELLS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # cells; Gaussians whose differences are shown
TRUNCATE = 3.0  # standard deviations; where a Gaussian ends
SOFTENING = 2.0  # divides inverse hyperbolic sines: about 1 where structure is clear
FAINT = 3.0  # noise; softening of a single cell
TEXTURE_CELLS = 1.5  # cells; Gaussian over the squared finest structure
TEXTURE_FLOOR, MAX_TEXTURE = 0.1, 1e4  # of the noise's variance; bright stars end there
TREND_CELLS = 4  # cells; the polynomial is found on blocks of so many, 1 on the smallest frames
TREND_POINTS = 294  # control points of the grid that the polynomial lives on
USUAL_FACTOR = 10.0  # px; side of a usual cell
FEATURES = 2 * (len(SCALES_CELLS) + 3) + 4  # own planes, those of all channels, four of the frame
BINNING = 2  # cells; the network sees blocks of 2x2


def cell_features(cells: np.ndarray, stars: np.ndarray, factor: float) -> np.ndarray:
    """Return what the network sees of each channel, (C, ceil(h / 2), ceil(w / 2), FEATURES).

    Parameters
    ----------
    cells : array, shape (h, w, C)
        NaN = missing, in all channels of a cell or in none.
    stars : bool array, shape (h, w, C)
        Cells with stars: they are no sky and no object.
    factor : float
        Side of a cell in pixels.
    """
    present = np.isfinite(cells).all(-1)
    flat, use = np.zeros_like(cells), present[..., None] & ~stars
    own = []
    for c in range(cells.shape[-1]):
        left = np.where(present, cells[..., c] - smooth_trend(cells[..., c], present), 0)
        noise = max(cell_noise(np.where(present, left, np.nan)), 1e-30)
        flat[..., c] = left / noise
        own.append(_planes(flat[..., c], use[..., c]))
    together = own[0]
    if len(own) > 1:
        mean, everywhere = flat.mean(-1), use.all(-1)
        noise = max(cell_noise(np.where(present, mean, np.nan)), 1e-30)
        together = _planes(mean / noise, everywhere)
    rows, columns = present.shape
    y, x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / rows
    edges = [np.broadcast_to(np.minimum(y, 1 - y)[:, None], present.shape),
             np.broadcast_to(np.minimum(x, columns / rows - x), present.shape)]  # fmt: skip
    size = np.full(present.shape, np.log(factor / USUAL_FACTOR))
    return np.stack([
        np.stack([*planes, *together, *(halve(one) for one in (use[..., c], *edges, size))], -1)
        for c, planes in enumerate(own)
    ]).astype(np.float32)  # fmt: skip


def smooth_trend(cells: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return a polynomial under the frame's bright side, (h, w), found on larger blocks."""
    side = TREND_CELLS if min(cells.shape) >= 12 * TREND_CELLS else 1
    total, number = (
        cut_blocks(one, side, 0.0).sum((1, 3))
        for one in (np.where(present, cells, 0.0), present.astype(float))
    )
    means = np.where(number > 0, total / np.maximum(number, 1), np.median(cells[present]))
    aspect = min(max(means.shape) / min(means.shape), 4.0)
    rows, columns = means.shape
    extent = cells.shape[0] / side, cells.shape[1] / side
    grid = Grid(rows, columns, round(TREND_POINTS * aspect / 1.5), extent=extent)
    trend = find_trend(means, (number > side**2 / 2).astype(float), grid).values
    if side == 1:
        return trend
    places = [(np.arange(length) + 0.5) / side for length in cells.shape]
    return resample(trend, grid.centres, places)


def halve(plane: np.ndarray) -> np.ndarray:
    """Return means of blocks of 2x2; the last row or column stands twice where a side is odd."""
    odd = [(0, side % BINNING) for side in plane.shape]
    padded = np.pad(np.asarray(plane, float), odd, mode="edge")
    return cut_blocks(padded, BINNING, 0.0).mean((1, 3))


def _planes(values: np.ndarray, use: np.ndarray) -> list[np.ndarray]:
    """Return a plane's structure scale by scale in units of its noise, its texture, and itself."""
    values = np.where(use, values, 0).astype(np.float32)
    found, finer = [], values
    for scale in SCALES_CELLS:
        smooth = _smooth(values, use, scale)
        # noise of the finer plane, which white noise gets from a Gaussian of half the scale
        unit = 1 / (2 * np.sqrt(np.pi) * max(scale / 2, 0.5))
        found.append((finer - smooth) / unit)
        finer = smooth
    found.append(finer)
    planes = [halve(np.arcsinh(np.where(use, one, 0)) / SOFTENING) for one in found]
    finest = np.where(use, values - _smooth(values, use, SCALES_CELLS[0]), 0)
    texture = np.minimum(_smooth(finest**2, use, TEXTURE_CELLS), MAX_TEXTURE)
    planes.append(halve(np.log(texture + TEXTURE_FLOOR)))
    planes.append(halve(np.arcsinh(values / FAINT) / SOFTENING))
    return planes


def _smooth(values: np.ndarray, use: np.ndarray, scale: float) -> np.ndarray:
    """Return the Gaussian mean over the used cells."""
    total, mean = (
        ndimage.gaussian_filter(one.astype(np.float32), scale, mode="constant", truncate=TRUNCATE)
        for one in (use, np.where(use, values, 0))
    )
    return mean / np.maximum(total, 1e-3)
