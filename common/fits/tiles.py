"""The pixels of a tile-compressed image, each tile checked before it is decoded.

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.fits.columns import NUMBER_TYPES, Column, read_table
from common.fits.geometry import MAX_AXIS, Values

_IMAGE_TYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}  # ZBITPIX -> type
# What an image may have more than its compressed bytes. Deflate reaches 1032, Rice 51; H-compress
# makes 4400 of constant rows.
MAX_EXPANSION = 10_000
MIN_PIXEL_BYTES = 1 << 26  # bytes that any image may have, however small its file is
MAX_TILED_AXES = 32  # axes; what NumPy holds in all versions
MAX_TILE_BYTES = 2**31 - 1  # bytes; the codecs count them with 32 bits
MAX_RICE_BLOCK = 4096  # pixels; 16 or 32 in files by the standard
# Rice codes have 32 bits at most and begin anywhere in a byte: bytes that a pixel can take, rounded
_RICE_PIXEL_BYTES = 8
_RICE_ITEM_BYTES = (1, 2, 4)  # BYTEPIX
_HCOMPRESS_HEAD_BYTES = 25  # magic, sizes, scale, sum, bit planes
_MAX_BIT_PLANES = 63  # of the 64-bit numbers that H-compress calculates with
_PLIO_HEAD_WORDS = 7
# ZQUANTIZ -> method of the codecs, None for no dithering
_DITHERING = {"NO_DITHER": None, "NONE": 0, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
_DITHER_SEEDS = 10_000  # length of the table of random numbers
# where astropy has its codecs: since 7.0, before
_CODEC_MODULES = (
    "astropy.io.fits.hdu.compressed._compression",
    "astropy.io.fits._tiled_compression._compression",
)
_ADVICE = "Get the file again."


@dataclass(frozen=True, eq=False)
class _Streams:
    """The compressed bytes of each tile in the heap, which lie within it; length 0 for none."""

    heap: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray  # bytes
    item: str


def read_tiles(plain: Path, cards: list[bytes], start: int, size: int, where: str) -> np.ndarray:
    """Return the stored values of a tile-compressed image, not scaled by BSCALE.

    Parameters
    ----------
    plain : path
        The file, without gzip.
    cards : list of bytes
        Of the table around the image; its structure is checked by `geometry.find_hdus`.
    start, size : int
        Where the data of the table lie, in bytes.
    where : str
        File and HDU, for messages.

    Returns
    -------
    array
        Shape of ZNAXISn, slowest axis first; type of ZBITPIX, native byte order.

    Raises
    ------
    ValueError
        If table, tiles and image do not fit each other, or a tile is damaged.
    """
    values = Values(cards, where)
    shape = _shape(values, "ZNAXIS")
    tile = _shape(values, "ZTILE", default=(1,) * (len(shape) - 1) + shape[-1:])
    dtype = np.dtype(_IMAGE_TYPES[values.whole("ZBITPIX", -64, 64)])
    pixel_bytes = math.prod(shape) * dtype.itemsize
    if pixel_bytes > MIN_PIXEL_BYTES + MAX_EXPANSION * size:
        raise ValueError(
            f"{where}: an image of {shape} pixels cannot be in {size} compressed bytes. {_ADVICE}"
        )
    largest = math.prod(map(min, shape, tile)) * 8
    if largest > MAX_TILE_BYTES:
        raise ValueError(f"{where}: tiles of {tile} pixels are too large to be decoded. {_ADVICE}")
    counts = [-(-axis // side) for axis, side in zip(shape, tile, strict=True)]
    rows = values.whole("NAXIS2", 0, 2**40)
    if rows != math.prod(counts):
        raise ValueError(
            f"{where}: an image of {shape} in tiles of {tile} has {math.prod(counts)} tiles, the "
            f"table has {rows} rows. {_ADVICE}"
        )
    data = np.fromfile(plain, np.uint8, size, offset=start)
    columns, heap = read_table(data, values, rows)
    image = np.empty(shape, dtype)
    steps = [range(0, axis, side) for axis, side in zip(shape, tile, strict=True)]
    decode = _tile_decoder(values, columns, heap, dtype)
    with np.errstate(all="ignore"):  # a wild ZSCALE gives infinite pixels, as in a plain file
        for number, corner in enumerate(itertools.product(*steps)):
            part = image[tuple(slice(at, at + side) for at, side in zip(corner, tile, strict=True))]
            part[...] = decode(number, part.shape).reshape(part.shape)
    return image


def _shape(values: Values, prefix: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    axes = values.whole("ZNAXIS", 1, MAX_TILED_AXES)
    known = default or (None,) * axes
    return tuple(
        values.whole(f"{prefix}{axis}", 1, MAX_AXIS, known[axes - axis])
        for axis in range(axes, 0, -1)
    )


def _streams(columns: dict[str, Column], name: str, heap: np.ndarray, where: str) -> Any:
    """Return the streams of a column with descriptors; None without such a column."""
    if (column := columns.get(name)) is None:
        return None
    kind = {"P": ">i4", "Q": ">i8"}.get(column.letter)
    if kind is None or column.cells.shape[1] != 2 * int(kind[-1]) or not column.item:
        raise ValueError(f"{where}: {name} is no column of arrays. {_ADVICE}")
    counts, starts = np.ascontiguousarray(column.cells).view(kind).astype(np.int64).T
    item = np.dtype(NUMBER_TYPES[column.item]).itemsize
    # compared one by one: the sums of hostile numbers could overflow
    fits = (counts >= 0) & (starts >= 0) & (starts <= heap.size)
    fits &= counts <= np.where(fits, heap.size - starts, 0) // item
    fits |= counts == 0
    if not fits.all():
        row = int(np.argmin(fits))
        raise ValueError(
            f"{where}: {name} of row {row + 1}, {counts[row]} items from byte {starts[row]} on, "
            f"is not within the {heap.size} bytes of the heap. {_ADVICE}"
        )
    return _Streams(heap, starts, counts * item, column.item)


def _tile_decoder(
    values: Values, columns: dict[str, Column], heap: np.ndarray, dtype: np.dtype
) -> Callable[[int, tuple[int, ...]], np.ndarray]:
    """Return the function from the number and the shape of a tile to its pixels."""
    where = values.where
    kind = values.text("ZCMPTYPE")
    if kind not in CODECS:
        raise ValueError(f"{where}: ZCMPTYPE = {kind!r} is none of {', '.join(CODECS)}. {_ADVICE}")
    main = _streams(columns, "COMPRESSED_DATA", heap, where)
    if main is None:
        raise ValueError(f"{where}: has no column COMPRESSED_DATA. {_ADVICE}")
    packed = _streams(columns, "GZIP_COMPRESSED_DATA", heap, where)
    plain = _streams(columns, "UNCOMPRESSED_DATA", heap, where)
    restore = _quantisation(values, columns, dtype)
    blank = _blank(values, columns)
    floats = dtype.kind == "f"
    lossless = floats and restore is None
    codec = CODECS[kind](main, values, lossless)

    def decode(number: int, shape: tuple[int, ...]) -> np.ndarray:
        if main.lengths[number]:
            stored = _checked(codec, number, shape, where)
            hidden = None if blank is None else stored == blank(number)
            if restore is not None:
                stored = restore(number, stored)
            if hidden is not None and floats and hidden.any():
                stored = np.where(hidden, np.nan, stored)
            return stored
        if packed is not None and packed.lengths[number]:
            return _checked(_Gzip(packed, values, floats), number, shape, where)
        if plain is not None and plain.lengths[number]:
            return _checked(_Plain(plain), number, shape, where)
        raise ValueError(f"{where}: tile {number + 1} has no data. {_ADVICE}")

    return decode


def _checked(codec: Any, number: int, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return the pixels of a tile, as many as it has to have; ValueError names the tile."""
    try:
        pixels = codec.decode(number, shape)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{where}: tile {number + 1} is damaged ({error}). {_ADVICE}") from error
    if pixels.size != math.prod(shape):
        raise ValueError(
            f"{where}: tile {number + 1} has {pixels.size} pixels in place of {math.prod(shape)}. "
            f"{_ADVICE}"
        )
    return pixels


def _blank(values: Values, columns: dict[str, Column]) -> Callable[[int], int] | None:
    """Return the function from the number of a tile to the value of its missing pixels."""
    if (column := columns.get("ZBLANK")) is not None:
        blanks = column.numbers(values.where, "ZBLANK")
        return lambda number: blanks[number]
    for keyword in ("ZBLANK", "BLANK"):
        if keyword in values:
            blank = values.whole(keyword, -(2**63), 2**63 - 1)
            return lambda number: blank
    return None


def _quantisation(
    values: Values, columns: dict[str, Column], dtype: np.dtype
) -> Callable[[int, np.ndarray], np.ndarray] | None:
    """Return the function from a tile's number and integers to its floats; None without."""
    if "ZSCALE" not in columns:
        return None
    where = values.where
    if "ZZERO" not in columns or dtype.kind != "f":
        raise ValueError(f"{where}: ZSCALE without ZZERO, or for integers. {_ADVICE}")
    scales = columns["ZSCALE"].numbers(where, "ZSCALE")
    zeros = columns["ZZERO"].numbers(where, "ZZERO")
    word = values.text("ZQUANTIZ", "NO_DITHER")
    if word not in _DITHERING:
        raise ValueError(
            f"{where}: ZQUANTIZ = {word!r} is none of {', '.join(_DITHERING)}. {_ADVICE}"
        )
    method = _DITHERING[word]
    if method is None:
        return lambda number, stored: stored * scales[number] + zeros[number]
    seed = values.whole("ZDITHER0", 1, _DITHER_SEEDS)
    call = _codec("unquantize_float_c" if dtype.itemsize == 4 else "unquantize_double_c")

    def restore(number: int, stored: np.ndarray) -> np.ndarray:
        native = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
        if native.dtype.kind == "f" or native.dtype.itemsize == 8:
            raise ValueError(f"{where}: tile {number + 1} has no quantised pixels. {_ADVICE}")
        floats = call(
            native.tobytes(), number + seed, native.size, float(scales[number]),
            float(zeros[number]), method, 0, 0, 0.0, native.dtype.itemsize,
        )  # fmt: skip
        return np.frombuffer(floats, dtype)

    return restore


@functools.cache
def _codec(name: str) -> Any:
    for module in _CODEC_MODULES:
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise ValueError(f"this version of astropy has no {name}. Install a version from 6.1 on.")


class _Bytes:
    """Tiles whose streams are bytes."""

    item = "B"

    def __init__(self, streams: _Streams, values: Values, lossless: bool = False) -> None:
        if streams.item != self.item:
            raise ValueError(
                f"{values.where}: tiles of {values.text('ZCMPTYPE')} are arrays of "
                f"{self.item}, the column has {streams.item or 'none'}. {_ADVICE}"
            )
        self.streams, self.lossless = streams, lossless
        self.prepare(values)

    def prepare(self, values: Values) -> None:
        """Read the settings of the codec."""

    def stream(self, number: int) -> np.ndarray:
        """Return the bytes of a tile."""
        start = self.streams.starts[number]
        return self.streams.heap[start : start + self.streams.lengths[number]]


class _Plain(_Bytes):
    """Tiles that are not compressed, in a column of their own: its letter is their type."""

    def __init__(self, streams: _Streams) -> None:
        self.streams = streams

    def decode(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels, one-dimensional."""
        return self.stream(number).view(NUMBER_TYPES[self.streams.item])


class _Stored(_Bytes):
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


class _Rice(_Bytes):
    """RICE_1.

    The decoder looks for the end of its stream only after each block, and a run of zeros leads it
    on: bytes of ones behind the heap end a run, and a block takes no more than they are.
    """

    def prepare(self, values: Values) -> None:
        """Read block size and bytes of a pixel."""
        self.block = _setting(values, "BLOCKSIZE", 1, MAX_RICE_BLOCK, 32)
        self.item_bytes = _setting(values, "BYTEPIX", 1, 4, 4)
        if self.item_bytes not in _RICE_ITEM_BYTES:
            raise ValueError(f"{values.where}: BYTEPIX is 3, expected 1, 2 or 4. {_ADVICE}")
        self.call = _codec("decompress_rice_1_c")
        room = np.full(_RICE_PIXEL_BYTES * self.block + 64, 0xFF, np.uint8)
        heap = np.concatenate([self.streams.heap, room])
        self.streams = _Streams(heap, self.streams.starts, self.streams.lengths, "B")

    def decode(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the pixels, one-dimensional."""
        stream = self.stream(number)
        if stream.size <= self.item_bytes:
            raise ValueError(f"{stream.size} bytes are too few")
        plain = self.call(stream, self.block, self.item_bytes, math.prod(shape))
        pixels = np.frombuffer(plain, f"i{self.item_bytes}")
        return pixels.view(np.uint8) if self.item_bytes == 1 else pixels


class _LineList(_Bytes):
    """PLIO_1: 16-bit words that say how many words follow, which the decoder believes."""

    item = "I"

    def prepare(self, values: Values) -> None:
        """Take the codec."""
        self.call = _codec("decompress_plio_1_c")

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


class _HCompress(_Bytes):
    """HCOMPRESS_1: tiles with two axes, whose stream has its own sizes, which the decoder believes.

    It never looks for the end of its stream, so it gets as many bytes as it can read at most: for
    each bit plane of each quadrant a tree of 6-bit codes over groups of four numbers, and a sign
    for each number.
    """

    def prepare(self, values: Values) -> None:
        """Read whether to smooth."""
        self.smooth = _setting(values, "SMOOTH", 0, 1, 0)
        self.call = _codec("decompress_hcompress_1_c")

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
CODECS: dict[str, type[_Bytes]] = {
    "GZIP_1": _Gzip, "GZIP_2": _ShuffledGzip, "RICE_1": _Rice, "RICE_ONE": _Rice,
    "PLIO_1": _LineList, "HCOMPRESS_1": _HCompress, "NOCOMPRESS": _Stored,
}  # fmt: skip
