"""Scenes for the denoising of pictures: stars and galaxies over nebulae, dust and gradients."""

import numpy as np
from scipy import ndimage

from bgrem.simulate.gamma import random_field
from bgrem.simulate.noise import correlate_noise_widely

NEBULA_SHARE = 0.75  # of scenes
BRIGHTEST_NEBULA = (1.0, 150.0)  # noise; of its brightest parts
FINEST_PX = (1.0, 4.0)  # px; sigma of the optics that smooth a nebula
LANES_SHARE = 0.4  # of nebulae with dark lanes
COLOUR_SHARE = 0.35  # of tiles that are a difference of channels
DEBAYERED_SHARE = 0.25  # of tiles whose noise went through the interpolation of a mosaic
BILINEAR = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4  # of red and blue


def draw_nebula(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return smooth and filamentary light in units of the noise, at least 0, shape (H, W)."""
    light = np.zeros(shape)
    if rng.uniform() > NEBULA_SHARE:
        return light
    for _ in range(int(rng.integers(1, 3))):
        cover = random_field(rng, shape, rng.uniform(2.6, 4.0))
        cover = np.clip(cover - rng.uniform(-2, 1), 0, None)
        ridges = np.exp(-rng.uniform(1, 6) * np.abs(random_field(rng, shape, rng.uniform(2, 3.2))))
        texture = np.exp(rng.uniform(0.1, 0.8) * random_field(rng, shape, rng.uniform(2, 3.2)))
        one = cover * (rng.uniform(0.1, 1) + ridges) * texture
        least, most = np.log(BRIGHTEST_NEBULA)
        light += np.exp(rng.uniform(least, most)) * one / max(np.quantile(one, 0.999), 1e-9)
    if rng.uniform() < LANES_SHARE:
        dust = random_field(rng, shape, rng.uniform(2.2, 3.2)) - rng.uniform(-0.3, 1.0)
        light *= np.exp(-np.exp(rng.uniform(np.log(0.5), np.log(4))) * np.clip(dust, 0, None))
    return ndimage.gaussian_filter(light, rng.uniform(*FINEST_PX))


def difference_of_channels(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """Return what is left of light where channels are subtracted: of each sign, patch by patch."""
    coarse = rng.normal(0, 0.3, [max(2, side // 12) for side in light.shape])
    zoom = [a / b for a, b in zip(light.shape, coarse.shape, strict=True)]
    tint = ndimage.zoom(coarse, zoom, order=int(rng.integers(2)))
    return light * np.clip(rng.normal(0, 0.2) + tint, -1, 1)


def debayered_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise of a debayered channel, or of a sum of channels, standard deviation 1.

    Each colour of the mosaic is interpolated bilinearly. The noise then has a pattern of 2 px,
    which the registration of several frames smooths away.
    """
    white = rng.standard_normal(shape, np.float32)
    planes = []
    for colour in range(3):
        sites = np.zeros(shape, bool)
        if colour == 1:
            sites[::2, 1::2] = sites[1::2, ::2] = True
        else:
            sites[colour // 2 :: 2, colour // 2 :: 2] = True
        kernel = BILINEAR if colour != 1 else np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
        planes.append(ndimage.convolve(np.where(sites, white, 0), kernel, mode="wrap"))
    mix = rng.normal(size=3) * (rng.uniform(size=3) < rng.uniform(0.4, 1))
    found = np.tensordot(mix if np.any(mix) else np.array([0.0, 1.0, 0.0]), planes, 1)
    if rng.uniform() < 0.5:
        found = correlate_noise_widely(rng, found.astype(np.float32))
    return np.asarray(found / found.std(), np.float32)
