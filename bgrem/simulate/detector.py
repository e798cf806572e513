"""What a detector makes of light: shot noise, dark current, read noise, artefacts, saturation."""

from typing import Any

import numpy as np

from bgrem.simulate.presets import Instrument


def expose(
    sources: np.ndarray,
    sky: np.ndarray,
    instrument: Instrument,
    rng: Any,
    *,
    artefacts: bool = False,
) -> np.ndarray:
    """Return one exposure in ADU, shape (H, W).

    Parameters
    ----------
    sources, sky : array, shape (H, W)
        Electrons.
    instrument : Instrument
        Gain, noise, saturation, and how often artefacts come.
    rng : numpy.random.Generator
        Draws everything.
    artefacts : bool, optional
        Add cosmic rays, hot pixels and banding.
    """
    expected = np.maximum(sources + sky, 0) + instrument.dark_current * instrument.exposure
    electrons = rng.poisson(expected).astype(np.float64)
    if artefacts:
        electrons += hot_pixels(rng, sky.shape, instrument.hot_pixels)
        hits = instrument.cosmic_rays * instrument.exposure * sky.size / 1e6
        electrons += cosmic_rays(rng, sky.shape, hits)
    electrons = np.minimum(electrons, instrument.saturation)
    electrons += rng.normal(0, instrument.read_noise, sky.shape)
    if artefacts and instrument.banding:
        electrons += rng.normal(0, instrument.banding, (sky.shape[0], 1))
    return np.round(electrons / instrument.gain + instrument.bias)


def hot_pixels(rng: Any, shape: tuple[int, ...], share: float) -> np.ndarray:
    """Return single pixels with an exponential spread of charge (mean 500 electrons)."""
    extra = np.zeros(shape)
    number = rng.poisson(share * extra.size)
    places = rng.integers(0, extra.size, number)
    extra.flat[places] = rng.exponential(500, number)
    return extra


def cosmic_rays(rng: Any, shape: tuple[int, ...], hits: float) -> np.ndarray:
    """Return straight tracks of charge: any direction, exponential length, about 100 e- a pixel.

    A muon leaves some 80 electrons per micrometre of silicon; most tracks are a few pixels long.
    """
    extra = np.zeros(shape)
    for _ in range(rng.poisson(hits)):
        length = 1 + rng.exponential(4)
        angle, charge = rng.uniform(0, np.pi), 300 * rng.lognormal(1, 0.8)
        steps = np.arange(0, length, 0.25)
        row = rng.uniform(0, shape[0]) + steps * np.sin(angle)
        column = rng.uniform(0, shape[1]) + steps * np.cos(angle)
        inside = (row < shape[0]) & (column < shape[1]) & (column >= 0)
        np.add.at(extra, (row[inside].astype(int), column[inside].astype(int)), charge / 4)
    return extra
