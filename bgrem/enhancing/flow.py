"""Astro U-net on an image: what an exposure would look like that is some times as long."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import EnhanceConfig
from bgrem.enhancing.anscombe import stabilise, unstabilise
from bgrem.enhancing.cosmic_rays import remove_cosmic_rays
from bgrem.enhancing.withheld import frame_spread, put_back_stars
from bgrem.frame.background import whole_image_statistics
from bgrem.frame.exposure import electrons_of
from bgrem.inference.run import Progress, fill_missing, load_for, run_tiles
from bgrem.models import Model
from common import scratch
from common.image import AstroImage, missing_of
from common.progress import expect_passes
from common.scratch import row_blocks


@dataclass(frozen=True, eq=False)
class Enhanced:
    """What `enhance` gives, all of one shape (H, W, C).

    Attributes
    ----------
    result : AstroImage
        As a longer exposure would show it, in the image's units and at its flux level: sources
        and sky have the values that they had.
    cosmic_rays : bool array, shape (H, W, C)
        Pixels that were replaced before, if that was asked for.
    """

    result: AstroImage
    cosmic_rays: np.ndarray


def enhance(
    image: AstroImage | np.ndarray,
    config: EnhanceConfig | None = None,
    *,
    model: Model | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Enhanced:
    """Make an exposure look `ratio` times as long.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, C)
        Linear pixels. The header says how many electrons they are (BUNIT, GAIN, EXPTIME); for an
        array `gain` does. Missing ones are NaN and stay so.
    config : EnhanceConfig, optional
        `settings` change its fields: ``enhance(image, ratio=3)``.
    model : Model, optional
        A loaded model; default: the one that `config.model` names.
    progress : callable, optional
        Called with the number of windows that are done.

    Raises
    ------
    ValueError
        If the unit is unknown, the model was not trained for the ratio, no pixel is measured, or
        there is no such model.

    Notes
    -----
    Vojtekova et al. (2021). The network sees pixels in units of their own noise
    (`bgrem.enhancing.anscombe`), so that it needs neither the sky's level nor the exposure time.
    """
    config = replace(config or EnhanceConfig(), **settings)
    if not isinstance(image, AstroImage):
        image = AstroImage(np.asarray(image))
    model = model or load_for(config, "enhance")
    _check_ratio(config.ratio, model)
    factor, _ = electrons_of(image, gain=config.gain, seconds=config.exposure)
    pixels = image.pixels
    electrons, hits = scratch.empty(pixels.shape, np.float64), np.zeros(image.shape, bool)
    for rows in row_blocks(pixels.shape, pixels, electrons):
        np.multiply(pixels[rows], factor, out=electrons[rows], dtype=np.float64)
    if config.cosmic_rays:
        electrons, hits = remove_cosmic_rays(electrons, image, config)
    expect_passes(progress, image.shape[-1])
    result = scratch.empty(pixels.shape, pixels.dtype)
    for channel in range(image.shape[-1]):
        plane = _enhance_plane(electrons[..., channel], image.name, config, model, progress)
        for rows, longer in plane:
            there = (rows, slice(None), channel)
            result[there] = np.where(np.isfinite(pixels[there]), longer / factor, np.nan)
        scratch.release(electrons, pixels, result)
    return Enhanced(image.with_pixels(result), hits)


def _check_ratio(ratio: float, model: Model) -> None:
    low, high = model.description.get("ratios", (1.0, np.inf))
    if not low <= ratio <= high:
        raise ValueError(
            f"ratio {ratio:g}: the model {model.name} was trained for ratios from {low:g} to "
            f"{high:g}."
        )


def _enhance_plane(
    electrons: np.ndarray,
    name: str,
    config: EnhanceConfig,
    model: Model,
    progress: Progress | None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Give rows of one channel (H, W) and the longer exposure there, electrons of the short one."""
    shape = electrons.shape
    missing = missing_of(electrons)
    try:
        found = whole_image_statistics(
            electrons, missing, mesh=config.mesh, mask_sigma=config.mask_sigma
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    parts = (electrons, missing, found.background, found.sigma)

    def known(rows: slice) -> np.ndarray:
        return np.where(missing[rows], found.background[rows], electrons[rows])

    noisy = scratch.empty(shape, np.float32)
    for rows in row_blocks(shape, noisy, *parts):
        noisy[rows] = stabilise(known(rows), found.background[rows], found.sigma[rows])
    noisy = fill_missing(noisy, missing, config.seed)

    def lacking(tiles: np.ndarray) -> np.ndarray:
        return model.predict(tiles, np.full((len(tiles), 1, 1, 1), config.ratio, np.float32))

    noise = run_tiles(noisy, config, lacking, progress)
    noise = put_back_stars(noisy, noise, frame_spread(*parts))
    # noise averages out over the exposure time: so much of it is left when that is `ratio` times
    # as long
    kept = config.noise / np.sqrt(config.ratio)
    for rows in row_blocks(shape, noisy, noise, *parts):
        short = known(rows)
        clean = unstabilise(noisy[rows] - noise[rows], found.background[rows], found.sigma[rows])
        yield rows, clean + kept * (short - clean)
