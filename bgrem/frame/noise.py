"""The noise of a frame's pixels: its width, the correlation of neighbours, the width smoothed."""

import numpy as np
from scipy import ndimage

from common.robust import difference_noise, neighbour_differences

PIXELS_FOR_NOISE = 1_000_000  # pixels; give the noise to a thousandth
DARK_QUANTILE = 0.25  # of the smoothed frame: below it even crowded frames are nearly free of stars
CALM_SMOOTHING_PX = 4.0  # px; width of that smoothing: hardly a choice among the pixels' own noise
FAR_LAG_PX = 5  # px; resampling correlates no noise at this distance
MAX_CORRELATION = 0.9  # of neighbours; smoother pixels have no noise that could be measured
MIN_DIFFERENCES = 1000  # pairs of calm pixels; give a correlation to 0.03


def pixel_noise(flat: np.ndarray, missing: np.ndarray, original: np.ndarray | None = None) -> float:
    """Return the noise from differences of neighbours, which no gradient and few sources reach.

    Too low where neighbours are alike: see `neighbour_correlation`.

    Parameters
    ----------
    flat : array, shape (H, W)
    missing : bool array, shape (H, W)
    original : array, shape (H, W), optional
        The pixels before a smooth background was taken off: whether most of them are equal, as
        counts and coarse integers can be, is seen here alone.

    Returns
    -------
    float
        0 if all pixels are equal.
    """
    step = -(-flat.size // PIXELS_FOR_NOISE)

    def differences(plane: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [neighbour_differences(plane, ~missing, axis=axis, step=step) for axis in (1, 0)]
        )

    found = differences(flat)
    if not found.size:
        return 0.0
    noise = difference_noise(found if original is None else differences(original), 0.0)
    if not noise:  # counts of mostly equal pixels have no median
        return float(found.std()) / np.sqrt(2)
    return noise if original is None else difference_noise(found, 0.0)


def neighbour_correlation(scaled: np.ndarray, missing: np.ndarray) -> float:
    """Return the correlation of horizontal and vertical neighbours away from sources.

    Parameters
    ----------
    scaled : array, shape (H, W)
        Without background, in units of the noise, 0 where missing.
    missing : bool array, shape (H, W)

    Returns
    -------
    float
        NaN where too few pixels are free of sources, or most have one value.
    """
    smooth = ndimage.gaussian_filter(scaled, CALM_SMOOTHING_PX)
    calm = ~missing & (smooth < np.quantile(smooth, DARK_QUANTILE)) & (np.abs(scaled) < 4)
    # counts of mostly equal pixels have no correlation
    if calm.sum() < MIN_DIFFERENCES or not np.var(scaled[calm]) > 0.1:
        return float("nan")
    found = []
    for turned, known in ((scaled, calm), (scaled.T, calm.T)):
        # what is alike at some distance is sky and unseen stars: it is in neither difference
        near, far = (_step_variance(turned, known, lag) for lag in (1, FAR_LAG_PX))
        found.append(1 - near / far if far > 0 else float("nan"))
    return float(np.mean(found))


def _step_variance(scaled: np.ndarray, calm: np.ndarray, lag: int) -> float:
    """Return the variance of differences of calm pixels in a row, NaN if there are few."""
    differences = neighbour_differences(scaled, calm, lag=lag)
    return float(np.var(differences)) if len(differences) >= MIN_DIFFERENCES else float("nan")


def smoothed_noise(scale: float, correlation: float = 0.0) -> float:
    """Return the noise after smoothing with a Gaussian function, in units of the pixels' noise.

    Correlated noise is taken for white noise that was smoothed with a Gaussian function before:
    of width s, which correlates neighbours by exp(-1 / (4 s^2)).

    Parameters
    ----------
    scale : float
        Standard deviation of the smoothing in pixels.
    correlation : float, optional
        Of neighbouring pixels; below 0 and NaN count as none.
    """
    white = 1 / (2 * np.sqrt(np.pi) * scale)
    if not correlation > 0:
        return float(white)
    own = -1 / (4 * np.log(min(correlation, MAX_CORRELATION)))
    return float(max(white, np.sqrt(own / (own + scale**2))))
