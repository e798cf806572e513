"""The layout of an XISF file: its header as elements with byte offsets, and its data blocks.

`xisf.read` and `xisf.write` read and write images with these functions.
Format: XISF 1.0, https://pixinsight.com/doc/docs/XISF-1.0-spec/XISF-1.0-spec.html
"""

import base64
import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from xml.parsers import expat

import lz4.block
import numpy as np
import zstandard

XISF_SIGNATURE = b"XISF0100"  # first bytes of a file
PREAMBLE_BYTES = 16  # bytes: signature, header length, reserved
SAMPLE_FORMATS = {
    "UInt8": "u1", "UInt16": "u2", "UInt32": "u4", "UInt64": "u8", "Float32": "f4", "Float64": "f8",
}  # fmt: skip
CHECKSUM_KINDS = {
    "sha-1": "sha1", "sha1": "sha1", "sha-256": "sha256", "sha256": "sha256", "sha-512": "sha512",
    "sha512": "sha512", "sha3-256": "sha3_256", "sha3-512": "sha3_512",
}  # fmt: skip
# A start tag: a ">" may stand within quotes.
_TAG_PATTERN = re.compile(rb"""<[^"'>]*(?:"[^"]*"[^"'>]*|'[^']*'[^"'>]*)*>""")


@dataclass(eq=False)
class Element:
    """An element of the header and where its text lies: start tag, content, end (byte offsets)."""

    tag: str
    attributes: dict[str, str]
    start: int
    tag_end: int
    end: int = 0
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def walk(self) -> Iterator["Element"]:
        """Give the element and everything below it, in document order."""
        stack = [self]
        while stack:
            element = stack.pop()
            yield element
            stack.extend(reversed(element.children))

    def find(self, tag: str) -> list["Element"]:
        """Return the direct children of one tag."""
        return [child for child in self.children if child.tag == tag]


def read_header(file: BinaryIO, name: str) -> bytes:
    """Return the XML of an open file as UTF-8, without byte order mark and padding."""
    preamble = file.read(PREAMBLE_BYTES)
    if preamble[:8] != XISF_SIGNATURE:
        raise ValueError(f"{name}: not a monolithic XISF file (it starts with {preamble[:8]!r}).")
    length = int.from_bytes(preamble[8:12], "little")
    if len(preamble) < PREAMBLE_BYTES or length > os.fstat(file.fileno()).st_size - PREAMBLE_BYTES:
        raise ValueError(f"{name}: truncated within its header of {length} bytes. Copy it again.")
    header = file.read(length).rstrip(b"\0").removeprefix(b"\xef\xbb\xbf")
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:
        header = header.decode("latin-1").encode()
    return header


def parse_header(header: bytes, name: str) -> Element:
    """Return the root element of a header; a document type (entities) is refused."""
    top = Element("", {}, 0, 0)
    stack = [top]
    parser = expat.ParserCreate("UTF-8")  # whatever the declaration says (`utf8` is common)

    def open_element(tag: str, attributes: dict[str, str]) -> None:
        start = parser.CurrentByteIndex
        match = _TAG_PATTERN.match(header, start)
        tag_end = match.end() if match else start
        stack.append(Element(tag.rpartition(":")[2], attributes, start, tag_end))
        stack[-2].children.append(stack[-1])

    def close_element(tag: str) -> None:
        element = stack.pop()
        element.end = element.tag_end
        if header[element.tag_end - 2 : element.tag_end] != b"/>":
            element.end = header.index(b">", parser.CurrentByteIndex) + 1

    def add_text(text: str) -> None:
        texts.setdefault(id(stack[-1]), []).append(text)

    def refuse(*_: Any) -> None:
        raise ValueError(f"{name}: the XISF header declares a document type, which is refused.")

    texts: dict[int, list[str]] = {}
    parser.StartElementHandler = open_element
    parser.EndElementHandler = close_element
    parser.CharacterDataHandler = add_text
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(header, True)
    except expat.ExpatError as error:
        raise ValueError(f"{name}: the XISF header is not valid XML ({error}).") from error
    for element in top.walk():
        element.text = "".join(texts.get(id(element), []))
    return top.children[0]


def read_planes(file: BinaryIO, image: Element, where: str) -> np.ndarray:
    """Return the samples of an image: shape (C, H, W), type of the file, native byte order."""
    attributes = _block_attributes(image)
    sample = attributes.get("sampleFormat", "")
    if sample not in SAMPLE_FORMATS:
        raise ValueError(
            f"{where}: sampleFormat {sample!r} is not supported, only {[*SAMPLE_FORMATS]}."
        )
    geometry = whole_numbers(attributes.get("geometry", ""), where, "geometry")
    if len(geometry) != 3 or 0 in geometry or "," in attributes["geometry"]:
        raise ValueError(f"{where}: expected geometry width:height:channels, got {geometry}.")
    width, height, channels = geometry
    order = ">" if attributes.get("byteOrder", "").lower() == "big" else "<"
    dtype = np.dtype(order + SAMPLE_FORMATS[sample])
    data = read_block(file, image, width * height * channels * dtype.itemsize, where).view(dtype)
    if attributes.get("pixelStorage", "").lower() == "normal":
        planes = data.reshape(height, width, channels).transpose(2, 0, 1)
    else:
        planes = data.reshape(channels, height, width)
    return planes.astype(dtype.newbyteorder("="), copy=False)


def read_block(file: BinaryIO, element: Element, size: int, where: str) -> np.ndarray:
    """Return the `size` bytes of an element's data block, verified and decompressed."""
    attributes = _block_attributes(element)
    stored = _read_stored(file, element, attributes.get("location", ""), where)
    if "checksum" in attributes:
        kind, _, digest = attributes["checksum"].partition(":")
        if kind.lower() not in CHECKSUM_KINDS:
            raise ValueError(
                f"{where}: checksum of unknown kind {kind!r}, not {[*CHECKSUM_KINDS]}."
            )
        hasher = hashlib.new(CHECKSUM_KINDS[kind.lower()], stored.data, usedforsecurity=False)
        if hasher.hexdigest() != digest.strip().lower():
            raise ValueError(
                f"{where}: the {kind} checksum of its block at {attributes['location']} is wrong; "
                "the file is damaged. Copy it again from its origin."
            )
    if "compression" in attributes:
        return _decompress(stored, attributes, size, where)
    if stored.size != size:
        raise ValueError(f"{where}: its block has {stored.size} bytes, but {size} are declared.")
    return stored


def _block_attributes(element: Element) -> dict[str, str]:
    """Return the attributes, with those of the <Data> child that holds an embedded block."""
    attributes = dict(element.attributes)
    if attributes.get("location") == "embedded":
        for data in element.find("Data"):
            attributes |= data.attributes
    return attributes


def whole_numbers(text: str, where: str, what: str) -> tuple[int, ...]:
    """Return the whole numbers of an attribute, separated by colons or commas."""
    # 19 digits count every byte of a disk; more could not be read as a number in reasonable time
    if not re.fullmatch(r"\d{1,19}([:,]\d{1,19})*", text, re.ASCII):
        raise ValueError(f"{where}: expected whole numbers in {what}, got {text[:80]!r}.")
    return tuple(int(number) for number in re.split("[:,]", text))


def _read_stored(file: BinaryIO, element: Element, location: str, where: str) -> np.ndarray:
    kind, _, rest = location.partition(":")
    if kind == "attachment":
        position, size = (*whole_numbers(rest, where, "location"), 0, 0)[:2]
        end = os.fstat(file.fileno()).st_size
        if position + size > end:
            raise ValueError(
                f"{where}: truncated, its block ends at byte {position + size} and the file at "
                f"{end}. Copy it again from its origin."
            )
        stored = np.zeros(size, np.uint8)
        file.seek(position)
        if file.readinto(stored.data) < size:  # type: ignore[attr-defined]
            raise ValueError(f"{where}: became shorter while it was read. Run again.")
        return stored
    data = next(iter(element.find("Data")), None) if kind == "embedded" else element
    encoding = rest if data is element else _block_attributes(element).get("encoding")
    if kind not in ("inline", "embedded") or data is None or encoding not in ("base64", "hex"):
        raise ValueError(f"{where}: block location {location!r} is not supported.")
    try:
        text = "".join(data.text.split())
        plain = bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{where}: its {kind} block is not {encoding} ({error}).") from error
    return np.frombuffer(bytearray(plain), np.uint8)


def _inflate(data: memoryview, size: int) -> bytes:
    stream = zlib.decompressobj()
    plain = stream.decompress(data, size + 1)
    if not stream.eof:
        raise ValueError("incomplete or longer than declared")
    return plain


def _unpack_lz4(data: memoryview, size: int) -> bytes:
    return lz4.block.decompress(data, uncompressed_size=size)


def _unpack_zstd(data: memoryview, size: int) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(data).read(size + 1)


# Bytes that a packed byte can stand for at most, by the format: what declares more is damaged.
MAX_EXPANSIONS = {"zlib": 1040, "lz4": 256, "lz4hc": 256, "zstd": 32768}
EXPANSION_SLACK_BYTES = 1 << 17  # bytes; a last block of zstd
# Each decodes at most one byte more than it was told, so a bomb does not fill the memory.
CODECS: dict[str, Callable[[memoryview, int], bytes]] = {
    "zlib": _inflate, "lz4": _unpack_lz4, "lz4hc": _unpack_lz4, "zstd": _unpack_zstd,
}  # fmt: skip


def _decompress(stored: np.ndarray, attributes: dict[str, str], size: int, where: str) -> Any:
    codec, _, numbers = attributes["compression"].partition(":")
    name, _, shuffled = codec.lower().partition("+")
    declared, item = (*whole_numbers(numbers, where, "compression"), 1)[:2]
    if name not in CODECS or shuffled not in ("", "sh"):
        raise ValueError(f"{where}: compression {codec!r} is not one of {[*CODECS]}, with +sh.")
    parts = whole_numbers(
        attributes.get("subblocks") or f"{stored.size},{size}", where, "subblocks"
    )
    if declared != size or sum(parts[1::2]) != size or sum(parts[::2]) != stored.size:
        raise ValueError(
            f"{where}: compression {attributes['compression']!r} and subblocks {parts} do not fit "
            f"{stored.size} stored bytes and an image of {size} bytes; the file is damaged."
        )
    most = max(MAX_EXPANSIONS[name] * stored.size, EXPANSION_SLACK_BYTES)
    if size > most or any(part > most for part in parts):
        raise ValueError(
            f"{where}: {stored.size} bytes of {codec} cannot become the {size} bytes that are "
            "declared; the file is damaged. Copy it again from its origin."
        )
    try:
        plain = np.empty(size, np.uint8)
        read = filled = 0
        for packed, unpacked in zip(parts[::2], parts[1::2], strict=True):
            piece = CODECS[name](stored.data[read : read + packed], unpacked)
            if len(piece) != unpacked:
                raise ValueError(f"got {len(piece)} bytes of {unpacked}, or more")
            plain[filled : filled + unpacked] = np.frombuffer(piece, np.uint8)
            read, filled = read + packed, filled + unpacked
    except (zlib.error, zstandard.ZstdError, lz4.block.LZ4BlockError, ValueError, OverflowError,
            MemoryError) as error:  # fmt: skip
        raise ValueError(
            f"{where}: its {codec} block does not decompress to {size} bytes ({error}). The file "
            "is damaged; copy it again from its origin."
        ) from error
    if not shuffled or item < 2:
        return plain
    whole = size // item * item  # a shuffled block keeps its incomplete last item as it is
    straight = np.ascontiguousarray(plain[:whole].reshape(item, -1).T).reshape(-1)
    return straight if whole == size else np.concatenate([straight, plain[whole:]])
