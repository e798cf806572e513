"""Headers for astropy, made of the raw cards that it can read: the others stay with the file."""

import math
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from common.fits.cards import array_cards, image_cards, keyword_of

if TYPE_CHECKING:
    from astropy.io import fits

MAX_TEXT_CARDS = 1000  # cards of one text, 67 kB; the time that astropy takes grows with the square
# bytes that FITS does not allow -> a space, a question mark; for `translate`
_ALLOWED = bytes(b if 32 <= b < 127 else 32 if b < 32 else 63 for b in range(256))
_SCALING_KEYWORDS = ("BZERO", "BSCALE", "BLANK")  # describe stored pixels, compressed ones as well
# What `astropy.io.fits.Header.strip` takes away, which counts as far as a header says.
_STRIPPED = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|TFIELDS"
)


def split_readable(cards: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the cards in the characters of FITS, and those that are no FITS, as they are.

    A byte that FITS does not allow is a space (a control character) or a question mark. Text
    without quotes is no FITS, for example, and no infinite number; a long text is one with its
    CONTINUE cards.
    """
    from astropy.io import fits

    good: list[bytes] = []
    odd: list[bytes] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cards that are kept as they are
        for group in _long_texts(cards):
            allowed = [card.translate(_ALLOWED) for card in group]
            one = fits.Card.fromstring(b"".join(allowed[:MAX_TEXT_CARDS]))
            try:
                _, value, _ = one.keyword, one.value, one.comment
                one.value = value  # refused where the card has no value that could be set
                finite = not isinstance(value, (float, complex)) or math.isfinite(abs(value))
            except (fits.VerifyError, ValueError, OverflowError, TypeError, AttributeError):
                finite = False
            finite &= len(group) <= MAX_TEXT_CARDS
            (good if finite else odd).extend(allowed if finite else group)
    return good, odd


def _long_texts(cards: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Give each card with the CONTINUE cards behind it."""
    group: list[bytes] = []
    for card in cards:
        if group and not card.startswith(b"CONTINUE"):
            yield group
            group = []
        group.append(card)
    if group:
        yield group


def make_header(cards: Iterable[bytes]) -> "fits.Header":
    """Return the header of cards that `split_readable` found good."""
    from astropy.io import fits

    cards = list(cards)
    if any(card.startswith(b"CONTINUE") for card in cards):
        # the card that one went on with may be gone, or stand somewhere else
        cards = split_readable(cards)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fits.Header.fromstring(b"".join(cards))


def cards_in_table(cards: list[bytes], shape: tuple[int, ...], bitpix: int) -> list[bytes]:
    """Return the cards of a tile-compressed image as if it were not compressed.

    Parameters
    ----------
    cards : list of bytes
        Of the table around it.
    shape : tuple of int
        ZNAXISn, slowest axis first.
    bitpix : int
        ZBITPIX.
    """
    scaling = [card for card in cards if keyword_of(card) in _SCALING_KEYWORDS]
    primary = any(keyword_of(card) == "ZSIMPLE" for card in cards)
    structure = array_cards(shape, bitpix, primary=primary)
    return [*structure, *scaling, *image_cards(cards, primary=primary)]


def without_structure(cards: Iterable[bytes]) -> list[bytes]:
    """Return the cards that say nothing of how the HDU is stored, for another header."""
    return [card for card in cards if not _STRIPPED.fullmatch(keyword_of(card))]
