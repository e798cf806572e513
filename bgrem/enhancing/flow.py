"""Astro U-net on an image: what an exposure would look like that is some times as long."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bgrem.config import EnhanceConfig
from bgrem.enhancing.anscombe import stabilise, unstabilise
from bgrem.enhancing.cosmic_rays import remove_cosmic_rays
from bgrem.frame.background import whole_image_statistics
from bgrem.frame.exposure import electrons_of
from bgrem.inference.run import Progress, fill_missing, load_for, run_tiles
from bgrem.models import Model
from common.image import AstroImage
from common.progress import expect_passes


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
    electrons = image.pixels.astype(np.float64) * factor
    hits = np.zeros(image.shape, bool)
    if config.cosmic_rays:
        electrons, hits = remove_cosmic_rays(electrons, image, config)
    expect_passes(progress, image.shape[-1])
    planes = [
        _enhance_plane(electrons[..., channel], image.name, config, model, progress)
        for channel in range(image.shape[-1])
    ]
    result = np.where(image.missing, np.nan, np.stack(planes, -1) / factor)
    return Enhanced(image.with_pixels(result.astype(image.pixels.dtype)), hits)


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
) -> np.ndarray:
    """Return the longer exposure of one channel (H, W), electrons of the short one."""
    missing = ~np.isfinite(electrons)
    try:
        found = whole_image_statistics(
            electrons, missing, mesh=config.mesh, mask_sigma=config.mask_sigma
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    known = np.where(missing, found.background, electrons)
    noisy = stabilise(known, found.background, found.sigma)
    noisy = fill_missing(noisy, missing, config.seed)

    def lacking(tiles: np.ndarray) -> np.ndarray:
        return model.predict(tiles, np.full((len(tiles), 1, 1, 1), config.ratio, np.float32))

    noise = run_tiles(noisy, config, lacking, progress)
    clean = unstabilise(noisy - noise, found.background, found.sigma)
    # noise averages out over the exposure time: so much of it is left when that is `ratio` times
    # as long
    kept = config.noise / np.sqrt(config.ratio)
    return np.asarray(clean + kept * (known - clean))
