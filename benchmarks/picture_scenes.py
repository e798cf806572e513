"""Pictures with truth that the training's simulator does not draw: nothing of it is imported.

Stars are GalSim's profiles, nebulae and galaxies are written here. All is in units of the noise of
a dark pixel.
"""

from dataclasses import dataclass
from typing import Any

import galsim
import numpy as np
from scipy import ndimage

SHAPE = (512, 512)
SKY = 400.0  # noise; of the pedestal
STAR_STAMP_PX = 61


@dataclass(frozen=True, eq=False)
class PictureScene:
    """A picture (H, W, C), its truth, and its stars: x, y, flux (N, C), FWHM in px."""

    name: str
    observed: np.ndarray
    truth: np.ndarray
    stars: dict[str, np.ndarray]
    fwhm: float


def _clouds(rng: np.random.Generator, slope: float, largest: float = 1.0) -> np.ndarray:
    side = SHAPE[0]
    k = np.hypot(np.fft.fftfreq(2 * side)[:, None], np.fft.rfftfreq(2 * side)) * side
    power = np.maximum(k, 1 / largest) ** (-slope / 2)
    plane = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((2 * side, 2 * side))) * power)
    plane = plane[:side, :side]
    return (plane - plane.mean()) / plane.std()


def _emission(rng: np.random.Generator, peak: float) -> np.ndarray:
    """Return a nebula with ridges and dark lanes."""
    cover = np.clip(_clouds(rng, 3.3) + rng.uniform(0, 1), 0, None)
    light = cover * (0.4 + np.exp(-4 * np.abs(_clouds(rng, 2.8, 0.5))))
    light *= np.exp(0.4 * _clouds(rng, 2.6, 0.3))
    light *= np.exp(-2 * np.clip(_clouds(rng, 2.8, 0.4) - 0.7, 0, None))
    return peak * light / np.quantile(light, 0.995)


def _spiral(rng: np.random.Generator, peak: float) -> np.ndarray:
    y, x = np.indices(SHAPE) - SHAPE[0] / 2
    y = y / rng.uniform(0.4, 0.9)
    r, turn = np.hypot(x, y), np.arctan2(y, x)
    scale = rng.uniform(35, 70)
    arms = np.cos(2 * (turn - 3.5 * np.log(r / scale + 0.1)))
    disk = np.exp(-r / scale) * (1 + 0.6 * arms * np.clip(r / scale, 0, 1))
    disk *= np.exp(0.4 * _clouds(rng, 2.4, 0.15))
    return peak * (disk + 2 * np.exp(-((r / (0.25 * scale)) ** 0.8)))


def _stars(
    rng: np.random.Generator, fwhm: float, per_mpx: float, channels: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    profile = galsim.Moffat(beta=rng.uniform(2.5, 4), fwhm=fwhm)
    image = np.zeros((*SHAPE, channels))
    number = rng.poisson(per_mpx * image[..., 0].size / 1e6)
    x, y = rng.uniform(0, SHAPE[1], number), rng.uniform(0, SHAPE[0], number)
    flux = 8 * np.minimum(rng.uniform(1e-4, 1, number) ** (-1 / 0.9), 1e4) * fwhm
    tint = np.exp(rng.normal(0, 0.3, (number, channels)))
    tint /= tint.mean(1, keepdims=True)
    for k in range(number):
        column, row = round(x[k]), round(y[k])
        side = STAR_STAMP_PX if flux[k] < 3e4 else 4 * STAR_STAMP_PX + 1
        stamp = profile.drawImage(
            nx=side, ny=side, scale=1.0, offset=(x[k] - column, y[k] - row)
        ).array  # fmt: skip
        half = side // 2
        rows, columns = (
            np.arange(row - half, row + half + 1),
            np.arange(column - half, column + half + 1),
        )
        r, c = (rows >= 0) & (rows < SHAPE[0]), (columns >= 0) & (columns < SHAPE[1])
        image[np.ix_(rows[r], columns[c])] += stamp[np.ix_(r, c)][..., None] * flux[k] * tint[k]
    return image, {"x": x, "y": y, "flux": flux[:, None] * tint}


def _debayer(mosaic: np.ndarray) -> np.ndarray:
    """Return three channels of an RGGB mosaic, interpolated bilinearly."""
    y, x = np.indices(mosaic.shape)
    sites = [(y % 2 == 0) & (x % 2 == 0), (y + x) % 2 == 1, (y % 2 == 1) & (x % 2 == 1)]
    kernel = np.array([[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]])
    planes = []
    for site in sites:
        weight = ndimage.convolve(site.astype(float), kernel, mode="mirror")
        planes.append(ndimage.convolve(np.where(site, mosaic, 0), kernel, mode="mirror") / weight)
    return np.stack(planes, -1)


def _expose(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """Return an exposure: photons and read noise, 1 in a dark pixel."""
    variance = 0.3 + 0.7 * light / SKY
    return light + np.sqrt(np.maximum(variance, 0.05)) * rng.standard_normal(light.shape)


def _stack(rng: np.random.Generator, light: np.ndarray, frames: int, *, bayer: bool) -> np.ndarray:
    """Return the mean of dithered frames, moved back by linear interpolation, noise about 1."""
    total = np.zeros_like(light)
    y, x = np.indices(SHAPE)
    for _ in range(frames):
        noise = _expose(rng, light) - light
        if bayer:
            sites = np.where((y + x) % 2 == 1, 1, np.where(y % 2 == 0, 0, 2))
            noise = _debayer(np.take_along_axis(noise, sites[..., None], -1)[..., 0])
        move = rng.uniform(0, 2, 2)
        total += ndimage.shift(noise, (*move, 0), order=1, mode="wrap")
    return light + total / np.sqrt(frames)


def draw_scene(kind: str, seed: int) -> PictureScene:
    """Return a scene of one of `KINDS`."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), 97])
    what = KINDS[kind]
    channels, fwhm = what["channels"], float(np.exp(rng.uniform(*np.log(what["fwhm"]))))
    stars, listed = _stars(rng, fwhm, what["stars"], channels)
    light = np.zeros((*SHAPE, channels))
    for layer in what["layers"]:
        plane = layer(rng, float(np.exp(rng.uniform(*np.log(what["peak"])))))
        tint = np.exp(rng.normal(0, 0.4, channels))
        light += ndimage.gaussian_filter(plane, fwhm / 2.355)[..., None] * tint / tint.mean()
    y, x = np.indices(SHAPE) / SHAPE[0]
    tilt = rng.normal(0, 15, (2, channels))
    truth = SKY + light + stars + tilt[0] * y[..., None] + tilt[1] * x[..., None]
    frames = what["frames"]
    if frames == 1 and not what["bayer"]:
        observed = _expose(rng, truth)
    else:
        observed = _stack(rng, truth, frames, bayer=what["bayer"])
    return PictureScene(
        f"{kind} {seed}", observed.astype(np.float32), truth.astype(np.float32), listed, fwhm
    )


KINDS: dict[str, dict[str, Any]] = {
    "nebula, mono": {"layers": [_emission], "peak": (5, 80), "stars": 1500, "fwhm": (2, 4),
                     "channels": 1, "frames": 1, "bayer": False},
    "faint nebula, mono stack": {"layers": [_emission], "peak": (1, 8), "stars": 1500,
                                 "fwhm": (2, 5), "channels": 1, "frames": 12, "bayer": False},
    "galaxy, colour": {"layers": [_spiral], "peak": (5, 60), "stars": 800, "fwhm": (2, 4),
                       "channels": 3, "frames": 1, "bayer": False},
    "nebula, debayered stack": {"layers": [_emission], "peak": (3, 60), "stars": 2500,
                                "fwhm": (2.5, 4.5), "channels": 3, "frames": 12, "bayer": True},
    "Milky Way, debayered": {"layers": [_emission], "peak": (1, 10), "stars": 12000,
                             "fwhm": (1.8, 3), "channels": 3, "frames": 1, "bayer": True},
    "star cluster, mono": {"layers": [], "peak": (1, 1), "stars": 6000, "fwhm": (2, 4),
                           "channels": 1, "frames": 1, "bayer": False},
}  # fmt: skip
