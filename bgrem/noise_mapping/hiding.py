"""Light that is hidden from the network, as it would become a part of the map: satellites."""

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.streaks import smooth_sky

# of the search for points and trails: the rim of a wide one appears without its middle
SEARCH_ROUNDS = 2
POINT_SIGMA_PX = 0.7  # px; sigma of the image of a satellite and the pixel together
LOCAL_NOISE_SIDE_PX = 15  # px; square in which left-overs are measured
MAX_LOCAL_NOISE = 30.0  # noise; brighter pixels do not raise the local noise further
PEAK_FOOT_SHARE = 0.5  # of the threshold; a peak's mask reaches down to it
PEAK_MARGIN_PX = 2  # px around a peak's mask, for the wings of a point


def mask_compact_light(residual: np.ndarray, threshold: float) -> np.ndarray:
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
    """
    smooth = ndimage.gaussian_filter(residual, POINT_SIGMA_PX)
    white = 1 / (2 * np.sqrt(np.pi) * POINT_SIGMA_PX)
    around = ndimage.uniform_filter(
        np.minimum(np.abs(smooth), MAX_LOCAL_NOISE * white), LOCAL_NOISE_SIDE_PX
    )
    significance = smooth / np.maximum(white, np.sqrt(np.pi / 2) * around)
    return mask_peaks(significance, threshold)


def mask_peaks(significance: np.ndarray, threshold: float) -> np.ndarray:
    """Return peaks above a threshold down to half of it, and a margin: bool array, (H, W).

    Parameters
    ----------
    significance : array, shape (H, W)
        Light in units of its noise.
    threshold : float
        Of the significance.
    """
    labels, number = ndimage.label(significance > PEAK_FOOT_SHARE * threshold, np.ones((3, 3)))
    if not number:
        return np.zeros(significance.shape, bool)
    peaks = ndimage.maximum(significance, labels, np.arange(number + 1))
    chosen = peaks > threshold
    chosen[0] = False
    return _with_margin(chosen[labels], PEAK_MARGIN_PX)


def hide_light(
    flat: np.ndarray, threshold: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame whose light that is not sky is replaced by the sky, and where: both (H, W).

    What replaces light gets noise of its own: without noise it would be a structure.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background, bands and streaks, in units of its noise.
    threshold : float
        As in `mask_compact_light`; 0: nothing is hidden.
    rng : numpy.random.Generator
    """
    hidden = np.zeros(flat.shape, bool)
    if not threshold:
        return flat, hidden
    for _ in range(SEARCH_ROUNDS):
        hidden |= mask_compact_light(flat - smooth_sky(flat, hidden), threshold)
    noise = rng.standard_normal(flat.shape, np.float32)
    return np.where(hidden, smooth_sky(flat, hidden) + noise, flat), hidden


def _with_margin(mask: np.ndarray, margin: int) -> np.ndarray:
    """Return a mask (H, W) and `margin` px around it."""
    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=margin))
