"""What the XISF writer promises: the source's header with new pixels, all else as it was."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xisf
from xisf_files import (
    build,
    header_of,
    image_tag,
    picture,
    save,
    written,
)

from common.image import AstroImage
from common.xisf import write as xisf_write
from common.xisf.blocks import SAMPLE_FORMATS, parse_header
from common.xisf.read import read_keywords, read_property, read_xisf

SHARED = Path(__file__).parents[2] / ".." / "shared"


def test_pixels_survive_bit_for_bit_with_and_without_compression(tmp_path):
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        pixels = rng.normal(size=(5, 7, 3)).astype(dtype)
        pixels[0, 0, 0] = np.nan
        for compress in (False, True):
            again = save(AstroImage(pixels), tmp_path / "a.xisf", compress=compress)
            np.testing.assert_array_equal(again.pixels, pixels)
            assert again.pixels.dtype == dtype


@pytest.mark.parametrize("dtype", ["<i2", ">f4", "<u2", "bool", ">f8"])
def test_any_real_type_and_plane_images_are_written(tmp_path, dtype):
    pixels = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    again = save(AstroImage(pixels), tmp_path / "a.xisf")
    np.testing.assert_array_equal(again.pixels[..., 0], pixels)
    assert again.carrier.parse()[1].attributes["geometry"] == "3:2:1"


def test_large_images_are_compressed_in_subblocks(tmp_path, monkeypatch):
    monkeypatch.setattr(xisf_write, "LZ4_SUBBLOCK_BYTES", 100)
    image = AstroImage(np.arange(64.0, dtype=np.float32).reshape(8, 8))
    content = written(image, compress=True)
    assert image_tag(content)["subblocks"].count(":") == 2
    np.testing.assert_array_equal(
        save(image, tmp_path / "a.xisf", compress=True).pixels, image.pixels
    )


def test_every_other_element_and_block_stays_byte_for_byte(load, tmp_path, pixels):
    children = (
        '\n  <FITSKeyword comment="gr&#xfc;n \'x\'" name="OBJECT" value="\'M31     \'"  />'
        '\n  <FITSKeyword name="AIRMASS" value="1.50" comment=""/>\n  <!-- a > b -->'
        '<Property id="on" type="Boolean" value="true" comment="t"/>'
        '<Property id="empty" type="String"></Property>'
        '<Property id="v" type="F64Vector" length="2" location="@1"/>'
        '<ICCProfile location="@2"/><DisplayFunction m="0.1:0.2:0.3:0.5" s="0:0:0:0"/>'
        '<Resolution horizontal="72" vertical="72"/><Vendor:New xmlns:Vendor="urn:v" a=">"/>'
        '<Thumbnail geometry="1:1:1" sampleFormat="UInt8" location="@3"/>'
    )
    other = '<Image id="two" geometry="1:1:1" sampleFormat="UInt8" location="@3" pixelStorage="a"/>'
    attributes = 'uuid="u" imageType="Light" offset="5" orientation="0" location="@0"'
    vector = np.array([1.5, -2.5]).tobytes()
    blocks = [pixels.tobytes(), vector, b"icc" * 1000, b"\x07"]
    image = load(build(picture(attributes, children) + other + "<Table id='t'/>", *blocks))
    result = image.with_pixels(image.pixels - 500, history=["background removed"])
    again = save(result, tmp_path / "out.xisf")

    def neutral(header):
        root = parse_header(header, "test")
        spans = [(e.start, e.tag_end) for e in root.walk() if "location" in e.attributes]
        for start, end in sorted(spans, reverse=True):
            header = header[:start] + b"@" + header[end:]
        return header

    expected = neutral(image.carrier.header).replace(b"encoding='UTF-8'", b'encoding="UTF-8"')
    expected = expected.replace(b"version='1.0'", b'version="1.0"', 1)
    keyword = b'<FITSKeyword name="HISTORY" value="" comment="background removed"/>'
    assert neutral(again.carrier.header) == expected.replace(
        b'value="1.50" comment=""/>', b'value="1.50" comment=""/>' + keyword
    )
    np.testing.assert_array_equal(again.pixels[..., 0], pixels.astype(np.float32) - 500)
    assert list(read_property(again.carrier, "v")) == [1.5, -2.5]
    assert read_xisf(tmp_path / "out.xisf", image="two").pixels.item() == 7
    tag = image_tag((tmp_path / "out.xisf").read_bytes())
    assert {"uuid": "u", "imageType": "Light", "offset": "5"}.items() <= tag.items()
    profile = again.carrier.parse()[1].find("ICCProfile")[0].attributes["location"]
    position = int(profile.split(":")[1])
    assert position % 4096 == 0
    assert (tmp_path / "out.xisf").read_bytes()[position:].startswith(blocks[2])


def test_one_image_of_several_is_processed_and_the_others_are_copied(load, tmp_path, pixels):
    second = picture('location="@1"').replace("main", "second")
    image = load(build(picture() + second, pixels.tobytes(), pixels[::-1].tobytes()), image=1)
    save(image.with_pixels(image.pixels + 1), tmp_path / "out.xisf")
    first, changed = (read_xisf(tmp_path / "out.xisf", image=key) for key in ("main", "second"))
    np.testing.assert_array_equal(first.pixels[..., 0], pixels)
    np.testing.assert_array_equal(changed.pixels[..., 0], pixels[::-1].astype(np.float32) + 1)
    with pytest.raises(ValueError, match=r"no image 'third' among the 2 .*'main', 'second'"):
        read_xisf(tmp_path / "out.xisf", image="third")


@pytest.mark.parametrize(
    ("sample", "bounds", "expected"),
    [
        ("UInt8", "", "0:255"),
        ("UInt16", "", "0:65535"),
        ("UInt32", "", "0:4294967295"),
        ("Float32", 'bounds="0:65535"', "0:65535"),
        ("Float32", 'bounds="-1:2.5"', "-1:2.5"),
        ("Float64", "", "0:1"),
    ],
)
def test_bounds_are_those_of_the_source_and_pixels_are_not_rescaled(load, sample, bounds, expected):
    values = np.arange(12).astype("<" + SAMPLE_FORMATS[sample])
    image = load(build(picture(f'location="@0" {bounds}', sample=sample), values.tobytes()))
    content = written(image.with_pixels(image.pixels - 3))
    assert image_tag(content)["bounds"] == expected
    np.testing.assert_array_equal(load(content).pixels.ravel(), values.astype(float) - 3)


def test_big_endian_interleaved_sources_are_written_planar_little_endian(load):
    truth = np.arange(36, dtype=np.float32).reshape(3, 4, 3)
    attributes = 'location="@0" byteOrder="big" pixelStorage="Normal" bounds="0:1"'
    body = picture(attributes, sample="Float32", geometry="4:3:3")
    content = written(load(build(body, truth.astype(">f4").tobytes())))
    assert not {"byteOrder", "pixelStorage"} & image_tag(content).keys()
    np.testing.assert_array_equal(load(content).pixels, truth)


def test_channels_that_were_not_read_follow_unchanged(load, tmp_path):
    data = np.arange(48, dtype=np.uint16).reshape(4, 3, 4)  # C, H, W
    body = picture(geometry="4:3:4")
    image = load(build(body, data.tobytes()), channels=(0, 1, 2))
    content = written(image.with_pixels(image.pixels * 2))
    assert image_tag(content)["geometry"] == "4:3:4"
    alpha = load(content, channels=(3,))
    np.testing.assert_array_equal(alpha.pixels[..., 0], data[3])
    with pytest.raises(ValueError, match=r"channels \(7,\) are not all among the 4"):
        load(content, channels=[7])


def test_a_change_of_the_number_of_channels_changes_geometry_and_color_space(load, pixels):
    image = load(build(picture(), pixels.tobytes()))
    tag = image_tag(written(image.with_pixels(np.repeat(image.pixels, 3, axis=2))))
    assert (tag["geometry"], tag["colorSpace"]) == ("4:3:3", "RGB")


def test_a_self_closed_prefixed_image_gets_its_keywords(load, pixels):
    body = picture().replace("></Image>", " />").replace("<Image", "<x:Image xmlns:x='urn:x'")
    content = written(replace(load(build(body, pixels.tobytes())), history=("done",)))
    assert b"<x:FITSKeyword name=" in content
    assert b"</x:Image>" in content
    assert read_keywords(load(content).carrier) == [("HISTORY", "", "done")]


def test_cards_are_quoted_typed_and_replace_those_of_the_same_name(load, pixels):
    children = '<FITSKeyword name="BG" value="1" comment="old"/><FITSKeyword name="Z" value=""/>'
    cards = [("BG", 2, "new"), ("NAME", "O'Hara °", "<µ>"), ("YES", True, ""), ("F", 1e-5, "")]
    image = load(build(picture(children=children), pixels.tobytes()))
    content = written(image.with_pixels(image.pixels, cards=cards))
    assert read_keywords(load(content).carrier) == [
        ("BG", "2", "new"),
        ("Z", "", ""),
        ("NAME", "'O''Hara °'", "<µ>"),
        ("YES", "T", ""),
        ("F", "1E-05", ""),
    ]


def test_missing_border_becomes_zero_again_and_other_missing_pixels_stay_nan(tmp_path):
    border = np.zeros((2, 2, 1), bool)
    border[0] = True
    image = AstroImage(np.full((2, 2), np.nan, np.float32), zero_border=border)
    pixels = save(image, tmp_path / "a.xisf").pixels[..., 0]
    np.testing.assert_array_equal(pixels, [[0, 0], [np.nan, np.nan]])
    assert np.isnan(image.pixels).all()


def test_a_source_that_is_gone_or_changed_is_an_error_if_its_blocks_are_needed(
    load, tmp_path, pixels
):
    body = picture(children='<ICCProfile location="@1"/>')
    image = load(build(body, pixels.tobytes(), b"icc"))
    (tmp_path / "night.xisf").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"changed after it was read\. Run again"):
        written(image)
    (tmp_path / "night.xisf").unlink()
    with pytest.raises(FileNotFoundError, match="the source is gone"):
        written(image)


def test_a_digital_signature_is_dropped_with_a_warning(load, pixels):
    image = load(build(picture() + "<Signature>x</Signature>", pixels.tobytes()))
    with pytest.warns(UserWarning, match="digital signature"):
        content = written(image)
    assert b"Signature" not in content


def test_the_output_declares_utf_8_and_a_right_checksum(load, pixels):
    declaration = "<?xml version='1.0' encoding='utf8'?>"
    keyword = '<FITSKeyword name="SITE" value="" comment="47° é"/>'
    image = load(build(picture(children=keyword), pixels.tobytes(), declaration=declaration))
    content = written(image, compress=True)
    assert header_of(content).startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    tag = image_tag(content)
    _, position, size = tag["location"].split(":")
    block = content[int(position) : int(position) + int(size)]
    assert tag["checksum"] == f"sha-256:{hashlib.sha256(block).hexdigest()}"


# Other readers


@pytest.mark.parametrize("compress", [False, True])
def test_the_xisf_package_reads_what_is_written(tmp_path, compress):
    pixels = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    image = AstroImage(pixels, history=["47° done"], cards=[("BGMODE", "spline", "")])
    save(image, tmp_path / "a.xisf", compress=compress)
    file = xisf.XISF(str(tmp_path / "a.xisf"))
    np.testing.assert_array_equal(file.read_image(0), pixels)
    assert file.get_images_metadata()[0]["FITSKeywords"]["BGMODE"][0]["value"] == "spline"


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16", "uint32"])
@pytest.mark.parametrize("codec", [None, "zlib", "lz4", "lz4hc", "zstd"])
@pytest.mark.parametrize("shape", [(6, 5, 1), (6, 5, 3)])
def test_what_the_xisf_package_writes_is_read_bit_for_bit(tmp_path, dtype, codec, shape):
    pixels = np.random.default_rng(1).uniform(0, 250, shape).astype(dtype)
    path = tmp_path / "a.xisf"
    xisf.XISF.write(str(path), pixels, codec=codec, shuffle=codec is not None)
    found = read_xisf(path).pixels
    np.testing.assert_array_equal(found, pixels)


def test_a_file_of_the_xisf_package_survives(tmp_path):
    path = SHARED / "data/real/panoptes_rgb_superpixel.xisf"
    if not path.exists():
        pytest.skip(f"real data is absent: {path}")
    image = read_xisf(path)
    np.testing.assert_array_equal(image.pixels, xisf.XISF(str(path)).read_image(0))
    again = save(image, tmp_path / "a.xisf", compress=True)
    np.testing.assert_array_equal(again.pixels, image.pixels)
    np.testing.assert_array_equal(xisf.XISF(str(tmp_path / "a.xisf")).read_image(0), image.pixels)
    assert read_keywords(again.carrier) == read_keywords(image.carrier)
