"""Counts into the network's units and back: their smooth level, and its square root as noise."""

import numpy as np
from scipy import ndimage

from bgrem.frame.background import Statistics
from bgrem.frame.sources import mask_sources

LEVEL_WIDTH_PX = 6.0  # px; standard deviation of the smoothing that gives the level
SOURCE_WIDTH_PX = 1.5  # px; inner scale of the filter that finds sources
SURROUNDINGS_WIDTH_PX = 4.0  # px; outer scale of the filter that finds sources
COUNTS_MASK_SIGMA = 3.5  # sigma of Poisson noise after smoothing; above it pixels belong to sources
COUNTS_MASK_GROWTH = 1.0  # scales; how far the mask goes on around a source
COUNTS_MASK_ROUNDS = 3  # of masking and smoothing
MIN_LEVEL = 0.01  # counts per pixel; where hardly any photon arrived, the level is not better known


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
    level = _smooth(counts, ~missing, LEVEL_WIDTH_PX)
    for _ in range(COUNTS_MASK_ROUNDS):
        found = _sources(counts, missing, level)
        level = _smooth(counts, ~(missing | found), LEVEL_WIDTH_PX)
    return Statistics(level.astype(np.float32), np.sqrt(level).astype(np.float32))


def _sources(counts: np.ndarray, missing: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return where sources are: a band-pass that stands out of the level's Poisson noise."""

    def band_pass(counts: np.ndarray, scale: float) -> np.ndarray:
        inner, outer = (_smooth(counts, ~missing, one) for one in (scale, SURROUNDINGS_WIDTH_PX))
        return inner - outer

    def noise(scale: float) -> np.ndarray:
        return np.sqrt(level * (1 / scale**2 - 1 / SURROUNDINGS_WIDTH_PX**2) / (4 * np.pi))

    return mask_sources(
        counts,
        missing,
        scales=(SOURCE_WIDTH_PX,),
        sigma=COUNTS_MASK_SIGMA,
        growth=COUNTS_MASK_GROWTH,
        noise=noise,
        smooth=band_pass,
    )


def _smooth(counts: np.ndarray, known: np.ndarray, width: float) -> np.ndarray:
    """Return the Gaussian mean of the known pixels, at least `MIN_LEVEL`."""
    weight = ndimage.gaussian_filter(known.astype(float), width)
    total = ndimage.gaussian_filter(np.where(known, counts, 0), width)
    mean = counts[known].mean() if known.any() else 0.0
    # far from any known pixel the whole map's mean is all there is
    return np.maximum((total + 1e-3 * mean) / (weight + 1e-3), MIN_LEVEL)
