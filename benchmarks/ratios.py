"""Ratios of sums over fields, with their errors."""

import numpy as np


def bootstrap_ratio(
    ours: np.ndarray, theirs: np.ndarray, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the ratio of two sums over fields, and its standard deviation by bootstrap."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    index = np.random.default_rng(seed).integers(0, len(ours), (draws, len(ours)))
    drawn = ours[index].sum(1) / np.maximum(theirs[index].sum(1), 1e-9)
    return float(ours.sum() / max(theirs.sum(), 1e-9)), float(drawn.std())
