"""BGRem on an image: the whole flow on one screen."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import DenoiseConfig
from bgrem.denoising.residual import residual_of
from bgrem.denoising.twin import other_noise
from bgrem.frame.normalisers import Normaliser, normaliser_of
from bgrem.inference.run import Progress, fill_missing, load_for, run_tiles
from bgrem.inference.tiling import TilePlan
from bgrem.models import Model
from bgrem.networks.diffusion import denoise_steps
from common.image import AstroImage


@dataclass(frozen=True, eq=False)
class Denoised:
    """What `denoise` gives, all of one shape (H, W, C): image = result + background + residual.

    Attributes
    ----------
    result : AstroImage
        The sources, in the image's units, without background and noise.
    background : AstroImage
        The smooth background of the whole image (0 where the published preprocessing is used).
    residual : AstroImage
        What was removed beside it: noise.
    sigma : array, shape (H, W, C)
        Standard deviation of the image's noise.
    capped : bool array, shape (H, W, C)
        Where the network would have changed more than `max_sigma`: there the input stays, without
        the background. None without a cap.
    twin : array, shape (H, W, C)
        The result's sources with the noise of other pixels, denoised again, if it was asked for.
    """

    result: AstroImage
    background: AstroImage
    residual: AstroImage
    sigma: np.ndarray
    capped: np.ndarray | None = None
    twin: np.ndarray | None = None


def denoise(
    image: AstroImage | np.ndarray,
    config: DenoiseConfig | None = None,
    *,
    model: Model | None = None,
    progress: Progress | None = None,
    twin: bool = False,
    **settings: Any,
) -> Denoised:
    """Remove background and noise from an image.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, C)
        Linear pixels in any unit; missing ones are NaN and stay so.
    config : DenoiseConfig, optional
        `settings` change its fields: ``denoise(image, steps=3)``.
    model : Model, optional
        A loaded model (`bgrem.models.load_model`); default: the one that `config.model` names.
    progress : callable, optional
        Called with the number of tiles that are done.
    twin : bool
        Denoise the result with other noise, too, as `bgrem.denoising.uncertainty` needs it:
        twice the time.

    Returns
    -------
    Denoised
        Its result is never below 0 unless `clip` is off, but where `max_sigma` has left the input.

    Raises
    ------
    ValueError
        If no pixel is measured, the image is constant, or there is no such model.

    Examples
    --------
    >>> import numpy as np
    >>> from bgrem import denoise, simulate_field
    >>> field = simulate_field(shape=(64, 64), seed=3, stars=3000)
    >>> done = denoise(field.observed, steps=1)
    >>> parts = (done.result, done.background, done.residual)
    >>> total = np.sum([part.pixels for part in parts], axis=0)[..., 0]
    >>> bool(np.allclose(total, field.observed, rtol=1e-6))
    True
    """
    config = replace(config or DenoiseConfig(), **settings)
    if not isinstance(image, AstroImage):
        image = AstroImage(np.asarray(image))
    model = model or load_for(config)
    planes = [
        _denoise_plane(image.pixels[..., channel], image.name, config, model, progress, twin)
        for channel in range(image.shape[-1])
    ]
    pixels = image.pixels
    result = np.stack([plane.sources for plane in planes], -1)
    background = np.stack([plane.background for plane in planes], -1)
    if config.strength < 1:
        removed = pixels - result
        result = pixels - config.strength * removed if config.strength else pixels.copy()
        background = config.strength * background
    dtype = pixels.dtype
    result = np.where(image.missing, np.nan, result).astype(dtype)
    background = background.astype(dtype)
    residual = residual_of(pixels, result, background)
    return Denoised(
        image.with_pixels(result), image.with_pixels(background), image.with_pixels(residual),
        np.stack([plane.sigma for plane in planes], -1),
        _stack_optional([plane.capped for plane in planes]),
        _stack_optional([plane.twin for plane in planes]),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _DenoisedPlane:
    """One channel, arrays of shape (H, W) in the image's units; attributes as of `Denoised`."""

    sources: np.ndarray
    background: np.ndarray
    sigma: np.ndarray
    capped: np.ndarray | None
    twin: np.ndarray | None


def _stack_optional(planes: list[np.ndarray | None]) -> np.ndarray | None:
    """Return the planes of all channels as (H, W, C), or None where there are none."""
    known = [plane for plane in planes if plane is not None]
    return np.stack(known, -1) if known else None


def _denoise_plane(
    pixels: np.ndarray,
    name: str,
    config: DenoiseConfig,
    model: Model,
    progress: Progress | None,
    twin: bool,
) -> _DenoisedPlane:
    """Denoise one channel, shape (H, W)."""
    missing = ~np.isfinite(pixels)
    lifted = pixels if config.minimum is None else np.maximum(pixels, config.minimum)
    normaliser = normaliser_of(model.description)
    try:
        statistics = normaliser.fit(
            lifted, missing, mesh=config.mesh, mask_sigma=config.mask_sigma,
            factor=config.normalisation,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    scaled = fill_missing(statistics.forward(lifted), missing, config.seed)
    tiling = _tiling(config, model, normaliser, scaled.shape)

    def predict_tiles(tiles: np.ndarray) -> np.ndarray:
        if normaliser.subtracts_tile_median:
            tiles = tiles - np.median(tiles, axis=(1, 2, 3), keepdims=True)
        *_, predicted = denoise_steps(tiles, model.predict, config.steps, model.schedule)
        return predicted

    def sources_of(noisy: np.ndarray) -> np.ndarray:
        sources = run_tiles(noisy, tiling, predict_tiles, progress)
        return np.maximum(sources, 0) if config.clip else sources

    sources = sources_of(scaled)
    twin_sources = sources_of(sources + other_noise(scaled - sources)) if twin else None
    capped, kept = None, sources
    if config.max_sigma is not None:
        capped = (np.abs(scaled - sources) > config.max_sigma) & ~missing
        kept = np.where(capped, scaled, sources)
    return _DenoisedPlane(
        statistics.inverse(kept),
        statistics.background,
        statistics.sigma,
        capped,
        None if twin_sources is None else statistics.inverse(twin_sources),
    )


def _tiling(
    config: DenoiseConfig, model: Model, normaliser: Normaliser, shape: tuple[int, ...]
) -> DenoiseConfig:
    """Return the config with the model's tile, if its network must not see larger ones."""
    tile = int(model.description.get("tile", config.tile))
    if not normaliser.keeps_training_tile or tile >= config.tile:
        return config
    overlap = min(config.overlap, tile // 4)
    # as many pixels at once as with the config's tile, and none for nothing
    number = config.batch_size * (config.tile // tile) ** 2
    number = min(number, len(TilePlan((shape[0], shape[1]), tile, overlap).starts()))
    return replace(config, tile=tile, overlap=overlap, batch_size=number)
