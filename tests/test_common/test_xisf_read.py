"""What the XISF reader promises; files are built by hand, byte by byte."""

import base64
import hashlib

import numpy as np
import pytest
from xisf_files import CODECS, build, picture, save, shuffle

from common.xisf.blocks import SAMPLE_FORMATS
from common.xisf.read import read_keywords, read_property


@pytest.mark.parametrize("sample", SAMPLE_FORMATS)
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("storage", ["Planar", "Normal"])
def test_every_sample_format_byte_order_and_pixel_storage_is_read(load, sample, order, storage):
    truth = np.arange(24).reshape(2, 4, 3)  # H, W, C
    stored = truth if storage == "Normal" else truth.transpose(2, 0, 1)
    data = stored.astype((">" if order == "big" else "<") + SAMPLE_FORMATS[sample]).tobytes()
    attributes = f'location="@0" bounds="0:1" byteOrder="{order}" pixelStorage="{storage}"'
    image = load(build(picture(attributes, sample=sample, geometry="4:2:3"), data))
    np.testing.assert_array_equal(image.pixels, truth)
    wide = sample in ("UInt32", "UInt64", "Float64")
    assert image.pixels.dtype == (np.float64 if wide else np.float32)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("split", [None, 10])
def test_every_codec_is_read_with_shuffling_and_subblocks(load, pixels, codec, shuffled, split):
    plain = shuffle(pixels.tobytes(), 2) if shuffled else pixels.tobytes()
    parts = [plain[:split], plain[split:]] if split else [plain]
    packed = [CODECS[codec](part) for part in parts]
    suffix = "+sh:24:2" if shuffled else ":24"
    attributes = f'location="@0" compression="{codec}{suffix}"'
    if split:
        sizes = [f"{len(p)},{len(q)}" for p, q in zip(packed, parts, strict=True)]
        attributes += f' subblocks="{":".join(sizes)}"'
    image = load(build(picture(attributes), b"".join(packed)))
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)


@pytest.mark.parametrize("encoding", ["base64", "hex", "HEX"])
@pytest.mark.parametrize("kind", ["inline", "embedded"])
def test_blocks_within_the_header_are_read_and_replaced(load, tmp_path, pixels, kind, encoding):
    raw = pixels.tobytes()
    text = base64.b64encode(raw).decode() if encoding == "base64" else raw.hex()
    text = text.upper() if encoding == "HEX" else text
    text, name = f"\n {text[:8]}\n {text[8:]}\n", encoding.lower()
    keyword = '<FITSKeyword name="A" value="1" comment=""/>'
    if kind == "inline":
        body = picture(f'location="inline:{name}"', f"{text}{keyword}<!-- kept -->")
    else:
        data = f'<Data encoding="{name}">{text}</Data>'
        body = picture('location="embedded"', f"{data}{keyword}<!-- kept -->")
    image = load(build(body))
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)
    again = save(image, tmp_path / "again.xisf")
    np.testing.assert_array_equal(again.pixels, image.pixels)
    assert (keyword + "<!-- kept --></Image>").encode() in again.carrier.header
    assert b"<Data" not in again.carrier.header


@pytest.mark.parametrize("kind", ["sha-1", "sha-256", "sha-512", "sha3-256", "sha3-512"])
def test_a_wrong_checksum_is_an_error_that_names_file_and_block(load, pixels, kind):
    name = kind.replace("sha-", "sha").replace("-", "_")
    digest = hashlib.new(name, pixels.tobytes()).hexdigest()
    body = picture(f'location="@0" checksum="{kind}:{digest}"')
    load(build(body, pixels.tobytes()))
    damaged = bytearray(pixels.tobytes())
    damaged[5] ^= 1
    with pytest.raises(ValueError, match=r"night\.xisf: image 0: the sha.* checksum .*8192"):
        load(build(body, bytes(damaged)))


@pytest.mark.parametrize("length", [5, 12, 100, 8200])
def test_a_truncated_file_is_one_clear_error(load, pixels, length):
    with pytest.raises(ValueError, match=r"night\.xisf.*(truncated|not a monolithic)"):
        load(build(picture(), pixels.tobytes())[:length])


@pytest.mark.parametrize("codec", CODECS)
def test_a_decompression_bomb_is_refused(load, codec):
    bomb = CODECS[codec](bytes(1 << 24))
    with pytest.raises(ValueError, match="does not decompress to 24 bytes"):
        load(build(picture(f'location="@0" compression="{codec}:24"'), bomb))
    with pytest.raises(ValueError, match="do not fit"):
        load(build(picture(f'location="@0" compression="{codec}:{1 << 24}"'), bomb))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (picture(sample="Complex32"), "sampleFormat 'Complex32' is not supported"),
        (picture(geometry="4:3"), "expected geometry width:height:channels"),
        (picture(geometry="4:3,1:1"), "expected geometry width:height:channels"),
        (picture('location="url(http://example.org):1"'), "block location .* is not supported"),
        (picture('location="@0" compression="rar:24"'), "compression 'rar' is not one of"),
        (picture(geometry="4:4:1"), "has 24 bytes, but 32 are declared"),
        (picture(geometry="2:3:2"), "Select planes with --channels"),
        (picture('location="inline:hex"', "xyz"), "is not hex"),
        (picture('location="@0" checksum="crc:1"'), "unknown kind 'crc'"),
        ("<Image", "not valid XML"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(load, pixels, body, message):
    with pytest.raises(ValueError, match=message):
        load(build(body, pixels.tobytes()))


def test_a_document_type_is_refused(load, pixels):
    doctype = '<?xml version="1.0"?><!DOCTYPE xisf [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    with pytest.raises(ValueError, match="document type, which is refused"):
        load(build(picture(), pixels.tobytes(), declaration=doctype))


def test_a_header_declared_utf8_and_padded_with_zero_bytes_is_read(load, pixels):
    declaration = "<?xml version='1.0' encoding='utf8'?>"
    image = load(build(picture(), pixels.tobytes(), declaration=declaration, pad=300))
    np.testing.assert_array_equal(image.pixels[..., 0], pixels)


def test_odd_properties_and_missing_metadata_or_comments_do_not_stop_the_reading(load, pixels):
    children = (
        '<Property id="a" type="Float64" value="inf"/><Property id="b" type="Int32" value="007"/>'
        '<Property id="c" type="ByteArray" length="2" location="inline:hex">aBcD</Property>'
        '<Property id="d" type="Complex64" value="(1,2)"/><FITSKeyword name="X" value="1"/>'
    )
    image = load(build(picture(children=children), pixels.tobytes()))
    assert read_keywords(image.carrier) == [("X", "1", "")]
    assert read_property(image.carrier, "a") == "inf"
