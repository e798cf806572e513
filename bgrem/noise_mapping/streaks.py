"""Streaks of a staring frame: their direction and length. The first step of `find_stars`.

All stars of a frame make streaks of one direction. A satellite's trail has it only by chance.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bgrem.frame.sources import second_moments
from common.scratch import map_rows

STREAK_SMOOTHING_PX = 1.0  # px; sigma of the smoothing before light is correlated
MIN_STREAK_LIGHT = 1.5  # noise of a pixel; fainter light is left out of the correlation
MAX_SHIFT_PX = 80  # px; largest shift of the correlation
MIN_SHIFT_PX = 3  # px; noise that is smoothed by 1 px does not correlate at larger shifts
COARSE_SHIFT_PX = 12  # px along the streaks, to which their direction is estimated at first
MIN_CORRELATION_SCATTER = 3.0  # times the scatter of the correlation: less is noise
MAX_POWER_SHARE = 0.1  # of all light's power, for one object: no bright star and no trail decides
MIN_STREAK_PIXELS = 12  # px of an object; smaller ones have no reliable direction
MIN_ELONGATION = 1.6  # variance along / variance across the streaks
MAX_STREAK_ANGLE = np.radians(10)  # radians; an object's direction to that of the streaks
MIN_PARALLEL_OBJECTS = 4  # objects elongated along one direction: fewer are single trails
# of the objects: frames with streaks have 0.3 and more, round stars under 0.1
MIN_PARALLEL_SHARE = 0.2
ROUNDNESS_SHIFT_PX = 5  # px; shift at which roundness is measured
# correlation in the best direction / mean over directions: less is round
MIN_CORRELATION_RATIO = 1.18
MAX_SKY_NOISE = 2.0  # noise; what is brighter is no sky
SKY_WIDTH_PX = 8.0  # px; what is smaller is no sky
SKY_REACH_PX = 32  # px; such a Gaussian reaches 4 standard deviations
BRIGHT_STREAK_NOISE = 1.5  # noise; brighter light of stars is a streak: its noise is measured apart


@dataclass(frozen=True)
class Streaks:
    """Direction and length of a frame's streaks.

    Attributes
    ----------
    angle : float
        Radians from x towards y, 0 to pi.
    length : float
        Pixels; 2 * `MAX_SHIFT_PX` stands for longer ones.
    """

    angle: float
    length: float


def find_streaks(flat: np.ndarray) -> Streaks | None:
    """Measure the streaks of a frame by the autocorrelation of its light.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.

    Returns
    -------
    Streaks or None
        None: there are no streaks. The stars are round, or there are single trails only.
    """
    light, labels = _compress_light(flat)
    correlation = _autocorrelation(light)
    angles = np.radians(np.arange(180.0))
    angle = _best_angle(correlation, angles, np.arange(MIN_SHIFT_PX, COARSE_SHIFT_PX))
    if not (
        _is_significant(correlation, angle)
        and _is_elongated(correlation, angles)
        and _has_parallel_objects(light, labels, angle)
    ):
        return None
    length = _length(_profile(correlation, angle))
    # at larger shifts the angle is more precise; beyond half the length little light is left
    arm = np.arange(MIN_SHIFT_PX, max(COARSE_SHIFT_PX, min(length / 2, MAX_SHIFT_PX / 2)))
    angle = _best_angle(correlation, angle + np.radians(np.linspace(-3, 3, 121)), arm)
    return Streaks(float(angle % np.pi), _length(_profile(correlation, angle)))


def _compress_light(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the compressed light of a frame, and the labels of its objects, both (H, W).

    Light is arcsinh(flat - sky - threshold), 0 below the threshold. No object has more than
    `MAX_POWER_SHARE` of the sum of its squares, so that no bright star and no trail decides.
    """

    def compressed(flat: np.ndarray) -> np.ndarray:
        smooth = ndimage.gaussian_filter(flat.astype(np.float32), STREAK_SMOOTHING_PX)
        return np.arcsinh(np.maximum(smooth - smooth_sky(flat) - MIN_STREAK_LIGHT, 0))

    kind = np.result_type(flat.dtype, np.float32)  # the sky's
    light = map_rows(compressed, flat, dtype=kind, halo=SKY_REACH_PX)
    shining = map_rows(lambda rows: rows > 0, light, dtype=bool)
    labels, number = ndimage.label(shining, np.ones((3, 3)))
    bright = np.flatnonzero(labels)
    powers = np.bincount(
        labels.reshape(-1)[bright], np.square(light.reshape(-1)[bright]), minlength=number + 1
    )
    weights = np.sqrt(np.minimum(MAX_POWER_SHARE * powers.sum() / np.maximum(powers, 1e-9), 1))
    weighted = map_rows(lambda rows, one: rows * weights[one], light, labels, dtype=np.float32)
    return weighted, labels


def _autocorrelation(light: np.ndarray) -> np.ndarray:
    """Return C(d) = sum over pixels p of L(p) L(p + d), L = light - mean, for shifts d.

    Shape (S, S), S = 2 * `MAX_SHIFT_PX` + 1; shift 0 is in the middle. By the Wiener-Khinchin
    theorem it is the inverse Fourier transform of the power spectrum of the light (H, W).
    """
    power = np.abs(np.fft.rfft2(light - light.mean())) ** 2
    shifts = np.arange(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1)  # negative ones are at the end
    shifts = np.clip(shifts, *((1 - min(light.shape)) // 2, min(light.shape) // 2))
    return np.asarray(np.fft.irfft2(power, light.shape)[np.ix_(shifts, shifts)])


def _correlation_at(
    correlation: np.ndarray, angles: np.ndarray, distances: np.ndarray
) -> np.ndarray:
    """Return the correlation at shifts in directions (A,) and distances (D,): shape (A, D)."""
    steps = np.multiply.outer(np.stack([np.sin(angles), np.cos(angles)]), distances)
    return np.asarray(ndimage.map_coordinates(correlation, MAX_SHIFT_PX + steps, order=1))


def _profile(correlation: np.ndarray, angle: float) -> np.ndarray:
    """Return the correlation in one direction from `MIN_SHIFT_PX` to `MAX_SHIFT_PX`."""
    distances = np.arange(MIN_SHIFT_PX, MAX_SHIFT_PX + 1)
    return _correlation_at(correlation, np.array([angle]), distances)[0]


def _best_angle(correlation: np.ndarray, angles: np.ndarray, distances: np.ndarray) -> float:
    """Return the angle with the highest mean correlation over the distances."""
    return float(angles[_correlation_at(correlation, angles, distances).mean(1).argmax()])


def _is_significant(correlation: np.ndarray, angle: float) -> bool:
    """Return whether the correlation in a direction is more than its scatter over all shifts."""
    return bool(_profile(correlation, angle)[0] > MIN_CORRELATION_SCATTER * correlation.std())


def _is_elongated(correlation: np.ndarray, angles: np.ndarray) -> bool:
    """Return whether the light is elongated: round stars correlate alike in all directions."""
    near = _correlation_at(correlation, angles, np.array([ROUNDNESS_SHIFT_PX]))
    return bool(near.max() >= MIN_CORRELATION_RATIO * near.mean())


def _has_parallel_objects(light: np.ndarray, labels: np.ndarray, angle: float) -> bool:
    """Return whether many objects are elongated along an angle: stars, not trails among stars."""
    along, across, both = second_moments(labels, light, angle)
    number = np.bincount(labels.reshape(-1)[np.flatnonzero(labels)], minlength=len(along))
    large = number >= MIN_STREAK_PIXELS
    # an object's own angle t to that of the streaks: tan(2 t) = 2 both / (along - across)
    parallel = np.abs(2 * both) < np.tan(2 * MAX_STREAK_ANGLE) * (along - across)
    elongated = (large & parallel & (along > MIN_ELONGATION * across)).sum()
    return bool(elongated >= max(MIN_PARALLEL_OBJECTS, MIN_PARALLEL_SHARE * large.sum()))


def _length(profile: np.ndarray) -> float:
    """Return the length of streaks, px, from the correlation along them (`_profile`).

    The autocorrelation of a line of length l is proportional to 1 - d / l. It is half of its value
    at the first shift, d0 = `MIN_SHIFT_PX`, at d = (l + d0) / 2, so l = 2 d - d0.
    """
    below = profile < profile[0] / 2
    return (
        float(2 * (MIN_SHIFT_PX + below.argmax()) - MIN_SHIFT_PX)
        if below.any()
        else 2.0 * MAX_SHIFT_PX
    )


def smooth_sky(flat: np.ndarray, hidden: np.ndarray | None = None) -> np.ndarray:
    """Return the smooth light of a frame where it is not hidden, shape (H, W).

    With m = 1 where the frame counts, 0 where it is hidden, f the frame clipped to
    +-`MAX_SKY_NOISE` and G a Gaussian of `SKY_WIDTH_PX`, it is G(m f) / G(m).

    Parameters
    ----------
    flat : array, shape (H, W)
        As in `find_streaks`.
    hidden : bool array, shape (H, W), optional
        Pixels that do not count.
    """
    free = np.ones(flat.shape, np.float32) if hidden is None else (~hidden).astype(np.float32)
    light = ndimage.gaussian_filter(
        free * np.clip(flat, -MAX_SKY_NOISE, MAX_SKY_NOISE), SKY_WIDTH_PX
    )
    return np.asarray(light / np.maximum(ndimage.gaussian_filter(free, SKY_WIDTH_PX), 1e-3))
