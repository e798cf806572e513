"""Further planes of an image as FITS HDUs of their own: quality, uncertainty, parts of a bundle."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.fits import cards as fits_cards
from common.fits.hdus import cards_of, scan
from common.image import Card

if TYPE_CHECKING:
    from astropy.io import fits

# Where the pixels lie on the sky (SIP, TPV, alternative axes too), when, of what, in which units.
_KEPT_KEYWORDS = re.compile(
    r"WCSAXES[A-Z]?|WCSNAME[A-Z]?|(CTYPE|CRVAL|CRPIX|CDELT|CROTA|CUNIT)\d[A-Z]?"
    r"|(CD|PC|PV|PS|PP|A|B|AP|BP)_?\d+_\d+[A-Z]?|(A|B|AP|BP)_(ORDER|DMAX)"
    r"|(RADESYS|EQUINOX|LONPOLE|LATPOLE)[A-Z]?|ROWORDER|DATE-OBS|MJD-OBS|OBJECT|BUNIT"
)
# old keyword -> the standard's since 2002
_RENAMED_KEYWORDS = {"EPOCH": "EQUINOX", "RADECSYS": "RADESYS"}


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

    An empty file gets it as its primary HDU. Where the name is taken EXTVER counts on.
    `common.atomic.atomic_write` makes the file appear complete or not at all.

    Parameters
    ----------
    path : path
        The file, without compression; it exists.
    name : str
        EXTNAME.
    plane : array, shape (H, W) or (H, W, C)
        uint8, float32 or float64.
    header : astropy.io.fits.Header
        Its WCS, OBJECT and time go with the plane, for floats its BUNIT too.
    cards : iterable of (keyword, value, comment), optional
        Put in beside them.
    history : iterable of str, optional
        HISTORY lines.
    """
    stored = np.moveaxis(plane, -1, 0) if plane.ndim == 3 else plane
    stored = stored[0] if stored.ndim == 3 and len(stored) == 1 else stored
    bitpix = (1 if plane.dtype.kind == "u" else -1) * 8 * plane.dtype.itemsize
    data = np.ascontiguousarray(stored, plane.dtype.newbyteorder(">")).data
    names = [one.name for one in scan(Path(path), str(path))] if Path(path).stat().st_size else []
    primary, version = not names, ("EXTVER", names.count(name) + 1, "")
    with open(path, "ab") as file:
        kept = [
            one for one in cards_of(header) if _KEPT_KEYWORDS.fullmatch(fits_cards.keyword_of(one))
        ]
        if plane.dtype.kind == "u":
            kept = [one for one in kept if fits_cards.keyword_of(one) != "BUNIT"]
        renamed = [(new, header[old], "") for old, new in _RENAMED_KEYWORDS.items()
                   if old in header and new not in header]  # fmt: skip
        cards = [("EXTNAME", name, ""), version, *renamed, *cards]
        kept = fits_cards.add_cards(kept, cards, history)
        structure = fits_cards.array_cards(stored.shape, bitpix, primary=primary)
        if primary:
            structure.append(fits_cards.value_card("EXTEND", True, "extensions may follow"))
        file.write(fits_cards.close_header([*structure, *kept], fits_cards.ones_sum(data)))
        file.write(data)
        file.write(b"\0" * (-data.nbytes % fits_cards.BLOCK_BYTES))
