"""SCI, BKG, RESIDUAL and DQ in one FITS file, from which the input comes back exactly."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bgrem.denoising.flow import Denoised
from bgrem.denoising.quality import quality_cards
from bgrem.denoising.residual import restore_pixels
from common.atomic import atomic_write, scratch_folder
from common.fits.cards import (
    add_cards,
    array_cards,
    close_header,
    image_cards,
    keyword_of,
    ones_sum,
    pad,
)
from common.fits.geometry import Values
from common.fits.hdus import Hdu, image_header, scan, stored_array, summed_bytes
from common.fits.parts import read_keywords, read_planes, scanned_file
from common.fits.planes import append_plane, is_plain_fits, require_plain_fits
from common.header import header_of
from common.image import AstroImage, Card
from common.io import read_image, write_image

if TYPE_CHECKING:
    from astropy.io import fits

BUNDLE_PARTS = ("BKG", "RESIDUAL")  # HDU names of the planes that a bundle adds to SCI
QUALITY_HDU = "DQ"  # HDU name of the quality plane
CHANNELS_KEYWORD = "BGCHAN"  # keyword: planes that were denoised
MAX_EXACT_INTEGER = 2**53  # float64 holds no larger integers exactly
# keyword of an input with integer pixels -> where the bundle keeps its value
STORAGE_KEYWORDS = {
    "BITPIX": "BGBITPIX", "BZERO": "BGBZERO", "BSCALE": "BGBSCALE", "BLANK": "BGBLANK",
    "EXTNAME": "BGEXTNAM",
}  # fmt: skip
RESTORED_PART = "restored"  # value of BGPART in what `restore` writes


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
        Of `bgrem.denoising.quality.quality_plane`; without it there is no DQ.
    channels : sequence of int, optional
        Planes of the file that the image holds, if not all.
    """
    header = header_of(result)
    cards: list[Card] = [("EXTNAME", "SCI", "denoised image"), *_storage_cards(header)]
    if channels:
        cards.append((CHANNELS_KEYWORD, ",".join(map(str, channels)), "planes that were denoised"))
    science = result.with_pixels(result.pixels, cards=cards)
    with atomic_write(require_plain_fits(path, "a bundle"), overwrite) as temporary:
        write_image(temporary, science, overwrite=True)
        for name, part in zip(BUNDLE_PARTS, (done.background, done.residual), strict=True):
            append_plane(temporary, name, part.pixels, header)
        if quality is not None:
            append_plane(temporary, QUALITY_HDU, quality, header, quality_cards())


def _storage_cards(header: "fits.Header") -> list[Card]:
    """Return how a FITS input stores its pixels, where they are integers; and its EXTNAME."""
    if int(header.get("BITPIX", -32)) < 0:
        return []
    words = "of the input, for `bgrem restore`"
    kept = {new: header[old] for old, new in STORAGE_KEYWORDS.items() if old in header}
    return [(new, value, words) for new, value in kept.items()]


def write_restored(path: Path, bundle: Path, *, overwrite: bool = False) -> None:
    """Write the input of a bundle: its pixels in the input's type, without the bundle's HDUs.

    Integers come back as such in plain FITS files. Where pixels are missing that no BLANK stands
    for (`--dq`) they stay floats.

    Raises
    ------
    ValueError
        If the file is not a bundle.
    """
    image = restore(bundle)
    if not is_plain_fits(path):
        write_image(path, image, overwrite=overwrite)
        return
    with (
        atomic_write(path, overwrite) as temporary,
        scratch_folder() as folder,
    ):
        floats = folder / "floats.fits"
        write_image(floats, image)
        hdus = scan(floats, str(path))
        first = max(one.index for one in hdus if one.name == BUNDLE_PARTS[0])
        ours = [one.index for one in hdus[first:] if one.name in (*BUNDLE_PARTS, QUALITY_HDU)]
        with open(temporary, "wb") as file:
            for one in hdus:
                if one.index not in ours:
                    file.writelines(_as_stored(floats, one) or summed_bytes(floats, one))


def _as_stored(plain: Path, one: Hdu) -> list[bytes] | None:
    """Return the HDU with the integers that the input had; None where it had none."""
    header, _ = image_header(plain, one)
    if STORAGE_KEYWORDS["BITPIX"] not in header:
        return None
    bitpix = int(header[STORAGE_KEYWORDS["BITPIX"]])
    kind = np.dtype(f">{'u' if bitpix == 8 else 'i'}{bitpix // 8}")
    given = [(old, header[new], "") for old, new in STORAGE_KEYWORDS.items() if new in header]
    known = {old: value for old, value, _ in given}
    values = stored_array(plain, one)
    missing, zero, scale = np.isnan(values), known.get("BZERO", 0), known.get("BSCALE", 1)
    numbers = np.rint((np.where(missing, zero, values).astype(np.float64) - zero) / scale)
    again = (numbers * scale + zero).astype(values.dtype)
    numbers[missing] = known.get("BLANK", 0)
    limits = np.iinfo(kind)
    fit = limits.min <= numbers.min() and numbers.max() <= min(limits.max, MAX_EXACT_INTEGER)
    if not fit or (missing.any() and "BLANK" not in known) or (again != values)[~missing].any():
        return None
    stored = numbers.astype(kind)
    cards = [card for card in one.cards if keyword_of(card) not in STORAGE_KEYWORDS.values()]
    if "EXTNAME" not in known:
        cards = [card for card in cards if keyword_of(card) not in ("EXTNAME", "EXTVER")]
    primary = one.index == 0
    cards = add_cards(image_cards(cards, primary=primary), given[1:], ())
    structure = array_cards(one.shape, bitpix, primary=primary)
    data = stored.tobytes()
    return [close_header([*structure, *cards], ones_sum(data)), pad(data)]


def restore(path: str | os.PathLike[str]) -> AstroImage:
    """Return the input of `denoise` from a bundle, pixel for pixel.

    Raises
    ------
    ValueError
        If the file is not a bundle.
    """
    if not is_plain_fits(path):
        raise ValueError(f"{path}: not a bundle of `bgrem denoise --bundle`, which are FITS files.")
    if RESTORED_PART in read_keywords(path, "BGPART"):
        raise ValueError(f"{path}: is restored already, it holds the input.")
    with scanned_file(path) as (_, hdus):
        names = [one.name.upper() for one in hdus]
        first = hdus[names.index("SCI")].cards if "SCI" in names else []
        planes = Values(first, str(path)).text(CHANNELS_KEYWORD)
    missing = [name for name in ("SCI", *BUNDLE_PARTS) if name not in names]
    if missing:
        raise ValueError(
            f"{path}: not a bundle of `bgrem denoise --bundle`, {', '.join(missing)} missing."
        )
    # the last of a name: others are the input's
    found = read_planes(path, BUNDLE_PARTS)
    if found.keys() != set(BUNDLE_PARTS) or not re.fullmatch(r"(\d+(,\d+)*)?", planes, re.ASCII):
        raise ValueError(
            f"{path}: {' or '.join(BUNDLE_PARTS)} is no image, or {CHANNELS_KEYWORD} = {planes!r} "
            "is no list of planes. Denoise the input again."
        )
    background, residual = (_planes(found[name]) for name in BUNDLE_PARTS)
    channels = tuple(int(one) for one in planes.split(",")) if planes else None
    science = read_image(path, hdu="SCI", channels=channels, zeros="data")
    if background.shape != science.shape or residual.shape != science.shape:
        raise ValueError(f"{path}: SCI, BKG and RESIDUAL differ in shape.")
    restored = restore_pixels(science.pixels, background, residual)
    # missing pixels have no residual: what the file had there is in SCI
    return science.with_pixels(
        np.where(np.isnan(residual), science.pixels, restored),
        cards=[
            ("BGTOOL", "bgrem restore", "program that made this image"),
            ("BGPART", RESTORED_PART, "the input's pixels, from a bundle"),
        ],
        history=["bgrem restore: these are the input's pixels"],
    )


def _planes(data: np.ndarray) -> np.ndarray:
    """Return (H, W, C)."""
    return data[..., None] if data.ndim == 2 else np.moveaxis(data, 0, -1)
