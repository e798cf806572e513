"""Further planes in FITS files."""

import numpy as np
import pytest
from astropy.io import fits

from common.fits.planes import append_plane, require_plain_fits


@pytest.fixture
def header():
    """A primary header with what a further plane must not have, and what must not be lost."""
    header = fits.Header([
        ("OBJECT", "M31"), ("CTYPE1", "RA---TPV"), ("CRVAL1", 10.7), ("CD1_1", 1e-4),
        ("A_0_2", 1e-6), ("PV2_7", 1e-3), ("BUNIT", "adu"), ("BLOCKED", True), ("EPOCH", 1950.0),
        ("BZERO", 32768), ("DATAMAX", 9.0),
    ])  # fmt: skip
    header.add_history("long ago")
    return header


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_planes_follow_each_other_with_type_keywords_and_checksums(
    tmp_path, header, dtype, channels
):
    path, plane = tmp_path / "a.fits", np.arange(20 * 30 * channels) % 251
    plane = plane.reshape(20, 30, channels).astype(dtype)
    path.touch()
    append_plane(path, "FIRST", plane, header)
    append_plane(path, "SECOND", plane + 1, header, [("BGSEED", 3, "seed")], ["made now"])
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["FIRST", "SECOND"]
        assert [(hdu.verify_checksum(), hdu.verify_datasum()) for hdu in hdus] == [(1, 1)] * 2
        stored = plane[..., 0] if channels == 1 else np.moveaxis(plane, -1, 0)
        assert hdus[0].data.dtype.newbyteorder("=") == dtype
        assert np.array_equal(hdus[1].data, stored + 1)
        for hdu in hdus:
            for name in ("OBJECT", "CTYPE1", "CRVAL1", "CD1_1", "A_0_2", "PV2_7"):
                assert hdu.header[name] == header[name]
            assert hdu.header["EQUINOX"] == 1950
            assert not {"EPOCH", "BZERO", "BLOCKED", "DATAMAX"} & set(hdu.header)
            assert ("BUNIT" in hdu.header) == (dtype != np.uint8)
        assert list(hdus[1].header["HISTORY"]) == ["made now"]
        assert hdus[1].header["BGSEED"] == 3


def test_a_name_that_is_taken_gets_the_next_version(tmp_path, header):
    path, plane = tmp_path / "a.fits", np.zeros((4, 5), np.uint8)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane, name="DQ")]).writeto(path)
    append_plane(path, "DQ", plane + 1, header)
    with fits.open(path) as hdus:
        assert (hdus["DQ", 1].data == 0).all()
        assert (hdus["DQ", 2].data == 1).all()


def test_only_plain_fits_names_are_taken():
    assert require_plain_fits("a.fits", "it").name == "a.fits"
    with pytest.raises(ValueError, match=r"a\.fits\.gz: it is a plain FITS file"):
        require_plain_fits("a.fits.gz", "it")
