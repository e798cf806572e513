"""Mosaics of colour filters: recognised in both formats, the user's word wins."""

import numpy as np
import pytest
from astropy.io import fits

from bgoptimizer import BackgroundConfig, fit_background
from common import AstroImage, read_image, write_image
from common.header import is_mosaic, mosaic_pattern
from common.reading.mosaic import clean_pattern, flip_pattern

XTRANS = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"


def frame(tmp_path, **cards):
    pixels = np.random.default_rng(1).normal(1000, 10, (24, 36)).astype(np.float32)
    fits.writeto(tmp_path / "a.fits", pixels, fits.Header(cards))
    return tmp_path / "a.fits"


@pytest.mark.parametrize("keyword", ["BAYERPAT", "CFAPAT", "COLORTYP", "FILTER"])
@pytest.mark.parametrize("pattern", ["RGGB", "gbrg "])
def test_the_keywords_of_a_bayer_mosaic(tmp_path, keyword, pattern):
    assert (
        mosaic_pattern(read_image(frame(tmp_path, **{keyword: pattern}))) == pattern.strip().upper()
    )


@pytest.mark.parametrize("value", ["", "MONO", "NONE", "Ha", "R", "GRAY", "0", 3, "RRRR", "RGB"])
def test_what_is_no_pattern(tmp_path, value):
    path = frame(tmp_path, BAYERPAT=value, FILTER="Ha")
    assert not is_mosaic(read_image(path))


def test_patterns_with_blanks_and_other_filters():
    assert clean_pattern("RG GB") == "RGGB"
    assert clean_pattern("cmyg") == "CMYG"
    assert clean_pattern(XTRANS) == XTRANS


def test_a_pattern_in_the_primary_header_counts(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["BAYERPAT"] = "GRBG"
    image = fits.ImageHDU(np.random.default_rng(1).normal(9, 1, (8, 8)).astype(np.float32))
    fits.HDUList([primary, image]).writeto(tmp_path / "a.fits")
    assert mosaic_pattern(read_image(tmp_path / "a.fits")) == "GRBG"


def test_xisf_by_keyword_and_by_element(tmp_path):
    image = read_image(frame(tmp_path, BAYERPAT="RGGB"))
    write_image(tmp_path / "a.xisf", image)
    content = (tmp_path / "a.xisf").read_bytes()
    # the rows are reversed, as XISF begins at the top
    element = b'<ColorFilterArray pattern="GBRG" width="2" height="2"/>'
    assert element in content
    found = read_image(tmp_path / "a.xisf")
    assert mosaic_pattern(found) == "GBRG"
    for name, pieces in (("keyword", [element]), ("element", [b'name="BAYERPAT"'])):
        part = content
        for piece in pieces:
            part = part.replace(piece, b"".ljust(len(piece)) if piece == element
                                else b'name="NOTHING_"')  # fmt: skip
        (tmp_path / f"{name}.xisf").write_bytes(part)
        again = read_image(tmp_path / f"{name}.xisf")
        assert mosaic_pattern(again) == "GBRG", name
        write_image(tmp_path / f"{name}.fits", again)
        assert fits.getheader(tmp_path / f"{name}.fits")["BAYERPAT"] == "GBRG", name


@pytest.mark.parametrize("height", [12, 13, 15])
@pytest.mark.parametrize("pattern", ["RGGB", XTRANS])
def test_a_flipped_pattern_has_each_pixel_s_colour(pattern, height):
    side = int(np.sqrt(len(pattern)))

    def colours(letters):
        return np.tile(np.array(list(letters)).reshape(side, side), (20, 4))[:height]

    np.testing.assert_array_equal(
        colours(flip_pattern(pattern, height)), colours(pattern)[:height][::-1]
    )


def test_what_the_user_says_wins(tmp_path):
    image = read_image(frame(tmp_path, BAYERPAT="RGGB"))
    assert len(fit_background(image).planes) == 4
    assert len(fit_background(image, BackgroundConfig(bayer=False)).planes) == 1
    plain = AstroImage(image.pixels)
    assert len(fit_background(plain, BackgroundConfig(bayer=True)).planes) == 4


def test_x_trans_is_refused_with_the_way_out(tmp_path):
    image = read_image(frame(tmp_path, BAYERPAT=XTRANS))
    with pytest.raises(
        ValueError, match=r"a\.fits: a mosaic of the colour filters GGRG.*--no-bayer"
    ):
        fit_background(image)
    assert fit_background(image, BackgroundConfig(bayer=False)).shape == (24, 36, 1)
