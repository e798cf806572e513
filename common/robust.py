"""Widths that a few outliers do not change: of a sample, of its darker half, of a plane's noise.

`astropy.stats.mad_std` is not used: its factor is the exact 1.482602218505602, ours is 1.4826, as
in PixInsight, so all results would change in the sixth digit. Its import also takes as long as a
short run.
"""

import numpy as np

MAD_TO_SIGMA = 1.4826  # standard deviation of a normal distribution / its MAD
FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian; for the measurements of a catalogue
# of a Gaussian; for simulated fields, thresholds and widths of stars, which were made with three
# decimals: the exact value would change their results in the fifth digit
ROUNDED_FWHM_PER_SIGMA = 2.355
MINUS_SIGMA_QUANTILE = 0.159  # of a normal distribution: one sigma below its median
PLUS_SIGMA_QUANTILE = 0.841  # of a normal distribution: one sigma above its median


def mad_sigma(values: np.ndarray, centre: float | np.ndarray | None = None) -> np.floating:
    """Return the standard deviation of normal values by their median absolute deviation.

    Parameters
    ----------
    values : array, any shape
        All finite.
    centre : float, optional
        Where deviations are measured from; default: the median.

    Returns
    -------
    float
        In the precision of the values.
    """
    middle = np.median(values) if centre is None else centre
    return MAD_TO_SIGMA * np.median(np.abs(values - middle))


def darker_half(values: np.ndarray) -> tuple[np.floating, np.floating]:
    """Return the median and the standard deviation of normal values by their darker half.

    Faint sources are in the brighter one.

    Parameters
    ----------
    values : array, any shape
        All finite.
    """
    low, middle = np.quantile(values, (MINUS_SIGMA_QUANTILE, 0.5))
    return middle, middle - low


def neighbour_differences(
    plane: np.ndarray, usable: np.ndarray, *, axis: int = 1, lag: int = 1, step: int = 1
) -> np.ndarray:
    """Return differences of usable pixels that lie `lag` px apart, shape (N,).

    Parameters
    ----------
    plane : array, shape (H, W)
    usable : bool array, shape (H, W)
    axis : {0, 1}
        Differences within columns or within rows.
    lag : int
        Pixels.
    step : int
        Only each `step`-th row counts as the first, or, with axis 0, the earlier one.
    """

    def pair(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if axis == 1:
            return values[::step, :-lag], values[::step, lag:]
        return values[:-lag:step], values[lag::step]

    (earlier, later), (first, second) = pair(plane), pair(usable)
    both = first & second
    return np.asarray(later[both] - earlier[both])


def difference_noise(differences: np.ndarray, centre: float | None = None) -> float:
    """Return the noise of pixels by the differences of neighbours; 0 where there are none.

    No gradient and few sources reach it.

    Parameters
    ----------
    differences : array, shape (N,)
    centre : float, optional
        As in `mad_sigma`.
    """
    return float(mad_sigma(differences, centre) / np.sqrt(2)) if differences.size else 0.0
