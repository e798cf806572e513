"""What a network must not see of a frame, lest it maps satellites and trails, and what is there.

A point of light, or a trail across the streaks, has nothing of its kind along them, be it on a
streak or beside: neighbours along the streaks tell the streak's light without it.
"""

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.streaks import FAINTEST, SMOOTH, Streaks, second_moments, smooth_sky

LOOKS = 2  # of looking for points and trails: the rim of a wide one stands out without its middle
POINT = 0.7  # px; sigma of a satellite and the pixel together
AROUND, MOST = 15, 30.0  # px; noise: brighter ones do not raise the noise around them further
LONGER, THIN, WINGS = 1.3, 0.1, 3  # lengths of streaks; variance across to along; px around
FOOT = 0.5  # of the threshold: a peak's light reaches down to that
PEAK_RIM = 2  # px around what stands out: a point's wings


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
    labels, number = ndimage.label(significance > FOOT * threshold, np.ones((3, 3)))
    if not number:
        return np.zeros(significance.shape, bool)
    peaks = ndimage.maximum(significance, labels, np.arange(number + 1))
    chosen = peaks > threshold
    if largest:
        chosen &= np.bincount(labels.ravel()) <= largest
    chosen[0] = False
    return np.asarray(ndimage.binary_dilation(chosen[labels], np.ones((3, 3)), iterations=PEAK_RIM))
