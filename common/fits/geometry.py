"""What the cards of an HDU say of its size and kind, each checked before it is used."""

import math
from dataclasses import dataclass

from common.fits import cards as fits_cards

BITPIX_VALUES = (8, 16, 32, 64, -32, -64)  # FITS standard 4.0, section 4.4.1
MAX_AXES = 999  # FITS standard 4.0, section 4.4.1
MAX_LENGTH = 2**62  # of an axis, in pixels, and of data, in bytes: a file has a signed 64-bit size
IMAGE_EXTENSIONS = ("IMAGE", "IUEIMAGE")  # values of XTENSION
TABLE_EXTENSIONS = ("BINTABLE", "A3DTABLE")  # values of XTENSION; of a binary table


@dataclass(frozen=True, kw_only=True)
class Hdu:
    """Where an HDU lies in the uncompressed file, and its raw cards."""

    index: int
    name: str
    version: int
    cards: list[bytes]
    start: int
    data: int
    size: int
    end: int
    tiled: bool
    shape: tuple[int, ...]  # empty if the HDU has no image
    kind: str

    @property
    def core(self) -> tuple[int, ...]:
        """The shape without leading axes of length 1."""
        lead = 0
        while len(self.shape) - lead > 2 and self.shape[lead] == 1:
            lead += 1
        return self.shape[lead:]


def describe_hdu(header: bytes, index: int, start: int, name: str) -> Hdu:
    """Return the HDU with this header.

    Parameters
    ----------
    header : bytes
        With END and padding.
    index, start : int
        Number of the HDU, and the byte of the file at which it starts.
    name : str
        Of the file, for messages.

    Raises
    ------
    ValueError
        If a card of the structure is missing or has no such value; the line names the card.
    """
    cards = fits_cards.split_cards(header)
    first: dict[str, bytes] = {}
    for card in cards:
        first.setdefault(fits_cards.keyword_of(card), card)

    def integer(keyword: str, low: int, high: int, default: int | None = None) -> int:
        if keyword not in first and default is not None:
            return default
        text = fits_cards.value_text(first[keyword]) if keyword in first else "missing"
        value = int(text) if fits_cards.is_integer(text) else None
        if value is None or not low <= value <= high:
            raise ValueError(
                f"{name}: HDU {index}: {keyword} is {text}, expected an integer from {low} to "
                f"{high}. Get the file again."
            )
        return value

    def shape_of(prefix: str) -> tuple[int, ...]:
        axes = integer(f"{prefix}NAXIS", 0, MAX_AXES)
        return tuple(integer(f"{prefix}NAXIS{i}", 0, MAX_LENGTH) for i in range(axes, 0, -1))

    extension = fits_cards.text_value(first["XTENSION"]) if "XTENSION" in first else ""
    bitpix = integer("BITPIX", min(BITPIX_VALUES), max(BITPIX_VALUES))
    if bitpix not in BITPIX_VALUES:
        raise ValueError(
            f"{name}: HDU {index}: BITPIX is {bitpix}, expected one of {BITPIX_VALUES}. "
            "Get the file again."
        )
    shape = shape_of("")
    items = math.prod(shape)
    if fits_cards.value_text(first.get("GROUPS", b"")) == "T" and shape and shape[-1] == 0:
        items = math.prod(shape[:-1])  # random groups; FITS standard 4.0, section 6
    if not shape:
        items = 0
    parameters = integer("PCOUNT", 0, MAX_LENGTH, 0)
    groups = integer("GCOUNT", 0, MAX_LENGTH, 1)
    size = abs(bitpix) // 8 * groups * (parameters + items) if shape else 0
    if size > MAX_LENGTH:
        raise ValueError(f"{name}: HDU {index}: NAXISn and BITPIX make {size} bytes. "
                         "Get the file again.")  # fmt: skip
    tiled = extension in TABLE_EXTENSIONS and (
        fits_cards.value_text(first.get("ZIMAGE", b"")) == "T"
    )
    is_image = tiled or extension in IMAGE_EXTENSIONS or (not extension and index == 0)
    pixels = shape_of("Z") if tiled else shape if is_image else ()
    data = start + len(header)
    named = fits_cards.text_value(first["EXTNAME"]) if "EXTNAME" in first else ""
    version = fits_cards.value_text(first.get("EXTVER", b""))
    return Hdu(
        index=index, name=named.upper() or ("PRIMARY" if index == 0 else ""),
        version=int(version) if fits_cards.is_integer(version) else 1,
        cards=cards, start=start, data=data, size=size,
        end=data + size + -size % fits_cards.BLOCK_BYTES, tiled=tiled,
        shape=() if 0 in pixels else pixels, kind="image" if is_image else "table or other",
    )  # fmt: skip
