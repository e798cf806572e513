"""Where a frame is cut at the full well: its brightest light makes plateaus."""

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.streaks import BRIGHT_STREAK_NOISE, STREAK_SMOOTHING_PX

PLATEAU_SHARE = 0.95  # least / largest pixel of 3 x 3 where a frame is cut
MIN_PLATEAU_NOISE = 50.0  # noise; fainter light may be even by chance


def find_saturated(flat: np.ndarray) -> np.ndarray:
    """Return where a frame is cut at the full well, with a margin of 1 px: bool array, (H, W).

    There the brightest light makes plateaus. A streak falls by more across, from pixel to pixel.
    """
    top = flat.max()
    low, high = ndimage.minimum_filter(flat, 3), ndimage.maximum_filter(flat, 3)
    plateau = (low > PLATEAU_SHARE * high) & (low > top / 2) & (low > MIN_PLATEAU_NOISE)
    if not plateau.any():
        return plateau
    cut = flat > PLATEAU_SHARE * np.median(flat[plateau])
    return np.asarray(ndimage.binary_dilation(cut, np.ones((3, 3))))


def with_rims(saturated: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return saturated pixels (H, W) and what the fit leaves of the same stars around them."""
    if not saturated.any():
        return saturated
    uneven = np.abs(ndimage.gaussian_filter(left, STREAK_SMOOTHING_PX)) > BRIGHT_STREAK_NOISE
    labels, _ = ndimage.label(uneven | saturated, np.ones((3, 3)))
    return np.asarray(np.isin(labels, np.unique(labels[saturated])))
