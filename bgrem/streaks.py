"""Streaks of a staring frame: their direction, and what the light along them says of a pixel.

All stars of a frame draw streaks of one direction. A point of light has nothing of its kind along
it, be it on a streak or beside: neighbours along the streaks tell the streak's light without it.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bgrem.normalise import pixel_noise

SMOOTH, FAINTEST = 1.0, 1.5  # px, and noise of a pixel: light for the correlation
REACH = 80  # px, of the correlation
FIRST = 3  # px; noise that is smoothed by 1 px does not correlate further
NEAR = (3, 6)  # px along the streaks; points do not reach that far, seeing bends no streak so soon
FAR = (4, 12)  # px; to find points and trails by
CHANCE = 3.0  # times the scatter of the correlation: less is noise
SHORTEST = 8.0  # px; the neighbours along shorter streaks are dark
LARGEST = 0.1  # of all light's power, an object's
SMALLEST, ELONGATED = 12, 1.6  # px, of an object; its variance along to that across the streaks
PARALLEL = np.radians(10)  # an object's direction to the streaks'
FEWEST, SHARE = 4, 0.2  # of the objects: stars' streaks have 0.3 and more, round stars under 0.1
NEARBY, ROUNDEST = 5, 1.18  # px; correlation in the best direction to the mean one: less is round
NARROWEST = 1.5  # widths; shorter ones have dark neighbours, too
POINT = 0.7  # px; sigma of a satellite and the pixel together
BRIGHT = 1.5  # noise; brighter streaks are told by their neighbours alone
AGREE = 2.0  # noise; where both sides differ by more, a streak ends
AROUND, MOST = 15, 30.0  # px; noise: brighter ones do not raise the noise around them further
FAINT, WIDE = 2.0, 8.0  # noise, px: what is brighter or smaller is no sky
ROUNDS = 2  # of looking for what to hide
BEYOND, NEAREST, CHUNK = 24, 4, 100_000  # px; pixels
LONGER, THIN, WINGS = 1.3, 0.1, 3  # lengths of streaks; variance across to along; px
RIMS = 5  # px; a streak's rim is as uncertain as its middle
ROWS, MARGIN = 512, 24  # px; at once: a frame's neighbours would fill the memory


@dataclass(frozen=True)
class Streaks:
    """Direction and length of a frame's streaks.

    Attributes
    ----------
    angle : float
        Radians from x towards y, 0 to pi.
    length : float
        Pixels; 2 * `REACH` stands for longer ones.
    short : bool
        Too short, for their width, to be told by neighbours along them.
    """

    angle: float
    length: float
    short: bool = False


def find_streaks(flat: np.ndarray) -> Streaks | None:
    """Measure the streaks by the correlation of their light with itself.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.

    Returns
    -------
    Streaks or None
        None: there are none, but round stars, or single trails.
    """
    light = _light(flat)
    power = np.abs(np.fft.rfft2(light - light.mean())) ** 2
    shifts = np.arange(-REACH, REACH + 1)  # negative ones are at the end
    shifts = np.clip(shifts, *((1 - min(light.shape)) // 2, min(light.shape) // 2))
    found = np.fft.irfft2(power, light.shape)[np.ix_(shifts, shifts)]

    def along(angles: np.ndarray, distances: np.ndarray) -> np.ndarray:
        steps = np.multiply.outer(np.stack([np.sin(angles), np.cos(angles)]), distances)
        return ndimage.map_coordinates(found, REACH + steps, order=1)

    def profile(angle: float) -> np.ndarray:
        return along(np.array([angle]), np.arange(FIRST, REACH + 1))[0]

    angles = np.radians(np.arange(180.0))
    angle = angles[along(angles, np.arange(*FAR)).mean(1).argmax()]
    length, width = _length(profile(angle)), _length(profile(angle + np.pi / 2))
    by_chance = profile(angle)[0] <= CHANCE * found.std()
    near = along(angles, np.array([NEARBY]))
    if by_chance or near.max() < ROUNDEST * near.mean() or not _most_lie_along(light, angle):
        return None
    if length < max(SHORTEST, NARROWEST * width):
        return Streaks(float(angle), length, short=True)
    # the longer the arm, the finer the angle; beyond half the length little is left
    arm = np.arange(FIRST, max(FAR[1], min(length / 2, REACH / 2)))
    angles = angle + np.radians(np.linspace(-3, 3, 121))
    angle = angles[along(angles, arm).mean(1).argmax()]
    return Streaks(float(angle % np.pi), _length(profile(angle)))


def _light(flat: np.ndarray) -> np.ndarray:
    """Return the compressed light of a frame, (H, W): neither a bright star nor a trail decides."""
    smooth = ndimage.gaussian_filter(flat.astype(np.float32), SMOOTH) - _sky(flat)
    light = np.arcsinh(np.maximum(smooth - FAINTEST, 0))
    labels, number = ndimage.label(light > 0, np.ones((3, 3)))
    powers = np.bincount(labels.ravel(), np.square(light).ravel(), minlength=number + 1)
    weights = np.sqrt(np.minimum(LARGEST * powers.sum() / np.maximum(powers, 1e-9), 1))
    return (light * weights[labels]).astype(np.float32)


def _most_lie_along(light: np.ndarray, angle: float) -> bool:
    """Return whether many objects are drawn out in one direction: stars, not trails among stars."""
    labels, number = ndimage.label(light > 0, np.ones((3, 3)))
    y, x = np.nonzero(labels)
    label, weight = labels[y, x], light[y, x]
    total = np.maximum(np.bincount(label, weight, number + 1), 1e-9)

    def centred(place: np.ndarray) -> np.ndarray:
        return place - (np.bincount(label, weight * place, number + 1) / total)[label]

    u = centred(x * np.cos(angle) + y * np.sin(angle))
    v = centred(y * np.cos(angle) - x * np.sin(angle))
    along, across, both = (
        np.bincount(label, weight * part, number + 1) / total for part in (u * u, v * v, u * v)
    )
    large = np.bincount(label, minlength=number + 1) >= SMALLEST
    parallel = np.abs(2 * both) < np.tan(2 * PARALLEL) * (along - across)
    drawn_out = (large & parallel & (along > ELONGATED * across)).sum()
    return bool(drawn_out >= max(FEWEST, SHARE * large.sum()))


def _length(correlation: np.ndarray) -> float:
    """Return the length of streaks whose correlation from `FIRST` px on is given.

    It falls in a straight line to 0 at the length.
    """
    below = correlation < correlation[0] / 2
    return float(2 * (FIRST + below.argmax()) - FIRST) if below.any() else 2.0 * REACH


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
    # clouds are in the frame's noise, but not in that of its pixels
    white = min(1.0, pixel_noise(residual)) / (2 * np.sqrt(np.pi) * POINT)
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
    for _ in range(ROUNDS):
        hidden |= compact_light(flat - _sky(flat, hidden), threshold)
    return hidden, _sky(flat, hidden)


def longer_light(flat: np.ndarray, streaks: Streaks) -> tuple[np.ndarray, np.ndarray]:
    """Return where light is drawn out further than the streaks are, and the sky: both (H, W).

    Parameters
    ----------
    flat : array, shape (H, W)
        As for `find_streaks`.
    streaks : Streaks
    """
    sky = _sky(flat)
    light = ndimage.gaussian_filter(flat - sky, SMOOTH) > FAINTEST
    labels, number = ndimage.label(light, np.ones((3, 3)))
    y, x = np.nonzero(labels)
    label = labels[y, x]
    pixels = np.maximum(np.bincount(label, minlength=number + 1), 1)

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        mean_a, mean_b = (np.bincount(label, one, number + 1) / pixels for one in (a, b))
        deviations = (a - mean_a[label]) * (b - mean_b[label])
        return np.bincount(label, deviations, number + 1) / pixels

    xx, yy, xy = covariance(x, x), covariance(y, y), covariance(x, y)
    half, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    longest = np.sqrt(12 * (half + root))  # of a line with this variance
    narrow = half - root < THIN * (half + root)
    chosen = narrow & (longest > LONGER * streaks.length)
    chosen[0] = False
    hidden = ndimage.binary_dilation(chosen[labels], np.ones((3, 3)), iterations=WINGS)
    return hidden, _sky(flat, hidden)


def _sky(flat: np.ndarray, hidden: np.ndarray | None = None) -> np.ndarray:
    """Return smooth light, (H, W), of what is not hidden."""
    free = np.ones(flat.shape, np.float32) if hidden is None else (~hidden).astype(np.float32)
    light = ndimage.gaussian_filter(free * np.clip(flat, -FAINT, FAINT), WIDE)
    return np.asarray(light / np.maximum(ndimage.gaussian_filter(free, WIDE), 1e-3))


@dataclass(frozen=True, eq=False)
class Seen:
    """What the neighbours along the streaks say: all of shape (H, W).

    Attributes
    ----------
    light : array
        Expected without points of light, in units of the noise.
    points, bright : bool array
        Points of light that stand out of it, with their surroundings; streaks. Neither is at the
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
        As for `find_streaks`.
    streaks : Streaks
    threshold : float
        Of points: light under a Gaussian as wide as a satellite, in units of its scatter on pixels
        that are as bright.
    """
    inside = ~_near_edge(flat.shape, streaks)
    points, free = np.zeros(flat.shape, bool), flat
    for _ in range(ROUNDS):  # they are neighbours too: what is wide stands out without its middle
        sides = _both_sides(free, streaks, FAR)
        excess = ndimage.gaussian_filter(flat - sides.most, POINT)
        excess -= np.median(excess)
        brightness = ndimage.maximum_filter(sides.most, 3)
        points |= stand_out(excess / scatter(excess, brightness), threshold) & inside
        free = _fill(flat, points, sides.expected, scatter(flat - sides.expected, sides.most), streaks)
    sides = _both_sides(free, streaks, NEAR)
    bright = ndimage.maximum_filter(ndimage.gaussian_filter(sides.expected, SMOOTH), 3) > BRIGHT
    return Seen(np.where(points, free, sides.expected), points, bright & inside)


def _fill(
    flat: np.ndarray, hidden: np.ndarray, light: np.ndarray, noise: np.ndarray, streaks: Streaks
) -> np.ndarray:
    """Return a frame, (H, W), with hidden pixels as the nearest others along the streaks have it.

    `light` is a first guess; it stays where a side has no others within `BEYOND`.
    """
    filled = np.where(hidden, light, flat).astype(np.float32)
    curve = ndimage.spline_filter(filled, 3, np.float32, "mirror")
    step = np.array([np.sin(streaks.angle), np.cos(streaks.angle)])
    places = np.argwhere(hidden)
    distances = np.arange(NEAR[0], BEYOND + 1)
    for part in np.array_split(places, len(places) // CHUNK + 1):
        sides = np.empty((2, len(part)))
        for side, sign in enumerate((1, -1)):
            at = part.T[:, :, None] + sign * step[:, None, None] * distances
            free = ndimage.map_coordinates(hidden.astype(np.float32), at, order=1, mode="mirror")
            free = free < 0.05
            nearest = free & (free.cumsum(1) <= NEAREST)
            found = ndimage.map_coordinates(curve, at, order=3, mode="mirror", prefilter=False)
            number = nearest.sum(1)
            sides[side] = np.where(
                number, (found * nearest).sum(1) / np.maximum(number, 1), np.nan
            )
        alone = np.isnan(sides)
        mean = np.where(alone, 0, sides).sum(0) / np.maximum((~alone).sum(0), 1)
        low, high = np.fmin(*sides), np.fmax(*sides)
        here = tuple(part.T)
        ends = high - low > AGREE * noise[here]
        mean = np.where(ends, np.clip(flat[here], low, high), mean)
        filled[here] = np.where(alone.all(0), filled[here], mean)
    return filled


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


def rms_of(left: np.ndarray, mapped: np.ndarray) -> np.ndarray:
    """Return the noise of a residual, (H, W), with what is left over of streaks as bright.

    Parameters
    ----------
    left, mapped : array, shape (H, W)
        Residual and map in units of the frame's noise.
    """
    return scatter(left, ndimage.maximum_filter(mapped, RIMS), tails=True)


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
    step = np.array([np.sin(streaks.angle), np.cos(streaks.angle)])
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
    reach = np.mean(FAR) * np.abs([np.sin(streaks.angle), np.cos(streaks.angle)])
    row_edge = np.minimum(rows, shape[0] - 1 - rows) < reach[0]
    return np.asarray(row_edge | (np.minimum(columns, shape[1] - 1 - columns) < reach[1]))


def scatter(values: np.ndarray, brightness: np.ndarray, *, tails: bool = False) -> np.ndarray:
    """Return the robust standard deviation of values on pixels as bright, shape (H, W).

    It grows with the light: photon noise, and what interpolation between pixels leaves. It is
    measured in ranges of brightness, narrower where there are fewer pixels, and interpolated.

    Parameters
    ----------
    values, brightness : array, shape (H, W)
    tails : bool
        Of a Gaussian that reaches as far as the values do, 1 % of them set aside, if that is more.
    """
    shares = np.concatenate([np.linspace(0, 0.9, 10), 1 - np.logspace(-1.25, -4, 12)])
    edges = np.quantile(brightness, shares)
    places = np.searchsorted(edges, brightness.ravel(), "right")
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(1, len(edges) + 2))
    centres, widths = [], []
    for low, high in itertools.pairwise(bounds):
        chosen = order[low:high]
        if len(chosen) >= 10:
            centres.append(np.median(brightness.ravel()[chosen]))
            widths.append(_width(values.ravel()[chosen], tails))
    if not centres:  # a tiny frame
        centres, widths = [0.0], [_width(values, tails)]
    growing = np.maximum.accumulate(np.maximum(widths, 1e-6))
    return np.interp(brightness, centres, growing).astype(np.float32)


def _width(values: np.ndarray, tails: bool) -> float:
    median, far = np.quantile(np.abs(values), (0.5, 0.99))
    return float(max(1.4826 * median, far / 2.5758 if tails else 0))
