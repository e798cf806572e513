"""Write an image into the otherwise unchanged header of its XISF file.

The writer splices: it edits the source's XML as text and copies its attached blocks, so elements
it does not know (tables, profiles, other images) stay byte for byte. It changes only the image's
location, compression, checksum, sampleFormat, geometry (with colorSpace when the number of channels
changes) and bounds; it sets keywords and moves blocks. Values are never rescaled: bounds are the
nominal range, and pixels may lie outside of it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import isqrt
from pathlib import Path
from typing import Any, BinaryIO

import lz4.block
import numpy as np

from common.image import AstroImage
from common.xisf.blocks import (
    PREAMBLE_BYTES,
    XISF_SIGNATURE,
    Element,
    parse_header,
    read_planes,
)
from common.xisf.read import XisfCarrier
from common.xisf.splice import XML_DECLARATION, Keyword, splice

BLOCK_ALIGNMENT = 4096  # bytes; PixInsight's, used where a file declares none
LZ4_SUBBLOCK_BYTES = 1 << 30  # bytes that one LZ4 call compresses; LZ4 ends below 2 GiB
COPY_CHUNK_BYTES = 1 << 22  # bytes copied at a time
_ATTACHED_PATTERN = re.compile(
    r"attachment:(\d{1,19}):(\d{1,19})", re.ASCII
)  # location of an attached block
_EMPTY_XISF = (
    f"{XML_DECLARATION.decode()}\n"
    '<xisf version="1.0" xmlns="http://www.pixinsight.com/xisf" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation='
    '"http://www.pixinsight.com/xisf http://pixinsight.com/xisf/xisf-1.0.xsd">\n'
    '<Image id="image" colorSpace="{color}" bounds="{bounds}">{filters}</Image>\n<Metadata>'
    '<Property id="XISF:CreationTime" type="TimePoint" value="{time}"/>'
    '<Property id="XISF:CreatorApplication" type="String">bgrem</Property>'
    '<Property id="XISF:BlockAlignmentSize" type="UInt16" value="4096"/>'
    "</Metadata>\n</xisf>\n"
)


def write_xisf(
    file: BinaryIO,
    image: AstroImage,
    *,
    compress: bool = False,
    integers: bool = False,
    keywords: Iterable[Keyword] = (),
    pattern: str = "",
) -> None:
    """Write an image into the header of the XISF file it came from, or into a new one.

    Parameters
    ----------
    file : binary file
        Open for writing, at its start. Need not be seekable.
    image : AstroImage
        Samples are written as Float32 or Float64. If only some channels of the source were read
        and as many are written, the others follow unchanged from the source.
    compress : bool, optional
        LZ4-HC with byte shuffling; needs the whole image twice more in memory. Otherwise the
        memory of one channel is enough.
    integers : bool, optional
        Round to the integers of the source; missing pixels become 0.
    keywords : iterable of (name, value as FITS text, comment), optional
        FITS keywords to append, for images from other formats.
    pattern : str, optional
        Colour filters of a mosaic, row by row, for a new file.

    Raises
    ------
    FileNotFoundError, ValueError
        If blocks of the source are needed and it is gone or has changed, or integers are asked for
        and it has none.
    """
    source = image.carrier if isinstance(image.carrier, XisfCarrier) else None
    planes = _gather_planes(image, source)
    dtype = np.dtype("<f8" if image.pixels.dtype.itemsize > 4 else "<f4")
    header = source.header if source else _start_header(planes, pattern)
    root = parse_header(header, image.name)
    target = root.find("Image")[source.index if source else 0]
    if integers:
        dtype = _integer_type(target, image.name)
    attributes: dict[str, str | None] = {
        "geometry": f"{planes[0][0].shape[1]}:{planes[0][0].shape[0]}:{len(planes)}",
        "sampleFormat": f"{'UInt' if integers else 'Float'}{8 * dtype.itemsize}",
        "bounds": _choose_bounds(target),
        "colorSpace": _choose_color_space(target, len(planes)),
        **dict.fromkeys(("byteOrder", "pixelStorage", "compression", "subblocks")),
    }
    pieces: list[Any] = []
    if compress:
        pieces, attributes["compression"], attributes["subblocks"] = _compress(planes, dtype)
    sha = hashlib.sha256()
    size = 0
    for piece in pieces or _plane_bytes(planes, dtype):
        sha.update(piece)
        size += len(piece)
    attributes["checksum"] = f"sha-256:{sha.hexdigest()}"
    new = [*keywords, *((key, keyword_text(value, key), note) for key, value, note in image.cards)]
    for line in image.history:
        new += [("HISTORY", "", line[i : i + 72]) for i in range(0, max(len(line), 1), 72)]
    header, moves, own = _lay_out(header, root, target, attributes, size, new)
    file.write(XISF_SIGNATURE + len(header).to_bytes(4, "little") + bytes(4) + header)
    written = PREAMBLE_BYTES + len(header)
    if moves and source:
        with source.open() as origin:
            for (position, length), place in moves.items():
                file.write(bytes(place - written))
                _copy(origin, position, length, file, source.path)
                written = place + length
    file.write(bytes(own - written))
    for piece in pieces or _plane_bytes(planes, dtype):
        file.write(piece)


def keyword_text(value: Any, name: str = "keyword") -> str:
    """Return a value as FITS text: quoted strings, T or F, numbers; nothing for None."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float) and not np.isfinite(value):
        raise ValueError(f"{name}: {value} is no FITS number. Leave it out or write it as text.")
    if isinstance(value, str):
        doubled = value.replace("'", "''")
        return f"'{doubled:<8}'"
    return "" if value is None else repr(value).upper() if isinstance(value, float) else str(value)


Plane = tuple[np.ndarray, np.ndarray | None]  # samples (H, W), where to write zeros


def _gather_planes(image: AstroImage, source: XisfCarrier | None) -> list[Plane]:
    """Return the channels to write: those of the image, and those of the source not read."""
    zero = image.zero_border
    if zero is not None and zero.shape != image.shape:
        zero = np.broadcast_to(zero.all(axis=2, keepdims=True), image.shape)
    own: list[Plane] = [
        (image.pixels[..., c], None if zero is None else zero[..., c])
        for c in range(image.shape[2])
    ]
    if source is None or source.channels is None or len(own) != len(source.channels):
        return own
    element = source.parse()[1]
    count = int(element.attributes["geometry"].split(":")[-1])
    if set(source.channels) != set(range(count)):
        with source.open() as file:
            others = read_planes(file, element, f"{source.path}: image {source.index}")
        count = len(others)
    else:
        others = image.pixels.transpose(2, 0, 1)
    if others.shape[1:] != image.shape[:2]:
        raise ValueError(f"{image.name}: {image.shape} does not fit its source, {others.shape}.")
    planes: list[Plane] = [(plane, None) for plane in others]
    for place, plane in zip(source.channels, own, strict=True):
        planes[place] = plane
    return planes


def _plane_bytes(planes: list[Plane], dtype: np.dtype) -> Iterator[memoryview]:
    for samples, zero in planes:
        if dtype.kind == "u":
            samples = _rounded(samples, dtype)
        plane = np.array(samples, dtype, order="C", copy=None if zero is None else True)
        if zero is not None:
            plane[zero] = 0
        yield plane.reshape(-1).view(np.uint8).data


def _compress(planes: list[Plane], dtype: np.dtype) -> tuple[list[bytes], str, str | None]:
    """Return the packed subblocks and the attributes compression and subblocks."""
    area = planes[0][0].size
    shuffled = np.empty((dtype.itemsize, len(planes) * area), np.uint8)
    for c, plane in enumerate(_plane_bytes(planes, dtype)):
        items = np.frombuffer(plane, np.uint8).reshape(area, dtype.itemsize)
        shuffled[:, c * area : (c + 1) * area] = items.T
    plain = shuffled.reshape(-1).data
    parts = [plain[i : i + LZ4_SUBBLOCK_BYTES] for i in range(0, len(plain), LZ4_SUBBLOCK_BYTES)]
    packed = [lz4.block.compress(part, mode="high_compression", store_size=False) for part in parts]
    sizes = ":".join(f"{len(p)},{len(q)}" for p, q in zip(packed, parts, strict=True))
    compression = f"lz4hc+sh:{len(plain)}:{dtype.itemsize}"
    return packed, compression, sizes if len(parts) > 1 else None


def _start_header(planes: list[Plane], pattern: str) -> bytes:
    """Return a minimal header; its bounds are 0:1 or 0:65535 if the pixels fit, else their own."""
    low, high = 0.0, 0.0
    for samples, _ in planes:
        finite = samples[np.isfinite(samples)]
        low = min(low, float(finite.min(initial=0)))
        high = max(high, float(finite.max(initial=0)))
    high = 1 if high <= 1 else max(high, 65535)
    side = isqrt(len(pattern))
    array = f'<ColorFilterArray pattern="{pattern}" width="{side}" height="{side}"/>'
    text = _EMPTY_XISF.format(
        filters=array if pattern else "",
        color="RGB" if len(planes) == 3 else "Gray",
        bounds=f"{low:.17g}:{high:.17g}",
        time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return text.encode()


def _integer_type(target: Element, name: str) -> np.dtype:
    """Return the unsigned type that an image element stores."""
    found = re.fullmatch(r"UInt(8|16|32)", target.attributes.get("sampleFormat", ""))
    if found is None:
        raise ValueError(
            f"{name}: its file stores no integers of this format. Leave --integers out."
        )
    return np.dtype(f"<u{int(found[1]) // 8}")


def _rounded(samples: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return samples as the nearest unsigned integers; missing ones are 0."""
    known = np.where(np.isfinite(samples), samples, 0).astype(np.float64)
    return np.clip(np.rint(known), 0, np.iinfo(dtype).max)


def _choose_bounds(target: Element) -> str:
    """Return the range of an integer source's type, else the source's bounds (0:1 by default)."""
    sample = target.attributes.get("sampleFormat", "")
    if sample.startswith("UInt"):
        return f"0:{2 ** int(sample[4:]) - 1}"
    return target.attributes.get("bounds", "0:1")


def _choose_color_space(target: Element, channels: int) -> str:
    space = target.attributes.get("colorSpace", "Gray")
    if channels < 3:
        return "Gray"
    same = target.attributes.get("geometry", "").endswith(f":{channels}")
    return space if same or space != "Gray" else "RGB"


def _lay_out(
    header: bytes,
    root: Element,
    target: Element,
    attributes: dict[str, str | None],
    size: int,
    keywords: list[Keyword],
) -> tuple[bytes, dict[tuple[int, int], int], int]:
    """Return the new header, the new place of each block of the source, and of the image's."""
    alignment = BLOCK_ALIGNMENT
    blocks: dict[Element, tuple[int, int]] = {}
    for element in root.walk():
        found = _ATTACHED_PATTERN.fullmatch(element.attributes.get("location", ""))
        if found and element is not target:
            blocks[element] = (int(found[1]), int(found[2]))
        value = element.attributes.get("value", "")
        if element.attributes.get("id") == "XISF:BlockAlignmentSize" and value.isdecimal():
            alignment = min(max(int(value), 1), 1 << 20)

    def align(position: int) -> int:
        return -(-position // alignment) * alignment

    start = 0
    while True:  # positions have digits, which lengthen the header that comes before them
        places: dict[tuple[int, int], int] = {}
        cursor = start
        for block in sorted(set(blocks.values())):
            places[block] = cursor
            cursor = align(cursor + block[1])
        attributes["location"] = f"attachment:{cursor}:{size}"
        moved = {e: f"attachment:{places[block]}:{block[1]}" for e, block in blocks.items()}
        new = splice(header, root, target, attributes, moved, keywords)
        if PREAMBLE_BYTES + len(new) <= start:
            return new, places, cursor
        start = align(PREAMBLE_BYTES + len(new))


def _copy(origin: BinaryIO, position: int, length: int, file: BinaryIO, path: Path) -> None:
    origin.seek(position)
    while length:
        chunk = origin.read(min(length, COPY_CHUNK_BYTES))
        if not chunk:
            raise ValueError(f"{path}: truncated, a block to be copied ends after the file's end.")
        file.write(chunk)
        length -= len(chunk)
