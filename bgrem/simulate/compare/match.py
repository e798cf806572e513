"""A simulated field as like a real frame as its preset can be: level, noise, stars."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import SimulateConfig
from bgrem.simulate.compare.measure import FrameMeasures, is_whole, measure_frame
from bgrem.simulate.optical import simulate_field, sky_level
from bgrem.simulate.presets import PRESETS, Instrument
from common.header import GAIN_KEYWORDS, READ_NOISE_KEYWORDS, header_number

MATCHED_GALAXY_SHARE = 0.3  # of the sources, as at magnitude 20 to 21 away from the Milky Way
MATCHING_ROUNDS = 2  # corrections of width and density; the first is good to some ten per cent
HALF_LIGHT_RADIUS_TO_FWHM = 1 / 0.6  # of a Moffat profile with exponent 3.5
DEFAULT_GREY_STEP = 0.01  # noise; smallest step of frames that are not whole numbers
MIN_SKY_FOR_GAIN = 3.0  # sigma; a lower level has no sky left that indicates the gain


@dataclass(frozen=True, eq=False)
class MatchedField:
    """Pixels of a simulated field in a frame's units, with how it was made.

    Attributes
    ----------
    pixels : array, shape (H, W)
    config : SimulateConfig
    instrument : Instrument
        The preset with the frame's gain, read noise and bias.
    expected_noise : float
        What the header's gain and read noise give at the frame's level; NaN without them.
    notes : list of str
        What was assumed where the frame does not tell.
    """

    pixels: np.ndarray
    config: SimulateConfig
    instrument: Instrument
    expected_noise: float
    notes: list[str]


def match_field(
    pixels: np.ndarray,
    measured: FrameMeasures,
    config: SimulateConfig,
    header: Mapping[str, Any] | None = None,
) -> MatchedField:
    """Return a field of the preset with the level, noise, stars and density of a frame.

    Parameters
    ----------
    pixels : array, shape (H, W)
        The frame.
    measured : FrameMeasures
        Of the frame.
    config : SimulateConfig
        Its settings that are not None are kept: `stars`, `galaxies`, `fwhm`, `shape`, `sky`.
    header : mapping, optional
        For gain (electrons per unit) and read noise (electrons).
    """
    notes: list[str] = []
    instrument, sky, expected = _match_detector(measured, config, header or {}, notes)
    step = 1.0 if is_whole(pixels) else DEFAULT_GREY_STEP * measured.noise
    instrument = replace(instrument, gain=instrument.gain * step, bias=instrument.bias / step)
    shape = config.shape or (pixels.shape[0], pixels.shape[1])
    # slopes and waves of the sky are those of the whole detector: a cut sees its part of them
    part = min(1.0, max(shape) / max(instrument.shape))
    density = len(measured.fluxes) / measured.megapixels
    fwhm = measured.star_radius * HALF_LIGHT_RADIUS_TO_FWHM
    if config.fwhm is None and not np.isfinite(fwhm):
        notes.append("too few bright stars to measure their width: the preset's (or give --fwhm)")
    for turn in range(MATCHING_ROUNDS + 1):
        now = replace(
            config,
            shape=shape,
            sky=sky,
            gradient=config.gradient * part,
            waves=config.waves * part,
            fwhm=config.fwhm or (max(1.0, float(fwhm)) if np.isfinite(fwhm) else None),
            stars=(1 - MATCHED_GALAXY_SHARE) * density if config.stars is None else config.stars,
            galaxies=MATCHED_GALAXY_SHARE * density if config.galaxies is None else config.galaxies,
        )
        made = simulate_field(now, instrument=instrument).observed * step
        if turn == MATCHING_ROUNDS:
            break
        found = measure_frame(made)
        ratio = len(measured.fluxes) * found.megapixels / measured.megapixels
        density *= float(np.clip(ratio / max(len(found.fluxes), 1), 0.2, 5))
        if np.isfinite(found.star_radius):
            fwhm *= measured.star_radius / found.star_radius
    return MatchedField(made, now, instrument, expected, notes)


def _match_detector(
    measured: FrameMeasures, config: SimulateConfig, header: Mapping[str, Any], notes: list[str]
) -> tuple[Instrument, float, float]:
    """Return the instrument, the sky in electrons, and the noise that the header predicts."""
    instrument = PRESETS[config.preset]
    dark = instrument.dark_current * instrument.exposure
    gain = header_number(header, GAIN_KEYWORDS)
    read_noise = header_number(header, READ_NOISE_KEYWORDS)
    level, noise, expected = measured.level, measured.noise, float("nan")
    if read_noise is None:
        read_noise = instrument.read_noise
        notes.append(f"no read noise in the header: {read_noise:g} electrons, the preset's")
    if gain is not None:
        light = level - (header_number(header, ("BIASLVL",)) or 0.0)
        expected = np.sqrt(max(light, 0) * gain + read_noise**2) / gain
    elif level > MIN_SKY_FOR_GAIN * noise:
        # level * gain + read_noise^2 = (noise * gain)^2, solved for the gain
        gain = (level + np.hypot(level, 2 * noise * read_noise)) / (2 * noise**2)
        notes.append(f"no gain in the header: {gain:.3g} electrons per unit from level and noise")
    else:
        sky = sky_level(instrument) if config.sky is None else config.sky
        gain = np.sqrt(sky + dark + read_noise**2) / noise
        notes.append("no gain in the header, and no sky in the frame: the preset's sky")
    electrons = noise * gain
    if read_noise > 0.95 * electrons:
        read_noise = 0.95 * electrons
        notes.append("read noise above the measured noise: lowered")
    sky = max(electrons**2 - read_noise**2 - dark, 0.0)
    matched = replace(
        instrument, gain=gain, read_noise=read_noise, bias=level - (sky + dark) / gain,
        saturation=max(instrument.saturation, 10 * sky),
    )  # fmt: skip
    return matched, float(sky), float(expected)
