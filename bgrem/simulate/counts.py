"""Counts maps of any telescope with truth: point sources of one width over structured light."""

import numpy as np
from scipy import signal

from bgrem.simulate.gamma import random_field
from common.robust import ROUNDED_FWHM_PER_SIGMA

SUBPIXEL = 3  # sources lie on a grid of 1/3 px
MARGIN_PX = 20  # px around the map where sources are drawn too: their wings reach into it
FWHM_PX = (1.0, 6.0)  # px; of the point-spread function
LEVEL_COUNTS = (0.01, 100.0)  # counts per pixel between the sources
# sources per square FWHM, above S/N 3: from one in 1000 beams to one in 20
SOURCES_PER_BEAM = (1e-3, 5e-2)
SNR_LIMITS = (0.7, 500.0)  # faintest and brightest sources, against the level's noise
SOURCE_SLOPE = (0.8, 1.6)  # d ln N / d ln S, cumulative
MIN_COUNTS = 1.5  # counts of the faintest source where there is hardly any level
EDGES_SHARE = 0.35  # of maps with an edge of the exposure or a gap between detectors


def simulate_counts_map(seed: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a counts map and the expected counts of its sources, both (H, W), float32.

    The point-spread function has 1 to 6 px at half maximum, the level is 0.01 to 100 counts per
    pixel, lognormal structure lies on it, and a third of the maps has edges of the exposure. The
    same seed gives the same pixels.
    """
    rng = np.random.default_rng([seed, 23])
    wide = (shape[0] + 2 * MARGIN_PX, shape[1] + 2 * MARGIN_PX)
    inner = np.s_[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    fwhm, level = (float(np.exp(rng.uniform(*np.log(one)))) for one in (FWHM_PX, LEVEL_COUNTS))
    exposure = _exposure(rng, wide)
    structure = rng.uniform(0, 0.5) * random_field(rng, wide, rng.uniform(2.5, 3.5))
    emission = level * exposure * np.exp(structure)
    profile = _profile(rng, fwhm)
    fine = np.zeros([n * SUBPIXEL for n in wide])
    flux = _fluxes(rng, wide, fwhm, level)
    place = tuple(rng.integers(0, n, len(flux)) for n in fine.shape)
    np.add.at(fine, place, flux)
    light = signal.fftconvolve(fine, profile, mode="same")
    light = light.reshape(wide[0], SUBPIXEL, wide[1], SUBPIXEL).sum((1, 3))
    sources = np.maximum(light * exposure, 0)[inner]
    observed = rng.poisson(sources + emission[inner])
    return observed.astype(np.float32), sources.astype(np.float32)


def _fluxes(
    rng: np.random.Generator, shape: tuple[int, int], fwhm: float, level: float
) -> np.ndarray:
    """Draw expected counts of sources from a power law between the limits of S/N."""
    beams = shape[0] * shape[1] / fwhm**2
    slope = rng.uniform(*SOURCE_SLOPE)
    # a matched filter collects the noise of 4 pi sigma^2 pixels
    noise = np.sqrt(level * 4 * np.pi) * np.hypot(fwhm / ROUNDED_FWHM_PER_SIGMA, 0.3)
    faintest, brightest = (MIN_COUNTS + noise * one for one in SNR_LIMITS)
    above = np.exp(rng.uniform(*np.log(SOURCES_PER_BEAM))) * beams
    number = rng.poisson(above * ((MIN_COUNTS + 3 * noise) / faintest) ** slope)
    share = rng.uniform((brightest / faintest) ** -slope, 1, number)
    return faintest * share ** (-1 / slope)


def _profile(rng: np.random.Generator, fwhm: float) -> np.ndarray:
    """Return a point-spread function on the finer grid, sum 1: King's, or nearly a Gaussian."""
    half = MARGIN_PX * SUBPIXEL + SUBPIXEL // 2
    y, x = np.meshgrid(*2 * [np.arange(-half, half + 1) / SUBPIXEL], indexing="ij")
    ratio, angle = np.exp(rng.uniform(0, 0.3)), rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    exponent = rng.choice([rng.uniform(1.4, 3.0), 8.0])
    unit = 4 * (2 ** (1 / exponent) - 1) / fwhm**2
    profile = (1 + unit * (along**2 / ratio + across**2 * ratio)) ** -exponent
    return profile / profile.sum()


def _exposure(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return the relative exposure (H, W): vignetted, and in some maps with edges and gaps."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    centre = rng.uniform(-1.5, 1.5, 2)
    exposure = 1 / (1 + rng.uniform(0, 0.5) * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2))
    if rng.uniform() > EDGES_SHARE:
        return exposure
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    across = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.8, 0.8)
    if rng.uniform() < 0.5:
        return exposure * (across < 0)
    return exposure * (np.abs(across) > rng.uniform(0.02, 0.1))
