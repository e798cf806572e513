"""Noise of a residual, measured on pixels where the map has the same brightness."""

import itertools

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.streaks import BRIGHT_STREAK_NOISE
from common.robust import MAD_TO_SIGMA
from common.scratch import map_rows, row_blocks

RMS_BRIGHTNESS_SIDE_PX = 5  # px; the rim of a streak is as uncertain as its middle
MIN_PIXELS_FOR_RMS = 100  # pixels; fewer give no noise of a range
MAX_PIXELS_FOR_RMS = 2_000_000  # pixels; more make the noise no better
TAIL_SHARE = 0.01  # of the pixels; the largest ones, left out where left-overs are measured
TAIL_SIGMA = 2.5758  # standard deviations that TAIL_SHARE of a Gaussian exceeds, both signs


def residual_rms(
    left: np.ndarray, mapped: np.ndarray, hidden: np.ndarray | None = None
) -> np.ndarray:
    """Return the noise of a residual, left-overs of streaks included: shape (H, W), float32.

    It is a function of the map's brightness b, the maximum over `RMS_BRIGHTNESS_SIDE_PX` px:

        rms(b) = 1.4826 median |left|                              where b is dark
        rms(b) = max(1.4826 median |left|, q_99 |left| / 2.5758)   on streaks

    over the pixels of about this brightness. Both terms are the standard deviation if the residual
    is Gaussian. The quantile also measures left-overs on a few per cent of the pixels. Where the
    map is dark they would be stars and trails that stay in the residual.

    Parameters
    ----------
    left, mapped : array, shape (H, W)
        Residual and map in units of the frame's noise.
    hidden : bool array, shape (H, W), optional
        Pixels that are not measured: satellites, stars, trails, missing pixels.
    """
    light = map_rows(
        lambda rows: ndimage.maximum_filter(rows, RMS_BRIGHTNESS_SIDE_PX), mapped,
        dtype=mapped.dtype, halo=RMS_BRIGHTNESS_SIDE_PX // 2,
    )  # fmt: skip
    free = np.ones(left.shape, bool) if hidden is None or hidden.all() else ~hidden
    dark = _scatter_curve(*_drawn(left, light, free), MIN_PIXELS_FOR_RMS)
    measured = map_rows(
        lambda rows, good: (rows > BRIGHT_STREAK_NOISE) & good, light, free, dtype=bool
    )
    curve = None
    if np.count_nonzero(measured) >= MIN_PIXELS_FOR_RMS:
        curve = _scatter_curve(*_drawn(left, light, measured), MIN_PIXELS_FOR_RMS, tails=True)

    def noise(light: np.ndarray) -> np.ndarray:
        rms = np.interp(light, *dark)
        if curve is None:
            return rms
        bright = light > BRIGHT_STREAK_NOISE
        return np.where(bright, np.maximum(rms, np.interp(light, *curve)), rms)

    return map_rows(noise, light, dtype=np.float32)


def _drawn(
    left: np.ndarray, light: np.ndarray, measured: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return residual and brightness of measured pixels, `MAX_PIXELS_FOR_RMS` at most: (M,)."""
    number = int(np.count_nonzero(measured))
    if number <= MAX_PIXELS_FOR_RMS:
        return left[measured], light[measured]
    drawn = np.random.default_rng(0).integers(number, size=MAX_PIXELS_FOR_RMS)
    order = np.argsort(drawn, kind="stable")
    chosen = [np.empty(len(drawn), plane.dtype) for plane in (left, light)]
    first = 0  # measured pixels above the block
    for rows in row_blocks(measured.shape, left, light, measured):
        here = measured[rows]
        last = first + int(np.count_nonzero(here))
        own = order[slice(*np.searchsorted(drawn[order], (first, last)))]
        for values, plane in zip(chosen, (left, light), strict=True):
            values[own] = plane[rows][here][drawn[own] - first]
        first = last
    return chosen[0], chosen[1]


def _scatter_curve(
    values: np.ndarray, brightness: np.ndarray, min_pixels: int, *, tails: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return N brightnesses, increasing, and the scatter there, not decreasing: both (N,).

    Parameters
    ----------
    values, brightness : array, shape (M,)
    min_pixels : int
        Ranges of brightness with fewer pixels are left out.
    tails : bool
        As on streaks in `residual_rms`.
    """
    shares = np.concatenate([np.linspace(0, 0.9, 10), 1 - np.logspace(-1.25, -4, 12)])
    edges = np.quantile(brightness, shares)
    ranges = np.searchsorted(edges, brightness, "right")
    order = np.argsort(ranges, kind="stable")
    bounds = np.searchsorted(ranges[order], np.arange(1, len(edges) + 2))
    centres, widths = [], []
    for low, high in itertools.pairwise(bounds):
        chosen = order[low:high]
        if len(chosen) >= min_pixels:
            centres.append(np.median(brightness[chosen]))
            widths.append(_width(values[chosen], tails))
    if not centres:  # a tiny frame
        centres, widths = [0.0], [_width(values, tails)]
    return np.array(centres), np.maximum.accumulate(np.maximum(widths, 1e-6))


def _width(values: np.ndarray, tails: bool) -> float:
    """Return the standard deviation of a Gaussian with the median, or the tails, of values (M,)."""
    median, far = np.quantile(np.abs(values), (0.5, 1 - TAIL_SHARE))
    return float(max(MAD_TO_SIGMA * median, far / TAIL_SIGMA if tails else 0))
