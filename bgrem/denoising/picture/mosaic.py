"""A mosaic of 2x2 colour filters as four planes, and back."""

import numpy as np

PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # row and column of the first pixel of each plane


def cut_mosaic(pixels: np.ndarray) -> np.ndarray:
    """Return the phases of a mosaic (H, W), shape (ceil(H / 2), ceil(W / 2), 4).

    Where a side is odd the last pixels of some planes are their neighbours two pixels before.
    """
    odd = [(0, side % 2) for side in pixels.shape]
    # two pixels before the new last one is a pixel of the same colour
    padded = np.pad(pixels, odd, mode="reflect") if any(b for _, b in odd) else pixels
    return np.stack([padded[row::2, column::2] for row, column in PHASES], -1)


def join_mosaic(phases: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the mosaic, shape (H, W), of its phases."""
    rows, columns = phases.shape[:2]
    pixels = np.empty((2 * rows, 2 * columns), phases.dtype)
    for k, (row, column) in enumerate(PHASES):
        pixels[row::2, column::2] = phases[..., k]
    return pixels[: shape[0], : shape[1]]
