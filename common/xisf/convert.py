"""Turn the metadata and row order of XISF into those of FITS, and back; called by `io`.

Rows. XISF stores the top row first. FITS stores the bottom row first, unless ROWORDER says
'TOP-DOWN'. FITS to XISF flips the rows of a bottom-up file and makes its WCS and Bayer cards
describe the flipped rows. XISF to FITS leaves the rows as they are and writes
ROWORDER = 'TOP-DOWN'. So a pixel keeps its sky position both ways, for readers that know ROWORDER
and for those that only know WCS; a colour filter array stays right as well.

The WCS keywords within an XISF describe the rows that their own ROWORDER names. Without one, the
parity decides, as the sky is not mirrored in most images: where right ascension and declination
turn as in a FITS with its origin at the bottom left (determinant of CD below 0) they are those of
bottom-up rows, as PixInsight writes them, and are turned to the stored rows; otherwise they are
kept. The files written here satisfy both rules.
"""

import math
import re
import warnings
from collections.abc import Iterable

import numpy as np
from astropy.io import fits

from common.fits.cards import keyword_of, to_ascii, value_text
from common.image import AstroImage
from common.reading.mosaic import (
    BAYER_PATTERNS,
    COLOUR_KEYWORDS,
    PATTERN_KEYWORDS,
    clean_pattern,
    flip_pattern,
)
from common.reading.notice import warn_of_file
from common.xisf.read import XisfCarrier, read_keywords, read_property
from common.xisf.splice import Keyword
from common.xisf.write import keyword_text

# What describes the stored array and not the image; each writer states it anew.
_CONVERTED_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM"
    r"|DATASUM|END"
)
_TEXT_KEYWORDS = ("HISTORY", "COMMENT", "")  # keywords without a value
_SIP_PATTERN = re.compile(r"(A|B|AP|BP)_\d_(\d)")  # keywords of a SIP polynomial
# PixInsight 1.9 may write these instead of keywords: property, keyword, factor to its FITS unit.
_XISF_PROPERTIES: tuple[tuple[str, str, float | None, str], ...] = (
    ("Observation:Object:Name", "OBJECT", None, "name of the object"),
    ("Observation:Time:Start", "DATE-OBS", None, "start of the observation, UTC"),
    ("Observation:Time:End", "DATE-END", None, "end of the observation, UTC"),
    ("Observation:Center:RA", "RA", 1, "[deg] centre"),
    ("Observation:Center:Dec", "DEC", 1, "[deg] centre"),
    ("Observation:CelestialReferenceSystem", "RADESYS", None, "celestial reference system"),
    ("Observation:Equinox", "EQUINOX", 1, "[yr] equinox"),
    ("Observation:Location:Longitude", "OBSGEO-L", 1, "[deg] longitude, east is positive"),
    ("Observation:Location:Latitude", "OBSGEO-B", 1, "[deg] latitude"),
    ("Observation:Location:Elevation", "OBSGEO-H", 1, "[m] elevation"),
    ("Observer:Name", "OBSERVER", None, "observer"),
    ("Instrument:ExposureTime", "EXPTIME", 1, "[s] exposure time"),
    ("Instrument:Camera:Name", "INSTRUME", None, "camera"),
    ("Instrument:Camera:Gain", "EGAIN", 1, "[electron/adu] gain"),
    ("Instrument:Camera:XBinning", "XBINNING", 1, "binning along rows"),
    ("Instrument:Camera:YBinning", "YBINNING", 1, "binning along columns"),
    ("Instrument:Telescope:Name", "TELESCOP", None, "telescope"),
    ("Instrument:Telescope:FocalLength", "FOCALLEN", 1000, "[mm] focal length"),
    ("Instrument:Telescope:Aperture", "APTDIA", 1000, "[mm] aperture"),
    ("Instrument:Filter:Name", "FILTER", None, "filter"),
    ("Instrument:Sensor:XPixelSize", "XPIXSZ", 1, "[um] pixel size along rows"),
    ("Instrument:Sensor:YPixelSize", "YPIXSZ", 1, "[um] pixel size along columns"),
    ("Instrument:Sensor:Temperature", "CCD-TEMP", 1, "[Celsius] sensor temperature"),
)


def to_fits(image: AstroImage) -> tuple[np.ndarray, fits.Header]:
    """Return the pixels (H, W, C) and the header of an image from an XISF file, for a FITS file.

    The rows stay top-down, and the header says so. Zeros of `zero_border` are put back.
    """
    return _restore_zeros(image), fits_cards_from_xisf(image.carrier)


def to_xisf(image: AstroImage) -> tuple[np.ndarray, list[Keyword], str]:
    """Return what an XISF file needs of an image from FITS: top-down pixels, keywords, pattern.

    Pixels are (H, W, C), the pattern is that of a mosaic of colour filters, or "".

    The carrier has the image's FITS header as attribute `header`. Zeros of `zero_border` are put
    back. Pass keywords and pattern to `write_xisf`.
    """
    header, pixels = image.carrier.header, _restore_zeros(image)
    if _row_order(header) != "TOP-DOWN":
        pixels, header = pixels[::-1], flip_rows(header, image.shape[0])
    odd = [_odd_keyword(card) for card in image.carrier.unreadable]
    pattern = clean_pattern(header.get("BAYERPAT", "")) if image.shape[-1] == 1 else ""
    return pixels, xisf_keywords_from_fits(header) + odd, pattern


def _odd_keyword(card: bytes) -> Keyword:
    """Return a card that is no FITS as it is: XISF takes any text."""
    text, value = card.decode("latin-1"), value_text(card)
    behind = text[10:].partition(value)[2] if value else text[10:]
    comment = behind.strip().removeprefix("/").strip()
    return keyword_of(card), value, comment


def _restore_zeros(image: AstroImage) -> np.ndarray:
    zero = image.zero_border
    if zero is None:
        return image.pixels
    same = zero.shape == image.shape
    zeros = zero if same else np.all(zero, axis=2, keepdims=True)
    return np.where(zeros, image.pixels.dtype.type(0), image.pixels)


def fits_cards_from_xisf(carrier: XisfCarrier) -> fits.Header:
    """Return the FITS header of an XISF image, for its rows as stored (top-down).

    FITS keywords come in their order, with duplicates, comments and typed values. Where they are
    missing, properties of PixInsight fill in, among them the linear part of a gnomonic solution.
    Warns of text that FITS cannot hold.
    """
    header = _header_from_keywords(read_keywords(carrier), carrier.path.name)
    height = int(carrier.parse()[1].attributes["geometry"].split(":")[1])
    order = _row_order(header)
    if order == "BOTTOM-UP":
        header = flip_rows(header, height)
    elif not order and _is_bottom_up(header):
        header = _flip_wcs(header, height)
    for identifier, keyword, factor, comment in _XISF_PROPERTIES:
        value = None if keyword in header else read_property(carrier, identifier)
        if isinstance(value, str) and value:
            typed = to_ascii(value) if factor is None else _scale(value, factor)
            if keyword.startswith("DATE"):
                typed = str(typed).removesuffix("Z")
            header[keyword] = (typed, comment)
    filters = carrier.parse()[1].find("ColorFilterArray")
    if filters and not any(keyword in header for keyword in PATTERN_KEYWORDS):
        header["BAYERPAT"] = (to_ascii(filters[0].attributes.get("pattern", "")), "colour filters")
    if "CRVAL1" not in header:
        header.update(_wcs_from_properties(carrier))
    header["ROWORDER"] = ("TOP-DOWN", "the first row is the top of the image")
    return header


def xisf_keywords_from_fits(header: fits.Header) -> list[Keyword]:
    """Return (name, value as FITS text, comment) of each card that describes the image."""
    keywords: list[Keyword] = []
    for card in header.cards:
        name = card.rawkeyword
        if _CONVERTED_STRUCTURE.fullmatch(name):
            continue
        value, comment = card.rawvalue, card.comment
        if name in _TEXT_KEYWORDS:
            keywords.append((name, "", str(value)))
            continue
        if " " in name or len(name) > 8:
            name = f"HIERARCH {name}"
        text = "" if isinstance(value, fits.card.Undefined) else keyword_text(value, name)
        keywords.append((name, text, comment))
    return keywords


def flip_rows(header: fits.Header, height: int) -> fits.Header:
    """Return a copy of a header that describes the image with its `height` rows reversed.

    Changes CRPIX2, the second column of CD or PC (or CDELT2) and SIP of every WCS version, the
    Bayer pattern, and turns ROWORDER.
    """
    flipped = _flip_wcs(header, height)
    for keyword in (*PATTERN_KEYWORDS, *COLOUR_KEYWORDS):
        pattern = clean_pattern(flipped.get(keyword, ""))
        if pattern and (keyword in PATTERN_KEYWORDS or pattern in BAYER_PATTERNS):
            flipped[keyword] = flip_pattern(pattern, height)
    top_down = _row_order(header) != "TOP-DOWN"
    flipped["ROWORDER"] = "TOP-DOWN" if top_down else "BOTTOM-UP"
    return flipped


def _row_order(header: fits.Header) -> str:
    return str(header.get("ROWORDER", "")).strip().upper().replace("_", "-")


def _flip_wcs(header: fits.Header, height: int) -> fits.Header:
    flipped = header.copy()
    tables = [key for key in ("CPDIS1", "CPDIS2", "D2IMDIS1", "AMDX1") if key in header]
    if tables:
        warn_of_file(
            f"the distortion of {tables} does not follow the flipped rows; solve the plate again"
        )
    for version in ("", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
        if f"CRPIX2{version}" not in header and f"CTYPE2{version}" not in header:
            continue
        reference = f"CRPIX2{version}"
        flipped[reference] = height + 1 - _number(header, reference, 0.0)
        if any(re.fullmatch(rf"CD\d_\d{version}", key) for key in header):
            _negate(flipped, f"CD1_2{version}", f"CD2_2{version}")
        elif any(re.fullmatch(rf"PC\d_\d{version}", key) for key in header):
            flipped.set(f"PC2_2{version}", _number(header, f"PC2_2{version}", 1.0))
            _negate(flipped, f"PC1_2{version}", f"PC2_2{version}")
        else:
            flipped.set(f"CDELT2{version}", _number(header, f"CDELT2{version}", 1.0))
            _negate(flipped, f"CDELT2{version}")
    for keyword in header:
        found = _SIP_PATTERN.fullmatch(keyword)  # v becomes -v, and so does the correction of v
        if found and int(found[2]) % 2 != (found[1][0] == "B"):
            _negate(flipped, keyword)
    return flipped


def _negate(header: fits.Header, *keywords: str) -> None:
    for keyword in keywords:
        if number := _number(header, keyword, 0.0):
            header[keyword] = -number


def _number(header: fits.Header, keyword: str, default: float) -> float:
    """Return the value of a keyword that has to be a number; the default where it is none."""
    value = header.get(keyword, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else default


def _is_bottom_up(header: fits.Header) -> bool:
    """Return whether the WCS shows the sky unmirrored for an origin at the bottom left."""
    if any(f"CD{i}_{j}" in header for i in (1, 2) for j in (1, 2)):
        matrix = [[_number(header, f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)]
        scale = 1.0
    elif "CDELT2" in header:
        matrix = [[_number(header, f"PC{i}_{j}", float(i == j)) for j in (1, 2)] for i in (1, 2)]
        scale = _number(header, "CDELT1", 1.0) * _number(header, "CDELT2", 1.0)
    else:
        return False
    return bool((matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0]) * scale < 0)


def _wcs_from_properties(carrier: XisfCarrier) -> fits.Header:
    """Return the linear part of PixInsight's gnomonic solution as TAN cards, for stored rows."""
    header = fits.Header()
    prefix = "PCL:AstrometricSolution:"
    names = ("ReferenceCelestialCoordinates", "ReferenceImageCoordinates")
    sky, pixel = (read_property(carrier, prefix + name) for name in names)
    matrix = read_property(carrier, prefix + "LinearTransformationMatrix")
    system = read_property(carrier, prefix + "ProjectionSystem")
    if np.shape(sky) != (2,) or np.shape(pixel) != (2,) or np.shape(matrix) != (2, 2):
        return header
    if not all(np.isfinite(part).all() for part in (sky, pixel, matrix)):
        warnings.warn(
            f"{carrier.path}: the plate solution has infinite values and is left out", stacklevel=4
        )
        return header
    if system not in (None, "", "Gnomonic"):
        warn_of_file(
            f"{carrier.path}: the plate solution in projection {system} is not in the FITS "
            "header; only Gnomonic is supported"
        )
        return header
    for axis, ctype in enumerate(("RA---TAN", "DEC--TAN"), start=1):
        header[f"CTYPE{axis}"] = ctype
        header[f"CUNIT{axis}"] = "deg"
        header[f"CRVAL{axis}"] = float(sky[axis - 1])
        header[f"CRPIX{axis}"] = float(pixel[axis - 1]) + 0.5  # a pixel's centre is at 0.5 there
        for column in (1, 2):
            header[f"CD{axis}_{column}"] = float(matrix[axis - 1, column - 1])
    return header


def _scale(text: str, factor: float) -> float | int | str:
    value = _parse_value(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return to_ascii(text)
    return value if factor == 1 else float(f"{value * factor:.12g}")


def _header_from_keywords(keywords: Iterable[Keyword], name: str) -> fits.Header:
    header = fits.Header()
    changed: list[str] = []
    previous = ""
    for key, text, note in keywords:
        keyword = to_ascii(key).strip().upper().removeprefix("HIERARCH ").strip()
        comment, value = to_ascii(note), _parse_value(text)
        if (text + note).isascii() is False:
            changed.append(keyword)
        if _CONVERTED_STRUCTURE.fullmatch(keyword):
            continue
        if keyword == "CONTINUE" and previous and str(header[previous]).endswith("&"):
            header[previous] = str(header[previous])[:-1] + str(value)
            continue
        if keyword in _TEXT_KEYWORDS:
            body = comment if value is None else to_ascii(str(value))
            for i in range(0, max(len(body), 1), 72):
                header.append((keyword, body[i : i + 72]), end=True)
            continue
        value = to_ascii(value) if isinstance(value, str) else value
        plain = re.fullmatch(r"[A-Z0-9_-]{1,8}", keyword)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)  # comments cut short
                card = fits.Card(keyword if plain else f"HIERARCH {keyword}", value, comment)
                str(card)
        except ValueError as error:
            warn_of_file(f"{name}: keyword {key} is left out: {error}")
            continue
        header.append(card, end=True)
        previous = keyword
    if changed:
        warn_of_file(
            f"{name}: FITS holds ASCII only, so these keywords were transliterated: {changed}"
        )
    return header


def _parse_value(text: str) -> str | bool | int | float | None:
    """Return the value of FITS text; what is no FITS value is taken as a string."""
    text = text.strip()
    quoted = re.fullmatch(r"'((?:[^']|'')*)'?.*", text, re.DOTALL)
    if quoted:
        return quoted[1].replace("''", "'").rstrip()
    if text in ("T", "F"):
        return text == "T"
    if re.fullmatch(r"[+-]?\d{1,30}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([EeDd][+-]?\d+)?", text, re.ASCII):
        number = float(text.upper().replace("D", "E"))
        return number if math.isfinite(number) else text
    return text or None
