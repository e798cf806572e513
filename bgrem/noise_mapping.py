"""DDNN on a frame: a map of all that diffusion can reproduce, so that satellites remain."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import NoiseMapConfig
from bgrem.denoising import Progress, fill_missing, load_for, predictor, run_tiles
from bgrem.diffusion import ddim_step
from bgrem.frame_data import OWN_NOISE, contrast, frame_level
from bgrem.hidden_light import (
    compact_light,
    follow_streaks,
    longer_light,
    look_along,
    look_around,
    rms_of,
)
from bgrem.models import Model
from bgrem.schedule import LinearSchedule
from bgrem.streaks import find_streaks
from common.image import AstroImage

ROUNDS = 2  # a first map still has some of the light that is looked for
POINT_PIXELS = 40  # above half the threshold; larger patches are left-overs of streaks


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """What `noisemap` gives, all of one shape (H, W, C) in the frame's units.

    Attributes
    ----------
    residual : AstroImage
        Frame less map: satellites and the frame's noise.
    map : AstroImage
        Streaks, banding, sky: the mean of all runs, on streaks with the light of neighbours.
    deviation : AstroImage
        Sample standard deviation of the runs, pixel by pixel; 0 where all runs are the same.
    rms : AstroImage
        Noise of the residual's pixels, and what is left over of streaks as bright: what to detect
        against (`bgrem.hidden_light.rms_of`).
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

    Noise is added up to a diffusion time and removed again with everything that the model has not
    learned, `runs` times (Waldmann et al. 2023, Sect. 3.1 and equation 6). The noise is drawn for
    the whole frame: tiles see the same. Before, streaks and points of light are replaced by values
    interpolated from their neighbours along the streaks (`protect`), so that points, and trails
    across the streaks, stay out of the map. In a frame without streaks all light that is smaller
    than the structure of the sky is replaced. Where streaks are too short for that, lines that are
    longer than streaks are replaced by the sky, and points that stand out of a first map by that
    map, twice, as inpainting with diffusion does (Lugmayr et al. 2022).

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

    Raises
    ------
    ValueError
        If no pixel is measured, the frame is constant, or there is no such model.
    """
    config = replace(config or NoiseMapConfig(), **settings)
    if not isinstance(image, AstroImage):
        image = AstroImage(np.asarray(image))
    model = model or load_for(config, "noisemap")
    planes = [
        _map_plane(image.pixels[..., channel], image.name, config, model, progress)
        for channel in range(image.shape[-1])
    ]
    dtype = image.pixels.dtype
    mean, deviation, rms = (
        np.where(image.missing, np.nan, np.stack(part, -1)).astype(dtype)
        for part in zip(*planes, strict=True)
    )
    return NoiseMap(
        image.with_pixels((image.pixels - mean).astype(dtype)),
        image.with_pixels(mean),
        image.with_pixels(deviation),
        image.with_pixels(rms),
    )


def _map_plane(
    pixels: np.ndarray, name: str, config: NoiseMapConfig, model: Model, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return map, standard deviation of the runs and residual's noise of a channel, each (H, W)."""
    missing = ~np.isfinite(pixels)
    try:
        units = _find_units(pixels, missing, config, model)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    flat = np.where(missing, 0, (pixels - units.background) / units.sigma).astype(np.float32)
    flat = fill_missing(flat, missing, config.seed)
    times, added = _times(config, units.own)
    predict, rng = predictor(model), np.random.default_rng(config.seed)

    def one_run(seen: np.ndarray) -> np.ndarray:
        return _one_run(units.scaled(seen), times, added, config, predict, rng, progress)

    def filled(hidden: np.ndarray, light: np.ndarray) -> np.ndarray:
        return np.where(hidden, light + rng.standard_normal(flat.shape, np.float32), flat)

    # what the network does not see it cannot map
    streaks = find_streaks(flat) if config.protect else None
    along = look_along(flat, streaks, config.protect) if streaks and not streaks.short else None
    if not config.protect:
        seen, hidden = flat, np.zeros(flat.shape, bool)
    elif streaks is None:
        hidden, sky = look_around(flat, config.protect)
        seen = filled(hidden, sky)
    elif along:
        hidden = along.points
        seen = filled(hidden | along.bright, along.light)
    else:
        trails, sky = longer_light(flat, streaks)
        seen = filled(trails, sky)
        for _ in range(ROUNDS):
            first = units.flat(one_run(seen))
            hidden = trails | compact_light(flat - first, config.protect, POINT_PIXELS)
            seen = filled(hidden, np.where(trails, sky, first))
    mean, squares = np.zeros(flat.shape), np.zeros(flat.shape)
    runs = config.runs if added or config.eta else 1  # they would all be the same
    for run in range(runs):
        found = one_run(seen)
        change = found - mean
        mean += change / (run + 1)
        squares += change * (found - mean)
    mapped = units.flat(mean)
    if streaks and along:
        mapped = follow_streaks(mapped, flat, streaks, along)
    return (
        units.background + units.sigma * mapped,
        units.unit * np.sqrt(squares / max(runs - 1, 1)),
        units.sigma * rms_of(flat - mapped, mapped, hidden | missing),
    )


@dataclass(frozen=True, eq=False)
class _Units:
    """Of the network, and of the frame's noise: arrays (H, W) in the frame's units.

    `own` is the frame's noise in the network's units; 0 where the network has learned it, too.
    """

    level: np.ndarray
    unit: np.ndarray
    background: np.ndarray
    sigma: np.ndarray
    own: float

    def scaled(self, flat: np.ndarray) -> np.ndarray:
        """Return what the network sees of a frame without background, its noise 1."""
        scaled = (self.background - self.level + self.sigma * flat) / self.unit
        return scaled.astype(np.float32)

    def flat(self, scaled: np.ndarray) -> np.ndarray:
        """Return the opposite of `scaled`."""
        return (self.level - self.background + self.unit * scaled) / self.sigma


def _find_units(
    pixels: np.ndarray, missing: np.ndarray, config: NoiseMapConfig, model: Model
) -> _Units:
    background, sigma = frame_level(pixels, missing, mesh=config.mesh)
    if model.description.get("scaling") == "contrast":
        level, unit = (np.full(pixels.shape, value) for value in contrast(pixels))
        return _Units(level, unit, background, sigma, 0.0)
    return _Units(background, sigma / OWN_NOISE, background, sigma, OWN_NOISE)


def _times(config: NoiseMapConfig, own: float) -> tuple[np.ndarray, float]:
    """Return falling diffusion times, and the noise that takes a frame to the first of them.

    A frame has noise of its own: where that is more than the time's, it starts at the time that
    has as much, and nothing is added.
    """
    schedule, added = LinearSchedule(), 0.0
    signals, noises = schedule.rates(np.arange(schedule.steps + 1))
    start = max(config.depth, int(np.argmax(noises >= own * signals)))
    if start == config.depth:
        added = float(np.sqrt(max(noises[start] ** 2 - (own * signals[start]) ** 2, 0)))
    return np.round(np.linspace(start, 0, config.ddim_steps + 1)).astype(int), added


def _one_run(
    scaled: np.ndarray,
    times: np.ndarray,
    added: float,
    config: NoiseMapConfig,
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
    progress: Progress | None,
) -> np.ndarray:
    """Return the structure after one way up to the first time and back to 0."""
    signals, noises = (rates.tolist() for rates in LinearSchedule().rates(times))
    noisy = np.float32(signals[0]) * scaled
    if added:
        noisy += np.float32(added) * rng.standard_normal(scaled.shape, np.float32)
    for k in range(len(times) - 1):
        variance = noises[k] ** 2

        def noise_of(tiles: np.ndarray, variance: float = variance) -> np.ndarray:
            return predict(tiles, np.full((len(tiles), 1, 1, 1), variance, np.float32))

        predicted = run_tiles(noisy, config, noise_of, progress)
        rates = [(signals[n], noises[n]) for n in (k, k + 1)]
        noisy = ddim_step(noisy, predicted, *rates, eta=config.eta, rng=rng)
    return noisy
