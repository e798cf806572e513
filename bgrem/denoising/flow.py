"""BGRem on an image: the whole flow on one screen."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import DenoiseConfig
from bgrem.denoising.binning import choose_binning, denoise_binned
from bgrem.denoising.picture.flow import denoise_picture
from bgrem.denoising.plane import denoise_plane
from bgrem.denoising.residual import residual_of
from bgrem.frame.normalisers import normaliser_of
from bgrem.frame.picture.choice import choose_settings
from bgrem.inference.run import Progress, load_for
from bgrem.models import Model
from common import scratch
from common.header import is_mosaic
from common.image import AstroImage
from common.progress import expect_passes
from common.scratch import row_blocks, stack_channels


@dataclass(frozen=True, eq=False)
class Denoised:
    """What `denoise` gives, all of one shape (H, W, C): image = result + background + residual.

    Attributes
    ----------
    result : AstroImage
        The sources, in the image's units, without background and noise; with its background
        where that is kept.
    background : AstroImage
        The smooth background of the whole image; 0 where it is kept, and where the published
        preprocessing is used.
    residual : AstroImage
        What was removed beside it: noise.
    sigma : array, shape (H, W, C)
        Standard deviation of the image's noise.
    capped : bool array, shape (H, W, C)
        Where the network would have changed more than `max_sigma`: there the input stays, without
        the background. None without a cap.
    twin : array, shape (H, W, C)
        The result's sources with the noise of other pixels, denoised again, if it was asked for.
    binning : int
        Side of the sums of pixels that a counts map was denoised in.
    """

    result: AstroImage
    background: AstroImage
    residual: AstroImage
    sigma: np.ndarray
    capped: np.ndarray | None = None
    twin: np.ndarray | None = None
    binning: int = 1


def denoise(
    image: AstroImage | np.ndarray,
    config: DenoiseConfig | None = None,
    *,
    model: Model | None = None,
    progress: Progress | None = None,
    twin: bool = False,
    mosaic: bool | None = None,
    **settings: Any,
) -> Denoised:
    """Remove background and noise from an image, or the noise alone (`config.keep`).

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, C)
        Linear pixels in any unit; missing ones are NaN and stay so. A mosaic of colour filters
        keeps its background.
    config : DenoiseConfig, optional
        `settings` change its fields: ``denoise(image, steps=3)``.
    model : Model, optional
        A loaded model (`bgrem.models.load_model`), which then decides on what is kept; default:
        the one that `config.model` names, or "picture" where the background is kept.
    progress : callable, optional
        Called with the number of tiles that are done.
    twin : bool
        Denoise the result with other noise, too, as `bgrem.denoising.uncertainty` needs it:
        twice the time.
    mosaic : bool, optional
        Whether a mono image is a mosaic of 2x2 colour filters; default: as its header says.

    Returns
    -------
    Denoised
        Its result is never below 0 unless `clip` is off, the background is kept, or `max_sigma`
        has left the input.

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
    if model is None:
        config = choose_settings(image, config, mosaic=mosaic)
        model = load_for(config)
    if normaliser_of(model.description).keeps_background:
        return _kept(image, config, model, progress, is_mosaic(image, mosaic))
    binning = choose_binning(image.pixels[..., 0], config, model, twin=twin)
    expect_passes(progress, image.shape[-1] * (2 if twin else 1))
    planes = [
        denoise_plane(image.pixels[..., channel], image.name, config, model, progress, twin)
        if binning == 1
        else denoise_binned(
            image.pixels[..., channel], image.name, config, model, progress, binning
        )
        for channel in range(image.shape[-1])
    ]
    pixels = image.pixels
    result, background = (scratch.empty(pixels.shape, pixels.dtype) for _ in range(2))
    for channel, plane in enumerate(planes):
        parts = plane.sources, plane.background
        for rows in row_blocks(pixels.shape, pixels, result, background, *parts):
            there = (rows, slice(None), channel)
            light, level = (part[rows] for part in parts)
            if config.strength < 1:
                removed = pixels[there] - light
                light = pixels[there] - config.strength * removed
                light = light if config.strength else pixels[there]
                level = config.strength * level
            result[there] = np.where(np.isfinite(pixels[there]), light, np.nan)
            background[there] = level
    residual = residual_of(pixels, result, background)
    return Denoised(
        image.with_pixels(result), image.with_pixels(background), image.with_pixels(residual),
        stack_channels([plane.sigma for plane in planes]),
        _stack_optional([plane.capped for plane in planes]),
        _stack_optional([plane.twin for plane in planes]),
        binning,
    )  # fmt: skip


def _stack_optional(planes: list[np.ndarray | None]) -> np.ndarray | None:
    """Return the planes of all channels as (H, W, C), or None where there are none."""
    known = [plane for plane in planes if plane is not None]
    return stack_channels(known) if known else None


def _kept(
    image: AstroImage, config: DenoiseConfig, model: Model, progress: Progress | None, mosaic: bool
) -> Denoised:
    """Return a picture without its noise: all of its light is in the result."""
    found, sigma = denoise_picture(image, config, model, progress, mosaic=mosaic)
    pixels = image.pixels
    result, background = (scratch.empty(pixels.shape, pixels.dtype) for _ in range(2))
    for rows in row_blocks(pixels.shape, pixels, found, result, background):
        result[rows] = np.where(np.isfinite(pixels[rows]), found[rows], np.nan)
        background[rows] = 0
    residual = residual_of(pixels, result, background)
    return Denoised(
        image.with_pixels(result), image.with_pixels(background), image.with_pixels(residual), sigma
    )
