"""Light that is hidden from the network, as it would become a part of the map: points and trails.

Masks of it, and the sky behind it, without the help of neighbours along streaks (`neighbours`).
"""

import numpy as np
from scipy import ndimage

from bgrem.frame.sources import second_moments
from bgrem.noise_mapping.streaks import (
    MIN_STREAK_LIGHT,
    STREAK_SMOOTHING_PX,
    Streaks,
    smooth_sky,
)

# of the search for points and trails: the rim of a wide one appears without its middle
SEARCH_ROUNDS = 2
POINT_SIGMA_PX = 0.7  # px; sigma of the image of a satellite and the pixel together
LOCAL_NOISE_SIDE_PX = 15  # px; square in which left-overs are measured
MAX_LOCAL_NOISE = 30.0  # noise; brighter pixels do not raise the local noise further
PEAK_FOOT_SHARE = 0.5  # of the threshold; a peak's mask reaches down to it
PEAK_MARGIN_PX = 2  # px around a peak's mask, for the wings of a point
MIN_TRAIL_TO_STREAK_LENGTH = 1.3  # lengths of streaks; from here on an object is a trail
MAX_TRAIL_VARIANCE_RATIO = 0.1  # variance across / variance along; wider objects are no trails
TRAIL_MARGIN_PX = 3  # px around a trail that are hidden too


def mask_compact_light(residual: np.ndarray, threshold: float, max_pixels: int = 0) -> np.ndarray:
    """Return where light is brighter than its surroundings, with a margin: bool array, (H, W).

    With G a Gaussian as wide as a satellite, sigma = `POINT_SIGMA_PX`, the significance is

        S = G(residual) / max(white, sqrt(pi / 2) mean |G(residual)|)
        white = 1 / (2 sqrt(pi) sigma)

    Under G, white noise of standard deviation 1 has the standard deviation `white`. The second
    term is the noise with left-overs in a square around, as Gaussian noise has a mean absolute
    value of sqrt(2 / pi) of its standard deviation.

    Parameters
    ----------
    residual : array, shape (H, W)
        In units of its noise.
    threshold : float
        Of S.
    max_pixels : int
        As in `mask_peaks`.
    """
    smooth = ndimage.gaussian_filter(residual, POINT_SIGMA_PX)
    white = 1 / (2 * np.sqrt(np.pi) * POINT_SIGMA_PX)
    around = ndimage.uniform_filter(
        np.minimum(np.abs(smooth), MAX_LOCAL_NOISE * white), LOCAL_NOISE_SIDE_PX
    )
    significance = smooth / np.maximum(white, np.sqrt(np.pi / 2) * around)
    return mask_peaks(significance, threshold, max_pixels)


def mask_peaks(significance: np.ndarray, threshold: float, max_pixels: int = 0) -> np.ndarray:
    """Return peaks above a threshold down to half of it, and a margin: bool array, (H, W).

    Parameters
    ----------
    significance : array, shape (H, W)
        Light in units of its noise.
    threshold : float
        Of the significance.
    max_pixels : int
        Pixels above half the threshold that a peak may have; 0: any number.
    """
    labels, number = ndimage.label(significance > PEAK_FOOT_SHARE * threshold, np.ones((3, 3)))
    if not number:
        return np.zeros(significance.shape, bool)
    peaks = ndimage.maximum(significance, labels, np.arange(number + 1))
    chosen = peaks > threshold
    if max_pixels:
        chosen &= np.bincount(labels.ravel()) <= max_pixels
    chosen[0] = False
    return _with_margin(chosen[labels], PEAK_MARGIN_PX)


def hide_without_streaks(flat: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where a frame without streaks has light that is not sky, and the sky: both (H, W).

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    threshold : float
        As in `mask_compact_light`.
    """
    hidden = np.zeros(flat.shape, bool)
    for _ in range(SEARCH_ROUNDS):
        hidden |= mask_compact_light(flat - smooth_sky(flat, hidden), threshold)
    return hidden, smooth_sky(flat, hidden)


def hide_long_trails(flat: np.ndarray, streaks: Streaks) -> tuple[np.ndarray, np.ndarray]:
    """Return where lines are longer than the streaks of a frame, and the sky: both (H, W).

    A line of length l has the variance l^2 / 12 along it. An object's variances along and across
    its own axes are the eigenvalues of its second moments:

        (xx + yy) / 2 +- sqrt((xx - yy)^2 / 4 + xy^2)

    Parameters
    ----------
    flat : array, shape (H, W)
        As in `hide_without_streaks`.
    streaks : Streaks
    """
    sky = smooth_sky(flat)
    light = ndimage.gaussian_filter(flat - sky, STREAK_SMOOTHING_PX) > MIN_STREAK_LIGHT
    labels, _ = ndimage.label(light, np.ones((3, 3)))
    xx, yy, xy = second_moments(labels, np.ones(labels.shape))
    half, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    length = np.sqrt(12 * (half + root))
    narrow = half - root < MAX_TRAIL_VARIANCE_RATIO * (half + root)
    chosen = narrow & (length > MIN_TRAIL_TO_STREAK_LENGTH * streaks.length)
    chosen[0] = False
    hidden = _with_margin(chosen[labels], TRAIL_MARGIN_PX)
    return hidden, smooth_sky(flat, hidden)


def _with_margin(mask: np.ndarray, margin: int) -> np.ndarray:
    """Return a mask (H, W) and `margin` px around it."""
    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=margin))
