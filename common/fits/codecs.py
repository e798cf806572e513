"""The codecs of tile-compressed images, each fenced in before it decodes.

The codecs in C that astropy brings trust what a file says: wrong sizes let them write beyond their
buffers, and a damaged stream lets them read beyond its end. So all sizes are compared here first,
and a stream is given to them within a buffer that reaches as far as they can read. FITS standard
4.0, section 10; the bounds are in `docs/reliability.md`.
"""

import functools
import importlib
import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.fits.columns import NUMBER_TYPES
from common.fits.geometry import Values

MAX_RICE_BLOCK = 4096  # pixels; 16 or 32 in files by the standard
# Rice codes have 32 bits at most and begin anywhere in a byte: bytes that a pixel can take, rounded
_RICE_PIXEL_BYTES = 8
_RICE_ITEM_BYTES = (1, 2, 4)  # BYTEPIX
_HCOMPRESS_HEAD_BYTES = 25  # magic, sizes, scale, sum, bit planes
_MAX_BIT_PLANES = 63  # of the 64-bit numbers that H-compress calculates with
_PLIO_HEAD_WORDS = 7
# where astropy has its codecs: since 7.0, before
_CODEC_MODULES = (
    "astropy.io.fits.hdu.compressed._compression",
    "astropy.io.fits._tiled_compression._compression",
)
ADVICE = "Get the file again."


@dataclass(frozen=True, eq=False)
class Streams:
    """The compressed bytes of each tile in the heap, which lie within it; length 0 for none."""

    heap: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray  # bytes
    item: str


@functools.cache
def c_function(name: str) -> Any:
    """Return a function of astropy's codecs in C."""
    for module in _CODEC_MODULES:
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise ValueError(f"this version of astropy has no {name}. Install a version from 6.1 on.")


class Codec:
    """Tiles whose streams are bytes."""

    item = "B"

    def __init__(self, streams: Streams, values: Values, lossless: bool = False) -> None:
        if streams.item != self.item:
            raise ValueError(
                f"{values.where}: tiles of {values.text('ZCMPTYPE')} are arrays of "
                f"{self.item}, the column has {streams.item or 'none'}. {ADVICE}"
            )
        self.streams, self.lossless = streams, lossless
        self.prepare(values)

    def prepare(self, values: Values) -> None:
        """Read the settings of the codec."""

    def stream(self, number: int) -> np.ndarray:
        """Return the bytes of a tile."""
        start = self.streams.starts[number]
        return self.streams.heap[start : start + self.streams.lengths[number]]


class PlainPixels(Codec):
    """Tiles that are not compressed, in a column of their own: its letter is their type."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams

    def decode(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels, one-dimensional."""
        return self.stream(number).view(NUMBER_TYPES[self.streams.item])


class _Stored(Codec):
    """NOCOMPRESS: big-endian pixels."""

    def unpacked(self, number: int, most: int) -> np.ndarray:
        """Return the bytes of the pixels, not many more than `most`."""
        return self.stream(number)

    def ordered(self, plain: np.ndarray, item: int) -> np.ndarray:
        """Return the bytes pixel by pixel."""
        return plain

    def decode(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels, one-dimensional: their number and bytes give the type."""
        pixels = math.prod(shape)
        plain = self.unpacked(number, 8 * pixels)
        item = plain.size // pixels
        if item not in (1, 2, 4, 8) or item * pixels != plain.size:
            raise ValueError(f"{plain.size} bytes are no {pixels} pixels")
        kind = "u1" if item == 1 else f">f{item}" if self.lossless and item > 2 else f">i{item}"
        return self.ordered(plain, item).view(kind)


class _Gzip(_Stored):
    """GZIP_1: big-endian pixels, deflated."""

    def unpacked(self, number: int, most: int) -> np.ndarray:
        """Return the inflated bytes; a stream that holds more is damaged."""
        inflate = zlib.decompressobj(wbits=31)
        plain = inflate.decompress(self.stream(number).data, most + 1)
        if not inflate.eof:
            raise ValueError(f"more than {most} bytes, or incomplete")
        return np.frombuffer(plain, np.uint8)


class _ShuffledGzip(_Gzip):
    """GZIP_2: first bytes of all pixels, then second ones, deflated."""

    def ordered(self, plain: np.ndarray, item: int) -> np.ndarray:
        """Return the bytes pixel by pixel."""
        return plain.reshape(item, -1).T.reshape(-1)


class _Rice(Codec):
    """RICE_1.

    The decoder looks for the end of its stream only after each block, and a run of zeros leads it
    on: bytes of ones behind the heap end a run, and a block takes no more than they are.
    """

    def prepare(self, values: Values) -> None:
        """Read block size and bytes of a pixel."""
        self.block = _setting(values, "BLOCKSIZE", 1, MAX_RICE_BLOCK, 32)
        self.item_bytes = _setting(values, "BYTEPIX", 1, 4, 4)
        if self.item_bytes not in _RICE_ITEM_BYTES:
            raise ValueError(f"{values.where}: BYTEPIX is 3, expected 1, 2 or 4. {ADVICE}")
        self.call = c_function("decompress_rice_1_c")
        room = np.full(_RICE_PIXEL_BYTES * self.block + 64, 0xFF, np.uint8)
        heap = np.concatenate([self.streams.heap, room])
        self.streams = Streams(heap, self.streams.starts, self.streams.lengths, "B")

    def decode(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels, one-dimensional."""
        stream = self.stream(number)
        if stream.size <= self.item_bytes:
            raise ValueError(f"{stream.size} bytes are too few")
        plain = self.call(stream, self.block, self.item_bytes, math.prod(shape))
        pixels = np.frombuffer(plain, f"i{self.item_bytes}")
        return pixels.view(np.uint8) if self.item_bytes == 1 else pixels


class _LineList(Codec):
    """PLIO_1: 16-bit words that say how many words follow, which the decoder believes."""

    item = "I"

    def prepare(self, values: Values) -> None:
        """Take the codec."""
        self.call = c_function("decompress_plio_1_c")

    def decode(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels, one-dimensional."""
        stored = self.stream(number).view(">i2")
        words = np.zeros(stored.size + 1, np.int16)  # an instruction may take the word behind it
        words[:-1] = stored
        if stored.size < _PLIO_HEAD_WORDS:
            raise ValueError(f"{stored.size} words are too few")
        old = words[2] > 0  # the form before 1990 has its length here
        length = int(words[2]) if old else (int(words[4]) << 15) + int(words[3])
        first = 3 if old else int(words[1])
        if not 0 <= first <= length <= stored.size:
            raise ValueError(f"words {first} to {length} of {stored.size}")
        return np.frombuffer(self.call(words, math.prod(shape)), "i4")


class _HCompress(Codec):
    """HCOMPRESS_1: tiles with two axes, whose stream has its own sizes, which the decoder believes.

    It never looks for the end of its stream, so it gets as many bytes as it can read at most: for
    each bit plane of each quadrant a tree of 6-bit codes over groups of four numbers, and a sign
    for each number.
    """

    def prepare(self, values: Values) -> None:
        """Read whether to smooth."""
        self.smooth = _setting(values, "SMOOTH", 0, 1, 0)
        self.call = c_function("decompress_hcompress_1_c")

    def decode(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels, one-dimensional."""
        stream = self.stream(number)
        sides = tuple(side for side in shape if side > 1)
        if len(sides) != 2:
            raise ValueError(f"{shape} pixels are no rows and columns")
        if stream.size < _HCOMPRESS_HEAD_BYTES:
            raise ValueError(f"{stream.size} bytes are too few")
        own = tuple(int.from_bytes(stream[at : at + 4].tobytes(), "big") for at in (2, 6))
        planes = [int(count) for count in stream[22:25]]
        if own != sides or max(planes) > _MAX_BIT_PLANES:
            raise ValueError(f"{own} pixels of {planes} bit planes in place of {sides}")
        groups = (-(-sides[0] // 4) + 1) * (-(-sides[1] // 4) + 1)
        each = 2 * groups + 64
        most = 64 + (planes[0] + 2 * planes[1] + planes[2]) * each + math.prod(sides)
        if self.streams.starts[number] + most <= self.streams.heap.size:
            start = self.streams.starts[number]
            room = self.streams.heap[start : start + most]
        else:
            room = np.zeros(max(most, stream.size), np.uint8)
            room[: stream.size] = stream
        return np.frombuffer(self.call(room, *sides, 0, self.smooth, 8), "i4")


def _setting(values: Values, name: str, least: int, most: int, default: int) -> int:
    """Return a setting of the codec, which are pairs of ZNAMEn and ZVALn."""
    for number in _setting_numbers(values):
        if values.text(f"ZNAME{number}").upper() == name:
            return values.whole(f"ZVAL{number}", least, most)
    return default


def _setting_numbers(values: Values) -> Iterator[int]:
    return itertools.takewhile(lambda number: f"ZNAME{number}" in values, itertools.count(1))


# ZCMPTYPE -> codec
CODECS: dict[str, type[Codec]] = {
    "GZIP_1": _Gzip, "GZIP_2": _ShuffledGzip, "RICE_1": _Rice, "RICE_ONE": _Rice,
    "PLIO_1": _LineList, "HCOMPRESS_1": _HCompress, "NOCOMPRESS": _Stored,
}  # fmt: skip
