"""What detectors and processing do to noise and sky, drawn at random for a training tile."""

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


def correlate_noise_widely(rng: np.random.Generator, white: np.ndarray) -> np.ndarray:
    """Return noise as `correlate_noise` does, of wider kernels, or of a finer grid.

    A third of each; the grid is up to twice as fine.
    """
    kind = rng.uniform()
    if kind < 1 / 3:
        return correlate_noise(rng, white)
    if kind < 2 / 3:
        return _on_finer_grid(rng, white)
    return _normalised(ndimage.gaussian_filter(white, rng.uniform(0.35, 1.0), mode="wrap"), white)


def _normalised(found: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return noise that is as strong as another."""
    return np.asarray(found * (white.std() / found.std()), white.dtype)


def _on_finer_grid(rng: np.random.Generator, white: np.ndarray) -> np.ndarray:
    """Return noise between whose pixels of a coarser grid a linear interpolation was made.

    The values of the coarser grid are those of `white` at its places.
    """
    zoom, found = rng.uniform(1, 2), white
    for axis in (0, 1):
        side = white.shape[axis]
        place, offset = np.arange(side) / zoom, rng.uniform()
        place += offset
        lower = np.floor(place)
        part = (place - lower).astype(np.float32)
        first, second = (
            np.clip(np.rint((lower - offset + step) * zoom), 0, side - 1).astype(int)
            for step in (0, 1)
        )
        scale = np.sqrt(np.mean((1 - part) ** 2 + part**2))
        near, far = (
            (weight / scale).reshape((-1, 1)[:: 1 - 2 * axis]) for weight in (1 - part, part)
        )
        found = np.take(found, first, axis) * near + np.take(found, second, axis) * far
    return np.asarray(found, white.dtype)


def smooth_leftover(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a smooth error of the background: level, tilt, and seldom a wave."""
    v, u = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    level, tilt = rng.normal(0, 0.12), rng.normal(0, 0.1, 2)
    leftover = level + tilt[0] * u + tilt[1] * v
    if rng.uniform() < 0.15:
        waves, phase = rng.uniform(-1, 1, 2), rng.uniform(0, 2 * np.pi)
        leftover += rng.uniform(0, 0.8) * np.cos(np.pi * (waves[0] * u + waves[1] * v) + phase)
    return leftover


def edge_glow(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return what is left of an amplifier's glow: 0.5 to 50 noise, falling over 8 to 40 px."""
    height, length = 10 ** rng.uniform(-0.3, 1.7), 10 ** rng.uniform(0.9, 1.6)
    fall = height * np.exp(-np.arange(shape[0]) / length)
    across = np.linspace(-1, 1, shape[1]) - rng.uniform(-1, 1)
    tile = fall[:, None] * np.exp(-((across / rng.uniform(0.5, 3)) ** 2))
    return np.rot90(tile, int(rng.integers(4)))


def bands(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return offsets of rows or of columns, 0.02 to 0.3 noise rms."""
    axis, rms = int(rng.integers(2)), 10 ** rng.uniform(-1.7, -0.5)
    lines = rng.normal(0, rms, (shape[0], 1) if axis == 0 else (1, shape[1]))
    return np.broadcast_to(lines, shape)


def bleed(rng: np.random.Generator, light: np.ndarray, limit: float) -> np.ndarray:
    """Return light that ends at `limit`; charge above it fills the column up and down.

    In half of the tiles nothing flows over.
    """
    full = light >= limit
    found = np.minimum(light, limit)
    if rng.uniform() < 0.5 or not full.any():
        return found
    along = rng.uniform(0.5, 6)  # rows for each row that is full
    for column in np.flatnonzero(full.any(0)):
        rows = np.flatnonzero(full[:, column])
        reach = round(along * len(rows))
        found[max(rows[0] - reach, 0) : rows[-1] + reach + 1, column] = limit
    return found


def round_to_integers(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Return the pixels in steps of 0.05 to 1 noise, as a converter leaves them."""
    step, offset = 10 ** rng.uniform(-1.3, 0), rng.uniform()
    return (np.rint(pixels / step + offset) - offset) * step
