"""Counts into the network's units and back: their smooth level, and its square root as noise.

Also how wide the sources of a map are: photons of one source are correlated, those of Poisson
noise are not.
"""

import numpy as np
from scipy import fft, ndimage, optimize

from bgrem.frame.background import Statistics
from bgrem.frame.sources import mask_sources
from common.robust import FWHM_PER_SIGMA

LEVEL_WIDTH_PX = 6.0  # px; standard deviation of the smoothing that gives the level
SOURCE_WIDTH_PX = 1.5  # px; inner scale of the filter that finds sources
SURROUNDINGS_WIDTH_PX = 4.0  # px; outer scale of the filter that finds sources
COUNTS_MASK_SIGMA = 3.5  # sigma of Poisson noise after smoothing; above it pixels belong to sources
COUNTS_MASK_GROWTH = 1.0  # scales; how far the mask goes on around a source
COUNTS_MASK_ROUNDS = 3  # of masking and smoothing
WIDTH_LAG_PX = 12  # px; the correlation of wider sources is not looked at
WIDTH_LEVEL_PX = 16.0  # px; smoothing of the level, wider than the widest source
WIDTH_SIGMA = 5.0  # of chance; a weaker correlation tells no width
WIDTH_STARTS_PX = (1.0, 3.0, 6.0)  # px; FWHM that the fit begins with
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


def source_width(pixels: np.ndarray) -> float:
    """Return the FWHM of a counts map's sources in pixels, all of them together; 0 if unknown.

    It is that of a Gaussian whose autocorrelation is the map's at distances of 1 to `WIDTH_LAG_PX`,
    over a paraboloid, which emission gives. Wings of the profile make it some 20 % too large.

    Parameters
    ----------
    pixels : array, shape (H, W)
        Photons per pixel; NaN = missing.
    """
    known = np.isfinite(pixels)
    if min(pixels.shape) < 4 * WIDTH_LAG_PX or not known.any():
        return 0.0
    level = _smooth(np.where(known, pixels, 0.0), known, WIDTH_LEVEL_PX)
    known &= level > MIN_LEVEL  # beside the exposure there is nothing
    if not known.any():
        return 0.0
    deviation = np.where(known, (np.where(known, pixels, 0) - level) / np.sqrt(level), 0)
    shape = [fft.next_fast_len(side + WIDTH_LAG_PX, real=True) for side in pixels.shape]

    def correlate(plane: np.ndarray) -> np.ndarray:
        """Return sums of products at all lags up to `WIDTH_LAG_PX`."""
        found = fft.irfft2(np.abs(fft.rfft2(plane, shape)) ** 2, shape)
        lags = np.arange(-WIDTH_LAG_PX, WIDTH_LAG_PX + 1)
        return np.asarray(found[np.ix_(lags, lags)])

    pairs = correlate(known.astype(float))
    found = correlate(deviation) / np.maximum(pairs, 1)
    distance = np.hypot(*np.mgrid[-WIDTH_LAG_PX : WIDTH_LAG_PX + 1,
                                  -WIDTH_LAG_PX : WIDTH_LAG_PX + 1])  # fmt: skip
    use = (distance >= 1) & (distance <= WIDTH_LAG_PX) & (pairs > 0.5)
    square, seen = distance[use] ** 2, found[use]

    def misses(values: np.ndarray) -> np.ndarray:
        height, sigma, offset, slope = values
        # the autocorrelation of a Gaussian is one that is wider by the root of 2
        smooth = offset + slope * square / WIDTH_LAG_PX**2
        return np.asarray(height * np.exp(-square / (4 * sigma**2)) + smooth - seen)

    unit = max(float(seen.max()), 1e-9)
    bounds = ([0, 0.3, -np.inf, -np.inf], [np.inf, WIDTH_LAG_PX, np.inf, np.inf])
    fits = [optimize.least_squares(misses, [unit, start / FWHM_PER_SIGMA, 0, 0], bounds=bounds,
                                   x_scale=[unit, 1, unit, unit])
            for start in WIDTH_STARTS_PX]  # fmt: skip
    best = min(fits, key=lambda fit: fit.cost)
    chance = 1 / np.sqrt(known.sum())  # of a correlation without sources
    return float(best.x[1] * FWHM_PER_SIGMA) if best.x[0] > WIDTH_SIGMA * chance else 0.0


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
