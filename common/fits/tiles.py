"""The pixels of a tile-compressed image, each tile checked before it is decoded.

FITS standard 4.0, section 10; the bounds are in `docs/reliability.md`, the codecs in `codecs.py`.
"""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.fits.codecs import ADVICE, CODECS, PlainPixels, Streams, c_function
from common.fits.columns import NUMBER_TYPES, Column, read_table
from common.fits.geometry import MAX_AXIS, Values

_IMAGE_TYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}  # ZBITPIX -> type
# What an image may have more than its compressed bytes. Deflate reaches 1032, Rice 51; H-compress
# makes 4400 of constant rows.
MAX_EXPANSION = 10_000
MIN_PIXEL_BYTES = 1 << 26  # bytes that any image may have, however small its file is
MAX_TILED_AXES = 32  # axes; what NumPy holds in all versions
MAX_TILE_BYTES = 2**31 - 1  # bytes; the codecs count them with 32 bits
# ZQUANTIZ -> method of the codecs, None for no dithering
_DITHERING = {"NO_DITHER": None, "NONE": 0, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
_DITHER_SEEDS = 10_000  # length of the table of random numbers


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
            f"{where}: an image of {shape} pixels cannot be in {size} compressed bytes. {ADVICE}"
        )
    largest = math.prod(map(min, shape, tile)) * 8
    if largest > MAX_TILE_BYTES:
        raise ValueError(f"{where}: tiles of {tile} pixels are too large to be decoded. {ADVICE}")
    counts = [-(-axis // side) for axis, side in zip(shape, tile, strict=True)]
    rows = values.whole("NAXIS2", 0, 2**40)
    if rows != math.prod(counts):
        raise ValueError(
            f"{where}: an image of {shape} in tiles of {tile} has {math.prod(counts)} tiles, the "
            f"table has {rows} rows. {ADVICE}"
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
        raise ValueError(f"{where}: {name} is no column of arrays. {ADVICE}")
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
            f"is not within the {heap.size} bytes of the heap. {ADVICE}"
        )
    return Streams(heap, starts, counts * item, column.item)


def _tile_decoder(
    values: Values, columns: dict[str, Column], heap: np.ndarray, dtype: np.dtype
) -> Callable[[int, tuple[int, ...]], np.ndarray]:
    """Return the function from the number and the shape of a tile to its pixels."""
    where = values.where
    kind = values.text("ZCMPTYPE")
    if kind not in CODECS:
        raise ValueError(f"{where}: ZCMPTYPE = {kind!r} is none of {', '.join(CODECS)}. {ADVICE}")
    main = _streams(columns, "COMPRESSED_DATA", heap, where)
    if main is None:
        raise ValueError(f"{where}: has no column COMPRESSED_DATA. {ADVICE}")
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
            return _checked(CODECS["GZIP_1"](packed, values, floats), number, shape, where)
        if plain is not None and plain.lengths[number]:
            return _checked(PlainPixels(plain), number, shape, where)
        raise ValueError(f"{where}: tile {number + 1} has no data. {ADVICE}")

    return decode


def _checked(codec: Any, number: int, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Return the pixels of a tile, as many as it has to have; ValueError names the tile."""
    try:
        pixels = codec.decode(number, shape)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{where}: tile {number + 1} is damaged ({error}). {ADVICE}") from error
    if pixels.size != math.prod(shape):
        raise ValueError(
            f"{where}: tile {number + 1} has {pixels.size} pixels in place of {math.prod(shape)}. "
            f"{ADVICE}"
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
        raise ValueError(f"{where}: ZSCALE without ZZERO, or for integers. {ADVICE}")
    scales = columns["ZSCALE"].numbers(where, "ZSCALE")
    zeros = columns["ZZERO"].numbers(where, "ZZERO")
    word = values.text("ZQUANTIZ", "NO_DITHER")
    if word not in _DITHERING:
        raise ValueError(
            f"{where}: ZQUANTIZ = {word!r} is none of {', '.join(_DITHERING)}. {ADVICE}"
        )
    method = _DITHERING[word]
    if method is None:
        return lambda number, stored: stored * scales[number] + zeros[number]
    seed = values.whole("ZDITHER0", 1, _DITHER_SEEDS)
    call = c_function("unquantize_float_c" if dtype.itemsize == 4 else "unquantize_double_c")

    def restore(number: int, stored: np.ndarray) -> np.ndarray:
        native = np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
        if native.dtype.kind == "f" or native.dtype.itemsize == 8:
            raise ValueError(f"{where}: tile {number + 1} has no quantised pixels. {ADVICE}")
        floats = call(
            native.tobytes(), number + seed, native.size, float(scales[number]),
            float(zeros[number]), method, 0, 0, 0.0, native.dtype.itemsize,
        )  # fmt: skip
        return np.frombuffer(floats, dtype)

    return restore
