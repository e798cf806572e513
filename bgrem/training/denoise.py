"""From fields with truth to batches: cut, vary, draw noise anew, mix for the diffusion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.config import SimulateConfig, TrainConfig
from bgrem.frame.background import whole_image_statistics
from bgrem.frame.normalisers import NORMALISERS
from bgrem.frame.picture.level import picture_statistics
from bgrem.networks.diffusion import mix
from bgrem.networks.schedule import CosineSchedule
from bgrem.simulate.conditions import random_conditions, wide_conditions
from bgrem.simulate.detector import cosmic_rays, hot_pixels
from bgrem.simulate.noise import (
    bands,
    bleed,
    correlate_noise,
    correlate_noise_widely,
    edge_glow,
    round_to_integers,
    smooth_leftover,
)
from bgrem.simulate.optical import SimulatedField, simulate_field
from bgrem.simulate.picture import (
    COLOUR_SHARE,
    DEBAYERED_SHARE,
    debayered_noise,
    difference_of_channels,
    draw_nebula,
)
from bgrem.training.batches import Batches, Task
from bgrem.training.pairs import read_pair
from common.checked.archives import number_of, planes_of, read_arrays

# shares of tiles with
CORRELATED_SHARE = 0.3
GLOW_SHARE = 0.04
BANDS_SHARE = 0.1
ARTEFACTS_SHARE = 0.15  # cosmic rays and hot pixels
SATURATED_SHARE = 0.15
INTEGERS_SHARE = 0.15  # whose step is not small
ANY_COUNTS_SHARE = 0.5  # of the fields of `gamma`: maps of any telescope
MAX_POISSON_SKY = 900.0  # electrons of sky under which a Gaussian is too symmetric


@dataclass(frozen=True, eq=False)
class TrainingField:
    """One field in units of its noise.

    Attributes
    ----------
    clean : array, shape (H, W), float32
        Sources alone.
    background : array, shape (H, W), float32
        All that is to be predicted; for a simulated field, whose noise is drawn anew for each
        tile, only what the smooth background of the whole image left over.
    electrons : float or None
        Electrons in one unit of a simulated field's noise; None: `background` has its noise.
    photons : float
        Electrons per pixel from sky and dark current (simulated fields).
    """

    clean: np.ndarray
    background: np.ndarray
    electrons: float | None = None
    photons: float = 0.0

    def save(self, path: Path) -> None:
        """Write the field as .npz."""
        np.savez(
            path, clean=self.clean, background=self.background, photons=self.photons,
            electrons=self.electrons or 0.0,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "TrainingField":
        """Read what `save` wrote."""
        where = str(path)
        arrays = read_arrays(path, where, "a training field")
        clean, background = planes_of(arrays, ("clean", "background"), where)
        electrons = number_of(arrays, "electrons", where, least=0) or None
        return cls(clean, background, electrons, number_of(arrays, "photons", where))


def simulated_training_field(config: SimulateConfig) -> TrainingField:
    """Return a simulated field (`SimulateConfig`), noise to be drawn anew."""
    simulated = simulate_field(config)
    found = whole_image_statistics(simulated.observed)
    scale, electrons, photons = _units(simulated)
    left = (simulated.background - found.background) * scale
    return TrainingField(simulated.sources * scale, left.astype(np.float32), electrons, photons)


def _units(simulated: SimulatedField) -> tuple[float, float, float]:
    """Return noise units per ADU, electrons per noise unit, photons of the sky in electrons."""
    instrument = simulated.instrument
    photons = float(np.median(simulated.background) - instrument.bias) * instrument.gain
    electrons = float(np.sqrt(photons + instrument.read_noise**2))
    return instrument.gain / electrons, electrons, photons


def measured_training_field(observed: np.ndarray, clean: np.ndarray, *, how: str) -> TrainingField:
    """Return a field of the user's own: observed pixels with their clean ones, shape (H, W).

    Parameters
    ----------
    how : str
        Row of `NORMALISERS`.
    """
    normaliser = NORMALISERS[how]
    if not normaliser.is_counts:  # counts stay float32, as in the training of their model
        observed = observed.astype(np.float64)
    noisy, truth = normaliser.training_pair(observed, clean)
    return TrainingField(truth.astype(np.float32), (noisy - truth).astype(np.float32))


def simulated_picture_field(seed: int, shape: tuple[int, int]) -> TrainingField:
    """Return stars, galaxies and nebulae without their local level, noise to be drawn anew."""
    simulated = simulate_field(wide_conditions(seed, shape))
    scale, electrons, _ = _units(simulated)
    rng = np.random.default_rng([seed, 29])
    light = simulated.sources * scale + draw_nebula(rng, shape)
    found = picture_statistics(light + rng.standard_normal(shape))
    # the noise is measured, and so is 1, where the level has photons of its own
    noise = np.sqrt(1 + np.maximum(found.background, 0) / electrons)
    clean = ((light - found.background) / noise).astype(np.float32)
    return TrainingField(clean, np.zeros_like(clean), electrons)


def draw_picture_noise(
    rng: np.random.Generator, clean: np.ndarray, field: TrainingField
) -> tuple[np.ndarray, np.ndarray]:
    """Return (clean, noise) of a tile of a picture, float32: white, resampled, or debayered."""
    colour = rng.uniform() < COLOUR_SHARE
    # stars are brighter than their level, and so is their noise
    scale = np.sqrt(1 + np.maximum(clean, 0) / (field.electrons or 1.0))
    if colour:
        clean = difference_of_channels(rng, clean)
    white = rng.standard_normal(clean.shape, np.float32)
    kind = rng.uniform()
    if kind < DEBAYERED_SHARE:
        white = debayered_noise(rng, clean.shape)
    elif kind < DEBAYERED_SHARE + CORRELATED_SHARE:
        white = correlate_noise_widely(rng, white)
    noise = white * scale * rng.uniform(0.85, 1.15)
    if rng.uniform() < BANDS_SHARE:
        noise = noise + bands(rng, clean.shape)
    if rng.uniform() < ARTEFACTS_SHARE:
        noise = noise + hot_pixels(rng, clean.shape, rng.uniform(0, 3e-4)) / (field.electrons or 1)
    if not colour and rng.uniform() < SATURATED_SHARE:
        limit = 10 ** rng.uniform(2, 4)
        noise, clean = (np.minimum(clean + noise, limit) - np.minimum(clean, limit),
                        np.minimum(clean, limit))  # fmt: skip
    if rng.uniform() < INTEGERS_SHARE:
        noise = round_to_integers(rng, clean + noise) - clean
    return clean.astype(np.float32), noise.astype(np.float32)


class TileBatches(Batches):
    """Batches ((noisy, noise_variance), background) for the denoiser.

    Parameters
    ----------
    fields : list of TrainingField
        With `vary`, simulated ones get other fluxes, blends, correlated noise, artefacts and
        left-over background.
    schedule : CosineSchedule
    tile_median : bool
        Take each tile's median off (the published recipe).
    smallest_peak : float
        Tiles whose brightest source pixel is below (in units of the noise) are left out.
    wide : bool
        With `vary`, also finer grids, bands, glows at an edge, bleeding columns and integers.
    picture : bool
        The background is noise alone, as pictures have it.
    **common
        Of `Batches`.
    """

    def __init__(
        self,
        fields: list[TrainingField],
        *,
        schedule: CosineSchedule,
        tile_median: bool = False,
        smallest_peak: float = 0.0,
        wide: bool = False,
        picture: bool = False,
        **common: Any,
    ) -> None:
        super().__init__(fields, **common)
        smallest = min(min(one.clean.shape) for one in fields)
        if smallest < self.tile:
            raise ValueError(f"a training field has a side of {smallest} px, tile is {self.tile}.")
        self.schedule, self.tile_median = schedule, tile_median
        self.smallest_peak, self.wide, self.picture = smallest_peak, wide, picture

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Return one batch: arrays (B, T, T, 1), (B, 1, 1, 1), (B, T, T, 1), float32."""
        rng = self.generator(index)
        pairs = [self._tile(rng) for _ in range(self.batch_size)]
        clean, background = (np.stack(part)[..., None] for part in zip(*pairs, strict=True))
        if self.tile_median:
            background -= np.median(clean + background, axis=(1, 2, 3), keepdims=True)
        _, rates = self.schedule.rates(rng.uniform(size=(self.batch_size, 1, 1, 1)))
        return (mix(clean, background, rates), rates**2), background

    def _tile(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return one tile's clean pixels and its background."""
        field = self.fields[rng.integers(len(self.fields))]
        for _ in range(20):
            clean, left = self.cut(rng, field.clean, field.background)
            if clean.max() >= self.smallest_peak:
                break
        if field.electrons is None:
            return clean, left
        if self.picture:
            if self.vary:
                clean = clean * np.float32(10 ** rng.uniform(-0.5, 0.5))
            return draw_picture_noise(rng, clean, field)
        if self.vary:
            clean = clean * np.float32(10 ** rng.uniform(-0.5, 0.5))
            if rng.uniform() < 0.25:  # denser than any field, with the same profile
                other = self.cut(rng, field.clean, field.background)[0]
                clean = clean + other * np.float32(10 ** rng.uniform(-0.7, 0.3))
        return draw_background(rng, clean, left, field, vary=self.vary, wide=self.wide)


def draw_background(
    rng: np.random.Generator,
    clean: np.ndarray,
    left: np.ndarray,
    field: TrainingField,
    *,
    vary: bool,
    wide: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (clean, background) of a simulated tile, its noise drawn anew, float32."""
    electrons = field.electrons or 1.0
    light = np.maximum(clean, 0)
    correlated = vary and rng.uniform() < CORRELATED_SHARE
    if field.photons < MAX_POISSON_SKY and not correlated:
        expected = light * electrons + field.photons
        noise = rng.poisson(expected) - expected
        noise += rng.normal(0, np.sqrt(max(electrons**2 - field.photons, 0)), clean.shape)
        noise /= electrons
    else:
        white = rng.standard_normal(clean.shape, np.float32)
        if correlated:
            white = (correlate_noise_widely if wide else correlate_noise)(rng, white)
        noise = white * np.sqrt(1 + light / electrons)
    if not vary:
        return clean.astype(np.float32), (noise + left).astype(np.float32)
    noise *= rng.uniform(0.9, 1.1)
    left = left * rng.uniform(0.5, 1.5) + smooth_leftover(rng, clean.shape)
    if wide and rng.uniform() < GLOW_SHARE:
        glow = edge_glow(rng, clean.shape)
        noise, left = noise * np.sqrt(1 + glow / electrons), left + glow
    if wide and rng.uniform() < BANDS_SHARE:
        left = left + bands(rng, clean.shape)
    if rng.uniform() < ARTEFACTS_SHARE:
        hits = rng.uniform(0, 4e-4) * clean.size
        noise += cosmic_rays(rng, clean.shape, hits) / electrons
        noise += hot_pixels(rng, clean.shape, rng.uniform(0, 3e-4)) / electrons
    if rng.uniform() < SATURATED_SHARE:  # saturated cores are flat, with and without noise
        limit = 10 ** rng.uniform(2.5, 4)
        full = bleed(rng, clean, limit) if wide else np.minimum(clean, limit)
        noise, clean = np.minimum(clean + noise, limit) - np.minimum(clean, limit), full
        noise[full > light] = 0  # a column that charge has filled
    if wide and rng.uniform() < INTEGERS_SHARE:
        noise = round_to_integers(rng, clean + noise + left) - clean - left
    return clean.astype(np.float32), (noise + left).astype(np.float32)


def _measure(config: TrainConfig, path: Path) -> TrainingField:
    """Return a field of the user as the config's model wants it."""
    return measured_training_field(*read_pair(path), how=normaliser_name(config))


def _simulate(config: TrainConfig, seed: int, shape: tuple[int, int]) -> TrainingField:
    """Return a simulated field as the config's model wants it."""
    if config.simulation == "gamma":
        return simulated_counts_field(seed, shape)
    if config.simulation == "any":
        return simulated_training_field(random_conditions(seed, shape))
    if config.simulation == "picture":
        return simulated_picture_field(seed, shape)
    if config.simulation == "wide":
        return simulated_training_field(wide_conditions(seed, shape))
    conditions = SimulateConfig(preset=config.simulation, shape=shape, seed=seed, waves=0.02)
    if config.tile_median:
        field = simulate_field(conditions)
        how = normaliser_name(config)
        return measured_training_field(field.observed, field.sources, how=how)
    return simulated_training_field(conditions)


def _describe(config: TrainConfig) -> dict[str, Any]:
    """Return what inference must know: the schedule, and how the background is taken off."""
    schedule = {"min_signal": config.inference_min_signal, "max_signal": config.max_signal}
    return {"schedule": schedule, "background": normaliser_name(config)}


def normaliser_name(config: TrainConfig) -> str:
    """Return the row of `NORMALISERS` that a config trains for."""
    if config.simulation in ("gamma", "picture"):
        return {"gamma": "poisson", "picture": "picture"}[config.simulation]
    return "tile-median" if config.tile_median else "smooth"


def simulated_counts_field(seed: int, shape: tuple[int, ...]) -> TrainingField:
    """Return a simulated counts map of the training's domain.

    Half are maps of any telescope. The others are patches of the γ-ray sky: two in five lie
    within 15 degrees of the Galactic plane, the rest all over the sky; two in five have the
    photons of 1 to 100 % of ten years, as sparse maps of higher energies do.
    """
    from bgrem.simulate.counts import simulate_counts_map
    from bgrem.simulate.gamma import simulate_patch

    rng = np.random.default_rng([seed, 17])
    if rng.uniform() < ANY_COUNTS_SHARE:
        observed, sources = simulate_counts_map(seed, (shape[0], shape[1]))
        return measured_training_field(observed, sources, how="poisson")
    latitude = float(rng.uniform(-15, 15)) if rng.uniform() < 0.4 else None
    exposure = float(10 ** rng.uniform(-2, 0)) if rng.uniform() < 0.4 else None
    patch = simulate_patch(seed, (shape[0], shape[1]), latitude=latitude, exposure=exposure)
    return measured_training_field(patch.observed, patch.sources, how="poisson")


def _options(config: TrainConfig) -> dict[str, Any]:
    return {
        "schedule": CosineSchedule(config.min_signal, config.max_signal),
        "tile_median": config.tile_median,
        "smallest_peak": config.smallest_peak,
        "wide": config.simulation == "wide",
        "picture": config.simulation == "picture",
    }


TASK = Task(TrainingField, _simulate, _measure, TileBatches, _options, _describe)
