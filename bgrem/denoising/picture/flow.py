"""A picture without its noise, on one screen: luminance and colours through the network."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from bgrem.config import DenoiseConfig
from bgrem.denoising.picture.colour import channel_noise, from_planes, to_planes
from bgrem.denoising.picture.mosaic import cut_mosaic, join_mosaic
from bgrem.denoising.plane import denoise_plane
from bgrem.frame.picture.level import picture_statistics
from bgrem.frame.picture.stretch import require_linear
from bgrem.inference.run import Progress
from bgrem.models import Model
from common import scratch
from common.image import AstroImage, missing_of
from common.progress import expect_passes
from common.scratch import row_blocks, with_halo

WIDE_PX = 12.0  # px; sigma of a Gaussian: what the removed noise has on this scale is light
# px; what further pixels say of the light of one: 4 wide Gaussians, 4 and 4 narrow ones, a maximum
LIGHT_REACH_PX = 4 * 12 + 4 + 4 + 1
DETAIL_PX = 1.0  # px; the same, of the faintest stars
DETAIL_SIGMA = (2.0, 4.0)  # noise after that Gaussian; from where to where detail is put back


def denoise_picture(
    image: AstroImage,
    config: DenoiseConfig,
    model: Model,
    progress: Progress | None = None,
    *,
    mosaic: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture without noise, and the noise's standard deviation, both (H, W, C).

    Parameters
    ----------
    image : AstroImage
        Linear.
    config : DenoiseConfig
        `luminance`, `colour`, `detail` and `strength`.
    model : Model
        Whose background is kept.
    progress : callable, optional
        Called with the number of tiles that are done.
    mosaic : bool
        Whether it is a mosaic of 2x2 colour filters: each phase is a plane then.

    Raises
    ------
    ValueError
        If a channel has no measured pixel, or no noise, or the picture is stretched.
    """
    if not config.linear:
        require_linear(image)
    if mosaic:
        expect_passes(progress, 6)  # three phases, twice
        return _denoise_mosaic(image, config, model, progress)
    expect_passes(progress, image.shape[-1])
    return _denoise_channels(image.pixels, image.name, config, model, progress)


def _denoise_mosaic(
    image: AstroImage, config: DenoiseConfig, model: Model, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Denoise the phases of a mosaic together: twice three of them, what both have is averaged."""
    phases = cut_mosaic(image.pixels[..., 0])
    found, sigmas = np.zeros_like(phases), np.zeros_like(phases)
    number = np.zeros(4)
    for chosen in ([0, 1, 3], [0, 2, 3]):
        result, sigma = _denoise_channels(phases[..., chosen], image.name, config, model, progress)
        found[..., chosen] += result
        sigmas[..., chosen] += sigma
        number[chosen] += 1
    result, sigma = (join_mosaic(one / number, image.shape)[..., None] for one in (found, sigmas))
    return result, sigma


def _denoise_channels(
    pixels: np.ndarray, name: str, config: DenoiseConfig, model: Model, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Denoise channels, shape (H, W, C): the light of a pixel without all of them stays."""
    try:
        units = np.array([np.median(picture_statistics(pixels[..., c]).sigma)
                          for c in range(pixels.shape[-1])])  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    some = np.asarray(missing_of(pixels).any(-1, keepdims=True))
    planes = scratch.empty(pixels.shape, pixels.dtype)
    for rows in row_blocks(pixels.shape, pixels, planes):
        planes[rows] = to_planes(np.where(some[rows], np.nan, pixels[rows]), units)
    once = replace(config, steps=1, clip=False)
    sigmas = scratch.empty(planes.shape, np.float32)
    for k in range(planes.shape[-1]):
        part = config.strength * (config.luminance if k == 0 else config.colour)
        done = denoise_plane(planes[..., k], name, once, model, progress, twin=False)
        removed = scratch.empty(planes.shape[:2], planes.dtype)
        for rows in row_blocks(removed.shape, planes, removed, done.sources, done.background):
            noise = planes[rows, :, k] - done.sources[rows] - done.background[rows]
            removed[rows] = np.where(some[rows, :, 0], 0, noise)
        for rows in row_blocks(removed.shape, planes, removed, done.sigma, sigmas):
            wide, inner = with_halo(rows, LIGHT_REACH_PX, len(removed))
            light = _light(removed[wide], done.sigma[wide], config.detail)[inner]
            planes[rows, :, k] -= part * (removed[rows] - light)
            sigmas[rows, :, k] = done.sigma[rows]
        del done, removed
    for rows in row_blocks(planes.shape, pixels, planes, sigmas):
        planes[rows] = np.where(some[rows], pixels[rows], from_planes(planes[rows], units))
        sigmas[rows] = channel_noise(sigmas[rows], units)
    return planes, sigmas


def _light(removed: np.ndarray, sigma: np.ndarray, detail: float) -> np.ndarray:
    """Return what removed noise (H, W) has of light: smooth, and on request faint and compact."""
    wide = ndimage.gaussian_filter(removed, WIDE_PX, mode="nearest")
    if not detail:
        return wide
    rest = removed - wide
    # the standard deviation of white noise after the Gaussian
    unit = sigma / (2 * np.sqrt(np.pi) * DETAIL_PX)
    significance = ndimage.gaussian_filter(rest, DETAIL_PX, mode="nearest") / unit
    low, high = DETAIL_SIGMA
    weight = np.clip((significance - low) / (high - low), 0, 1)
    weight = ndimage.maximum_filter(weight, 3)
    return wide + detail * ndimage.gaussian_filter(weight, DETAIL_PX) * rest
