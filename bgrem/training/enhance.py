"""Pairs for `bgrem enhance`: a short exposure drawn from a long one (Astro U-net, equation 4)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.enhancing.anscombe import stabilise
from bgrem.frame.background import whole_image_statistics
from bgrem.simulate.hubble import (
    WFC3_DARK_CURRENT,
    WFC3_READ_NOISE,
    long_exposure,
    short_exposure,
    simulate_hubble_field,
)
from bgrem.training.batches import Batches, Task
from common.checked.archives import number_of, planes_of, read_arrays

MIN_EXPOSURE_SHARE = 0.3  # of a field's exposure time, which is varied
BACKGROUND_ERROR = 0.1  # noise; standard deviation of the error of a measured background
NOISE_ERROR = 0.05  # relative; standard deviation of the error of a measured noise


@dataclass(frozen=True, eq=False)
class ExposureField:
    """One field before its exposure, or a long exposure of the user.

    Attributes
    ----------
    light : array, shape (H, W), float32
        Electrons per second, sources and sky; of an own exposure with its noise.
    background : array, shape (H, W), float32
        Electrons per second: what is found as smooth background on the long exposure.
    exposure : float
        Seconds of the long exposure.
    noisy : bool
        Whether `light` is an exposure, to which no noise of a long one is to be added.
    """

    light: np.ndarray
    background: np.ndarray
    exposure: float
    noisy: bool = False

    def save(self, path: Path) -> None:
        """Write the field as .npz."""
        np.savez(
            path, light=self.light, background=self.background, exposure=self.exposure,
            noisy=self.noisy,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "ExposureField":
        """Read what `save` wrote."""
        where = str(path)
        arrays = read_arrays(path, where, "a training field")
        light, background = planes_of(arrays, ("light", "background"), where)
        exposure = number_of(arrays, "exposure", where, least=0)
        noisy = bool(number_of(arrays, "noisy", where, least=0, most=1))
        return cls(light, background, exposure, noisy)


def simulated_exposure_field(seed: int, shape: tuple[int, int]) -> ExposureField:
    """Return a simulated field, its noise to be drawn anew for each tile."""
    field = simulate_hubble_field(seed, shape)
    light = field.sources + field.sky
    observed = long_exposure(light, field.exposure, np.random.default_rng([seed, 3]))
    found = whole_image_statistics(observed)
    return ExposureField(light, found.background / np.float32(field.exposure), field.exposure)


def measured_exposure_field(path: Path) -> ExposureField:
    """Return a long exposure of the user: electrons, or what its header makes electrons of."""
    from bgrem.frame.exposure import electrons_of
    from common.io import read_image

    image = read_image(path)
    if image.shape[-1] != 1 or image.missing.any():
        raise ValueError(f"{path}: expected one channel without missing pixels. Cut them off.")
    factor, seconds = electrons_of(image)
    if not seconds:
        raise ValueError(f"{path}: no EXPTIME. Add it to the header.")
    electrons = image.pixels[..., 0] * factor
    found = whole_image_statistics(electrons)
    return ExposureField(
        (electrons / seconds).astype(np.float32), found.background / np.float32(seconds),
        seconds, noisy=True,
    )  # fmt: skip


class ExposureBatches(Batches):
    """Batches ((noisy, exposure_ratio), noise) of short exposures in units of their noise.

    Parameters
    ----------
    fields : list of ExposureField
    ratios : tuple of float
        Least and largest ratio of the exposure times.
    **common
        Of `Batches`.
    """

    def __init__(
        self, fields: list[ExposureField], *, ratios: tuple[float, ...], **common: Any
    ) -> None:
        super().__init__(fields, **common)
        self.ratios = ratios

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Return one batch: arrays (B, T, T, 1), (B, 1, 1, 1), (B, T, T, 1), float32."""
        rng = self.generator(index)
        ratios = rng.uniform(min(self.ratios), max(self.ratios), self.batch_size)
        if not self.vary:  # the same ratios in each batch: losses can be compared
            ratios = np.linspace(min(self.ratios), max(self.ratios), self.batch_size)
        pairs = [self._pair(rng, float(ratio)) for ratio in ratios]
        noisy, wanted = (np.stack(part)[..., None] for part in zip(*pairs, strict=True))
        return (noisy, ratios.reshape(-1, 1, 1, 1).astype(np.float32)), noisy - wanted

    def _pair(self, rng: np.random.Generator, ratio: float) -> tuple[np.ndarray, np.ndarray]:
        """Return a short exposure and its long one, in units of the short one's noise."""
        field = self.fields[rng.integers(len(self.fields))]
        light, background = self.cut(rng, field.light, field.background)
        seconds = field.exposure
        if field.noisy:
            long = light * seconds
        else:
            seconds *= rng.uniform(MIN_EXPOSURE_SHARE, 1) if self.vary else 1.0
            long = long_exposure(light, seconds, rng)
        short = short_exposure(long, ratio, seconds, rng)
        level = background * (seconds / ratio)
        own = (level * ratio + WFC3_DARK_CURRENT * seconds + WFC3_READ_NOISE**2) / ratio**2
        added = level + WFC3_DARK_CURRENT * seconds / ratio + WFC3_READ_NOISE**2
        sigma = np.sqrt(np.maximum(own, 0) + np.maximum(added, WFC3_READ_NOISE**2))
        if self.vary:
            level = level + rng.normal(0, BACKGROUND_ERROR) * sigma
            sigma = sigma * rng.normal(1, NOISE_ERROR)
        return stabilise(short, level, sigma), stabilise(long / ratio, level, sigma)


TASK = Task(
    ExposureField,
    lambda config, seed, shape: simulated_exposure_field(seed, shape),
    lambda config, path: measured_exposure_field(path),
    ExposureBatches,
    lambda config: {"ratios": config.ratios},
    lambda config: {"ratios": [min(config.ratios), max(config.ratios)]},
)
