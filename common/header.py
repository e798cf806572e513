"""What a header states of an exposure: keywords, numbers, celestial coordinates, colour filters.

The only place that decides each of them, for both formats and all commands.
"""

import math
import re
import warnings
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from common.image import AstroImage
from common.reading.mosaic import BAYER_PATTERNS, COLOUR_KEYWORDS, PATTERN_KEYWORDS, clean_pattern

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
    from common.fits.read import FitsCarrier
    from common.xisf.read import XisfCarrier

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
            wcs = WCS(_with_tpv(header)).celestial
        except Exception:  # astropy raises many kinds for damaged keywords: no sky positions then
            return None
    return wcs if wcs.has_celestial else None


def _with_tpv(header: Any) -> Any:
    """Return the header, its projection named TPV where TAN has SCAMP's polynomial.

    SCAMP before 2.0 wrote RA---TAN with PVi_m. TAN itself has parameters of the longitude axis
    alone: PV1_1 and PV1_2 are angles there, 0 and 90 degrees mostly, and factors near 1 and 0 in
    the polynomial. Source: FITS WCS paper II, table 13; the TPV registration of the FITS support
    office.
    """
    renamed = header
    for version in ("", *ascii_uppercase):
        axes = {}
        for axis in range(1, 10):
            kind = str(header.get(f"CTYPE{axis}{version}", "")).upper()
            if kind[4:8] == "-TAN" and kind[8:] == "":
                axes[axis] = kind
        if len(axes) != 2:
            continue
        terms = [key for axis in axes for key in header
                 if re.fullmatch(rf"PV{axis}_\d+{version}", key)]  # fmt: skip
        longitude = next((axis for axis, kind in axes.items() if kind[:2] == "RA"), min(axes))
        latitude = next(axis for axis in axes if axis != longitude)
        factor = header.get(f"PV{longitude}_1{version}", 0.0)
        polynomial = (
            any(key.startswith(f"PV{latitude}_") for key in terms)
            or any(int(key.split("_")[1].rstrip(ascii_uppercase)) > 4 for key in terms)
            or (isinstance(factor, float | int) and abs(factor - 1) < 0.5)
        )
        if terms and polynomial:
            renamed = header.copy() if renamed is header else renamed
            for axis, kind in axes.items():
                renamed[f"CTYPE{axis}{version}"] = kind.replace("-TAN", "-TPV")
                renamed.setdefault(f"PV{axis}_1{version}", 1.0)  # the registration's default
    return renamed


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


def is_mosaic(image: AstroImage, given: bool | None = None) -> bool:
    """Return whether an image is a mosaic: as the user says, else as its file says.

    Parameters
    ----------
    image : AstroImage
    given : bool, optional
        What the user says; it wins.
    """
    return bool(mosaic_pattern(image)) if given is None else given


def mosaic_pattern(image: AstroImage) -> str:
    """Return the colours of the filters row by row, such as RGGB; "" for other images."""
    if image.shape[-1] != 1 or image.carrier is None:
        return ""
    header = header_of(image)
    for keyword in PATTERN_KEYWORDS:
        if pattern := clean_pattern(header.get(keyword, "")):
            return pattern
    texts = [str(header.get(keyword, "")).strip().upper() for keyword in COLOUR_KEYWORDS]
    return next((text for text in texts if text in BAYER_PATTERNS), "")
