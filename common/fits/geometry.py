"""Where the HDUs of a FITS file lie, from its raw cards: every size is checked before it is used.

Nothing here depends on what a library makes of a damaged header; `hdus` builds on it.
"""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from common.fits.cards import BLOCK_BYTES, CARD_BYTES, split_cards, value_text

MAX_HEADER_BYTES = 4_000_000  # bytes; 50,000 cards, ten times those of a very long header
MAX_AXES = 999  # axes; FITS standard 4.0, section 4.4.1
MAX_FIELDS = 999  # columns of a table; FITS standard 4.0, section 7.3.1
MAX_AXIS = 2**31 - 1  # pixels along an axis; what the codecs of compressed images can count
SAMPLE_BITS = (8, 16, 32, 64, -32, -64)  # bits; the values of BITPIX, section 4.4.1
# bytes behind the last HDU of a file in gzip; a few kilobytes of zeros would unpack to gigabytes
MAX_TRAILING_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 22  # bytes unpacked at once
_QUOTED = re.compile(r"'((?:[^']|'')*)'")  # a text value
_UNPRINTABLE = re.compile("[^ -~]")  # characters that FITS does not allow
_IMAGE_EXTENSIONS = ("IMAGE", "IUEIMAGE")  # XTENSION of images
_TABLE_EXTENSIONS = ("BINTABLE", "A3DTABLE")  # XTENSION of binary tables
_ADVICE = "Get the file again, or mend the header."


class Values(dict[str, str]):
    """The first value of each keyword as text, without comment, and what names it in messages."""

    def __init__(self, cards: list[bytes], where: str) -> None:
        super().__init__()
        self.where = where
        for card in cards:
            keyword = card[:8].decode("latin-1").strip().upper()
            value = value_text(card) if card[8:10] == b"= " else ""
            # a message is one line that a terminal can show
            self.setdefault(keyword, _UNPRINTABLE.sub("?", value))

    def whole(self, keyword: str, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number within limits; ValueError where it is none."""
        text = self.get(keyword, "" if default is None else str(default))
        if not text:
            raise ValueError(f"{self.where}: has no {keyword}. {_ADVICE}")
        # 20 digits hold every number that a header may state; more take time to read
        number = int(text) if re.fullmatch(r"[+-]?\d{1,20}", text, re.ASCII) else None
        if number is None or not least <= number <= most:
            shown = text if len(text) < 40 else text[:40] + "…"
            raise ValueError(
                f"{self.where}: {keyword} = {shown} is no whole number from {least} to {most}. "
                f"{_ADVICE}"
            )
        return number

    def text(self, keyword: str, default: str = "") -> str:
        """Return a text without quotes and trailing blanks."""
        found = _QUOTED.match(self.get(keyword, ""))
        return found[1].replace("''", "'").rstrip() if found else self.get(keyword, default)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an HDU lies, and what its structure says.

    Attributes
    ----------
    index : int
    cards : list of bytes
        Its raw cards before END.
    values : Values
        Of the cards.
    start, data : int
        Byte of the header, byte of the data.
    size : int
        Bytes of the data without padding.
    shape : tuple of int
        Of the image, slowest axis first; empty where there is no pixel.
    is_image, tiled : bool
        Whether it is an image, whether one within a table (tile compression).
    """

    index: int
    cards: list[bytes]
    values: Values
    start: int
    data: int
    size: int
    shape: tuple[int, ...]
    is_image: bool
    tiled: bool

    @property
    def version(self) -> int:
        """EXTVER; 1 where it is no number, as nothing else depends on it."""
        try:
            return self.values.whole("EXTVER", -(2**63), 2**63, 1)
        except ValueError:
            return 1

    @property
    def end(self) -> int:
        """The byte behind the padding."""
        return self.data + padded(self.size)


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Turn what a library raises for a damaged header into ValueError that names the file.

    The structure is checked before; what is left are single cards, for which astropy raises many
    kinds of error.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        of_system = isinstance(error, OSError) and error.filename is not None
        text = " ".join(str(error).split())
        if of_system or (isinstance(error, ValueError) and text.startswith(name)):
            raise
        raise ValueError(f"{name}: a header is damaged ({text}). {_ADVICE}") from error


def padded(size: int) -> int:
    """Return a size rounded up to whole blocks."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def find_hdus(file: BinaryIO, length: int, name: str) -> list[Place]:
    """Return all HDUs of an open, uncompressed file.

    Raises
    ------
    ValueError
        If the file is not FITS, is truncated, or a header states an impossible structure.
    """
    found = []
    for place in _walk(file.read, lambda size: file.seek(size, 1), name):
        if place.data + place.size > length:
            raise ValueError(
                f"{_hdu_name(name, place.index, place.values)} is truncated: the header promises "
                f"{place.data + place.size} bytes, the file has {length}. Get the file again."
            )
        found.append(place)
    return found


def unpack(packed: BinaryIO, unpacked: BinaryIO, name: str) -> None:
    """Copy a stream that is unpacked on the fly as far as its HDUs go, and a little more.

    Raises
    ------
    ValueError
        If a header is damaged, or much follows the last HDU.
    """

    def read(size: int) -> bytes:
        data = packed.read(size)
        unpacked.write(data)
        return data

    def skip(size: int) -> None:
        while size and (data := read(min(size, _CHUNK_BYTES))):
            size -= len(data)

    for _ in _walk(read, skip, name):
        pass
    for _ in range(MAX_TRAILING_BYTES // _CHUNK_BYTES):
        if not read(_CHUNK_BYTES):
            return
    if packed.read(1):
        raise ValueError(
            f"{name}: more than {MAX_TRAILING_BYTES} bytes follow the last HDU of the gzip data. "
            "Get the file again."
        )


def _walk(
    read: Callable[[int], bytes], skip: Callable[[int], object], name: str
) -> Iterator[Place]:
    """Give one HDU after another; `read` and `skip` take a number of bytes."""
    start = index = 0
    while block := read(BLOCK_BYTES):
        if index == 0 and not block.startswith(b"SIMPLE  ="):
            raise ValueError(f"{name}: is not a FITS file (no SIMPLE card). Check the file.")
        if index and not block.startswith(b"XTENSION"):
            # bytes behind the last HDU are kept as they are, unless they were once a header
            if re.match(rb"[A-Z0-9_-]{1,8} *=|SIMPLE|XTENSIO|.TENSION", block):
                raise ValueError(
                    f"{name}: the header of HDU {index} is truncated or damaged. "
                    "Get the file again."
                )
            return
        header = _rest_of_header(read, block, name, index)
        place = _place(header, start, name, index)
        yield place
        skip(place.end - place.data)
        start, index = place.end, index + 1


def _rest_of_header(read: Callable[[int], bytes], block: bytes, name: str, index: int) -> bytes:
    """Return a whole header, from its first block."""
    which = "the first header" if index == 0 else f"the header of HDU {index}"
    blocks = [block]
    while not _has_end(blocks[-1], f"{name}: {which}"):
        block = read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES or len(blocks) * BLOCK_BYTES > MAX_HEADER_BYTES:
            raise ValueError(
                f"{name}: {which} is truncated or damaged (no END card). Get the file again."
            )
        blocks.append(block)
    return b"".join(blocks)


def _has_end(block: bytes, what: str) -> bool:
    """Return whether a block has the END card; a damaged one is refused: astropy ends there."""
    for at in range(0, len(block), CARD_BYTES):
        card = block[at : at + CARD_BYTES]
        if card.startswith(b"END") and not re.match(rb"END[A-Z0-9_-]", card):
            if card[3:].strip():
                raise ValueError(f"{what} has a damaged END card. Get the file again.")
            return len(block) == BLOCK_BYTES
    return False


def _hdu_name(name: str, index: int, values: Values) -> str:
    label = values.text("EXTNAME", "PRIMARY" if index == 0 else "")
    return f"{name}: HDU {index} ({label})"


def _place(header: bytes, start: int, name: str, index: int) -> Place:
    """Return what a header states; ValueError where it is impossible."""
    cards = split_cards(header)
    values = Values(cards, f"{name}: HDU {index}")
    bitpix = _bits(values, "BITPIX")
    axes = _axes(values, "NAXIS")
    extension = values.text("XTENSION") if index else "IMAGE"
    is_table = extension in _TABLE_EXTENSIONS
    if is_table:
        values.whole("TFIELDS", 0, MAX_FIELDS)
    # what a primary header says of groups holds for random groups alone, but is counted always
    parameters = values.whole("PCOUNT", 0, 2**63, 0)
    groups = values.whole("GCOUNT", 1, 2**63, 1)
    counted = axes[1:] if axes[:1] == [0] and values.get("GROUPS") == "T" else axes
    items = parameters + math.prod(counted) if axes else 0
    tiled = is_table and values.get("ZIMAGE") == "T"
    is_image = tiled or extension in _IMAGE_EXTENSIONS
    if tiled:
        _bits(values, "ZBITPIX")
        axes = _axes(values, "ZNAXIS")
    shape = tuple(reversed(axes)) if is_image and 0 not in axes else ()
    return Place(
        index=index,
        cards=cards,
        values=values,
        start=start,
        data=start + len(header),
        size=abs(bitpix) // 8 * groups * items,
        shape=shape,
        is_image=is_image,
        tiled=tiled,
    )


def _bits(values: Values, keyword: str) -> int:
    bits = values.whole(keyword, -64, 64)
    if bits not in SAMPLE_BITS:
        allowed = ", ".join(map(str, SAMPLE_BITS))
        raise ValueError(f"{values.where}: {keyword} = {bits} is none of {allowed}. {_ADVICE}")
    return bits


def _axes(values: Values, keyword: str) -> list[int]:
    """Return the lengths of the axes in the order of the file."""
    number = values.whole(keyword, 0, MAX_AXES)
    return [values.whole(f"{keyword}{axis}", 0, MAX_AXIS) for axis in range(1, number + 1)]
