"""Channels as luminance and colour differences, in which they are denoised."""

import numpy as np

# rows: luminance, and two differences of channels. Orthonormal: white noise stays white in each.
MIXING = np.array([
    [1 / np.sqrt(3), 1 / np.sqrt(3), 1 / np.sqrt(3)],
    [1 / np.sqrt(2), 0, -1 / np.sqrt(2)],
    [1 / np.sqrt(6), -2 / np.sqrt(6), 1 / np.sqrt(6)],
])  # fmt: skip


def to_planes(pixels: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return luminance and colour differences of channels, shape (H, W, C), in their dtype.

    Parameters
    ----------
    pixels : array, shape (H, W, C)
        C = 1 or 3.
    units : array, shape (C,)
        Noise of each channel: the luminance then has the best signal-to-noise ratio.
    """
    scaled = pixels / units.astype(pixels.dtype)
    return scaled if pixels.shape[-1] == 1 else scaled @ MIXING.T.astype(pixels.dtype)


def from_planes(planes: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the channels, shape (H, W, C), of what `to_planes` gives."""
    mixed = planes if planes.shape[-1] == 1 else planes @ MIXING.astype(planes.dtype)
    return mixed * units.astype(planes.dtype)


def channel_noise(sigmas: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the noise of channels (H, W, C) from the noise of their planes."""
    units = units.astype(sigmas.dtype)
    if sigmas.shape[-1] == 1:
        return np.asarray(sigmas * units)
    return np.sqrt(sigmas**2 @ (MIXING**2).astype(sigmas.dtype)) * units
