"""Pairs of exposures, the classical denoisers, and what SExtractor finds: for enhance.py."""

import importlib.util
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.config import EnhanceConfig
from bgrem.enhancing.anscombe import stabilise, unstabilise
from bgrem.frame import detect, sextractor_run
from bgrem.simulate.hubble import (
    WFC3_DARK_CURRENT,
    WFC3_READ_NOISE,
    HubbleField,
    long_exposure,
    short_exposure,
)
from bgrem.validation import metrics
from common.robust import ROUNDED_FWHM_PER_SIGMA

MATCH = 2.0  # px; largest distance of two detections of one source
SMOOTHING = 0.8  # h of the non-local means, in units of the noise
SHIFTS = 4  # of the wavelets' grid on either axis, averaged: no blocks are left
NOISE_PIXELS = 16.0  # 1 / sum of the squared profile; those that are simulated have 15 to 18
PEERS = {"wavelets": "pywt", "BM3D": "bm3d"}  # what needs a package that bgrem does without
SLOW = "BM3D"

INPUT, OURS = "input", "ours"

Row = dict[str, Any]
Found = dict[str, np.ndarray]  # x, y (0-based), flux, error, background; shape (N,)
Denoiser = Callable[["Pair"], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """SExtractor's, where they differ: threshold in its noise, pixels, diameter in pixels, gain."""

    threshold: float
    area: int
    filter: bool
    aperture: float
    gain: float


# those of the paper are in its repository, code/final.sex; the others are SExtractor's own
SETTINGS = {
    "published": Settings(7.0, 10, filter=False, aperture=10.0, gain=1.5),
    "default": Settings(1.5, detect.SEXTRACTOR_MIN_AREA, filter=True, aperture=5.0, gain=0.0),
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A long exposure and the short one drawn from it (Astro U-net, equation 4).

    Attributes
    ----------
    field : HubbleField
    ratio : float
        Of the exposure times.
    long, short : array, shape (H, W)
        Electrons, each of its own time.
    sky, long_sigma, sigma : array, shape (H, W)
        The long exposure's zodiacal light and the noise over it; the short one's noise. Electrons,
        each of its own time, without the light of sources.
    """

    field: HubbleField
    ratio: float
    long: np.ndarray
    short: np.ndarray
    sky: np.ndarray
    long_sigma: np.ndarray
    sigma: np.ndarray

    @property
    def sources(self) -> np.ndarray:
        """Light without noise and sky, electrons of the long exposure."""
        return self.field.sources * np.float64(self.field.exposure)

    def snr(self) -> np.ndarray:
        """Return each star's signal-to-noise ratio in the long exposure, alone on the sky."""
        sigma = np.median(self.long_sigma) * np.sqrt(NOISE_PIXELS)
        return np.asarray(self.field.catalogue["flux"] * self.field.exposure / sigma)

    def short_snr(self) -> np.ndarray:
        """Return the same in the short exposure, which is all that a method can see."""
        return self.snr() / self.ratio * np.median(self.long_sigma) / np.median(self.sigma)


def draw_pair(field: HubbleField, ratio: float, light: np.ndarray | None = None) -> Pair:
    """Return a pair; its long exposure is the same for every ratio.

    `light` (electrons/s) replaces that of sources and sky.
    """
    light = field.sources + field.sky if light is None else light
    seconds, sky = field.exposure, field.sky * np.float64(field.exposure)
    long = long_exposure(light, seconds, np.random.default_rng([field.seed, 11]))
    rng = np.random.default_rng([field.seed, 12, round(100 * ratio)])
    long_variance, variance = (
        sky / r + WFC3_DARK_CURRENT * seconds / r + WFC3_READ_NOISE**2 for r in (1, ratio)
    )
    return Pair(
        field, ratio, long, short_exposure(long, ratio, seconds, rng), sky,
        np.sqrt(long_variance), np.sqrt(long_variance / ratio**2 + variance),
    )  # fmt: skip


def another_long_exposure(pair: Pair) -> np.ndarray:
    """Return one whose noise is its own: no denoiser can be asked for more agreement than it has.

    Electrons, shape (H, W).
    """
    rng = np.random.default_rng([pair.field.seed, 13])
    return long_exposure(pair.field.sources + pair.field.sky, pair.field.exposure, rng)


def keep_noise(pair: Pair, clean: np.ndarray, noise: float) -> np.ndarray:
    """Return a denoised image with a part of the input's noise, as `EnhanceConfig.noise` has it.

    Electrons of the long exposure, both images.
    """
    return clean + noise / np.sqrt(pair.ratio) * (pair.short * pair.ratio - clean)


def our_denoiser(config: EnhanceConfig) -> Denoiser:
    """Return `bgrem enhance` without any noise kept."""
    from bgrem.enhancing.flow import enhance
    from bgrem.inference.run import load_for

    model = load_for(config, "enhance")

    def denoiser(pair: Pair) -> np.ndarray:
        found = enhance(pair.short, config, model=model, ratio=pair.ratio, noise=0.0, gain=1.0)
        return np.asarray(found.result.pixels[..., 0] * pair.ratio)

    return denoiser


def _on_stabilised(smooth: Callable[[np.ndarray], np.ndarray]) -> Denoiser:
    """Return a classical denoiser on pixels of noise 1, with the true background and noise."""

    def denoiser(pair: Pair) -> np.ndarray:
        background = pair.sky / pair.ratio
        smoothed = smooth(stabilise(pair.short, background, pair.sigma))
        return unstabilise(smoothed, background, pair.sigma) * pair.ratio

    return denoiser


def _wavelets(pixels: np.ndarray) -> np.ndarray:
    from skimage.restoration import denoise_wavelet

    options = {"sigma": 1.0, "wavelet": "sym4", "method": "BayesShrink", "rescale_sigma": False}
    total = np.zeros(pixels.shape)
    for step in itertools.product(range(SHIFTS), repeat=2):
        shifted = denoise_wavelet(np.roll(pixels, step, (0, 1)), **options)
        total += np.roll(shifted, (-step[0], -step[1]), (0, 1))
    return total / SHIFTS**2


def _non_local_means(pixels: np.ndarray) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    return np.asarray(denoise_nl_means(
        pixels, patch_size=5, patch_distance=6, h=SMOOTHING, sigma=1.0, fast_mode=True
    ))  # fmt: skip


def _bm3d(pixels: np.ndarray) -> np.ndarray:
    import bm3d

    return np.asarray(bm3d.bm3d(pixels.astype(np.float64), sigma_psd=1.0))


def _gaussian(pair: Pair) -> np.ndarray:
    """Smooth with a Gaussian of the stars' width: the matched filter, that broadens stars."""
    from scipy import ndimage

    return np.asarray(
        ndimage.gaussian_filter(pair.short * pair.ratio, pair.field.fwhm / ROUNDED_FWHM_PER_SIGMA)
    )


def classical_denoisers(*, quick: bool) -> dict[str, Denoiser]:
    """Return those that this machine can run; what is missing is said. BM3D is not quick."""
    known = {
        "wavelets": _on_stabilised(_wavelets), "NL-means": _on_stabilised(_non_local_means),
        "BM3D": _on_stabilised(_bm3d), "Gaussian": _gaussian,
    }  # fmt: skip
    if quick:
        del known[SLOW]
    for name, package in PEERS.items():
        if name not in known:
            continue
        if importlib.util.find_spec(package) is None:
            print(f"{package} is missing, the rows of {name} too: see README.md", file=sys.stderr)
            del known[name]
    return known


def timed(denoiser: Denoiser, pair: Pair) -> tuple[np.ndarray, float]:
    """Return the denoised image, electrons of the long exposure, and the seconds that it took."""
    start = time.perf_counter()
    image = denoiser(pair)
    return image, time.perf_counter() - start


def find_sources(
    image: np.ndarray, settings: Settings, *, scale: float = 1.0, level: float | None = None
) -> Found:
    """Return what SExtractor finds and measures.

    Parameters
    ----------
    image : array, shape (H, W)
        Electrons of the long exposure.
    settings : Settings
    scale : float
        What the electrons that were counted have been multiplied with.
    level : float, optional
        The threshold in electrons, whatever the image's noise is.
    """
    names = ["X_IMAGE", "Y_IMAGE", "FLUX_APER(1)", "FLUXERR_APER(1)", "BACKGROUND"]
    options = {
        "DETECT_THRESH": f"{settings.threshold if level is None else level:.6g}",
        "THRESH_TYPE": "RELATIVE" if level is None else "ABSOLUTE",
        "DETECT_MINAREA": str(settings.area), "PHOT_APERTURES": f"{settings.aperture:g}",
        "GAIN": f"{settings.gain / scale:g}",
    }  # fmt: skip
    kernel = detect.SEXTRACTOR_KERNEL if settings.filter else None
    with tempfile.TemporaryDirectory() as folder:
        table = sextractor_run.run_sextractor(Path(folder), [image], names, options, kernel=kernel)
    x, y, flux, error, background = (table[n.split("(")[0]].astype(float).ravel() for n in names)
    return {"x": x - 1, "y": y - 1, "flux": flux, "error": error, "background": background}


def match(found: Found, others: Found) -> np.ndarray:
    """Return the index of each detection's partner among others, one to one; -1: none."""
    number = len(others["x"])
    truth = {
        "x": others["x"], "y": others["y"], "snr": np.full(number, np.inf),
        "half_light_radius": np.zeros(number),
    }  # fmt: skip
    detections = detect.Detections(found["x"], found["y"], found["flux"])
    return metrics.score(detections, truth, MATCH / metrics.MATCH_RADIUS_FWHM).partner


def light_in_circles(image: np.ndarray, x: Any, y: Any, radius: float, ring: Any) -> np.ndarray:
    """Return the light in circles over the mean of the rings around them."""
    import sep

    data = np.ascontiguousarray(image, np.float64)
    return np.asarray(sep.sum_circle(data, x, y, radius, bkgann=ring, subpix=0)[0])


def print_head(head: tuple[str, ...]) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))


def print_cells(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def plain(value: float, digits: int) -> str:
    """Return a value as a cell of a table."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def with_error(value: float, error: float, digits: int = 1) -> str:
    """Return the two as a cell of a table."""
    if not np.isfinite(value):
        return "-"
    return f"{value:+.{digits}f}" + (f" ± {error:.{digits}f}" if np.isfinite(error) else "")
