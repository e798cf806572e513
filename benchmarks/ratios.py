"""Ratios of sums over fields, with their errors."""

import numpy as np


def bootstrap_ratio(
    ours: np.ndarray, theirs: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the ratio of two sums over fields, and its standard deviation by bootstrap.

    Both are NaN where the others' sum is 0.
    """
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if not theirs.sum():
        return np.nan, np.nan
    index = np.random.default_rng(seed).integers(0, len(ours), (draws, len(ours)))
    drawn = ours[index].sum(1) / np.maximum(theirs[index].sum(1), 1e-9)
    return float(ours.sum() / theirs.sum()), float(drawn.std())
