"""Patterns of colour filters in front of the pixels (Bayer, X-Trans): as headers write them."""

from math import isqrt

BAYER_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")  # rows of two, as stored
PATTERN_KEYWORDS = ("BAYERPAT", "CFAPAT")  # of any pattern
COLOUR_KEYWORDS = ("COLORTYP", "FILTER")  # hold a pattern, a type of image or a filter
FILTER_LETTERS = frozenset("RGBCMYWE")  # red, green, blue, cyan, magenta, yellow, white, emerald


def clean_pattern(value: object) -> str:
    """Return a pattern in capital letters without blanks; "" where the value is none."""
    letters = "".join(str(value).upper().split())
    side = isqrt(len(letters))
    colours = set(letters)
    square = side > 1 and side * side == len(letters)
    return letters if square and len(colours) > 1 and colours <= FILTER_LETTERS else ""


def flip_pattern(pattern: str, height: int) -> str:
    """Return the pattern of a mosaic whose `height` rows were reversed."""
    side = isqrt(len(pattern))
    rows = [pattern[i : i + side] for i in range(0, len(pattern), side)]
    return "".join(rows[(height - 1 - i) % side] for i in range(side))
