"""Electrons into units in which their noise is 1 at every brightness, and back (Anscombe 1948)."""

import numpy as np

ANSCOMBE_OFFSET = 3 / 8  # electrons; Anscombe's: keeps the variance at 1 down to a few electrons


def stabilise(electrons: np.ndarray, background: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return 2 (sqrt(e - b + sigma^2 + 3/8) - sqrt(sigma^2 + 3/8)), float32.

    Over the background the noise is `sigma`, whatever it consists of; light above it adds its own
    shot noise, one electron of variance for each electron.

    Parameters
    ----------
    electrons, background, sigma : array, shape (H, W)
        Or broadcast against each other; electrons.
    """
    floor = np.square(sigma, dtype=np.float64) + ANSCOMBE_OFFSET
    root = np.sqrt(np.maximum(electrons - background + floor, 0))
    return (2 * (root - np.sqrt(floor))).astype(np.float32)


def unstabilise(values: np.ndarray, background: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return the electrons that `stabilise` made `values` of, float64."""
    floor = np.square(sigma, dtype=np.float64) + ANSCOMBE_OFFSET
    root = np.maximum(values / 2 + np.sqrt(floor), 0)
    return np.asarray(root**2 - floor + background)
