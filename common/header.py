"""What a header states of an exposure: its keywords, numbers and celestial coordinates."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

from common.image import AstroImage

# what libraries count as far as a header says: axes of the standard's images, SIP's orders
_WCS_LIMITS = {"WCSAXES": 9, "NAXIS": 999, "A_ORDER": 9, "B_ORDER": 9, "AP_ORDER": 9, "BP_ORDER": 9}
# in order of trust
ZERO_POINT_KEYWORDS = ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZEROPNT", "ZEROPOINT", "ZP")
# EGAIN first: where it stands, GAIN is a camera's setting
GAIN_KEYWORDS = ("EGAIN", "GAIN", "CCDGAIN", "ATODGAIN", "GAINA")
# in order of trust
READ_NOISE_KEYWORDS = ("RDNOISE", "READNOIS", "READNOISE", "RON", "ENOISE", "RDNOISEA")
SATURATION_KEYWORDS = ("SATURATE", "SATURAT", "SATLEVEL", "SATUR", "MAXLIN")  # in order of trust


def header_of(image: AstroImage) -> Any:
    """Return the FITS header of an image from a file, the primary one's keywords where it has none.

    That of an array is empty.
    """
    from astropy.io import fits

    from common.fits.hdus import plain_file, scan
    from common.fits.headers import make_header, split_readable, without_structure
    from common.fits.io import FitsCarrier
    from common.xisf.io import XisfCarrier

    if isinstance(image.carrier, XisfCarrier):
        from common.xisf.convert import fits_cards_from_xisf

        return fits_cards_from_xisf(image.carrier)
    if not isinstance(image.carrier, FitsCarrier):
        return fits.Header()
    header = image.carrier.header.copy()
    if 0 not in image.carrier.hdus:
        with plain_file(image.carrier.path, image.name) as plain:
            cards = scan(plain, image.name)[0].cards
        header.extend(make_header(without_structure(split_readable(cards)[0])), unique=True)
    return header


def celestial_wcs(header: Any) -> Any:
    """Return the WCS of a header, or None where it has no celestial one."""
    from astropy.wcs import WCS

    if not all(0 <= header_order(header, name) <= most for name, most in _WCS_LIMITS.items()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old keywords that it repairs
        try:
            wcs = WCS(header).celestial
        except Exception:  # astropy raises many kinds for damaged keywords: no sky positions then
            return None
    return wcs if wcs.has_celestial else None


def header_order(header: Any, keyword: str) -> float:
    """Return a number of axes or an order; infinity where the keyword has another value."""
    value = header.get(keyword, 0)
    return value if isinstance(value, int) else math.inf


def header_number(header: Mapping[str, Any], keywords: tuple[str, ...]) -> float | None:
    """Return the first of a header's keywords that is a positive number, or None."""
    for keyword in keywords:
        value = header.get(keyword)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return float(value)
    return None
