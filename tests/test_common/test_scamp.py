"""Plate solutions as SCAMP writes them: TAN with a polynomial, which is TPV."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from common.header import celestial_wcs

PIXELS = [[0, 0], [255, 10], [128, 255]]
FIRST = {"PV1_0": 0.001, "PV1_1": 1.001, "PV1_2": 0.002,
         "PV2_0": -0.001, "PV2_1": 0.999, "PV2_2": 0.001}  # fmt: skip


def solution(terms, code="TAN", axes=("RA--", "DEC-")):
    header = fits.Header()
    for axis, name in enumerate(axes, start=1):
        value = 150.0 if name == "RA--" else 20.0
        header[f"CTYPE{axis}"] = f"{name}-{code}"
        header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = value, 128.5
    header["CD1_1"], header["CD2_2"] = -0.0003, 0.0003
    header.update(terms)
    return header


def expected(terms):
    """By the polynomial itself, in the tangential plane."""
    x, y = (np.array(PIXELS) + 1 - 128.5).T * np.array([[-0.0003], [0.0003]])
    powers = (1, x, y)
    back = (1, y, x)
    default = {"PV1_1": 1.0, "PV2_1": 1.0} | terms
    xi = sum(default.get(f"PV1_{m}", 0) * powers[m] for m in range(3))
    eta = sum(default.get(f"PV2_{m}", 0) * back[m] for m in range(3))
    plain = WCS(solution({}))
    return plain.all_pix2world(xi / -0.0003 + 128.5, eta / 0.0003 + 128.5, 1)


@pytest.mark.parametrize("terms", [
    FIRST,
    {key: FIRST[key] for key in FIRST if key[2] == "1"},
    {key: FIRST[key] for key in FIRST if key[2] == "2"},
    {"PV1_1": 1, "PV1_2": 0.01},
], ids=["both axes", "first axis", "second axis", "integer"])  # fmt: skip
def test_tan_with_a_polynomial_of_first_degree(terms):
    for code in ("TAN", "TPV"):
        given = solution(
            terms
            | ({} if code == "TAN" else {k: 1.0 for k in ("PV1_1", "PV2_1") if k not in terms}),
            code,
        )
        found = celestial_wcs(given).all_pix2world(np.array(PIXELS), 0)
        np.testing.assert_allclose(found.T, expected(terms), atol=1e-9)


def test_higher_degrees_and_the_header_stay_as_they_are():
    header = solution(FIRST | {"PV1_5": 0.01, "PV2_4": 0.003})
    before = header.copy()
    found = celestial_wcs(header).all_pix2world(np.array(PIXELS), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy says that it takes TAN for TPV
        usual = WCS(header).all_pix2world(np.array(PIXELS), 0)
    np.testing.assert_allclose(found, usual, atol=1e-12)
    assert header == before


def test_the_parameters_of_tan_itself_are_no_polynomial():
    plain = celestial_wcs(solution({})).all_pix2world(np.array(PIXELS), 0)
    own = solution({"PV1_1": 0.0, "PV1_2": 90.0, "PV1_3": 180.0, "PV1_4": 20.0})
    np.testing.assert_allclose(celestial_wcs(own).all_pix2world(np.array(PIXELS), 0), plain)


def test_axes_in_the_other_order():
    header = solution({"PV1_1": 1.0, "PV2_1": 1.001}, axes=("DEC-", "RA--"))
    positions = celestial_wcs(header).all_pix2world(np.array(PIXELS), 0)
    assert len(np.unique(positions[:, 0])) == len(np.unique(positions[:, 1])) == 3
