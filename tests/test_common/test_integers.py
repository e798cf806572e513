"""Integers come back as integers where that is asked for, in the type and scale of their file."""

import numpy as np
import pytest
from astropy.io import fits
from xisf_files import build, picture

from common import AstroImage, read_image, write_image
from common.io import stores_integers

SHAPE = (12, 15)


def stored(dtype):
    """Return integers of a type, its lowest and highest among them."""
    limits = np.iinfo(dtype)
    high = min(limits.max, 40_000)
    values = np.random.default_rng(1).integers(max(limits.min, -40_000), high, SHAPE, dtype)
    values[0, :2] = limits.min, limits.max
    return values


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fits.fz"])
def test_a_fits_file_keeps_its_type(tmp_path, dtype, suffix):
    fits.PrimaryHDU(stored(dtype)).writeto(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits", zeros="data")
    assert stores_integers(image)
    write_image(tmp_path / f"b{suffix}", image, integers=True)
    with fits.open(tmp_path / f"b{suffix}") as hdus:
        assert hdus[-1].data.dtype.itemsize == np.dtype(dtype).itemsize
        np.testing.assert_array_equal(hdus[-1].data, stored(dtype))


def test_values_are_rounded_and_kept_within_the_range_of_the_file(tmp_path):
    header = fits.Header({"BSCALE": 0.5, "BZERO": 10.0})
    hdu = fits.PrimaryHDU(stored(np.int16), do_not_scale_image_data=True)
    hdu.header.update(header)
    hdu.writeto(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits", zeros="data")
    pixels = image.pixels.copy()
    pixels[1, :4, 0] = 1e9, -1e9, 10.3, 10.2
    write_image(tmp_path / "b.fits", image.with_pixels(pixels), integers=True)
    with fits.open(tmp_path / "b.fits", do_not_scale_image_data=True) as hdus:
        assert hdus[0].header["BSCALE"] == 0.5
        assert hdus[0].header["BZERO"] == 10
        np.testing.assert_array_equal(hdus[0].data[1, :4], [32767, -32768, 1, 0])


def test_missing_pixels_are_blank(tmp_path):
    fits.PrimaryHDU(stored(np.int16)).writeto(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits", zeros="data")
    pixels = image.pixels.copy()
    pixels[3, 4] = np.nan
    write_image(tmp_path / "b.fits", image.with_pixels(pixels), integers=True)
    again = read_image(tmp_path / "b.fits", zeros="data").pixels
    assert np.isnan(again[3, 4, 0])
    # the lowest stored value means "missing" now, what had it is one step above
    assert np.isfinite(again).sum() == again.size - 1
    assert again[0, 0, 0] == -32767


def test_xisf_keeps_its_type(tmp_path):
    data = stored(np.uint16)[None]
    tag = picture(sample="UInt16", geometry=f"{SHAPE[1]}:{SHAPE[0]}:1")
    (tmp_path / "a.xisf").write_bytes(build(tag, data.astype("<u2").tobytes()))
    image = read_image(tmp_path / "a.xisf", zeros="data")
    pixels = image.pixels + np.float32(0.3)
    pixels[5, 5], pixels[5, 6] = np.nan, -7
    for compress in (False, True):
        write_image(
            tmp_path / "b.xisf", image.with_pixels(pixels), overwrite=True, compress=compress,
            integers=True,
        )  # fmt: skip
        again = read_image(tmp_path / "b.xisf", zeros="data")
        expected = data[0].copy()
        expected[5, 5:7] = 0
        np.testing.assert_array_equal(again.pixels[..., 0], expected)
        assert b'sampleFormat="UInt16"' in again.carrier.header


@pytest.mark.parametrize("kind", ["floats", "array", "other format"])
def test_without_integers_to_go_back_to_nothing_is_written(tmp_path, kind):
    dtype = np.int16 if kind == "other format" else np.float32
    fits.PrimaryHDU(np.arange(180).reshape(SHAPE).astype(dtype)).writeto(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits")
    if kind == "array":
        image = AstroImage(image.pixels)
    target = tmp_path / ("b.xisf" if kind == "other format" else "b.fits")
    with pytest.raises(ValueError, match="stores no integers"):
        write_image(target, image, integers=True)
    assert not target.exists()
