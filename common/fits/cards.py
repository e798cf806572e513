"""The raw cards of FITS headers: split, edited and summed as bytes, so that what is not ours stays.

`fits.write` builds every header it writes from these functions.
"""

import math
import re
import unicodedata
import warnings
from collections.abc import Iterable

import numpy as np

from common.image import Card

CARD_BYTES = 80  # bytes; FITS standard 4.0, section 3
BLOCK_BYTES = 2880  # bytes; FITS standard 4.0, section 3
_REPEATED_KEYWORDS = {"COMMENT", "HISTORY", "", "CONTINUE"}  # may stand more than once in a header
# What describes the stored array and not the image; the writer states it anew.
_STORED_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|CHECKSUM|DATASUM"
)
_PRIMARY_ONLY_KEYWORDS = ("EXTEND", "BLOCKED")  # not in an extension
# The table around a tile-compressed image; FITS standard 4.0, section 10.1.
_TILE_STRUCTURE = re.compile(
    r"TFIELDS|THEAP|(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDIM|TDISP)\d+|ZIMAGE|ZSIMPLE|ZTENSION"
    r"|ZEXTEND|ZBITPIX|ZNAXIS\d*|ZPCOUNT|ZGCOUNT|ZTILE\d+|ZCMPTYPE|(ZNAME|ZVAL)\d+|ZMASKCMP"
    r"|ZQUANTIZ|ZDITHER0|ZSCALE|ZZERO|ZBLANK|ZHECKSUM|ZDATASUM|ZBLOCKED"
)
_QUOTED_TEXT = re.compile(r"\s*'(?:[^']|'')*'")  # value of a card
# Punctuation between the digits and the letters, which a CHECKSUM may not contain (appendix J).
_EXCLUDED_CODES = {*range(0x3A, 0x41), *range(0x5B, 0x61)}


def split_cards(header: bytes) -> list[bytes]:
    """Return the 80-byte cards before END, without the blank ones that only reserve space."""
    cards = [header[i : i + CARD_BYTES] for i in range(0, len(header), CARD_BYTES)]
    ends = [i for i, card in enumerate(cards) if card.rstrip() == b"END"]
    cards = cards[: ends[0]] if ends else cards
    while cards and not cards[-1].strip():
        cards.pop()
    return cards


def keyword_of(card: bytes) -> str:
    """Return the keyword of a card; the full name for HIERARCH cards."""
    text = card.decode("latin-1")
    if text.startswith("HIERARCH ") and "=" in text:
        return text[9 : text.index("=")].strip()
    return text[:8].strip()


def value_text(card: bytes) -> str:
    """Return the text of a card's value, quotes included; "" where it has none."""
    text = card.decode("latin-1")
    start = text.find("=") + 1 if text.startswith("HIERARCH ") else 10
    if text[8:10] != "= " and start == 10:
        return ""
    quoted = _QUOTED_TEXT.match(text, start)
    return quoted[0].strip() if quoted else text[start:].split("/")[0].strip()


def text_value(card: bytes) -> str:
    """Return the value of a card as text: a string without its quotes."""
    text = value_text(card)
    return text[1:-1].replace("''", "'").rstrip() if text[:1] == "'" else text


def is_integer(text: str) -> bool:
    """Return whether a text is an integer of at most 19 digits."""
    return re.fullmatch(r"[+-]?\d{1,19}", text, re.ASCII) is not None


def find_card(cards: Iterable[bytes], keyword: str) -> bytes:
    """Return the first card with this keyword; b"" where there is none."""
    return next((card for card in cards if keyword_of(card) == keyword), b"")


def number_of(cards: Iterable[bytes], keyword: str, default: float, where: str) -> float:
    """Return a number that the pixels depend on; a text that is a number counts.

    Raises
    ------
    ValueError
        If it is no finite number; `where` and the card are in the line.
    """
    card = find_card(cards, keyword)
    if not card:
        return default
    try:
        value = float(text_value(card).upper().replace("D", "E"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"{where}: the card {card.decode('latin-1').strip()} has no number. Write it as in "
            f"{keyword} = 1.0, without quotes and with a point."
        )
    return value


def image_cards(cards: list[bytes], *, primary: bool) -> list[bytes]:
    """Return the cards that describe the image, without those of how its pixels are stored.

    Parameters
    ----------
    cards : list of bytes
        Cards of an image HDU or of the table HDU of a tile-compressed image.
    primary : bool
        Whether they go to a primary HDU: only there EXTEND and BLOCKED have a meaning.
    """
    tiled = any(keyword_of(card) == "ZIMAGE" for card in cards)

    def describes_storage(card: bytes) -> bool:
        keyword = keyword_of(card)
        if _STORED_STRUCTURE.fullmatch(keyword) or (
            keyword in _PRIMARY_ONLY_KEYWORDS and not primary
        ):
            return True
        if not tiled:
            return False
        placeholder = keyword == "EXTNAME" and b"'COMPRESSED_IMAGE'" in card
        return placeholder or _TILE_STRUCTURE.fullmatch(keyword) is not None

    return [card for card in cards if not describes_storage(card)]


def table_cards(cards: list[bytes]) -> list[bytes]:
    """Return the cards of the table around a tile-compressed image, without its checksums."""
    keep = {"XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT"}
    return [
        card
        for card in cards
        if keyword_of(card) in keep or _TILE_STRUCTURE.fullmatch(keyword_of(card))
    ]


def add_cards(cards: list[bytes], new: Iterable[Card], history: Iterable[str]) -> list[bytes]:
    """Return the cards with `new` put in (in place where the keyword exists) and HISTORY appended.

    Text outside of ASCII, which FITS cannot hold, is transliterated.
    """
    from astropy.io import fits

    cards = list(cards)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)  # keywords turned to HIERARCH
        for keyword, value, comment in new:
            value = to_ascii(value) if isinstance(value, str) else value
            one = fits.Header([fits.Card(keyword, value, to_ascii(comment))])
            made = split_cards(one.tostring(padding=False).encode("ascii"))
            name = keyword_of(made[0])
            places = [i for i, card in enumerate(cards) if keyword_of(card) == name]
            if name in _REPEATED_KEYWORDS or not places:
                cards += made
                continue
            first = places[0]
            last = first + 1
            while last < len(cards) and keyword_of(cards[last]) == "CONTINUE":
                last += 1
            cards[first:last] = made
        tail = fits.Header()
        for line in history:
            tail.add_history(to_ascii(line))
        return cards + split_cards(tail.tostring(padding=False).encode("ascii"))


def to_ascii(text: str) -> str:
    """Return `text` in the printable ASCII that FITS allows ('é' becomes 'e', 'µ' becomes 'u')."""
    text = text.replace("µ", "u").replace("μ", "u").replace("°", " deg").replace("σ", "sigma")
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return "".join(char if " " <= char <= "~" else "?" for char in plain)


def value_card(keyword: str, value: object, comment: str) -> bytes:
    """Return a card in the fixed format, for the keywords that the standard wants so."""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:<8}'".ljust(20)
    else:
        text = f"{value:>20}"
    return f"{keyword:<8}= {text} / {comment}"[:CARD_BYTES].ljust(CARD_BYTES).encode("ascii")


def array_cards(shape: tuple[int, ...], bitpix: int, *, primary: bool) -> list[bytes]:
    """Return the leading cards of an image HDU that holds an array of `shape` and type BITPIX."""
    cards = [
        value_card("SIMPLE", True, "conforms to FITS standard")
        if primary
        else value_card("XTENSION", "IMAGE", "Image extension"),
        value_card("BITPIX", bitpix, "array data type"),
        value_card("NAXIS", len(shape), "number of array dimensions"),
    ]
    for axis, length in enumerate(reversed(shape), start=1):
        cards.append(value_card(f"NAXIS{axis}", length, f"length of axis {axis}"))
    if not primary:
        cards.append(value_card("PCOUNT", 0, "number of parameters"))
        cards.append(value_card("GCOUNT", 1, "number of groups"))
    return cards


def close_header(cards: list[bytes], data_sum: int) -> bytes:
    """Return the header of an HDU with DATASUM, CHECKSUM, END and padding."""
    cards = [*cards, value_card("DATASUM", str(data_sum), "data unit checksum")]

    def assemble(checksum: str) -> bytes:
        card = value_card("CHECKSUM", checksum, "HDU checksum")
        return pad(b"".join([*cards, card, b"END".ljust(CARD_BYTES)]), b" ")

    return assemble(encode_checksum(ones_sum(assemble("0" * 16), data_sum)))


def pad(block: bytes, fill: bytes = b"\0") -> bytes:
    """Return `block` filled up to a multiple of 2880 bytes."""
    return block + fill * (-len(block) % BLOCK_BYTES)


def ones_sum(data: bytes | memoryview, start: int = 0) -> int:
    """Return the 32-bit ones' complement sum of big-endian words, going on from `start`.

    This is the DATASUM of the FITS standard 4.0, appendix J. All pieces but the last of a stream
    have a length that is a multiple of 4 bytes.
    """
    view = memoryview(data).cast("B")
    whole = len(view) // 4 * 4
    total = start + int(np.frombuffer(view[:whole], dtype=">u4").sum(dtype=np.uint64))
    total += int.from_bytes(bytes(view[whole:]).ljust(4, b"\0"), "big")
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encode_checksum(total: int) -> str:
    """Return the 16 characters that bring an HDU whose words add up to `total` to zero."""
    complement = ~total & 0xFFFFFFFF
    encoded = bytearray(16)
    for i in range(4):
        quotient, remainder = divmod(complement >> (24 - 8 * i) & 0xFF, 4)
        chars = [quotient + 0x30] * 4
        chars[0] += remainder
        while not _EXCLUDED_CODES.isdisjoint(chars):
            for j in (0, 2):
                if chars[j] in _EXCLUDED_CODES or chars[j + 1] in _EXCLUDED_CODES:
                    chars[j] += 1
                    chars[j + 1] -= 1
        for j in range(4):
            encoded[4 * j + i] = chars[j]
    return (encoded[-1:] + encoded[:-1]).decode("ascii")
