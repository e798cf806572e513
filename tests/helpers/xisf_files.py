"""XISF files built by hand, byte by byte, and what a written one holds."""

import io
import zlib

import lz4.block
import numpy as np
import zstandard

from common.xisf.blocks import parse_header
from common.xisf.read import read_xisf
from common.xisf.write import write_xisf

NAMESPACE = 'xmlns="http://www.pixinsight.com/xisf" version="1.0"'
CODECS = {
    "zlib": zlib.compress,
    "lz4": lambda data: lz4.block.compress(data, store_size=False),
    "lz4hc": lambda data: lz4.block.compress(data, mode="high_compression", store_size=False),
    "zstd": zstandard.compress,
}


def build(body, *blocks, declaration="<?xml version='1.0' encoding='UTF-8'?>", pad=0):
    """Return a file; `@0`, `@1`, ... in the body stand for the locations of the blocks."""
    places = [4096 * (i + 2) for i in range(len(blocks))]
    for i, (place, block) in enumerate(zip(places, blocks, strict=True)):
        body = body.replace(f"@{i}", f"attachment:{place}:{len(block)}")
    xml = f"{declaration}\n<xisf {NAMESPACE}>{body}</xisf>".encode() + bytes(pad)
    content = b"XISF0100" + len(xml).to_bytes(4, "little") + bytes(4) + xml
    for place, block in zip(places, blocks, strict=True):
        assert len(content) <= place
        content = content.ljust(place, b"\0") + block
    return content


def picture(attributes='location="@0"', children="", sample="UInt16", geometry="4:3:1"):
    return (
        f'<Image id="main" geometry="{geometry}" sampleFormat="{sample}" colorSpace="Gray" '
        f"{attributes}>{children}</Image>"
    )


def shuffle(data, item):
    return np.frombuffer(data, np.uint8).reshape(-1, item).T.tobytes()


def save(image, path, **options):
    with path.open("wb") as file:
        write_xisf(file, image, **options)
    return read_xisf(path)


def header_of(content):
    return content[16 : 16 + int.from_bytes(content[8:12], "little")]


def written(image, **options):
    file = io.BytesIO()
    write_xisf(file, image, **options)
    return file.getvalue()


def image_tag(content):
    return parse_header(header_of(content), "test").find("Image")[0].attributes
