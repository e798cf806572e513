"""Streaks of a staring frame: their direction and length.

All stars of a frame draw streaks of one direction, which trails of satellites have by chance alone.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bgrem.frame.sources import sum_by_label

STREAK_SMOOTHING_PX = 1.0  # px; sigma of the smoothing before light is correlated
MIN_STREAK_LIGHT = 1.5  # noise of a pixel; fainter light is left out of the correlation
MAX_SHIFT_PX = 80  # px; largest shift of the correlation
MIN_SHIFT_PX = 3  # px; noise that is smoothed by 1 px does not correlate at larger shifts
COARSE_SHIFTS_PX = (4, 12)  # px along the streaks, for the first estimate of their direction
MIN_CORRELATION_SCATTER = 3.0  # times the scatter of the correlation: less is noise
MIN_USABLE_LENGTH_PX = 8.0  # px; the neighbours along shorter streaks are dark
MIN_USABLE_LENGTH_WIDTHS = 1.5  # widths; the neighbours along shorter streaks are dark
MAX_POWER_SHARE = 0.1  # of all light's power, for one object: no bright star and no trail decides
MIN_STREAK_PIXELS = 12  # px of an object; smaller ones have no reliable direction
MIN_ELONGATION = 1.6  # variance along / variance across the streaks
MAX_STREAK_ANGLE = np.radians(10)  # radians; an object's direction to that of the streaks
MIN_PARALLEL_OBJECTS = 4  # objects drawn out along one direction: fewer are single trails
# of the objects: frames with streaks have 0.3 and more, round stars under 0.1
MIN_PARALLEL_SHARE = 0.2
ROUNDNESS_SHIFT_PX = 5  # px; shift at which roundness is measured
# correlation in the best direction / mean over directions: less is round
MIN_CORRELATION_RATIO = 1.18
MAX_SKY_NOISE = 2.0  # noise; what is brighter is no sky
SKY_WIDTH_PX = 8.0  # px; what is smaller is no sky
BRIGHT_STREAK_NOISE = 1.5  # noise; brighter streaks are replaced by their neighbours alone


@dataclass(frozen=True)
class Streaks:
    """Direction and length of a frame's streaks.

    Attributes
    ----------
    angle : float
        Radians from x towards y, 0 to pi.
    length : float
        Pixels; 2 * `MAX_SHIFT_PX` stands for longer ones.
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
    light, labels = _light(flat)
    power = np.abs(np.fft.rfft2(light - light.mean())) ** 2
    shifts = np.arange(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1)  # negative ones are at the end
    shifts = np.clip(shifts, *((1 - min(light.shape)) // 2, min(light.shape) // 2))
    found = np.fft.irfft2(power, light.shape)[np.ix_(shifts, shifts)]

    def along(angles: np.ndarray, distances: np.ndarray) -> np.ndarray:
        steps = np.multiply.outer(np.stack([np.sin(angles), np.cos(angles)]), distances)
        return ndimage.map_coordinates(found, MAX_SHIFT_PX + steps, order=1)

    def profile(angle: float) -> np.ndarray:
        return along(np.array([angle]), np.arange(MIN_SHIFT_PX, MAX_SHIFT_PX + 1))[0]

    angles = np.radians(np.arange(180.0))
    angle = angles[along(angles, np.arange(*COARSE_SHIFTS_PX)).mean(1).argmax()]
    length, width = _length(profile(angle)), _length(profile(angle + np.pi / 2))
    by_chance = profile(angle)[0] <= MIN_CORRELATION_SCATTER * found.std()
    near = along(angles, np.array([ROUNDNESS_SHIFT_PX]))
    if (
        by_chance
        or near.max() < MIN_CORRELATION_RATIO * near.mean()
        or not _most_lie_along(light, labels, angle)
    ):
        return None
    if length < max(MIN_USABLE_LENGTH_PX, MIN_USABLE_LENGTH_WIDTHS * width):
        return Streaks(float(angle), length, short=True)
    # the longer the arm, the finer the angle; beyond half the length little is left
    arm = np.arange(MIN_SHIFT_PX, max(COARSE_SHIFTS_PX[1], min(length / 2, MAX_SHIFT_PX / 2)))
    angles = angle + np.radians(np.linspace(-3, 3, 121))
    angle = angles[along(angles, arm).mean(1).argmax()]
    return Streaks(float(angle % np.pi), _length(profile(angle)))


def _light(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the compressed light of a frame, and the labels of its objects, both (H, W).

    No object has more than `MAX_POWER_SHARE` of the light's power: no bright star and no trail
    decides.
    """
    smooth = ndimage.gaussian_filter(flat.astype(np.float32), STREAK_SMOOTHING_PX) - smooth_sky(
        flat
    )
    light = np.arcsinh(np.maximum(smooth - MIN_STREAK_LIGHT, 0))
    labels, number = ndimage.label(light > 0, np.ones((3, 3)))
    powers = np.bincount(labels.ravel(), np.square(light).ravel(), minlength=number + 1)
    weights = np.sqrt(np.minimum(MAX_POWER_SHARE * powers.sum() / np.maximum(powers, 1e-9), 1))
    return (light * weights[labels]).astype(np.float32), labels


def _most_lie_along(light: np.ndarray, labels: np.ndarray, angle: float) -> bool:
    """Return whether many objects are drawn out in one direction: stars, not trails among stars."""
    along, across, both = second_moments(labels, light, angle)
    large = np.bincount(labels.ravel()) >= MIN_STREAK_PIXELS
    large[0] = False
    parallel = np.abs(2 * both) < np.tan(2 * MAX_STREAK_ANGLE) * (along - across)
    drawn_out = (large & parallel & (along > MIN_ELONGATION * across)).sum()
    return bool(drawn_out >= max(MIN_PARALLEL_OBJECTS, MIN_PARALLEL_SHARE * large.sum()))


def second_moments(
    labels: np.ndarray, weights: np.ndarray, angle: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return variances along and across an angle and the covariance of objects, px^2: each (N,).

    Parameters
    ----------
    labels : array of int, shape (H, W)
        0 is no object; its moments are 0.
    weights : array, shape (H, W)
        Of the pixels, not negative.
    angle : float, optional
        Radians from x towards y.
    """
    y, x = np.nonzero(labels)
    label, weight = labels[y, x], weights[y, x]
    number = int(labels.max()) + 1
    total = np.maximum(sum_by_label(label, number, weight), 1e-9)

    def mean(values: np.ndarray) -> np.ndarray:
        return sum_by_label(label, number, weight, values) / total

    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    u, v = u - mean(u)[label], v - mean(v)[label]
    return mean(u * u), mean(v * v), mean(u * v)


def _length(correlation: np.ndarray) -> float:
    """Return the length of streaks whose correlation from `MIN_SHIFT_PX` px on is given.

    It falls in a straight line to 0 at the length.
    """
    below = correlation < correlation[0] / 2
    return (
        float(2 * (MIN_SHIFT_PX + below.argmax()) - MIN_SHIFT_PX)
        if below.any()
        else 2.0 * MAX_SHIFT_PX
    )


def smooth_sky(flat: np.ndarray, hidden: np.ndarray | None = None) -> np.ndarray:
    """Return smooth light, (H, W), of what is not hidden."""
    free = np.ones(flat.shape, np.float32) if hidden is None else (~hidden).astype(np.float32)
    light = ndimage.gaussian_filter(
        free * np.clip(flat, -MAX_SKY_NOISE, MAX_SKY_NOISE), SKY_WIDTH_PX
    )
    return np.asarray(light / np.maximum(ndimage.gaussian_filter(free, SKY_WIDTH_PX), 1e-3))
