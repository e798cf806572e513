"""SCI, BKG, RESIDUAL and DQ in one FITS file, from which the input comes back exactly."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bgrem.denoising import Denoised, restore_pixels
from bgrem.exposure import header_of
from bgrem.quality import quality_cards
from common.atomic import atomic_write
from common.fits_planes import append_plane, is_plain_fits, require_plain_fits
from common.image import AstroImage, Card
from common.io import read_image, write_image

if TYPE_CHECKING:
    from astropy.io import fits

PARTS = ("BKG", "RESIDUAL")
QUALITY = "DQ"
CHANNELS = "BGCHAN"
RESTORED = "restored"  # BGPART of what `restore` gives: its further HDUs are still the bundle's


def write_bundle(
    path: Path,
    done: Denoised,
    result: AstroImage,
    quality: np.ndarray | None = None,
    *,
    channels: Sequence[int] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a bundle.

    Parameters
    ----------
    path : path
        A name that ends in .fits or .fit.
    done : Denoised
        Background and residual are taken from here.
    result : AstroImage
        The denoised image with the cards that its file is to have.
    quality : array, shape (H, W, C), uint8, optional
        Of `bgrem.quality.quality_plane`; without it there is no DQ.
    channels : sequence of int, optional
        Planes of the file that the image holds, if not all.
    """
    header = header_of(result)
    cards: list[Card] = [("EXTNAME", "SCI", "denoised image")]
    if channels:
        cards.append((CHANNELS, ",".join(map(str, channels)), "planes that were denoised"))
    science = result.with_pixels(result.pixels, cards=cards)
    with atomic_write(require_plain_fits(path, "a bundle"), overwrite) as temporary:
        write_image(temporary, science, overwrite=True)
        for name, part in zip(PARTS, (done.background, done.residual), strict=True):
            append_plane(temporary, name, part.pixels, header)
        if quality is not None:
            append_plane(temporary, QUALITY, quality, header, quality_cards())


def restore(path: str | os.PathLike[str]) -> AstroImage:
    """Return the input of `denoise` from a bundle, pixel for pixel.

    Raises
    ------
    ValueError
        If the file is not a bundle.
    """
    from astropy.io import fits

    if not is_plain_fits(path):
        raise ValueError(f"{path}: not a bundle of `bgrem denoise --bundle`, which are FITS files.")
    with fits.open(path, memmap=False, checksum=True) as hdus:
        found = {hdu.name: hdu for hdu in hdus}  # the last of a name: others are the input's
        missing = [name for name in ("SCI", *PARTS) if name not in found]
        if missing:
            raise ValueError(
                f"{path}: not a bundle of `bgrem denoise --bundle`, {', '.join(missing)} missing."
            )
        if hdus["SCI"].header.get("BGPART") == RESTORED:
            raise ValueError(f"{path}: is restored already, SCI holds the input.")
        background, residual = (_planes(found[name]) for name in PARTS)
        planes = str(hdus["SCI"].header.get(CHANNELS, ""))
    channels = tuple(int(one) for one in planes.split(",")) if planes else None
    science = read_image(path, hdu="SCI", channels=channels, zeros="data")
    if background.shape != science.shape or residual.shape != science.shape:
        raise ValueError(f"{path}: SCI, BKG and RESIDUAL differ in shape.")
    restored = restore_pixels(science.pixels, background, residual)
    # missing pixels have no residual: what the file had there is in SCI
    return science.with_pixels(
        np.where(np.isnan(residual), science.pixels, restored),
        cards=[("BGPART", RESTORED, "the input's pixels, from a bundle")],
        history=["bgrem restore: these are the input's pixels"],
    )


def _planes(hdu: "fits.ImageHDU") -> np.ndarray:
    """Return (H, W, C) in native byte order."""
    data = np.asarray(hdu.data)
    data = data.astype(data.dtype.newbyteorder("="))
    return data[..., None] if data.ndim == 2 else np.moveaxis(data, 0, -1)
