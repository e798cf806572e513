"""FITS out: the image's pixels change, every card and every other HDU stays as it was.

The source file is copied HDU by HDU as bytes, and those of the image are replaced.
"""

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.fits import cards as fits_cards
from common.fits.hdus import (
    Hdu,
    Scaling,
    cards_of,
    copy_bytes,
    plain_file,
    scan,
    stored_array,
    summed_bytes,
)
from common.fits.read import ROWS_AT_ONCE, FitsCarrier, plane_of
from common.image import AstroImage
from common.scratch import release

if TYPE_CHECKING:
    from astropy.io import fits


def write_fits(
    file: str | os.PathLike[str],
    image: AstroImage,
    *,
    compress: bool = False,
    integers: bool = False,
    header: "fits.Header | None" = None,
) -> None:
    """Write the image as float32 or float64, or as it was, into a copy of the file it came from.

    All cards of the image header stay but those of the storage (BITPIX, BZERO, BSCALE, BLANK);
    `image.cards` replace or follow them, `image.history` is appended. All other HDUs and the
    planes that were not read stay. Plain files are streamed; for ``.fits.fz`` the image is
    compressed without loss (GZIP_2) in memory.

    Parameters
    ----------
    file : path
        The file to write, replaced if it exists; the suffix decides on ``.gz`` and ``.fz``.
        `common.io.write_image` makes the writing atomic.
    image : AstroImage
        Pixels where `zero_border` is True are written as 0; other NaN stay NaN.
    compress : bool, optional
        Only with the suffix ``.fits.fz`` (which compresses anyway) or ``.gz``.
    integers : bool, optional
        Round to the integers of the source: its BITPIX, BZERO and BSCALE. Values beyond them become
        the lowest or highest, missing pixels BLANK.
    header : astropy.io.fits.Header, optional
        The header of a new single-HDU file, for images that do not come from FITS.

    Raises
    ------
    ValueError
        If compression is asked for a plain suffix, the source file no longer fits the image, or
        integers are asked for and it has none.
    """
    path = Path(file)
    suffix = path.suffix.lower()
    if compress and suffix not in (".fz", ".gz"):
        raise ValueError(f"{path}: a plain FITS file is not compressed. Name the output *.fits.fz.")
    carrier = image.carrier if header is None else None
    with open_sink(path, gzipped=suffix == ".gz") as sink:
        if isinstance(carrier, FitsCarrier):
            chunks = _spliced(image, carrier, tiled=suffix == ".fz", integers=integers)
        elif integers:
            raise ValueError(no_integers(image.name))
        else:
            cards = [] if header is None else cards_of(header)
            chunks = _image_hdu(image, cards, None, 0, tiled=suffix == ".fz")
        for chunk in chunks:
            sink.write(chunk)


@contextmanager
def open_sink(path: Path, *, gzipped: bool) -> Iterator[Any]:
    """Open for writing; gzip without name and time, so that equal images give equal files."""
    with open(path, "wb") as file:
        if not gzipped:
            yield file
            return
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            yield packed


def _spliced(
    image: AstroImage, carrier: FitsCarrier, *, tiled: bool, integers: bool
) -> Iterator[bytes | memoryview]:
    """Give the source file with the image HDUs replaced."""
    try:
        status = carrier.path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{carrier.path}: was removed since it was read, so its other HDUs and cards cannot "
            "be copied. Put it back and run again."
        ) from None
    if (status.st_size, status.st_mtime_ns) != carrier.stamp:
        raise ValueError(
            f"{carrier.path}: changed since it was read, so its other HDUs and cards cannot "
            "be copied. Run again."
        )
    several = len(carrier.hdus) > 1
    if several and image.shape[2] != len(carrier.hdus):
        raise ValueError(
            f"{image.name}: {image.shape[2]} channel cannot go back into {len(carrier.hdus)} "
            "HDUs of one channel each. Read one HDU with --hdu."
        )
    with plain_file(carrier.path) as plain:
        for one in (hdus := scan(plain, str(carrier.path))):
            if one.index not in carrier.hdus:
                yield from summed_bytes(plain, one)
                continue
            place = carrier.hdus.index(one.index)
            source = _Source(carrier, plain, one, place if several else None)
            yield from _image_hdu(
                image, one.cards, source, one.index, tiled=tiled, integers=integers
            )
        yield from copy_bytes(plain, hdus[-1].end, plain.stat().st_size)


@dataclass(frozen=True)
class _Source:
    """The HDU that an image HDU replaces."""

    carrier: FitsCarrier
    plain: Path
    hdu: Hdu
    channel: int | None  # of the image, where each channel has its own HDU


def _image_hdu(
    image: AstroImage, cards: list[bytes], source: _Source | None, index: int, *, tiled: bool,
    integers: bool = False,
) -> Iterator[bytes | memoryview]:  # fmt: skip
    """Give header, data and padding of an image HDU."""
    planes = _Planes(image, source, integers=integers)
    primary = index == 0 and not tiled
    cards = fits_cards.image_cards(cards, primary=primary)
    cards = fits_cards.add_cards(cards, image.cards, image.history)
    if tiled:
        if index == 0:
            extend = fits_cards.value_card("EXTEND", True, "extensions follow")
            empty = [*fits_cards.array_cards((), 8, primary=True), extend]
            yield fits_cards.close_header(empty, 0)
        structure, data = _compressed(planes)
        structure += planes.scale_cards
        yield fits_cards.close_header([*structure, *cards], fits_cards.ones_sum(data))
        yield fits_cards.pad(data)
        return
    structure = fits_cards.array_cards(planes.shape, planes.bitpix, primary=primary)
    structure += planes.scale_cards
    data_sum = size = 0
    for block in planes.blocks():
        data_sum = fits_cards.ones_sum(block.data, data_sum)
        size += block.nbytes
    yield fits_cards.close_header([*structure, *cards], data_sum)
    for block in planes.blocks():
        yield block.data
    yield b"\0" * (-size % fits_cards.BLOCK_BYTES)


class _Planes:
    """The array to be stored, block by block, in the layout of the source.

    Planes of the source that were not read are taken from there; an image with another number of
    channels than the source's becomes (H, W) or (3, H, W).
    """

    def __init__(
        self, image: AstroImage, source: _Source | None, *, integers: bool = False
    ) -> None:
        height, width, count = image.shape
        self.image, self.source = image, source
        self.dtype = image.pixels.dtype.newbyteorder(">")
        self.layout = "plane" if count == 1 else "first"
        self.channels: tuple[int, ...] = tuple(range(count))
        self.count, lead = count, 0
        if source is not None:
            carrier, lead = source.carrier, len(source.hdu.shape) - len(source.hdu.core)
            if source.channel is not None:
                self.layout, self.channels, self.count = "plane", (source.channel,), 1
            elif count == len(carrier.channels):
                self.layout, self.channels = carrier.layout, carrier.channels
                core = source.hdu.core
                self.count = {"plane": 1, "first": core[0], "last": core[-1]}[self.layout]
            axes = {"plane": (0, 1), "first": (1, 2), "last": (0, 1)}[carrier.layout]
            expected = tuple(source.hdu.core[axis] for axis in axes)
            if expected != (height, width):
                raise ValueError(
                    f"{image.name}: pixels of {(height, width)} do not fit the {expected} of "
                    f"{carrier.path}. Drop the carrier to write a new file."
                )
        self.kept = None
        self.stored: Scaling | None = None  # of integers
        if integers and source is not None:
            self.stored = Scaling.of(source.hdu.cards, str(source.carrier.path))
            if self.stored.bitpix < 0:
                raise ValueError(no_integers(image.name))
            zeros = False if image.zero_border is None else image.zero_border
            if (image.missing & ~np.asarray(zeros)).any():
                self.stored = self.stored.with_blank()
        if source is not None and source.channel is None and self.count > len(self.channels):
            self.kept = stored_array(source.plain, source.hdu, str(carrier.path))
            self.scaling = Scaling.of(source.hdu.cards, str(source.carrier.path))
            wide = np.result_type(image.pixels.dtype, self.scaling.dtype)
            self.dtype = wide.newbyteorder(">")
        core = {
            "plane": (height, width),
            "first": (self.count, height, width),
            "last": (height, width, self.count),
        }[self.layout]
        self.shape = (1,) * lead + core
        if self.stored is not None:
            self.dtype = self.stored.integer

    @property
    def bitpix(self) -> int:
        """BITPIX of the array."""
        return self.dtype.itemsize * (-8 if self.dtype.kind == "f" else 8)

    @property
    def scale_cards(self) -> list[bytes]:
        """The cards that make physical values of integers."""
        return [] if self.stored is None else self.stored.cards()

    def blocks(self) -> Iterator[np.ndarray]:
        """Give contiguous big-endian blocks in the order of the file."""
        rows = [
            slice(top, top + ROWS_AT_ONCE) for top in range(0, self.image.shape[0], ROWS_AT_ONCE)
        ]
        if self.layout == "last":
            for part in rows:
                stack = [self._block(plane, part) for plane in range(self.count)]
                yield np.stack(stack, axis=-1).astype(self.dtype, copy=False)
            return
        for plane in range(self.count) if self.layout == "first" else self.channels:
            for part in rows:
                yield self._block(plane, part)

    def _block(self, plane: int, rows: slice) -> np.ndarray:
        if plane in self.channels:
            place = self.channels.index(plane)
            if self.source is not None and self.source.channel is not None:
                place = self.source.channel
            values = self.image.pixels[rows, :, place]
            if self.stored is None:
                values = values.astype(self.dtype, order="C")
            if self.image.zero_border is not None:
                values = np.where(self.image.zero_border[rows, :, place], 0, values)
            release(self.image.pixels, self.image.zero_border)
            if self.stored is not None:
                values = self.stored.encode(values)
            return np.ascontiguousarray(values, self.dtype)
        if self.kept is None or self.source is None:
            raise ValueError(f"{self.image.name}: plane {plane} is not in the source file.")
        stored = plane_of(self.kept, self.layout, plane)[rows]
        if self.stored is not None:
            return np.ascontiguousarray(stored, self.dtype)
        dtype = self.dtype.newbyteorder("=")
        return np.ascontiguousarray(self.scaling.decode(stored, dtype).astype(self.dtype))


def no_integers(name: str) -> str:
    """Return the line that says that a file stores no integers."""
    return f"{name}: its file stores no integers of this format. Leave --integers out."


def _compressed(planes: _Planes) -> tuple[list[bytes], bytes]:
    """Return the table cards and the data of the losslessly tile-compressed array."""
    from astropy.io import fits

    native = planes.dtype.newbyteorder("=")
    array = np.concatenate([block.ravel() for block in planes.blocks()]).astype(native)
    # GZIP_2 without quantisation is bit-exact; RICE without quantisation destroys floats.
    compressed = fits.CompImageHDU(
        array.reshape(planes.shape), compression_type="GZIP_2", quantize_level=0
    )
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(buffer)
    raw = buffer.getvalue()
    with fits.open(io.BytesIO(raw), disable_image_compression=True) as hdulist:
        place, size = hdulist[1].fileinfo(), hdulist[1].size
    header, data = raw[place["hdrLoc"] : place["datLoc"]], raw[place["datLoc"] :][:size]
    return fits_cards.table_cards(fits_cards.split_cards(header)), data
