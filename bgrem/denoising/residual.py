"""The residual from which the input comes back exactly."""

import numpy as np

ROWS_AT_ONCE = 256  # rows whose float64 copies are held


def residual_of(pixels: np.ndarray, result: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return pixels - result - background so that `restore_pixels` gives the pixels back exactly.

    float32 where that holds for all pixels, else float64.
    """
    if pixels.dtype == np.float32:
        narrow = np.empty(pixels.shape, np.float32)
        for start in range(0, len(pixels), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            parts = result[rows], background[rows]
            narrow[rows] = _exact(pixels[rows], *parts)
            again = restore_pixels(*parts, narrow[rows])
            if not np.array_equal(again, pixels[rows], equal_nan=True):
                break
        else:
            return narrow
    return _exact(pixels, result, background)


def _exact(pixels: np.ndarray, result: np.ndarray, background: np.ndarray) -> np.ndarray:
    exact = pixels.astype(np.float64) - (result.astype(np.float64) + background)
    return np.where(np.isfinite(pixels), exact, np.nan)


def restore_pixels(result: np.ndarray, background: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return the input of `denoise` from its three parts, in the result's dtype."""
    total = result.astype(np.float64) + background + residual
    return total.astype(result.dtype)
