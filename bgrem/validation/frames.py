"""What all checks of a validation look at: a frame, its denoised versions, what was put in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.signal import fftconvolve

from bgrem.cataloguing.threshold import Threshold, find_threshold, noise_inflation
from bgrem.config import ValidateConfig
from bgrem.frame.sources import Frame, mask_frame_sources
from bgrem.frame.stars import PointSpread
from bgrem.frame.truth import FieldTruth
from bgrem.validation.injection import Injection

MIN_PIXELS_FOR_INFLATION = 1000  # empty pixels; with fewer independent noise is assumed
MAX_FILLS = 12  # turns of the frame that fill a source with noise: nearly all, where half is empty


@dataclass(frozen=True, eq=False)
class Planes:
    """A frame and what denoising made of it, each (H, W), float64; missing pixels are NaN.

    `capped` is the part of the pixels that `--max-sigma` left as they were; NaN without a cap.
    """

    pixels: np.ndarray
    result: np.ndarray
    background: np.ndarray
    sigma: np.ndarray
    capped: float = float("nan")

    @cached_property
    def missing(self) -> np.ndarray:
        """Where nothing was measured."""
        return ~np.isfinite(self.pixels)

    @cached_property
    def flat(self) -> np.ndarray:
        """The frame without its smooth background, 0 where nothing was measured."""
        return np.where(self.missing, 0, self.pixels - self.background)

    @cached_property
    def scaled(self) -> np.ndarray:
        """The same in units of the noise."""
        return self.flat / self.sigma

    @cached_property
    def clean(self) -> np.ndarray:
        """The denoised frame, 0 where nothing was measured."""
        return np.where(self.missing, 0, self.result)

    @cached_property
    def empty(self) -> np.ndarray:
        """Where a pixel shows neither a source nor a gap."""
        return ~(self.missing | mask_frame_sources(self.scaled, self.missing))


@dataclass(frozen=True, eq=False)
class Examination:
    """One frame under examination.

    Attributes
    ----------
    planes : Planes
        The frame as it is.
    denoise : callable
        Pixels (H, W) -> Planes.
    spread : PointSpread
    gain : float or None
        Electrons per unit.
    config : ValidateConfig
    seed : int
    saturate : float or None
        Pixel value from which pixels are full.
    counts : bool
        Whether the model takes counts: they cannot be negated.
    injected : list of (Injection, Planes)
        Repeats.
    noise : list of Planes
        Frames without sources. The first has the frame's own noise with its sign flipped, the last
        noise drawn anew with its power spectrum. For counts there is only the last.
    truth : FieldTruth or None
    """

    planes: Planes
    denoise: Callable[[np.ndarray], Planes]
    spread: PointSpread
    gain: float | None
    config: ValidateConfig
    seed: int = 0
    saturate: float | None = None
    counts: bool = False
    injected: list[tuple[Injection, Planes]] = field(default_factory=list)
    noise: list[Planes] = field(default_factory=list)
    truth: FieldTruth | None = None

    @property
    def megapixels(self) -> float:
        """Measured area."""
        return float((~self.planes.missing).sum() / 1e6)

    @cached_property
    def inflation(self) -> float:
        """Noise of the matched filter over that of white noise, measured without sources."""
        return filter_inflation(self.planes, self.spread)

    @cached_property
    def threshold(self) -> Threshold:
        """That of `bgrem catalog` for this frame."""
        planes = self.planes
        return find_threshold(
            Frame.of(planes.pixels - planes.background, planes.result, planes.sigma, self.gain)
        )

    def rng(self, *key: int) -> np.random.Generator:
        """Return the random numbers of one purpose."""
        return np.random.default_rng([self.seed, *key])


def filter_inflation(planes: Planes, spread: PointSpread) -> float:
    """Return the noise of a matched filter in units of what independent pixels would give."""
    profile = spread.stamp()

    def matched(plane: np.ndarray) -> np.ndarray:
        filtered = fftconvolve(plane, profile[::-1, ::-1], mode="same")
        return filtered / np.sqrt((profile**2).sum())

    found = noise_inflation(planes.scaled, planes.empty, matched, least=MIN_PIXELS_FOR_INFLATION)
    return float(np.nan_to_num(found[0, 0], nan=1.0))


def own_noise(planes: Planes, rng: np.random.Generator) -> np.ndarray:
    """Return the frame's own noise (H, W) in units of sigma, without its sources.

    Where sources are, noise of other places of the frame (turned and shifted) takes their place.
    """
    source, there = np.where(planes.empty, planes.scaled, 0), planes.empty
    noise, filled = source.copy(), there.copy()
    for _ in range(MAX_FILLS):
        if filled.all():
            break
        shift = tuple(int(rng.integers(side)) for side in noise.shape)
        turned, from_there = (
            np.roll(plane[::-1, ::-1], shift, (0, 1)) for plane in (source, there)
        )
        new = from_there & ~filled
        noise[new], filled = turned[new], filled | new
    spread = float(noise[filled].std()) if filled.any() else 1.0
    noise[~filled] = rng.normal(0, spread, int((~filled).sum()))
    return noise


def surrogate_noise(noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise (H, W) drawn anew with the power spectrum and spread of another."""
    amplitude = np.abs(np.fft.rfft2(noise - noise.mean()))
    phases = np.fft.rfft2(rng.standard_normal(noise.shape))
    drawn = np.fft.irfft2(amplitude * phases / np.maximum(np.abs(phases), 1e-12), noise.shape)
    return np.asarray(drawn * (noise.std() / drawn.std()))
