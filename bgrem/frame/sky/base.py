"""What is taken off an image before a mesh is laid: its level, steps, and strong gradients."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bgrem.frame.sky.steps import level_steps
from common import scratch
from common.blocks import cut_blocks
from common.robust import mad_sigma
from common.scratch import row_blocks, sample_bands, sample_of

TREND_DEGREE = 3  # of the polynomial that removes strong gradients before a mesh is laid
# exponents of y and x in the polynomial
TREND_POWERS = [(i, j) for i in range(TREND_DEGREE + 1) for j in range(TREND_DEGREE + 1 - i)]
CONSTANT_BLOCK_PX = 16  # px; an area of one value has such a block, mostly equal counts have not
MAX_CONSTANT_SHARE = 0.9  # of the measured pixels; beyond it the frame itself is like that
TREND_ROUNDS = 5  # of the polynomial's reweighting; the weights hardly change any more
BLOCKS_PER_SIDE = 6  # of the image's shorter side, at least: a cubic needs four and noise more
MEASURED_SHARE = 0.25  # of a block's pixels that must be measured
BLOCKS_PER_TERM = 3  # measured blocks for each of the (TREND_DEGREE + 1)^2 products of powers
BLOCK_PERCENTILE = 40  # of a block's pixels: the darker half has more of the sky among dense stars
DARK_RESIDUAL = 0.3  # dark blocks count as if they were so much nearer: bright ones hold objects
TREND_CLIP = 1.5  # robust standard deviations; a block this far off has half its weight


@dataclass(frozen=True, eq=False)
class Base:
    """A level, steps of columns and rows, and a polynomial, in the image's units.

    Attributes
    ----------
    middle : float
        The median of the image.
    across, down : array, shapes (W,) and (H,)
        Steps of whole columns and of whole rows.
    trend : array, shape (T,), or None
        Coefficients of `TREND_POWERS`; None: the image is too small for a polynomial.
    """

    middle: float
    across: np.ndarray
    down: np.ndarray
    trend: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return len(self.down), len(self.across)

    def rows(self, rows: slice) -> np.ndarray:
        """Return steps and polynomial of some rows (n, W), float64, without the level."""
        found = self.across + self.down[rows, None]
        if self.trend is not None:
            height, width = self.shape
            y, x = _from_minus_one(height, 1, height)[rows], _from_minus_one(width, 1, width)
            trend = np.zeros(found.shape)
            for coefficient, (i, j) in zip(self.trend, TREND_POWERS, strict=True):
                trend += coefficient * np.outer(y**i, x**j)
            found += trend
        return found

    def flatten(self, pixels: np.ndarray, missing: np.ndarray, rows: slice) -> np.ndarray:
        """Return some rows of the image without all of it (n, W), float64; 0 where missing."""
        flat = pixels[rows].astype(np.float64) - self.middle - self.rows(rows)
        return np.where(missing[rows], 0, flat)

    def sample(self, pixels: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of `sample_bands` without the level, and without all, float64."""
        bands = sample_bands(self.shape)
        level = [np.where(missing[one], 0, pixels[one].astype(np.float64) - self.middle)
                 for one in bands]  # fmt: skip
        flat = [self.flatten(pixels, missing, one) for one in bands]
        return np.concatenate(level), np.concatenate(flat)


def find_base(pixels: np.ndarray, missing: np.ndarray, mesh: int) -> tuple[Base, np.ndarray]:
    """Return the base of an image, and what is missing or has one value all over an area.

    Parameters
    ----------
    pixels : array, shape (H, W)
    missing : bool array, shape (H, W)
        Not all of it.
    mesh : int
        Side of a mesh in pixels; the polynomial goes through medians of smaller blocks.
    """
    known = sample_of(pixels)[~sample_of(missing)]
    if not known.size:
        known = pixels[~missing]
    middle = float(np.median(known))
    base = Base(middle, *level_steps(pixels, missing, middle))
    missing = missing | _constant_areas(pixels, missing)

    def flatten(rows: slice) -> np.ndarray:
        return np.where(missing[rows], np.nan, base.flatten(pixels, missing, rows))

    trend = _robust_trend(flatten, base.shape, mesh, holes=bool(missing.any()))
    return Base(middle, base.across, base.down, trend), missing


def _constant_areas(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the blocks of one value: strips and fillings without noise say nothing of it."""
    equal, side = scratch.empty(pixels.shape, bool), CONSTANT_BLOCK_PX
    for rows in row_blocks(pixels.shape, pixels, missing, equal, multiple=side):
        part = np.where(missing[rows], 0, pixels[rows])
        blocks = cut_blocks(part, side, np.nan)
        same = np.nanmin(blocks, (1, 3)) == np.nanmax(blocks, (1, 3))
        same = same.repeat(side, 0).repeat(side, 1)[: part.shape[0], : part.shape[1]]
        equal[rows] = same & ~missing[rows]
    measured = missing.size - np.count_nonzero(missing)
    if np.count_nonzero(equal) < MAX_CONSTANT_SHARE * measured:
        return equal
    return np.zeros_like(missing)


def _robust_trend(
    flatten: Callable[[slice], np.ndarray], shape: tuple[int, int], mesh: int, *, holes: bool
) -> np.ndarray | None:
    """Return a polynomial through block medians, reweighted against those far off.

    `flatten` gives rows, NaN where missing; `holes` says whether there are such pixels.
    """
    height, width = shape
    side = max(1, min(mesh // 2, min(shape) // BLOCKS_PER_SIDE))
    rows, columns = -(-height // side), -(-width // side)
    # the darker half of a block knows more of the sky where stars are dense
    holes = holes or rows * columns * side**2 != height * width
    percentile = np.nanpercentile if holes else np.percentile
    levels, enough = np.zeros((rows, columns)), np.zeros((rows, columns), bool)
    for part in row_blocks(shape, multiple=side):
        blocks = cut_blocks(flatten(part), side, np.nan).swapaxes(1, 2)
        blocks = blocks.reshape(*blocks.shape[:2], -1)
        there = slice(part.start // side, part.start // side + len(blocks))
        full = np.isfinite(blocks).sum(-1) > MEASURED_SHARE * side * side
        enough[there] = full
        if full.any():
            levels[there][full] = percentile(blocks[full], BLOCK_PERCENTILE, axis=-1)
    if enough.sum() < BLOCKS_PER_TERM * (TREND_DEGREE + 1) ** 2:
        return None
    y, x = _from_minus_one(rows, side, height), _from_minus_one(columns, side, width)
    design = np.stack([np.outer(y**i, x**j)[enough] for i, j in TREND_POWERS], -1)
    values, weights = levels[enough], np.ones(int(enough.sum()))
    for _ in range(TREND_ROUNDS):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
        residual = values - design @ solution
        scale = mad_sigma(residual, 0.0) or 1.0
        # bright blocks hold objects: they count less than dark ones
        off = np.where(residual > 0, residual, DARK_RESIDUAL * residual) / (TREND_CLIP * scale)
        weights = 1 / (1 + off**2)
    return np.asarray(solution)


def _from_minus_one(count: int, side: int, length: int) -> np.ndarray:
    """Return the centres of `count` blocks along an axis that runs from -1 to 1."""
    return 2 * (np.arange(count) + 0.5) * side / length - 1
