"""Noise of a residual, measured on pixels where the map is as bright."""

import itertools
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.streaks import BRIGHT

RIMS = 5  # px; a streak's rim is as uncertain as its middle
FEWEST, ENOUGH = 100, 2_000_000  # pixels to measure noise on
FEWEST_IN_RANGE = 10  # pixels to measure the scatter on in one range of brightness
TAIL = 0.01  # of the residual's pixels that are set aside where left-overs are measured
TAIL_SIGMA = 2.5758  # standard deviations that a share of TAIL exceeds, both signs


def rms_of(left: np.ndarray, mapped: np.ndarray, hidden: np.ndarray | None = None) -> np.ndarray:
    """Return the noise of a residual, with what is left over of streaks as bright: shape (H, W).

    Parameters
    ----------
    left, mapped : array, shape (H, W)
        Residual and map in units of the frame's noise.
    hidden : bool array, shape (H, W), optional
        What is no noise, but satellites, stars, trails, missing pixels.
    """
    light = ndimage.maximum_filter(mapped, RIMS)
    free = np.ones(left.shape, bool) if hidden is None or hidden.all() else ~hidden
    rms = np.interp(light, *_widths(left[free], light[free], fewest=FEWEST))
    bright = light > BRIGHT
    known = bright & free
    if known.sum() >= FEWEST:
        reach = np.interp(light, *_widths(left[known], light[known], fewest=FEWEST, tails=True))
        rms = np.where(bright, np.maximum(rms, reach), rms)
    return rms.astype(np.float32)


def scatter(values: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Return the robust standard deviation of values on pixels as bright, shape (H, W).

    It grows with the light: photon noise, and what interpolation between pixels leaves. It is
    measured in ranges of brightness, narrower where there are fewer pixels, and interpolated.
    """
    curve = _widths(values.ravel(), brightness.ravel())
    return np.interp(brightness, *curve).astype(np.float32)


def _widths(
    values: np.ndarray, brightness: np.ndarray, *, fewest: int | None = None, tails: bool = False
) -> tuple[Any, Any]:
    """Return brightness, rising, and the standard deviation there, both (N,), of pixels (M,).

    `fewest`: pixels to measure one on. `tails`: of a Gaussian that reaches as far as the values,
    1 % of them set aside, if that is more.
    """
    fewest = FEWEST_IN_RANGE if fewest is None else fewest
    if len(values) > ENOUGH:
        some = np.random.default_rng(0).integers(len(values), size=ENOUGH)
        values, brightness = values[some], brightness[some]
    shares = np.concatenate([np.linspace(0, 0.9, 10), 1 - np.logspace(-1.25, -4, 12)])
    edges = np.quantile(brightness, shares)
    places = np.searchsorted(edges, brightness, "right")
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(1, len(edges) + 2))

    def width(part: np.ndarray) -> float:
        median, far = np.quantile(np.abs(part), (0.5, 1 - TAIL))
        return float(max(1.4826 * median, far / TAIL_SIGMA if tails else 0))

    centres, widths = [], []
    for low, high in itertools.pairwise(bounds):
        chosen = order[low:high]
        if len(chosen) >= fewest:
            centres.append(np.median(brightness[chosen]))
            widths.append(width(values[chosen]))
    if not centres:  # a tiny frame
        centres, widths = [0.0], [width(values)]
    return np.array(centres), np.maximum.accumulate(np.maximum(widths, 1e-6))
