"""Fields as Hubble's WFC3/UVIS sees them, and the pairs of exposures that Astro U-net learns from.

Light (electrons/s, without noise) is simulated once; `long_exposure` and `short_exposure` add the
noise (Vojtekova et al. 2021, Sect. 2.1). There are no cosmic rays: they are taken out before.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft

from bgrem.config import SimulateConfig
from bgrem.simulate.hubble_scene import (
    WFC3,
    WFC3_SATURATION,
    HubblePointSpread,
    Scene,
    sersic_profile,
)
from bgrem.simulate.optical import draw_sky, power_law

# WFC3 Instrument Handbook, Sect. 5.4 and 9.3, as the preset has them
# electrons; WFC3 Instrument Handbook, Sect. 5.4, as the preset has it
WFC3_READ_NOISE = WFC3.read_noise
WFC3_DARK_CURRENT = WFC3.dark_current  # electrons per second and pixel; WFC3 Instrument Handbook
EXPOSURE_RANGE = (200, 3000)  # seconds
SKY_RANGE = (0.015, 0.12)  # electrons per second and pixel; zodiacal light, from low to high


@dataclass(frozen=True, eq=False)
class HubbleField:
    """One field without noise, in electrons per second.

    Attributes
    ----------
    sources : array, shape (H, W), float32
        Convolved with the point-spread function and the pixel. Clipped, so that the long exposure
        of sources and sky is at most `WFC3_SATURATION`: bright stars have flat cores.
    sky : array, shape (H, W), float32
        Zodiacal light.
    catalogue : dict of array
        `COLUMNS`: 0-based pixel position, flux before clipping, "star" or "galaxy", and in pixels
        the half-light radius (0 of stars). Smooth discs and nebulae are not listed.
    fwhm : float
        Of the point-spread function, in pixels.
    exposure : float
        Seconds of the long exposure.
    kind : str
        One of `HUBBLE_KINDS`.
    seed : int
    """

    sources: np.ndarray
    sky: np.ndarray
    catalogue: dict[str, np.ndarray]
    fwhm: float
    exposure: float
    kind: str
    seed: int


def simulate_hubble_field(
    seed: int, shape: tuple[int, int] = (768, 768), *, kind: str | None = None
) -> HubbleField:
    """Return a field whose conditions the seed draws; the same seed gives the same pixels.

    Parameters
    ----------
    seed : int
    shape : tuple of int
        Rows and columns.
    kind : str, optional
        One of `HUBBLE_KINDS`; default: drawn.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind is not None and kind not in HUBBLE_KINDS:
        raise ValueError(f"unknown kind of field {kind!r}. Choose from {', '.join(HUBBLE_KINDS)}.")
    rng = np.random.default_rng([seed, 29])
    drawn = str(rng.choice(list(HUBBLE_KINDS)))
    kind = kind or drawn
    exposure, level = _log_uniform(rng, *EXPOSURE_RANGE), _log_uniform(rng, *SKY_RANGE)
    variation = SimulateConfig(gradient=rng.uniform(0, 0.06), waves=rng.uniform(0, 0.01))
    sky = draw_sky(variation, level, shape, rng)
    sigma = np.sqrt((level + WFC3_DARK_CURRENT) * exposure + WFC3_READ_NOISE**2)
    scene = Scene(shape, HubblePointSpread(rng), float(sigma))
    HUBBLE_KINDS[kind](scene, rng)
    sources = np.minimum(scene.render() / exposure, WFC3_SATURATION / exposure - sky)
    catalogue = scene.catalogue()
    catalogue["flux"] = catalogue["flux"] / exposure
    return HubbleField(
        sources.astype(np.float32), sky.astype(np.float32), catalogue,
        scene.psf.fwhm, exposure, kind, seed,
    )  # fmt: skip


def long_exposure(light: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Return an exposure of light in electrons per second, shape (H, W), in electrons.

    Shot noise, the dark current's noise (equation 2; its mean is taken off, as calibrated files
    have it) and read noise.
    """
    electrons = rng.poisson(np.maximum(light, 0).astype(np.float64) * seconds)
    return electrons + _detector_noise(light.shape, seconds, rng)


def short_exposure(
    long: np.ndarray, ratio: float, seconds: float, rng: np.random.Generator
) -> np.ndarray:
    """Return equation 4: an exposure shorter by `ratio`, drawn from a long one, in electrons.

    The long exposure stands for the light, so that its own noise is in the result too: where light
    L falls on a pixel, the variance is (L + dark + read noise²) / ratio² of the long exposure and
    L / ratio + dark / ratio + read noise² that are added. Pixels below 0 count as 0.

    Parameters
    ----------
    long : array, shape (H, W)
        Electrons.
    ratio : float
        Of the exposure times.
    seconds : float
        Of the long exposure.
    """
    electrons = rng.poisson(np.maximum(long / ratio, 0).astype(np.float64))
    return electrons + _detector_noise(long.shape, seconds / ratio, rng)


def _detector_noise(shape, seconds: float, rng: np.random.Generator) -> np.ndarray:
    dark = rng.normal(0, np.sqrt(WFC3_DARK_CURRENT * seconds), shape)
    return np.asarray(dark + rng.normal(0, WFC3_READ_NOISE, shape))


def gaussian_field(rng: np.random.Generator, shape: tuple[int, ...], slope: float) -> np.ndarray:
    """Return a random field of mean 0 and variance 1 whose power falls as frequency^-slope."""
    frequency = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1]))
    frequency[0, 0] = np.inf
    waves = fft.rfft2(rng.normal(size=shape)) * frequency ** (-slope / 2)
    field = fft.irfft2(waves, s=shape)
    return np.asarray(field / field.std())


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_fluxes(scene: Scene, rng: np.random.Generator, number: float) -> np.ndarray:
    """Draw about `number` fluxes of stars: a power law that steepens at a knee."""
    faintest, knee = scene.unit * _log_uniform(rng, 0.7, 5), scene.unit * _log_uniform(rng, 10, 500)
    bright = rng.uniform(0.03, 0.3)  # share above the knee
    below = (number * (1 - bright), faintest, faintest, knee, rng.uniform(0.1, 0.8))
    above = (number * bright, knee, knee, scene.brightest, rng.uniform(0.6, 1.3))
    return np.concatenate([power_law(rng, *below), power_law(rng, *above)])


def _add_field_stars(scene: Scene, rng: np.random.Generator, density: float) -> None:
    """Add stars anywhere, `density` per megapixel."""
    flux = _draw_fluxes(scene, rng, density * scene.megapixels)
    scene.add_stars(*scene.draw_places(rng, len(flux)), flux)


def _add_galaxies(scene: Scene, rng: np.random.Generator, density: float) -> None:
    """Add galaxies of a signal-to-noise ratio of 0.5 to 3000, `density` per megapixel."""
    index, spread = rng.uniform(0.5, 1.0), rng.uniform(0.3, 0.6)
    snr = power_law(rng, density * scene.megapixels, 0.5, 0.5, 3000, index)
    # brighter galaxies are larger; px
    radius = np.clip(2.5 * (snr / 10) ** 0.35 * rng.lognormal(0, spread, len(snr)), 0.5, 80)
    # matched filter of a Gaussian of about the galaxy's width and the profile's
    flux = snr * scene.sigma * np.sqrt(4 * np.pi * ((radius / 1.18) ** 2 + scene.psf.fwhm**2 / 5.5))
    x, y = scene.draw_places(rng, len(snr))
    for k in range(len(snr)):
        sersic = rng.uniform(2.5, 4.5) if rng.uniform() < 0.2 else rng.uniform(0.5, 2)
        shape = sersic, rng.uniform(0.2, 1), rng.uniform(0, np.pi)
        scene.add_galaxy(x[k], y[k], flux[k], radius[k], *shape)


def _deep_field(scene: Scene, rng: np.random.Generator) -> None:
    _add_field_stars(scene, rng, _log_uniform(rng, 10, 100))
    _add_galaxies(scene, rng, _log_uniform(rng, 150, 4000))


def _star_cluster(scene: Scene, rng: np.random.Generator) -> None:
    """Add thousands of stars whose density falls as a power of the distance outside a core."""
    flux = _draw_fluxes(scene, rng, _log_uniform(rng, 2000, 25000) * scene.megapixels)
    core, fall = _log_uniform(rng, 30, 400), rng.uniform(0.5, 1.5)
    share = rng.uniform(0, 1, len(flux))
    # of the mass within 20 cores; stars beyond the margin are not drawn
    distance = core * np.sqrt((1 - share * (1 - 401**-fall)) ** (-1 / fall) - 1)
    angle = rng.uniform(0, 2 * np.pi, len(flux))
    centre = rng.uniform(-0.1, 1.1, 2) * scene.shape[::-1]
    x, y = centre[0] + distance * np.cos(angle), centre[1] + distance * np.sin(angle)
    near = scene.contains(x, y)
    scene.add_stars(x[near], y[near], flux[near])
    _add_field_stars(scene, rng, _log_uniform(rng, 50, 1000))
    _add_galaxies(scene, rng, 50)


def _sparse_field(scene: Scene, rng: np.random.Generator) -> None:
    _add_field_stars(scene, rng, _log_uniform(rng, 50, 2000))
    _add_galaxies(scene, rng, _log_uniform(rng, 20, 200))


def _nearby_galaxy(scene: Scene, rng: np.random.Generator) -> None:
    """Add a disc with clumps, and stars that follow its light."""
    radius, axis_ratio, angle = _log_uniform(rng, 100, 600), rng.uniform(0.3, 1), rng.uniform(0, 3)
    x, y = rng.uniform(-0.1, 1.1, 2) * scene.shape[::-1]
    u, v = scene.offsets(x, y)
    disc = sersic_profile(u, v, radius, rng.uniform(0.7, 2), axis_ratio, angle)
    disc *= np.exp(rng.uniform(0, 0.6) * gaussian_field(rng, disc.shape, rng.uniform(2, 3.5)))
    scene.diffuse += disc * scene.sigma * _log_uniform(rng, 0.2, 10) / 4
    # light-weighted places: the cells of the disc, drawn with their light as the chance
    flux = _draw_fluxes(scene, rng, _log_uniform(rng, 1000, 20000) * scene.megapixels)
    cumulated = np.cumsum(disc)
    cell = np.searchsorted(cumulated, rng.uniform(0, cumulated[-1], len(flux)))
    row, column = np.divmod(np.minimum(cell, disc.size - 1), disc.shape[1])
    x, y = u[column] + x, v[row, 0] + y
    scene.add_stars(
        x + rng.uniform(-0.25, 0.25, len(x)), y + rng.uniform(-0.25, 0.25, len(y)), flux
    )
    _add_field_stars(scene, rng, _log_uniform(rng, 20, 200))
    _add_galaxies(scene, rng, 50)


def _nebula(scene: Scene, rng: np.random.Generator) -> None:
    """Add lognormal clouds, with filaments where a second random field crosses zero."""
    shape, slope = scene.diffuse.shape, rng.uniform(2.4, 3.6)
    clouds = np.exp(rng.uniform(0.3, 1.2) * gaussian_field(rng, shape, slope))
    crossing = abs(gaussian_field(rng, shape, rng.uniform(3, 4)))
    clouds *= 1 + rng.uniform(0, 3) * np.exp(-crossing / rng.uniform(0.03, 0.2))
    clouds *= scene.sigma * _log_uniform(rng, 0.2, 50) / 4 / clouds.mean()
    scene.diffuse += clouds
    _add_field_stars(scene, rng, _log_uniform(rng, 50, 3000))


HUBBLE_KINDS: dict[str, Callable[[Scene, np.random.Generator], None]] = {
    "deep": _deep_field,
    "cluster": _star_cluster,
    "sparse": _sparse_field,
    "galaxy": _nearby_galaxy,
    "nebula": _nebula,
}
