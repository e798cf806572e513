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

DQ_MISSING = 1  # bit: missing in the input
DQ_FILLED = 2  # bit: the network saw pixels that were filled in nearby
DQ_SATURATED = 4  # bit: saturated in the input
DQ_OUTSIDE_DOMAIN = 8  # bit: frame outside of the training's domain
DQ_CAPPED = 16  # bit: would have changed by more than max_sigma
DQ_BITS = {
    DQ_MISSING: "missing in the input",
    DQ_FILLED: "the network saw pixels that were filled in nearby",
    DQ_SATURATED: "saturated in the input",
    DQ_OUTSIDE_DOMAIN: "frame outside of the training's domain",
    DQ_CAPPED: "would have changed by more than max_sigma",
}
# px; farther away 19 of 20 pixels change by less than 0.07 sigma with the filling
FILLED_REACH_PX = 3


def quality_plane(
    image: AstroImage, done: Denoised, *, saturation: float | None = None, outside: bool = False
) -> np.ndarray:
    """Return the bits of `DQ_BITS`, shape (H, W, C), uint8.

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
    distance = np.ones((2 * FILLED_REACH_PX + 1,) * 2 + (1,), bool)
    near = ndimage.binary_dilation(missing, distance) & ~missing
    plane = DQ_MISSING * missing.astype(np.uint8) + DQ_FILLED * near.astype(np.uint8)
    if saturation is not None:
        plane |= DQ_SATURATED * (np.nan_to_num(image.pixels) >= saturation).astype(np.uint8)
    if done.capped is not None:
        plane |= DQ_CAPPED * done.capped.astype(np.uint8)
    return plane | np.uint8(DQ_OUTSIDE_DOMAIN * outside)


def quality_cards() -> list[Card]:
    """Return a COMMENT card for each bit."""
    return [("COMMENT", f"DQ bit {bit}: {meaning}", "") for bit, meaning in DQ_BITS.items()]


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
