"""The HDUs of a FITS file as bytes: where they lie, whether they are whole, what they store.

`fits.read` and `fits.write` use it.
"""

import gzip
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.atomic import explain_write_errors, scratch_folder
from common.fits import cards as fits_cards
from common.fits import geometry, headers
from common.fits.tiles import read_tiles

if TYPE_CHECKING:
    from astropy.io import fits

# names of planes that belong to another image: errors, quality, weights, parts of our own files
COMPANION_NAMES = frozenset({
    "ERR", "ERROR", "DQ", "QUALITY", "MASK", "FLAGS", "WHT", "WEIGHT", "WGT", "VAR", "VARIANCE",
    "IVAR", "SIGMA", "RMS", "CTX", "SAMP", "TIME", "EXPOSURE", "BACKGROUND", "RESIDUAL",
    "SIGMA68", "SIGMA95", "SEGMENTATION", "SOURCES",
})  # fmt: skip
_COPY_CHUNK_BYTES = 1 << 22  # bytes copied at once; a multiple of 4, as the checksum needs


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


@contextmanager
def plain_file(path: Path, name: str = "") -> Iterator[Path]:
    """Give the path of the file without its whole-file gzip (a temporary copy if it has one).

    `name` is what messages call the file, if not by its path.
    """
    with open(path, "rb") as file:
        magic = file.read(2)
    if magic != b"\x1f\x8b":
        yield path
        return
    with scratch_folder() as folder:
        plain = folder / path.with_suffix("").name
        try:
            with (
                explain_write_errors(f"{name or path}, unpacked in {folder.parents[1]} (TMPDIR)"),
                gzip.open(path, "rb") as packed,
                open(plain, "wb") as unpacked,
            ):
                geometry.unpack(packed, unpacked, name or str(path))  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{name or path}: the gzip data are truncated or damaged ({error}). "
                "Get the file again."
            ) from error
        yield plain


def scan(plain: Path, name: str) -> list[Hdu]:
    """Return all HDUs in order; ValueError if the file is not FITS or ends too early."""
    length = plain.stat().st_size
    with open(plain, "rb") as file:
        places = geometry.find_hdus(file, length, name)
    return [
        Hdu(
            index=one.index,
            name=one.values.text("EXTNAME", "" if one.index else "PRIMARY").upper(),
            version=one.version,
            cards=one.cards,
            start=one.start,
            data=one.data,
            size=one.size,
            end=min(one.end, length),
            tiled=one.tiled,
            shape=one.shape,
            kind="image" if one.is_image else "table or other",
        )
        for one in places
    ]


def verify_sums(plain: Path, one: Hdu, name: str) -> None:
    """Raise ValueError if the DATASUM or the CHECKSUM of an HDU is wrong."""
    expected, checksum = _sums(one)
    has_checksum = checksum not in ("", "0" * 16)  # both mean: not computed
    if not expected and not has_checksum:
        return
    if expected and not expected.isdecimal():
        raise ValueError(
            f"{name}: HDU {one.index} ({one.name}): DATASUM is {expected}, which is no checksum. "
            "Delete the card, or read the file as it is with --no-verify."
        )
    data_sum = 0
    for chunk in copy_bytes(plain, one.data, one.end):
        data_sum = fits_cards.ones_sum(chunk, data_sum)
    wrong = []
    if expected and expected != str(data_sum):
        wrong.append(f"DATASUM is {expected}, the data give {data_sum}")
    if has_checksum:
        total = data_sum
        for chunk in copy_bytes(plain, one.start, one.data):
            total = fits_cards.ones_sum(chunk, total)
        if total not in (0, 0xFFFFFFFF):
            wrong.append("CHECKSUM does not fit the HDU")
    if wrong:
        raise ValueError(
            f"{name}: HDU {one.index} ({one.name}) is damaged: {'; '.join(wrong)}. "
            "Get the file again, or read it as it is with --no-verify."
        )


def _sums(one: Hdu) -> tuple[str, str]:
    """Return DATASUM and CHECKSUM as they stand in the header, "" where there is none."""
    found = [fits_cards.text_value(fits_cards.find_card(one.cards, keyword)).strip()
             for keyword in ("DATASUM", "CHECKSUM")]  # fmt: skip
    return found[0], found[1]


def select(hdus: list[Hdu], wanted: int | str | None, name: str) -> list[Hdu]:
    """Return the HDU, or the three HDUs of one channel each, that the user asks for."""
    listing = ", ".join(
        f"{one.index} {one.name or '(no name)'}: "
        + (f"image {one.shape}" if one.shape else f"{one.kind}, no pixels")
        for one in hdus
    ).replace("table or other, no pixels", "table or other")
    if wanted is None:
        for one in hdus:
            if len(one.core) in (2, 3):
                return [one]
        raise ValueError(f"{name}: no HDU has a 2-D or 3-D image. The HDUs are {listing}.")
    parts = [part.strip() for part in str(wanted).split(",")]
    if len(parts) == 2 and parts[1].isdigit():
        parts = [",".join(parts)]
    if len(parts) not in (1, 3):
        raise ValueError(f"{name}: --hdu {wanted} names {len(parts)} HDUs. Name one or three.")
    chosen = []
    for part in parts:
        label, _, version = part.partition(",")
        matches = [
            one
            for one in hdus
            if (one.index == int(label) if label.isdigit() else one.name.upper() == label.upper())
            and (not version or one.version == int(version))
        ]
        if not matches:
            raise ValueError(f"{name}: no HDU {part!r}. The HDUs are {listing}. Select with --hdu.")
        if len(matches[0].core) not in (2, 3):
            raise ValueError(
                f"{name}: HDU {part!r} has no 2-D or 3-D image. The HDUs are {listing}. "
                "Select with --hdu."
            )
        chosen.append(matches[0])
    return chosen


def image_hdus(hdus: list[Hdu]) -> list[Hdu]:
    """Return the HDUs with an image of its own: no errors, quality or weights of another one."""
    return [one for one in hdus if len(one.core) in (2, 3) and one.name not in COMPANION_NAMES]


def label_of(one: Hdu, hdus: list[Hdu]) -> str:
    """Return EXTNAME, with EXTVER where the name is taken twice; the number where there is none."""
    if not one.name or one.name == "PRIMARY":
        return f"hdu{one.index}"
    twice = sum(other.name == one.name for other in hdus) > 1
    return f"{one.name}{one.version}" if twice else one.name


def stored_array(plain: Path, one: Hdu, name: str = "") -> np.ndarray:
    """Return the stored values, not scaled: a memory map, or decompressed tiles."""
    if one.tiled:
        where = f"{name or plain}: HDU {one.index} ({one.name})"
        return read_tiles(plain, one.cards, one.data, one.size, where).reshape(one.core)
    bitpix = geometry.Values(one.cards, name).whole("BITPIX", -64, 64)
    kind = "f" if bitpix < 0 else "u" if bitpix == 8 else "i"
    dtype = np.dtype(f">{kind}{abs(bitpix) // 8}")
    return np.memmap(plain, dtype, mode="r", offset=one.data, shape=one.core)


def image_header(plain: Path, one: Hdu, name: str = "") -> tuple["fits.Header", list[bytes]]:
    """Return the header of an image, and the cards that are no FITS and not in it.

    Of a tile-compressed image it is that of the image, not of the table.
    """
    cards = one.cards
    if one.tiled:
        bitpix = geometry.Values(cards, name).whole("ZBITPIX", -64, 64)
        cards = headers.cards_in_table(cards, one.shape, bitpix)
    good, odd = headers.split_readable(cards)
    return headers.make_header(good), odd


def cards_of(header: "fits.Header") -> list[bytes]:
    """Return the cards of a header that astropy made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd cards are kept as they are
        return fits_cards.split_cards(header.tostring().encode("ascii", "replace"))


@dataclass(frozen=True)
class Scaling:
    """How stored values become physical ones: stored · scale + zero, NaN for `blank`."""

    zero: float
    scale: float
    blank: int | None
    dtype: np.dtype
    bitpix: int = -32

    @classmethod
    def of(cls, cards: list[bytes], name: str) -> "Scaling":
        """Return the scaling that the cards of an image say; `name` is the file's.

        Its dtype is float32 where this holds every physical value exactly enough.
        """
        zero = fits_cards.number_of(cards, "BZERO", 0, name)
        scale = fits_cards.number_of(cards, "BSCALE", 1, name)
        values = geometry.Values(cards, name)
        tiled = values.get("ZIMAGE") == "T"
        bitpix = values.whole("ZBITPIX" if tiled else "BITPIX", -64, 64)
        blanks = [int(fits_cards.number_of(cards, keyword, 0, name))
                  for keyword in ("BLANK", "ZBLANK")
                  if bitpix > 0 and fits_cards.find_card(cards, keyword)]  # fmt: skip
        # A large offset with a small step has more than the 24 bits of a float32.
        steps = abs(zero) / abs(scale) + 32768 if bitpix > 0 and scale else 0
        narrow = bitpix in (8, 16, -32) and steps < 2**24
        dtype = np.dtype(np.float32 if narrow else np.float64)
        return cls(zero, scale, blanks[0] if blanks else None, dtype, bitpix)

    def decode(self, stored: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return physical values."""
        if (self.zero, self.scale) == (0, 1):
            values = stored.astype(dtype)
        else:
            values = (stored.astype(np.float64) * self.scale + self.zero).astype(dtype)
        if self.blank is not None and stored.dtype.kind in "iu":
            limits = np.iinfo(stored.dtype)
            if limits.min <= self.blank <= limits.max:  # NumPy 2.0 dies of others
                values[stored == self.blank] = np.nan
        return values

    @property
    def integer(self) -> np.dtype:
        """The type that a file of integers stores, in its byte order."""
        return np.dtype(f">{'u' if self.bitpix == 8 else 'i'}{abs(self.bitpix) // 8}")

    def with_blank(self) -> "Scaling":
        """Return a scaling that has an integer for missing pixels: its own, or the lowest."""
        return self if self.blank is not None else replace(self, blank=np.iinfo(self.integer).min)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Return physical values as the nearest integers that the file can store."""
        limits, known = np.iinfo(self.integer), np.isfinite(values)
        stored = np.rint((np.where(known, values, self.zero) - self.zero) / self.scale)
        # a float64 just below 2**63 is the largest that int64 holds
        highest = float(limits.max) if self.bitpix < 64 else np.nextafter(2.0**63, 0)
        lowest = limits.min + (self.blank == limits.min)
        stored = np.clip(stored, lowest, highest).astype(self.integer)
        if self.blank is not None:
            stored[~known] = self.blank
        return stored

    def cards(self) -> list[bytes]:
        """Return BZERO, BSCALE and BLANK of a file of integers."""
        found = []
        for keyword, value, words in (
            ("BZERO", self.zero, "physical value of a stored 0"),
            ("BSCALE", self.scale, "physical value of a step"),
        ):
            shown = int(value) if float(value).is_integer() else value
            found.append(fits_cards.value_card(keyword, shown, words))
        if self.blank is not None:
            found.append(fits_cards.value_card("BLANK", self.blank, "stored value of no pixel"))
        return found


def copy_bytes(plain: Path, start: int, end: int) -> Iterator[bytes]:
    """Give the bytes from `start` to `end` in chunks."""
    with open(plain, "rb") as file:
        file.seek(start)
        while start < end:
            chunk = file.read(min(_COPY_CHUNK_BYTES, end - start))
            if not chunk:
                raise ValueError(f"{plain}: became shorter while it was read. Run again.")
            start += len(chunk)
            yield chunk


def summed_bytes(plain: Path, one: Hdu) -> Iterator[bytes]:
    """Give an HDU as it is, with DATASUM and CHECKSUM put in if it has not both."""
    known, sums = _sums(one), ("DATASUM", "CHECKSUM")
    fill = b"\0" * (-(one.end - one.start) % fits_cards.BLOCK_BYTES)
    if known[0] and known[1].strip("0"):  # zeros mean: not computed
        yield from copy_bytes(plain, one.start, one.end)
    else:
        data_sum = 0
        for chunk in copy_bytes(plain, one.data, one.end):
            data_sum = fits_cards.ones_sum(chunk, data_sum)
        cards = [card for card in one.cards if fits_cards.keyword_of(card) not in sums]
        yield fits_cards.close_header(cards, data_sum)
        yield from copy_bytes(plain, one.data, one.end)
    yield fill
