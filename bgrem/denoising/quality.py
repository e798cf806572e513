"""The quality plane of a denoised image: which pixels to trust less, one bit for each reason."""

import os
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bgrem.denoising.flow import Denoised
from common.atomic import atomic_write
from common.fits.planes import append_plane, require_plain_fits
from common.image import AstroImage, Card

if TYPE_CHECKING:
    from astropy.io import fits

MISSING, FILLED, SATURATED, OUTSIDE, CAPPED = 1, 2, 4, 8, 16
BITS = {
    MISSING: "missing in the input",
    FILLED: "the network saw pixels that were filled in nearby",
    SATURATED: "saturated in the input",
    OUTSIDE: "frame outside of the training's domain",
    CAPPED: "would have changed by more than max_sigma",
}
REACH = 3  # px; farther away 19 of 20 pixels change by less than 0.07 sigma with what fills a hole


def quality_plane(
    image: AstroImage, done: Denoised, *, saturation: float | None = None, outside: bool = False
) -> np.ndarray:
    """Return the bits of `BITS`, shape (H, W, C), uint8.

    Parameters
    ----------
    image : AstroImage
        The input of `denoise`.
    done : Denoised
        Its result.
    saturation : float, optional
        Pixel value from which on the detector is full.
    outside : bool
        Whether the frame lies outside of the model's domain.
    """
    missing = image.missing
    distance = np.ones((2 * REACH + 1,) * 2 + (1,), bool)
    near = ndimage.binary_dilation(missing, distance) & ~missing
    plane = MISSING * missing.astype(np.uint8) + FILLED * near.astype(np.uint8)
    if saturation is not None:
        plane |= SATURATED * (np.nan_to_num(image.pixels) >= saturation).astype(np.uint8)
    if done.capped is not None:
        plane |= CAPPED * done.capped.astype(np.uint8)
    return plane | np.uint8(OUTSIDE * outside)


def quality_cards() -> list[Card]:
    """Return a COMMENT card for each bit."""
    return [("COMMENT", f"DQ bit {bit}: {meaning}", "") for bit, meaning in BITS.items()]


def write_quality(
    path: str | os.PathLike[str],
    image: AstroImage,
    plane: np.ndarray,
    header: "fits.Header",
    *,
    overwrite: bool = False,
) -> None:
    """Write a quality plane as a FITS file of its own.

    Parameters
    ----------
    path : path
        A name that ends in .fits, .fit or .fts.
    image : AstroImage
        Its cards and history go with the plane.
    plane : array, shape (H, W, C), uint8
    header : astropy.io.fits.Header
        WCS and other keywords of the input.
    overwrite : bool, optional
        Whether an existing file may be replaced.
    """
    cards = [*image.cards, *quality_cards()]
    with atomic_write(require_plain_fits(path, "a quality plane"), overwrite) as temporary:
        append_plane(temporary, "DQ", plane, header, cards, image.history)
