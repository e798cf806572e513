"""DDNN on a frame: a map of all structures that diffusion can reproduce; satellites remain."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import NoiseMapConfig
from bgrem.inference.run import Progress, fill_missing, load_for
from bgrem.models import Model
from bgrem.noise_mapping.detections import Remains, find_detections
from bgrem.noise_mapping.hiding import hide_light
from bgrem.noise_mapping.residual_noise import residual_rms
from bgrem.noise_mapping.runs import DiffusionRuns
from bgrem.noise_mapping.star_fit import find_stars
from bgrem.noise_mapping.units import find_units
from common import scratch
from common.header import header_of
from common.image import AstroImage, missing_of
from common.progress import expect_passes
from common.scratch import map_rows, row_blocks


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """What `noisemap` returns, all of one shape (H, W, C) in the unit of the frame.

    Attributes
    ----------
    residual : AstroImage
        Frame - map: satellites and the frame's noise.
    map : AstroImage
        Streaks, banding, sky: the fit of the stars, and the mean of all runs for the rest.
    deviation : AstroImage
        Sample standard deviation of the runs, pixel by pixel; 0 where all runs are the same.
    rms : AstroImage
        Noise of the residual's pixels, left-overs of streaks included: what to detect against
        (`bgrem.noise_mapping.residual_noise.residual_rms`).
    streaks : AstroImage
        Light of the stars alone; 0 in a frame whose stars are round.
    saturated : bool array
        Where the frame is cut at the full well: there the map is the frame.
    """

    residual: AstroImage
    map: AstroImage
    deviation: AstroImage
    rms: AstroImage
    streaks: AstroImage
    saturated: np.ndarray

    def detections(self, false_alarms: float = NoiseMapConfig.false_alarms) -> Any:
        """Return the table of what remains: `bgrem.noise_mapping.detections.find_detections`.

        Raises
        ------
        ValueError
            If the frame has several channels.
        """
        if self.residual.shape[-1] != 1:
            raise ValueError(
                f"{self.residual.name}: {self.residual.shape[-1]} channels. Detections are of one: "
                "select it with --channels 0."
            )
        residual, rms, streaks = (
            one.pixels[..., 0].astype(float) for one in (self.residual, self.rms, self.streaks)
        )
        with np.errstate(invalid="ignore"):
            light = np.nan_to_num(streaks / np.nanmedian(rms))
        remains = Remains(residual, rms, light, self.saturated[..., 0])
        return find_detections(self.residual, remains, false_alarms)


def noisemap(
    image: AstroImage | np.ndarray,
    config: NoiseMapConfig | None = None,
    *,
    model: Model | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> NoiseMap:
    """Map the structures of a raw frame; what the model cannot reproduce is in the residual.

    Noise is added up to a diffusion time. Then the network removes it, with everything that it has
    not learned. That is repeated `runs` times, and the mean is the map (Waldmann et al. 2023,
    Sect. 3.1 and equation 6). The noise is drawn for the whole frame, so that it does not depend
    on the tiles.

    All stars of a staring frame make the same streak. It is measured on the frame and subtracted
    before that, with sky and bands (`bgrem.noise_mapping.star_fit`). What still stands out is
    replaced by the sky (`protect`), so that it is not in the map.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, C)
        A raw frame in any unit; missing pixels are NaN and stay so.
    config : NoiseMapConfig, optional
        `settings` change its fields: ``noisemap(image, runs=5)``.
    model : Model, optional
        A loaded model; default: the one that `config.model` names.
    progress : callable, optional
        Called with the number of tiles that are done.

    Returns
    -------
    NoiseMap
        All with the shape of the image.

    Raises
    ------
    ValueError
        If no pixel is measured, the frame is constant, or there is no such model.
    """
    config = replace(config or NoiseMapConfig(), **settings)
    if not isinstance(image, AstroImage):
        image = AstroImage(np.asarray(image))
    model = model or load_for(config, "noisemap")
    expect_passes(progress, image.shape[-1] * config.runs * config.ddim_steps)
    header = header_of(image)
    pixels, missing = image.pixels, image.missing
    mapped, deviation, rms, streaks, residual = (
        scratch.empty(pixels.shape, pixels.dtype) for _ in range(5)
    )
    saturated = scratch.empty(pixels.shape, bool)
    for channel in range(image.shape[-1]):
        planes = _map_plane(pixels[..., channel], header, image.name, config, model, progress)
        for rows in row_blocks(pixels.shape, pixels, missing, residual, saturated, *planes):
            there = (rows, slice(None), channel)
            for found, plane in zip((mapped, deviation, rms, streaks), planes[:4], strict=True):
                found[there] = np.where(missing[there], np.nan, plane[rows])
            residual[there] = pixels[there] - mapped[there]
            saturated[there] = planes[4][rows]
            scratch.release(mapped, deviation, rms, streaks)
    return NoiseMap(
        image.with_pixels(residual),
        image.with_pixels(mapped),
        image.with_pixels(deviation),
        image.with_pixels(rms),
        image.with_pixels(streaks),
        saturated,
    )


def _map_plane(
    pixels: np.ndarray,
    header: Any,
    name: str,
    config: NoiseMapConfig,
    model: Model,
    progress: Progress | None,
) -> tuple[np.ndarray, ...]:
    """Return map, deviation of the runs, residual's noise, streaks, saturated: each (H, W)."""
    missing = missing_of(pixels)
    try:
        units = find_units(pixels, missing, config, model)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    flat = map_rows(
        lambda rows, bad: np.where(bad, 0, rows), units.flatten(pixels), missing, dtype=np.float32
    )
    flat = fill_missing(flat, missing, config.seed)

    stars = None
    if config.protect:
        stars = find_stars(flat, missing, units.background, header, threshold=config.protect)
    rest = flat
    if stars is not None:
        rest = map_rows(
            lambda one, light, sky: one - light - sky, flat, stars.light, stars.sky,
            dtype=np.float32,
        )  # fmt: skip

    # one generator for all noise: what is hidden draws first, then run by run
    rng = np.random.default_rng(config.seed)
    given, hidden = hide_light(rest, config.protect, rng)
    runs = DiffusionRuns.of(units, config, model, progress)
    mean, deviation = runs.mean_and_deviation(given, rng)
    del given
    left = map_rows(np.subtract, rest, mean, dtype=np.result_type(rest, mean))
    if stars is None:
        rms = residual_rms(left, mean, hidden | missing)
    else:
        expected = map_rows(np.sqrt, stars.variance, dtype=np.float32)
        ratio = map_rows(np.divide, left, expected, dtype=np.float32)
        rms = residual_rms(ratio, stars.light, hidden | missing)
        rms = map_rows(np.multiply, rms, expected, dtype=np.float32)
    del left
    noise = map_rows(np.multiply, units.sigma, rms, dtype=np.result_type(units.sigma, rms))
    if stars is None:
        nothing = np.broadcast_to(0.0, flat.shape), np.broadcast_to(np.False_, flat.shape)
        return units.to_pixels(mean), deviation, noise, *nothing
    mapped = map_rows(
        lambda full, flat, mean, rest: np.where(full, flat, mean + flat - rest),
        stars.saturated, flat, mean, rest,
    )  # fmt: skip
    streaks = map_rows(np.multiply, units.sigma, stars.light)
    return units.to_pixels(mapped), deviation, noise, streaks, stars.saturated
