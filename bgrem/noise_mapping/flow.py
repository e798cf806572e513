"""DDNN on a frame: a map of all structures that diffusion can reproduce; satellites remain."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import NoiseMapConfig
from bgrem.inference.run import Progress, fill_missing, load_for
from bgrem.models import Model
from bgrem.noise_mapping.protection import choose_protection
from bgrem.noise_mapping.residual_noise import residual_rms
from bgrem.noise_mapping.runs import DiffusionRuns
from bgrem.noise_mapping.units import find_units
from common.image import AstroImage
from common.progress import expect_passes


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """What `noisemap` returns, all of one shape (H, W, C) in the unit of the frame.

    Attributes
    ----------
    residual : AstroImage
        Frame - map: satellites and the frame's noise.
    map : AstroImage
        Streaks, banding, sky: the mean of all runs. Bright streaks are corrected by the light of
        their neighbours along them.
    deviation : AstroImage
        Sample standard deviation of the runs, pixel by pixel; 0 where all runs are the same.
    rms : AstroImage
        Noise of the residual's pixels, left-overs of streaks included: what to detect against
        (`bgrem.noise_mapping.residual_noise.residual_rms`).
    """

    residual: AstroImage
    map: AstroImage
    deviation: AstroImage
    rms: AstroImage


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

    Points of light and trails are replaced before that (`protect`), so that they are not in the
    map: by their neighbours along the streaks, or, in a frame without streaks, by the sky. Where
    streaks are too short for it, lines that are longer than they are replaced by the sky, and
    points by a first map.

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
        Residual, map, deviation and rms, each with the shape and type of the image.

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
    planes = [
        _map_plane(image.pixels[..., channel], image.name, config, model, progress)
        for channel in range(image.shape[-1])
    ]
    dtype = image.pixels.dtype
    mapped, deviation, rms = (
        np.where(image.missing, np.nan, np.stack(part, -1)).astype(dtype)
        for part in zip(*planes, strict=True)
    )
    return NoiseMap(
        image.with_pixels((image.pixels - mapped).astype(dtype)),
        image.with_pixels(mapped),
        image.with_pixels(deviation),
        image.with_pixels(rms),
    )


def _map_plane(
    pixels: np.ndarray, name: str, config: NoiseMapConfig, model: Model, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return map, standard deviation of the runs and residual's noise of a channel, each (H, W)."""
    missing = ~np.isfinite(pixels)
    try:
        units = find_units(pixels, missing, config, model)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    flat = np.where(missing, 0, units.flatten(pixels)).astype(np.float32)
    flat = fill_missing(flat, missing, config.seed)

    # one generator for all noise: protection draws first, then run by run
    rng = np.random.default_rng(config.seed)
    runs = DiffusionRuns.of(units, config, model, progress)
    protection = choose_protection(flat, config)
    protected = protection.protect(runs.map_once, rng)

    mean, deviation = runs.mean_and_deviation(protected.flat, rng)

    mapped = protection.finish(mean)
    rms = residual_rms(flat - mapped, mapped, protected.hidden | missing)
    return units.to_pixels(mapped), deviation, units.sigma * rms
