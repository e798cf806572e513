"""Light of a frame as the neighbours along the streaks give it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.hiding import LOOKS, POINT, stand_out
from bgrem.noise_mapping.residual_noise import scatter
from bgrem.noise_mapping.streaks import BRIGHT, SMOOTH, Streaks

NEAR = (3, 6)  # px along the streaks; points do not reach that far, seeing bends no streak so soon
FAR = (4, 12)  # px; to find points and trails by
BEYOND, NEAREST = 24, 4  # px, neighbours: how far a trail's own light is looked past
AGREE = 2.0  # noise; where both sides differ by more, a streak ends
COVERED = 0.05  # of an interpolated pixel that is hidden; more is not free
STREAK_END = 2.0  # px; neighbours stay that far within half a streak's length
LEAST_SPAN = 2  # px from the first neighbour to the last, also along short streaks
ROWS, MARGIN, CHUNK = 512, 24, 100_000  # px at once: a frame's neighbours would fill the memory


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
    free = covered < COVERED
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
    last = int(np.clip(streaks.length / 2 - STREAK_END, first + LEAST_SPAN, last))
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
