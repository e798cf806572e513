"""The residual from which the input comes back exactly."""

import numpy as np


def residual_of(pixels: np.ndarray, result: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return pixels - result - background so that `restore_pixels` gives the pixels back exactly.

    float32 where that holds for all pixels, else float64.
    """
    exact = pixels.astype(np.float64) - (result.astype(np.float64) + background)
    exact = np.where(np.isfinite(pixels), exact, np.nan)
    narrow = exact.astype(np.float32)
    if pixels.dtype == np.float32:
        again = restore_pixels(result, background, narrow)
        if np.array_equal(again, pixels, equal_nan=True):
            return narrow
    return exact


def restore_pixels(result: np.ndarray, background: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return the input of `denoise` from its three parts, in the result's dtype."""
    total = result.astype(np.float64) + background + residual
    return total.astype(result.dtype)
