"""Counts into the network's units and back: their smooth level, and its square root as noise."""

import numpy as np
from scipy import ndimage

from bgrem.frame.background import Statistics

LEVEL = 6.0  # px; standard deviation of the smoothing that gives the level
COMPACT, AROUND = 1.5, 4.0  # px; what stands out between these scales is a source
MASK_SIGMA = 3.5
ROUNDS = 3
LOWEST = 0.01  # counts per pixel; where hardly a photon fell the level is not known better


def counts_statistics(pixels: np.ndarray, missing: np.ndarray | None = None) -> Statistics:
    """Return the smooth level of a counts map of shape (H, W), and sqrt(level) as its noise.

    A mean, since the median of sparse counts is 0; compact sources are left out of it. Both maps
    are smooth: the additive equations of the diffusion hold at each pixel.

    Parameters
    ----------
    pixels : array, shape (H, W)
        Photons per pixel.
    missing : bool array, shape (H, W), optional
        Default: what is not finite.

    Raises
    ------
    ValueError
        If no pixel is measured, or most are negative.
    """
    missing = ~np.isfinite(pixels) if missing is None else missing
    if missing.all():
        raise ValueError("no pixel is measured: there is nothing to denoise.")
    counts = np.where(missing, 0, pixels).astype(np.float64)
    if np.mean(counts < 0) > 0.1:
        raise ValueError("many pixels are negative: the model takes counts with their background.")
    level = _smooth(counts, ~missing, LEVEL)
    for _ in range(ROUNDS):
        rise = _smooth(counts, ~missing, COMPACT) - _smooth(counts, ~missing, AROUND)
        noise = np.sqrt(level * (1 / COMPACT**2 - 1 / AROUND**2) / (4 * np.pi))
        found = ndimage.binary_dilation(rise > MASK_SIGMA * noise, iterations=2)
        level = _smooth(counts, ~(missing | found), LEVEL)
    return Statistics(level.astype(np.float32), np.sqrt(level).astype(np.float32))


def _smooth(counts: np.ndarray, known: np.ndarray, width: float) -> np.ndarray:
    """Return the Gaussian mean of the known pixels, at least `LOWEST`."""
    weight = ndimage.gaussian_filter(known.astype(float), width)
    total = ndimage.gaussian_filter(np.where(known, counts, 0), width)
    mean = counts[known].mean() if known.any() else 0.0
    # far from any known pixel the whole map's mean is all there is
    return np.maximum((total + 1e-3 * mean) / (weight + 1e-3), LOWEST)
