"""A smooth surface through the free pixels of an image: a parabola fitted around each place."""

import math

import numpy as np
from scipy import ndimage
from scipy.interpolate import RectBivariateSpline

from common import scratch
from common.blocks import cut_blocks
from common.scratch import row_blocks, with_halo

BLOCK_PX = 4  # px; pixels are summed in blocks of this side first, a third of the least scale
REACH = 3.5  # scales; farther pixels have no weight
# exponents of y and x in the parabola
POWERS = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]
STIFFNESS = (
    1e-3  # of the weight of free surroundings: holds level, slope and curvature of a fit at 0
)
PLACES_AT_ONCE = 1 << 16  # fits that are solved together: 40 MB
MAX_PLACES = 1 << 20  # fits whose 21 moments are held together: 180 MB


def local_quadratic(
    pixels: np.ndarray, free: np.ndarray, scale: float, block: int = BLOCK_PX
) -> np.ndarray:
    """Return a local regression of second order.

    Around each place a parabola is fitted to the free pixels by least squares, with weights that
    fall like a Gaussian function; its value there is the surface. A sky that bends within a few
    scales is followed without bias, under masked sources too, as a mean is not. Where hardly a
    pixel is free within reach, the fit with the next wider weights shows through.

    Parameters
    ----------
    pixels : array, shape (H, W)
    free : bool array, shape (H, W)
        Pixels that count.
    scale : float
        Standard deviation of the weights in pixels.
    block : int, optional
        Side of the blocks in pixels that are summed first, for speed.

    Returns
    -------
    array, shape (H, W), float64
        0 everywhere if no pixel is free.

    Notes
    -----
    Cleveland & Devlin 1988, J. Am. Stat. Assoc. 83, 596.
    """
    blocks = tuple(-(-side // block) for side in pixels.shape)
    weight, value = np.empty(blocks), np.empty(blocks)
    for rows in row_blocks(pixels.shape, pixels, free, multiple=block):
        there = slice(rows.start // block, -(-rows.stop // block))
        weight[there] = _block_sums(free[rows].astype(np.float64), block)
        value[there] = _block_sums(np.where(free[rows], pixels[rows], 0.0), block)
    if not weight.any():
        return np.zeros(pixels.shape)
    level = _surface(value, weight, max(1.0, scale / block), block**2)
    return between_blocks(level, (block, block), pixels.shape)


def _surface(value: np.ndarray, weight: np.ndarray, spread: float, most: int) -> np.ndarray:
    """Return the levels at blocks, from sums of pixels and their numbers, at most `most`."""
    if max(weight.shape) > 2 * spread:  # first with twice the blocks, and so twice the scale
        wide = _surface(_block_sums(value, 2), _block_sums(weight, 2), spread, 4 * most)
        level = between_blocks(wide, (2, 2), weight.shape)
    else:
        level = np.full(weight.shape, value.sum() / weight.sum())
    return level + _fit(value - weight * level, weight, spread, most)


def _fit(value: np.ndarray, weight: np.ndarray, spread: float, most: int) -> np.ndarray:
    """Return the parabolas' values at all blocks; arguments as of `_surface`."""
    level = np.empty(weight.shape)
    for rows in row_blocks(weight.shape, multiple=1, pixels=MAX_PLACES):
        wide, inner = with_halo(rows, math.ceil(REACH * spread), len(weight))
        level[rows] = _fit_rows(value[wide], weight[wide], spread, most)[inner]
    return level


def _fit_rows(value: np.ndarray, weight: np.ndarray, spread: float, most: int) -> np.ndarray:
    reach = math.ceil(REACH * spread)
    units = np.arange(-reach, reach + 1) / spread  # offsets in scales: all moments are of one size
    window = np.exp(-0.5 * units**2)

    def moment(plane: np.ndarray, y: int, x: int) -> np.ndarray:
        for axis, power in ((0, y), (1, x)):
            kernel = window * units**power
            plane = ndimage.correlate1d(plane, kernel, axis=axis, mode="constant")
        return plane

    sums = {(y, x): moment(weight, y, x) for y in range(5) for x in range(5 - y)}
    values = [moment(value, y, x) for y, x in POWERS]
    stiffness = STIFFNESS * most * window.sum() ** 2 * np.eye(len(POWERS))
    level = np.empty(weight.size)
    for start in range(0, weight.size, PLACES_AT_ONCE):
        part = slice(start, start + PLACES_AT_ONCE)
        right = np.stack([one.ravel()[part] for one in values], -1)
        left = np.empty((len(right), len(POWERS), len(POWERS)))
        for row, (y, x) in enumerate(POWERS):
            for column, (v, u) in enumerate(POWERS):
                left[:, row, column] = sums[y + v, x + u].ravel()[part]
        level[part] = np.linalg.solve(left + stiffness, right[..., None])[:, 0, 0]
    return level.reshape(weight.shape)


def _block_sums(plane: np.ndarray, side: int) -> np.ndarray:
    return cut_blocks(plane, side, 0.0).sum((1, 3))


def between_blocks(level: np.ndarray, sides: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Return a cubic spline (linear along few blocks) through values at the centres of blocks.

    Parameters
    ----------
    level : array, shape (rows, columns)
        Of blocks that begin at the first pixel; the last ones may be cut.
    sides : tuple of int
        Height and width of a block in pixels.
    shape : tuple of int
        (H, W) of the plane.

    Returns
    -------
    array, shape (H, W), float64
        Constant along an axis that has one block.
    """
    if 1 in level.shape:
        repeated = level.repeat(sides[0], 0).repeat(sides[1], 1)
        return repeated[: shape[0], : shape[1]]
    counts = list(zip(level.shape, sides, strict=True))
    centres = [(np.arange(count) + 0.5) * side - 0.5 for count, side in counts]
    box = [edge for count, side in counts for edge in (-0.5, count * side - 0.5)]
    degrees = [3 if count > 3 else 1 for count in level.shape]
    spline = RectBivariateSpline(*centres, level, bbox=box, kx=degrees[0], ky=degrees[1], s=0)
    found = scratch.empty(shape, np.float64)
    for rows in row_blocks(shape, found):
        found[rows] = spline(np.arange(rows.start, rows.stop), np.arange(shape[1]))
    return found
