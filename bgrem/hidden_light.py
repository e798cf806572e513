"""What a network must not see of a frame, lest it maps satellites and trails, and what is there.

A point of light, or a trail across the streaks, has nothing of its kind along them, be it on a
streak or beside: neighbours along the streaks tell the streak's light without it.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.streaks import FAINTEST, SMOOTH, Streaks, second_moments, smooth_sky

NEAR = (3, 6)  # px along the streaks; points do not reach that far, seeing bends no streak so soon
FAR = (4, 12)  # px; to find points and trails by
BEYOND, NEAREST = 24, 4  # px, neighbours: how far a trail's own light is looked past
LOOKS = 2  # of looking for points and trails: the rim of a wide one stands out without its middle
POINT = 0.7  # px; sigma of a satellite and the pixel together
BRIGHT = 1.5  # noise; brighter streaks are told by their neighbours alone
AGREE = 2.0  # noise; where both sides differ by more, a streak ends
AROUND, MOST = 15, 30.0  # px; noise: brighter ones do not raise the noise around them further
LONGER, THIN, WINGS = 1.3, 0.1, 3  # lengths of streaks; variance across to along; px around
RIMS = 5  # px; a streak's rim is as uncertain as its middle
FEWEST, ENOUGH = 100, 2_000_000  # pixels to measure noise on
ROWS, MARGIN, CHUNK = 512, 24, 100_000  # px at once: a frame's neighbours would fill the memory


def compact_light(residual: np.ndarray, threshold: float, largest: int = 0) -> np.ndarray:
    """Return where light stands out of its surroundings, with 2 px around: bool array, (H, W).

    Parameters
    ----------
    residual : array, shape (H, W)
        In units of its noise.
    threshold : float
        Of the residual under a Gaussian as wide as a satellite, in units of its noise there: of
        white noise, or of what is left over around, if that is more.
    largest : int
        As for `stand_out`.
    """
    smooth = ndimage.gaussian_filter(residual, POINT)
    white = 1 / (2 * np.sqrt(np.pi) * POINT)
    around = ndimage.uniform_filter(np.minimum(np.abs(smooth), MOST * white), AROUND)
    significance = smooth / np.maximum(white, np.sqrt(np.pi / 2) * around)
    return stand_out(significance, threshold, largest)


def look_around(flat: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where a frame without streaks has light that is no sky, and the sky: both (H, W).

    Parameters
    ----------
    flat, threshold
        As for `look_along`.
    """
    hidden = np.zeros(flat.shape, bool)
    for _ in range(LOOKS):
        hidden |= compact_light(flat - smooth_sky(flat, hidden), threshold)
    return hidden, smooth_sky(flat, hidden)


def longer_light(flat: np.ndarray, streaks: Streaks) -> tuple[np.ndarray, np.ndarray]:
    """Return where light is drawn out further than the streaks are, and the sky: both (H, W).

    Parameters
    ----------
    flat : array, shape (H, W)
        As for `look_along`.
    streaks : Streaks
    """
    sky = smooth_sky(flat)
    light = ndimage.gaussian_filter(flat - sky, SMOOTH) > FAINTEST
    labels, _ = ndimage.label(light, np.ones((3, 3)))
    xx, yy, xy = second_moments(labels, np.ones(labels.shape))
    half, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    longest = np.sqrt(12 * (half + root))  # of a line with this variance
    narrow = half - root < THIN * (half + root)
    chosen = narrow & (longest > LONGER * streaks.length)
    chosen[0] = False
    hidden = ndimage.binary_dilation(chosen[labels], np.ones((3, 3)), iterations=WINGS)
    return hidden, smooth_sky(flat, hidden)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the neighbours along the streaks say: all of shape (H, W).

    Attributes
    ----------
    light : array
        Expected without points of light and trails, in units of the noise.
    points, bright : bool array
        Points and trails that stand out of it, with their surroundings; streaks. Neither is at the
        frame's edge, where a streak that it cuts looks like a point.
    """

    light: np.ndarray
    points: np.ndarray
    bright: np.ndarray


def look_along(flat: np.ndarray, streaks: Streaks, threshold: float) -> Seen:
    """Return the light of a frame as neighbours on both sides along the streaks tell it.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    streaks : Streaks
    threshold : float
        Of points and trails: light under a Gaussian as wide as a satellite, in units of its scatter
        on pixels that are as bright.
    """
    inside = ~_near_edge(flat.shape, streaks)
    points, free = np.zeros(flat.shape, bool), flat
    for _ in range(LOOKS):  # they are neighbours too: what is wide stands out without its middle
        sides = _both_sides(free, streaks, FAR)
        excess = ndimage.gaussian_filter(flat - sides.most, POINT)
        excess -= np.median(excess)
        brightness = ndimage.maximum_filter(sides.most, 3)
        points |= stand_out(excess / scatter(excess, brightness), threshold) & inside
        free = _fill(flat, points, sides, streaks)
    sides = _both_sides(free, streaks, NEAR)
    bright = ndimage.maximum_filter(ndimage.gaussian_filter(sides.expected, SMOOTH), 3) > BRIGHT
    return Seen(np.where(points, free, sides.expected), points, bright & inside)


def _fill(flat: np.ndarray, hidden: np.ndarray, sides: "_Sides", streaks: Streaks) -> np.ndarray:
    """Return a frame, (H, W), with hidden pixels as the nearest others along the streaks have it.

    `sides` are a first guess. Where a streak ends it is as in `_both_sides`.
    """
    filled = np.where(hidden, sides.expected, flat).astype(np.float32)
    noise = scatter(flat - sides.expected, sides.most)
    curve = ndimage.spline_filter(filled, 3, np.float32, "mirror")
    places = np.argwhere(hidden)
    for part in np.array_split(places, len(places) // CHUNK + 1):
        here = tuple(part.T)
        both = np.stack([
            _nearest_free(curve, hidden, part, sign * _step(streaks)) for sign in (1, -1)
        ])  # fmt: skip
        low, high = np.fmin(*both), np.fmax(*both)  # one side alone may be free
        ends = high - low > AGREE * noise[here]
        found = np.where(ends, np.clip(flat[here], low, high), (low + high) / 2)
        filled[here] = np.where(np.isnan(found), filled[here], found)
    return filled


def _nearest_free(
    curve: np.ndarray, hidden: np.ndarray, places: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Return means of the `NEAREST` pixels in one direction that are not hidden, (N,); else nan."""
    distances = np.arange(NEAR[0], BEYOND + 1)
    at = places.T[:, :, None] + step[:, None, None] * distances
    covered = ndimage.map_coordinates(hidden.astype(np.float32), at, order=1, mode="mirror")
    free = covered < 0.05
    nearest = free & (free.cumsum(1) <= NEAREST)
    light = ndimage.map_coordinates(curve, at, order=3, mode="mirror", prefilter=False)
    number = nearest.sum(1)
    total = np.where(nearest, light, 0).sum(1)
    return np.asarray(np.where(number, total / np.maximum(number, 1), np.nan))


def _step(streaks: Streaks) -> np.ndarray:
    """Return a pixel along the streaks, (rows, columns)."""
    return np.array([np.sin(streaks.angle), np.cos(streaks.angle)])


def follow_streaks(
    mapped: np.ndarray, flat: np.ndarray, streaks: Streaks, seen: Seen
) -> np.ndarray:
    """Return a map of a frame with its streaks as their neighbours tell them, shape (H, W).

    A network knows bright light to a few per cent: where the neighbours are nearer to pixels of a
    brightness than the map, they are taken. Then what is left over along the streaks is added.

    Parameters
    ----------
    mapped, flat : array, shape (H, W)
        Map and frame in units of the noise.
    streaks, seen
        Of the frame.
    """
    nearer = scatter(flat - seen.light, seen.light) < scatter(flat - mapped, seen.light)
    mapped = np.where(nearer & seen.bright, seen.light, mapped)
    left = np.where(seen.points, 0, flat - mapped)
    return np.where(seen.bright, mapped + _both_sides(left, streaks, NEAR).expected, mapped)


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


def stand_out(significance: np.ndarray, threshold: float, largest: int = 0) -> np.ndarray:
    """Return peaks above a threshold down to half of it, and 2 px around: bool array, (H, W).

    Parameters
    ----------
    significance : array, shape (H, W)
        Light over its noise.
    threshold : float
        Of the significance.
    largest : int
        Pixels above half the threshold that a peak may have; 0: any number.
    """
    labels, number = ndimage.label(significance > threshold / 2, np.ones((3, 3)))
    if not number:
        return np.zeros(significance.shape, bool)
    peaks = ndimage.maximum(significance, labels, np.arange(number + 1))
    chosen = peaks > threshold
    if largest:
        chosen &= np.bincount(labels.ravel()) <= largest
    chosen[0] = False
    return np.asarray(ndimage.binary_dilation(chosen[labels], np.ones((3, 3)), iterations=2))


@dataclass(frozen=True, eq=False)
class _Sides:
    """What a pixel is by its neighbours, and the brighter side's light: both (H, W)."""

    expected: np.ndarray
    most: np.ndarray


def _both_sides(flat: np.ndarray, streaks: Streaks, distances: tuple[int, int]) -> _Sides:
    """Return what neighbours along the streaks tell.

    Where both sides agree it is their mean. Where they differ a streak ends: there it is a pixel's
    own light as far as it lies between the nearest neighbours'.
    """
    every, nearest = _neighbours(flat, streaks, *distances)
    noise = scatter(flat - every.mean(0), every.max(0))
    ends = np.abs(every[0] - every[1]) > AGREE * noise
    bounds = np.where(ends, nearest, every)
    most = bounds.max(0)
    expected = np.where(ends, np.clip(flat, bounds.min(0), most), bounds.mean(0))
    return _Sides(expected, most)


def _neighbours(
    flat: np.ndarray, streaks: Streaks, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return medians of all neighbours of each side and means of its two nearest, (2, H, W)."""
    last = int(np.clip(streaks.length / 2 - 2, first + 2, last))
    step = _step(streaks)
    every, nearest = np.empty((2, 2, *flat.shape), np.float32)
    for top in range(0, len(flat), ROWS):
        above = max(top - MARGIN, 0)
        block = flat[above : top + ROWS + MARGIN].astype(np.float32)
        curve = ndimage.spline_filter(block, 3, np.float32, "mirror")
        inside = slice(top - above, min(top + ROWS, len(flat)) - above)
        for side, sign in enumerate((1, -1)):
            found = [
                ndimage.shift(curve, -sign * d * step, order=3, mode="mirror", prefilter=False)
                for d in range(first, last + 1)
            ]
            every[side, top : top + ROWS] = np.median(found, 0)[inside]
            nearest[side, top : top + ROWS] = np.mean(found[:2], 0)[inside]
    return every, nearest


def _near_edge(shape: tuple[int, ...], streaks: Streaks) -> np.ndarray:
    """Return where the frame ends along the streaks: what it cuts looks like a point."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    reach = np.mean(FAR) * np.abs(_step(streaks))
    row_edge = np.minimum(rows, shape[0] - 1 - rows) < reach[0]
    return np.asarray(row_edge | (np.minimum(columns, shape[1] - 1 - columns) < reach[1]))


def scatter(values: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Return the robust standard deviation of values on pixels as bright, shape (H, W).

    It grows with the light: photon noise, and what interpolation between pixels leaves. It is
    measured in ranges of brightness, narrower where there are fewer pixels, and interpolated.
    """
    curve = _widths(values.ravel(), brightness.ravel())
    return np.interp(brightness, *curve).astype(np.float32)


def _widths(
    values: np.ndarray, brightness: np.ndarray, *, fewest: int = 10, tails: bool = False
) -> tuple[Any, Any]:
    """Return brightness, rising, and the standard deviation there, both (N,), of pixels (M,).

    `fewest`: pixels to measure one on. `tails`: of a Gaussian that reaches as far as the values,
    1 % of them set aside, if that is more.
    """
    if len(values) > ENOUGH:
        some = np.random.default_rng(0).integers(len(values), size=ENOUGH)
        values, brightness = values[some], brightness[some]
    shares = np.concatenate([np.linspace(0, 0.9, 10), 1 - np.logspace(-1.25, -4, 12)])
    edges = np.quantile(brightness, shares)
    places = np.searchsorted(edges, brightness, "right")
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(1, len(edges) + 2))

    def width(part: np.ndarray) -> float:
        median, far = np.quantile(np.abs(part), (0.5, 0.99))
        return float(max(1.4826 * median, far / 2.5758 if tails else 0))

    centres, widths = [], []
    for low, high in itertools.pairwise(bounds):
        chosen = order[low:high]
        if len(chosen) >= fewest:
            centres.append(np.median(brightness[chosen]))
            widths.append(width(values[chosen]))
    if not centres:  # a tiny frame
        centres, widths = [0.0], [width(values)]
    return np.array(centres), np.maximum.accumulate(np.maximum(widths, 1e-6))
