"""Light that comes over a border of the frame: the glow of an amplifier, a halo from outside."""

import numpy as np
from scipy import ndimage

from common import scratch
from common.robust import mad_sigma
from common.scratch import row_blocks
from common.smooth.quadratic import between_blocks

BLOCK_PX = 16  # px; side of the blocks whose levels are compared
CELL_PX = (32, 4)  # px along and across the border: the cells that follow such light
BLOCK_PERCENTILE = 40  # of a block's pixels: the darker half has less of the stars
LEAST_BLOCKS = 8  # along the border: 128 px, longer than any star and most galaxies
LEAST_LIGHT = 1.0  # noise; of the block at the border
LEAST_SIGMA = 6.0  # of the levels of all blocks: among dense stars and in a nebula they differ
FAINTEST_SHARE = 0.3  # of the least light at the border: the last block away from it
RISE = 1.1  # of the block before it: so much brighter may a block be by chance and by its stars


def border_light(
    flat: np.ndarray, rest: np.ndarray, missing: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where light falls from a border inwards, 0 to 1, and the sky there, both (H, W).

    Objects within the frame are brightest within it. What is brightest at the border, all along
    128 px of it and more, is no object that could be measured, so it is sky. It is steep across
    the border and changes slowly along it, as medians of narrow cells do.

    Parameters
    ----------
    flat : array, shape (H, W)
        Pixels in units of the noise.
    rest : array, shape (H, W)
        The same without a smooth background that has left such light.
    missing : bool array, shape (H, W)

    Returns
    -------
    tuple of arrays, or None
        None where there is no such light.
    """
    level = _levels(rest, missing, (BLOCK_PX, BLOCK_PX), BLOCK_PERCENTILE)
    measured = level[np.isfinite(level)]
    least = max(LEAST_LIGHT, LEAST_SIGMA * float(mad_sigma(measured))) if measured.size else np.inf
    found = [_from_the_left(np.rot90(level, turns), least) for turns in range(4)]
    if not any(blocks.any() for blocks in found):
        return None
    weight, sky = (scratch.empty(flat.shape, np.float32) for _ in range(2))
    for rows in row_blocks(flat.shape, weight, sky):
        weight[rows] = sky[rows] = 0
    for turns, blocks in enumerate(found):  # each border in turn is the left one
        if blocks.any():
            one, other, share, whole = (np.rot90(plane, turns)
                                        for plane in (flat, missing, weight, sky))  # fmt: skip
            width = min(one.shape[1], BLOCK_PX * (2 + int(np.flatnonzero(blocks.any(0))[-1])))
            part = _soft(blocks, (len(one), width))
            share[:, :width] += part
            whole[:, :width] += part * _strip(one[:, :width], other[:, :width])
    for rows in row_blocks(flat.shape, weight, sky):
        sky[rows] /= np.where(weight[rows] > 0, weight[rows], 1)
        np.minimum(weight[rows], 1, out=weight[rows])
    return weight, sky


def _soft(blocks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return 1 in the blocks that are True, fading over the next one; shape (H, W)."""
    soft = ndimage.uniform_filter(ndimage.binary_dilation(blocks).astype(float), 3, mode="nearest")
    return between_blocks(soft, (BLOCK_PX, BLOCK_PX), shape)


def _strip(flat: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the sky of a strip along the left border, from medians of its cells."""
    level = _levels(flat, missing, CELL_PX, 50)
    known = np.isfinite(level)
    if not known.all():  # the nearest cell that is measured
        nearest = ndimage.distance_transform_edt(
            ~known, sampling=CELL_PX, return_distances=False, return_indices=True
        )
        level = level[tuple(nearest)] if known.any() else np.zeros(level.shape)
    return between_blocks(level, CELL_PX, flat.shape)


def _levels(
    rest: np.ndarray, missing: np.ndarray, cell: tuple[int, int], percentile: float
) -> np.ndarray:
    """Return a percentile of each cell; NaN where nothing is measured."""
    height, width = cell
    rows, columns = (-(-side // step) for side, step in zip(rest.shape, cell, strict=True))
    level = np.full((rows, columns), np.nan)
    for part in row_blocks(rest.shape, rest, missing, multiple=height):
        known = np.where(missing[part], np.nan, rest[part])
        high, wide = -(-len(known) // height), columns
        padded = np.full((high * height, wide * width), np.nan)
        padded[: known.shape[0], : known.shape[1]] = known
        cells = padded.reshape(high, height, wide, width).swapaxes(1, 2).reshape(high, wide, -1)
        there = slice(part.start // height, part.start // height + high)
        full = np.isfinite(cells).any(-1)
        level[there][full] = np.nanpercentile(cells[full], percentile, axis=-1)
    return level


def _from_the_left(level: np.ndarray, least: float) -> np.ndarray:
    """Return the blocks of light that falls from the left border on, where it is at `least`."""
    smooth = ndimage.median_filter(level, (3, 1), mode="nearest")  # a star is narrower
    falling = smooth[:, 0] >= least  # NaN is not
    fallen = np.zeros(len(level), bool)
    found = np.zeros(level.shape, bool)
    for column in range(level.shape[1]):
        if column:
            fallen |= falling & (smooth[:, column] < FAINTEST_SHARE * least)
            falling &= ~fallen & (smooth[:, column] <= RISE * smooth[:, column - 1])
        if not falling.any():
            break
        found[:, column] = falling
    runs, number = ndimage.label(ndimage.binary_closing(fallen, np.ones(3)))
    long = np.bincount(runs, minlength=number + 1) >= LEAST_BLOCKS
    long[0] = False
    return found & long[runs][:, None]
