"""Planes and marks: what the browser gets, and what its drawings mean."""

import json
import struct

import numpy as np
import pytest

from bgoptimizer.guidance.files import read_objects
from common import AstroImage, MtfStretch
from common.page.marks import Marks
from common.page.plane import MOST_PX, View, decode, encode, levels


def header_of(data):
    length = struct.unpack("<I", data[:4])[0]
    return json.loads(data[4 : 4 + length])


def test_codes_keep_the_sky_far_below_its_noise_and_stars_to_a_thousandth():
    rng = np.random.default_rng(3)
    plane = rng.normal(1000, 5, (200, 300))
    plane[50:53, 60:63] = 60_000
    plane[0, 0] = np.nan
    codes, scale = encode(plane)
    back = decode(codes, scale)
    assert codes[0, 0] == 0
    assert np.isnan(back[0, 0])
    sky = np.abs(plane - 1000) < 50
    assert np.abs(back - plane)[sky].max() < 0.01 * 5  # a hundredth of the noise
    assert np.nanmax(np.abs(back / plane - 1)) < 1e-3


@pytest.mark.parametrize("plane", [np.zeros((4, 5)), np.full((4, 5), np.nan), np.eye(5)])
def test_a_plane_without_noise_is_encoded_too(plane):
    codes, scale = encode(plane)
    assert np.allclose(decode(codes, scale), plane, equal_nan=True, atol=1e-4)


def test_a_large_frame_is_sent_as_block_medians_of_at_most_1200_px():
    pixels = np.random.default_rng(1).normal(size=(1300, 2500, 1)).astype(np.float32)
    small, factor = View(name="input", label="Input", pixels=pixels).reduced()
    assert factor == 3
    assert max(small.shape) <= MOST_PX
    assert small[10, 20, 0] == pytest.approx(np.median(pixels[30:33, 60:63, 0]))


def test_a_mosaic_is_shown_in_its_colours():
    pixels = np.zeros((6, 8, 1), np.float32)
    pixels[0::2, 0::2], pixels[1::2, 1::2] = 10, 30  # RGGB
    pixels[0::2, 1::2], pixels[1::2, 0::2] = 20, 22
    small, factor = View(name="input", label="Input", pixels=pixels, pattern="RGGB").reduced()
    assert factor == 2
    assert small.shape == (3, 4, 3)
    assert small[1, 1].tolist() == [10, 21, 30]


@pytest.mark.parametrize("pattern", ["CYGM", "GGRGGB" * 6])
def test_a_mosaic_of_other_filters_is_shown_as_it_is(pattern):
    pixels = np.ones((6, 8, 1), np.float32)
    small, factor = View(name="input", label="Input", pixels=pixels, pattern=pattern).reduced()
    assert factor == 1
    assert np.array_equal(small, pixels)


@pytest.mark.parametrize("linked", [False, True])
def test_the_numbers_of_the_stretch_are_those_of_the_command(linked):
    rng = np.random.default_rng(5)
    pixels = rng.gamma(3, 20, (64, 80, 3)) * [1, 2, 3]
    found = levels(pixels)["linked" if linked else "single"]
    fitted = MtfStretch.fit(pixels, quantile=0.95, linked=linked)
    for c in range(3):
        pedestal = found[c]["minimum"]
        scale = found[c]["quantiles"][450] - pedestal  # 0.95
        assert pedestal == fitted.pedestal[c]
        assert scale == pytest.approx(fitted.scale[c], rel=1e-14)
        assert (found[c]["median"] - pedestal) / scale == pytest.approx(fitted.midtones[c])


def test_a_result_is_shown_with_the_sky_of_the_input():
    sky = np.random.default_rng(2).normal(500, 3, (40, 40, 1))
    first = View(name="input", label="Input", pixels=sky)
    result = View(name="result", label="Result", pixels=sky - 480)
    assert header_of(result.encode(first))["offset"] == [pytest.approx(480)]
    background = View(name="b", label="B", pixels=sky - 480, same_sky=False)
    assert header_of(background.encode(first))["offset"] == [0]


def marked(area, shape=(60, 80)):
    return Marks.read({"areas": [{"kind": "object"} | area]}, ["object"]).draw("object", shape)


def test_an_ellipse_marks_its_pixels():
    found = marked({"shape": "ellipse", "x": 30, "y": 20, "rx": 10, "ry": 5})
    assert found[20, 40]
    assert not found[20, 41]
    assert found[25, 30]
    assert not found[26, 30]


def test_a_polygon_marks_its_inside():
    found = marked({"shape": "polygon", "points": [[10, 10], [50, 10], [50, 40], [10, 40]]})
    assert found[25, 30]
    assert found.sum() == pytest.approx(40 * 30, rel=0.08)  # the outline is half in


def test_a_brush_marks_all_within_its_radius():
    found = marked({"shape": "brush", "points": [[10, 30], [60, 30]], "radius": 4})
    assert found[34, 35]
    assert not found[35, 35]
    assert found[30, 6]
    assert not found[30, 5]


@pytest.mark.parametrize("area", [
    {"shape": "ellipse", "x": -500, "y": 900, "rx": 3, "ry": 3},
    {"shape": "polygon", "points": [[-9, -9], [-5, -9], [-5, -5]]},
    {"shape": "brush", "points": [[900, 900]], "radius": 2},
])  # fmt: skip
def test_what_is_drawn_beside_the_frame_marks_nothing(area):
    assert not marked(area).any()


@pytest.mark.parametrize("angle", [0, 25, -70, 90, 200])
def test_a_rotated_ellipse_is_that_of_ds9(tmp_path, angle):
    file = tmp_path / "one.reg"
    file.write_text(f"image\nellipse(41, 31, 20.3, 7.2, {angle})\n")  # DS9 counts pixels from 1
    wanted = read_objects(file, AstroImage(np.zeros((60, 80), np.float32)))
    area = {"shape": "ellipse", "x": 40, "y": 30, "rx": 20.3, "ry": 7.2, "angle": angle}
    assert np.array_equal(marked(area), wanted)


def test_an_ellipse_without_an_angle_is_not_turned():
    area = {"shape": "ellipse", "x": 40, "y": 30, "rx": 20, "ry": 7}
    assert np.array_equal(marked(area), marked(area | {"angle": 0}))
