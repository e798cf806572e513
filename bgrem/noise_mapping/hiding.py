"""Light that is hidden from the network, as it would become a part of the map: satellites."""

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.streaks import SKY_REACH_PX, smooth_sky
from common.scratch import map_rows, row_blocks

# of the search for points and trails: the rim of a wide one appears without its middle
SEARCH_ROUNDS = 2
POINT_SIGMA_PX = 0.7  # px; sigma of the image of a satellite and the pixel together
LOCAL_NOISE_SIDE_PX = 15  # px; square in which left-overs are measured
MAX_LOCAL_NOISE = 30.0  # noise; brighter pixels do not raise the local noise further
# px; how far a pixel's significance reaches: the sky, a Gaussian of 4 sigma and half of the square
SEARCH_REACH_PX = SKY_REACH_PX + 3 + LOCAL_NOISE_SIDE_PX // 2
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
    return mask_peaks(_local_significance(residual), threshold)


def _local_significance(residual: np.ndarray) -> np.ndarray:
    """Return S of `mask_compact_light`."""
    smooth = ndimage.gaussian_filter(residual, POINT_SIGMA_PX)
    white = 1 / (2 * np.sqrt(np.pi) * POINT_SIGMA_PX)
    around = ndimage.uniform_filter(
        np.minimum(np.abs(smooth), MAX_LOCAL_NOISE * white), LOCAL_NOISE_SIDE_PX
    )
    return np.asarray(smooth / np.maximum(white, np.sqrt(np.pi / 2) * around))


def point_light(residual: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return light under a Gaussian as wide as a satellite in units of its noise, (H, W).

    Parameters
    ----------
    residual : array, shape (H, W)
    variance : array, shape (H, W)
        Of the residual; pixels where it is infinite do not count.
    """
    white = 1 / (2 * np.sqrt(np.pi) * POINT_SIGMA_PX)
    known = np.isfinite(variance)
    smooth = ndimage.gaussian_filter(np.where(known, residual, 0), POINT_SIGMA_PX)
    noise = ndimage.gaussian_filter(np.where(known, variance, 0), POINT_SIGMA_PX / np.sqrt(2))
    return np.asarray(smooth / (white * np.sqrt(np.maximum(noise, 1e-30))))


def mask_peaks(significance: np.ndarray, threshold: float) -> np.ndarray:
    """Return peaks above a threshold down to half of it, and a margin: bool array, (H, W).

    Parameters
    ----------
    significance : array, shape (H, W)
        Light in units of its noise.
    threshold : float
        Of the significance.
    """
    foot = map_rows(lambda rows: rows > PEAK_FOOT_SHARE * threshold, significance, dtype=bool)
    labels, number = ndimage.label(foot, np.ones((3, 3)))
    if not number:
        return np.zeros(significance.shape, bool)
    chosen = np.zeros(number + 1, bool)
    for rows in row_blocks(labels.shape, significance, labels):
        chosen[labels[rows][significance[rows] > threshold]] = True
    chosen[0] = False
    peaks = map_rows(lambda rows: chosen[rows], labels, dtype=bool)
    return map_rows(
        lambda rows: _with_margin(rows, PEAK_MARGIN_PX), peaks, dtype=bool, halo=PEAK_MARGIN_PX
    )


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

    def significance(flat: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        return _local_significance(flat - smooth_sky(flat, hidden))

    for _ in range(SEARCH_ROUNDS):
        found = map_rows(significance, flat, hidden, halo=SEARCH_REACH_PX)
        hidden = hidden | mask_peaks(found, threshold)

    def replaced(flat: np.ndarray, hidden: np.ndarray, sky: np.ndarray) -> np.ndarray:
        noise = rng.standard_normal(flat.shape, np.float32)
        return np.where(hidden, sky + noise, flat)

    sky = map_rows(smooth_sky, flat, hidden, dtype=np.float32, halo=SKY_REACH_PX)
    return map_rows(replaced, flat, hidden, sky, dtype=np.float32), hidden


def _with_margin(mask: np.ndarray, margin: int) -> np.ndarray:
    """Return a mask (H, W) and `margin` px around it."""
    return np.asarray(ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=margin))
