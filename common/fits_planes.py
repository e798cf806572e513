"""Further planes of an image as FITS HDUs of their own: quality, uncertainty, parts of a bundle."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common import fits_cards
from common.fits_hdus import cards_of
from common.image import Card

if TYPE_CHECKING:
    from astropy.io import fits


def is_plain_fits(path: str | os.PathLike[str]) -> bool:
    """Return whether a file name is that of an uncompressed FITS file."""
    return Path(path).suffix.lower() in (".fits", ".fit", ".fts")


def require_plain_fits(path: str | os.PathLike[str], what: str) -> Path:
    """Return the path; ValueError where it is not the name of a plain FITS file."""
    if not is_plain_fits(path):
        raise ValueError(f"{path}: {what} is a plain FITS file. Name it *.fits.")
    return Path(path)


def append_plane(
    path: str | os.PathLike[str],
    name: str,
    plane: np.ndarray,
    header: "fits.Header",
    cards: Iterable[Card] = (),
    history: Iterable[str] = (),
) -> None:
    """Append an image extension to a plain FITS file, with DATASUM and CHECKSUM.

    An empty file gets it as its primary HDU. `common.atomic.atomic_write` makes the file appear
    complete or not at all.

    Parameters
    ----------
    path : path
        The file, without compression.
    name : str
        EXTNAME.
    plane : array, shape (H, W) or (H, W, C)
        uint8, float32 or float64.
    header : astropy.io.fits.Header
        Its WCS and other keywords go with the plane; those of storage, HISTORY and COMMENT do not.
    cards : iterable of (keyword, value, comment), optional
        Put in beside them.
    history : iterable of str, optional
        HISTORY lines.
    """
    stored = np.moveaxis(plane, -1, 0) if plane.ndim == 3 else plane
    stored = stored[0] if stored.ndim == 3 and len(stored) == 1 else stored
    bitpix = (1 if plane.dtype.kind == "u" else -1) * 8 * plane.dtype.itemsize
    data = np.ascontiguousarray(stored, plane.dtype.newbyteorder(">")).data
    with open(path, "ab") as file:
        primary = file.tell() == 0
        kept = fits_cards.image_cards(cards_of(header), primary=primary)
        kept = [one for one in kept if fits_cards.keyword_of(one) not in ("HISTORY", "COMMENT")]
        kept = fits_cards.add_cards(kept, [("EXTNAME", name, ""), *cards], history)
        structure = fits_cards.array_cards(stored.shape, bitpix, primary=primary)
        file.write(fits_cards.close_header([*structure, *kept], fits_cards.ones_sum(data)))
        file.write(data)
        file.write(b"\0" * (-data.nbytes % fits_cards.BLOCK))
