"""Light of a frame, interpolated between the neighbours along its streaks.

A point of light, or a trail across the streaks, has no light of its own along them, be it on a
streak or beside it. So the neighbours on both sides give the light of the streak without it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.hiding import POINT_SIGMA_PX, SEARCH_ROUNDS, mask_peaks
from bgrem.noise_mapping.residual_noise import scatter
from bgrem.noise_mapping.streaks import BRIGHT_STREAK_NOISE, STREAK_SMOOTHING_PX, Streaks

# px along the streaks; points do not reach as far, and the seeing bends streaks little there
NEIGHBOUR_DISTANCES_PX = (3, 6)
# px along the streaks; neighbours against which points and trails are found
SEARCH_DISTANCES_PX = (4, 12)
STREAK_END_MARGIN_PX = 2  # px; from the farthest neighbour to half a streak's length
MAX_FILL_DISTANCE_PX = 24  # px; farthest neighbour that replaces a hidden pixel
FILL_NEIGHBOURS = 4  # number; nearest neighbours that are not hidden, their mean replaces a pixel
MAX_HIDDEN_SHARE = 0.05  # of an interpolated pixel; with more of it hidden it is not used
STREAK_END_NOISE = 2.0  # noise; where both sides differ by more, a streak ends
NEIGHBOUR_BLOCK_ROWS = 512  # rows at once: the neighbours of a frame would fill the memory
NEIGHBOUR_BLOCK_MARGIN_PX = 24  # px; rows around a block that its neighbours reach into
FILL_CHUNK = 100_000  # pixels filled at once: memory


@dataclass(frozen=True, eq=False)
class NeighbourLight:
    """A frame as its neighbours along the streaks give it: all of shape (H, W).

    Attributes
    ----------
    light : array
        Expected without points of light and trails, in units of the noise.
    points : bool array
        Points and trails that are brighter than that, with a margin.
    bright : bool array
        Streaks. Both masks leave out the frame's edge, where a streak that it cuts looks like a
        point.
    """

    light: np.ndarray
    points: np.ndarray
    bright: np.ndarray


@dataclass(frozen=True, eq=False)
class _Interpolated:
    """Light between the neighbours on both sides, and the light of the brighter side: (H, W)."""

    light: np.ndarray
    brighter: np.ndarray


def light_along(flat: np.ndarray, streaks: Streaks, threshold: float) -> NeighbourLight:
    """Return the light of a frame as the neighbours on both sides along the streaks give it.

    Points and trails are found as what is brighter than their neighbours. They are neighbours
    themselves, of each other and of their own wings. So they are replaced, and the search is
    repeated: the rim of a wide one appears without its middle.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    streaks : Streaks
    threshold : float
        Of points and trails: light under a Gaussian as wide as a satellite, in units of its scatter
        on pixels of the same brightness.
    """
    inside = ~_near_edge(flat.shape, streaks)
    points, free = np.zeros(flat.shape, bool), flat
    for _ in range(SEARCH_ROUNDS):
        between = _interpolate(free, streaks, SEARCH_DISTANCES_PX)
        excess = ndimage.gaussian_filter(flat - between.brighter, POINT_SIGMA_PX)
        excess -= np.median(excess)
        brightness = ndimage.maximum_filter(between.brighter, 3)
        points |= mask_peaks(excess / scatter(excess, brightness), threshold) & inside
        free = _fill_from_neighbours(flat, points, between, streaks)
    light = _interpolate(free, streaks, NEIGHBOUR_DISTANCES_PX).light
    smooth = ndimage.maximum_filter(ndimage.gaussian_filter(light, STREAK_SMOOTHING_PX), 3)
    bright = smooth > BRIGHT_STREAK_NOISE
    return NeighbourLight(np.where(points, free, light), points, bright & inside)


def correct_streaks(
    mapped: np.ndarray, flat: np.ndarray, streaks: Streaks, along: NeighbourLight
) -> np.ndarray:
    """Return a map of a frame, (H, W), with its bright streaks corrected by their neighbours.

    A network reproduces bright light to a few per cent. Where the scatter of the frame around its
    neighbours is less than that around the map, at this brightness, the neighbours' light replaces
    the map. Then what is left along the streaks is added.

    Parameters
    ----------
    mapped, flat : array, shape (H, W)
        Map and frame in units of the noise.
    streaks : Streaks
    along : NeighbourLight
        Of this frame.
    """
    nearer = scatter(flat - along.light, along.light) < scatter(flat - mapped, along.light)
    mapped = np.where(nearer & along.bright, along.light, mapped)
    left = np.where(along.points, 0, flat - mapped)
    left_along = _interpolate(left, streaks, NEIGHBOUR_DISTANCES_PX).light
    return np.where(along.bright, mapped + left_along, mapped)


def _interpolate(flat: np.ndarray, streaks: Streaks, distances: tuple[int, int]) -> _Interpolated:
    """Return the light of a frame (H, W) between its neighbours on both sides.

    Where both sides agree it is their mean. Where they differ a streak ends: there it is a pixel's
    own light, clipped to the range between the nearest neighbours of both sides.
    """
    every, nearest = _neighbours(flat, streaks, *distances)
    noise = scatter(flat - every.mean(0), every.max(0))
    ends = np.abs(every[0] - every[1]) > STREAK_END_NOISE * noise
    sides = np.where(ends, nearest, every)
    brighter = sides.max(0)
    light = np.where(ends, np.clip(flat, sides.min(0), brighter), sides.mean(0))
    return _Interpolated(light, brighter)


def _neighbours(
    flat: np.ndarray, streaks: Streaks, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return medians of all neighbours of each side and means of its two nearest, (2, H, W).

    Neighbours are `first` to `last` px away, nearer along short streaks. Between pixels the frame
    is a cubic spline.
    """
    end = streaks.length / 2 - STREAK_END_MARGIN_PX
    last = int(np.clip(end, first + 1, last))
    step = _step(streaks)
    every, nearest = np.empty((2, 2, *flat.shape), np.float32)
    for top in range(0, len(flat), NEIGHBOUR_BLOCK_ROWS):
        bottom = top + NEIGHBOUR_BLOCK_ROWS
        above = max(top - NEIGHBOUR_BLOCK_MARGIN_PX, 0)
        block = flat[above : bottom + NEIGHBOUR_BLOCK_MARGIN_PX].astype(np.float32)
        spline = ndimage.spline_filter(block, 3, np.float32, "mirror")
        inside = slice(top - above, min(bottom, len(flat)) - above)
        for side, sign in enumerate((1, -1)):
            found = [
                ndimage.shift(spline, -sign * d * step, order=3, mode="mirror", prefilter=False)
                for d in range(first, last + 1)
            ]
            every[side, top:bottom] = np.median(found, 0)[inside]
            nearest[side, top:bottom] = np.mean(found[:2], 0)[inside]
    return every, nearest


def _fill_from_neighbours(
    flat: np.ndarray, hidden: np.ndarray, between: _Interpolated, streaks: Streaks
) -> np.ndarray:
    """Return a frame, (H, W), its hidden pixels replaced by the nearest others along the streaks.

    `between` is a first guess, and remains where no neighbour is free. Where a streak ends it is
    as in `_interpolate`.
    """
    filled = np.where(hidden, between.light, flat).astype(np.float32)
    noise = scatter(flat - between.light, between.brighter)
    spline = ndimage.spline_filter(filled, 3, np.float32, "mirror")
    step, places = _step(streaks), np.argwhere(hidden)
    for part in np.array_split(places, len(places) // FILL_CHUNK + 1):
        here = tuple(part.T)
        both = [_nearest_free(spline, hidden, part, sign * step) for sign in (1, -1)]
        low, high = np.fmin(*both), np.fmax(*both)  # perhaps only one side is free
        ends = high - low > STREAK_END_NOISE * noise[here]
        found = np.where(ends, np.clip(flat[here], low, high), (low + high) / 2)
        filled[here] = np.where(np.isnan(found), filled[here], found)
    return filled


def _nearest_free(
    spline: np.ndarray, hidden: np.ndarray, places: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Return means of the nearest pixels in one direction that are not hidden; NaN without any.

    Parameters
    ----------
    spline : array, shape (H, W)
        Coefficients of the frame's cubic spline.
    hidden : bool array, shape (H, W)
    places : array of int, shape (N, 2)
        Rows and columns of the pixels that are replaced.
    step : array, shape (2,)
        A pixel in this direction, rows and columns.

    Returns
    -------
    array, shape (N,)
    """
    distances = np.arange(NEIGHBOUR_DISTANCES_PX[0], MAX_FILL_DISTANCE_PX + 1)
    at = places.T[:, :, None] + step[:, None, None] * distances
    hidden_share = ndimage.map_coordinates(hidden.astype(np.float32), at, order=1, mode="mirror")
    free = hidden_share < MAX_HIDDEN_SHARE
    nearest = free & (free.cumsum(1) <= FILL_NEIGHBOURS)
    light = ndimage.map_coordinates(spline, at, order=3, mode="mirror", prefilter=False)
    number = nearest.sum(1)
    total = np.where(nearest, light, 0).sum(1)
    return np.asarray(np.where(number, total / np.maximum(number, 1), np.nan))


def _step(streaks: Streaks) -> np.ndarray:
    """Return a pixel along the streaks: rows, columns."""
    return np.array([np.sin(streaks.angle), np.cos(streaks.angle)])


def _near_edge(shape: tuple[int, ...], streaks: Streaks) -> np.ndarray:
    """Return where the frame ends along the streaks, (H, W): a streak cut there looks like a point.

    It is the mean distance of the neighbours in `SEARCH_DISTANCES_PX`, along the streaks.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    reach = np.mean(SEARCH_DISTANCES_PX) * np.abs(_step(streaks))
    row_edge = np.minimum(rows, shape[0] - 1 - rows) < reach[0]
    return np.asarray(row_edge | (np.minimum(columns, shape[1] - 1 - columns) < reach[1]))
