"""What is kept of an image: its sources alone, or all of its light."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from bgrem.config import PICTURE_MODEL, SURVEY_MODEL, DenoiseConfig
from bgrem.frame.picture.level import LEVEL_BLOCK_PX, picture_statistics
from common.blocks import block_reduce
from common.header import is_mosaic
from common.image import AstroImage
from common.scratch import sample_of

WIDE_BLOCKS = 4.0  # blocks; sigma of a Gaussian: structure on this scale is background for surveys
HIGH_SHARE = 0.05  # of the frame; a nebula covers more
MIN_STRUCTURE = 3.0  # noise of a pixel; fainter structure is no reason to keep the sky
MIN_SKEWNESS = (
    2.0  # height above the median / depth below it: light only adds, a sky goes both ways
)
DEGREE = 2  # of the polynomial that is sky in any case


def choose_settings(
    image: AstroImage, config: DenoiseConfig, *, mosaic: bool | None = None
) -> DenoiseConfig:
    """Return settings whose `keep` is decided, with the model for it.

    A model that the user has named decides alone. `mosaic` is what the user says of the image;
    default: as its header says.
    """
    if config.model != SURVEY_MODEL:
        return config
    if config.keep == "auto":
        keep = bool(reason_to_keep(image, mosaic=mosaic))
    else:
        keep = config.keep == "background"
    if not keep:
        return replace(config, keep="sources")
    return replace(config, keep="background", model=PICTURE_MODEL)


def reason_to_keep(image: AstroImage, *, mosaic: bool | None = None) -> str:
    """Return why the background of an image is kept by default; empty where it is not."""
    if image.shape[-1] == 3:
        return "a colour image"
    if is_mosaic(image, mosaic):
        return "a mosaic of colour filters"
    plane = image.pixels[..., 0]
    if np.isfinite(plane).any() and has_nebula(plane):
        return "a nebula, or other structure as wide, covers part of it"
    return ""


def has_nebula(plane: np.ndarray) -> bool:
    """Return whether light as wide as a survey's background stands out of a plane (H, W)."""
    blocks = block_reduce(plane, LEVEL_BLOCK_PX)
    known = np.isfinite(blocks)
    if known.mean() < 0.5 or min(blocks.shape) < 4 * WIDE_BLOCKS:
        return False
    try:
        noise = float(np.median(picture_statistics(sample_of(plane)).sigma))
    except ValueError:
        return False
    blocks = np.where(known, blocks, np.median(blocks[known]))
    wide = ndimage.gaussian_filter(ndimage.median_filter(blocks, 3), WIDE_BLOCKS, mode="nearest")
    wide = wide - _polynomial(wide)
    low, middle, high = np.quantile(wide[known], (HIGH_SHARE, 0.5, 1 - HIGH_SHARE))
    above, below = high - middle, middle - low
    return bool(above > MIN_STRUCTURE * noise and above > MIN_SKEWNESS * below)


def _polynomial(plane: np.ndarray) -> np.ndarray:
    """Return the polynomial that the darker half of a plane lies on."""
    v, u = np.meshgrid(*(np.linspace(-1, 1, side) for side in plane.shape), indexing="ij")
    terms = np.stack([v**i * u**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)], -1)
    use = np.ones(plane.shape, bool)
    for _ in range(5):
        solution = np.linalg.lstsq(terms[use], plane[use], rcond=None)[0]
        rest = plane - terms @ solution
        use = rest <= np.median(rest)
    return np.asarray(terms @ solution)
