"""Correlated noise and errors of a smooth background, drawn at random."""

import numpy as np
from scipy import ndimage


def correlate_noise(rng: np.random.Generator, white: np.ndarray) -> np.ndarray:
    """Return noise as resampling leaves it: smoothed a little, standard deviation 1 again."""
    if rng.uniform() < 0.5:
        shift = rng.uniform(0, 0.5, 2)
        kernel = np.outer((shift[0], 1 - shift[0]), (shift[1], 1 - shift[1]))
    else:
        profile = np.exp(-0.5 * (np.arange(-2, 3) / rng.uniform(0.35, 0.8)) ** 2)
        kernel = np.outer(profile, profile)
    kernel /= np.sqrt((kernel**2).sum())
    return ndimage.convolve(white, kernel.astype(np.float32), mode="wrap")


def smooth_leftover(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a smooth error of the background: level, tilt, and seldom a wave."""
    v, u = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    level, tilt = rng.normal(0, 0.12), rng.normal(0, 0.1, 2)
    leftover = level + tilt[0] * u + tilt[1] * v
    if rng.uniform() < 0.15:
        waves, phase = rng.uniform(-1, 1, 2), rng.uniform(0, 2 * np.pi)
        leftover += rng.uniform(0, 0.8) * np.cos(np.pi * (waves[0] * u + waves[1] * v) + phase)
    return leftover
