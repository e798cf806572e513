"""The residual from which the input comes back exactly."""

import numpy as np

from common import scratch
from common.scratch import row_blocks


def residual_of(pixels: np.ndarray, result: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return pixels - result - background so that `restore_pixels` gives the pixels back exactly.

    float32 where that holds for all pixels, else float64.
    """
    if pixels.dtype == np.float32:
        narrow = scratch.empty(pixels.shape, np.float32)
        for rows in row_blocks(pixels.shape, pixels, result, background, narrow):
            parts = result[rows], background[rows]
            narrow[rows] = _exact(pixels[rows], *parts)
            again = restore_pixels(*parts, narrow[rows])
            if not np.array_equal(again, pixels[rows], equal_nan=True):
                break
        else:
            return narrow
    wide = scratch.empty(pixels.shape, np.float64)
    for rows in row_blocks(pixels.shape, pixels, result, background, wide):
        wide[rows] = _exact(pixels[rows], result[rows], background[rows])
    return wide


def _exact(pixels: np.ndarray, result: np.ndarray, background: np.ndarray) -> np.ndarray:
    exact = pixels.astype(np.float64) - (result.astype(np.float64) + background)
    return np.where(np.isfinite(pixels), exact, np.nan)


def restore_pixels(result: np.ndarray, background: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Return the input of `denoise` from its three parts, in the result's dtype."""
    total = result.astype(np.float64) + background + residual
    return total.astype(result.dtype)
