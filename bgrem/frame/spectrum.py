"""The power of a plane against spatial frequency, averaged over all directions."""

import numpy as np


def radial_spectrum(
    values: np.ndarray, edges: np.ndarray, *, window: np.ndarray | None = None
) -> np.ndarray:
    """Return the mean power between frequencies, shape (N,); NaN where no frequency lies.

    Parameters
    ----------
    values : array, shape (H, W)
        Of mean 0.
    edges : array, shape (N + 1,)
        Cycles per pixel.
    window : array, shape (H, W), optional
        Factor of the values that keeps borders from mattering. With it white noise of variance 1
        has a power of 1; without it white noise of any variance has.
    """
    weighted, norm = (values, values) if window is None else (values * window, window)
    power = np.abs(np.fft.rfft2(weighted)) ** 2 / (norm**2).sum()
    rows = np.fft.fftfreq(values.shape[0])[:, None]
    radius = np.hypot(rows, np.fft.rfftfreq(values.shape[1])[None, :])
    index = np.digitize(radius.ravel(), edges)
    number = np.bincount(index, minlength=len(edges) + 1)[1:-1]
    total = np.bincount(index, power.ravel(), minlength=len(edges) + 1)[1:-1]
    return np.divide(total, number, out=np.full(len(number), np.nan), where=number > 0)
