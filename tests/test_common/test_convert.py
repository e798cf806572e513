"""FITS to XISF and back: no keyword is lost, and every star stays at its place on the sky."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from common.image import AstroImage
from common.xisf.convert import (
    fits_cards_from_xisf,
    flip_rows,
    to_fits,
    to_xisf,
    xisf_keywords_from_fits,
)
from common.xisf.read import read_xisf
from common.xisf.write import write_xisf

H, W = 6, 5
STAR = (1, 3)  # row and column, as stored in the FITS
LINEAR = {
    "CD": {"CD1_1": -2e-3, "CD1_2": 3e-4, "CD2_1": 4e-4, "CD2_2": 2.1e-3},
    "PC": {"CDELT1": -2e-3, "CDELT2": 2e-3, "PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6},
    "CDELT": {"CDELT1": -2e-3, "CDELT2": 2e-3, "CROTA2": 20.0},
    "SIP": {"CD1_1": -2e-3, "CD2_2": 2e-3, "A_ORDER": 2, "A_1_1": 1e-3, "A_0_2": 2e-3,
            "B_ORDER": 2, "B_1_1": 3e-3, "B_2_0": 4e-3, "B_0_2": 5e-3},
}  # fmt: skip


def solved(linear, **cards):
    suffix = "-SIP" if linear == "SIP" else ""
    header = fits.Header({"CTYPE1": f"RA---TAN{suffix}", "CTYPE2": f"DEC--TAN{suffix}"})
    header.update({"CRVAL1": 83.8, "CRVAL2": -5.4, "CRPIX1": 2.2, "CRPIX2": 2.5})
    header.update(LINEAR[linear])
    header.update(cards)
    return header


def sky(header, row, column):
    return [float(x) for x in WCS(header).pixel_to_world_values(column, row)]


@pytest.fixture
def field():
    """An image of one star, as read from a FITS file."""
    pixels = np.zeros((H, W, 1), np.float32)
    pixels[STAR] = 1

    def make(header):
        return AstroImage(pixels, carrier=SimpleNamespace(unreadable=(), header=header))

    return make


@pytest.fixture
def through_xisf(tmp_path):
    def convert(image):
        pixels, keywords, _ = to_xisf(image)
        path = tmp_path / "a.xisf"
        with path.open("wb") as file:
            write_xisf(file, replace(image, pixels=pixels, zero_border=None), keywords=keywords)
        return read_xisf(path)

    return convert


@pytest.fixture
def xisf_with(tmp_path):
    """Return the carrier of a file whose image has the given child elements."""

    def make(children):
        file = io.BytesIO()
        write_xisf(file, AstroImage(np.zeros((H, W), np.float32)))
        content = file.getvalue()
        length = int.from_bytes(content[8:12], "little")
        header = content[16 : 16 + length]
        header = header.replace(b"></Image>", b">" + children.encode() + b"</Image>")
        block = content[4096:]
        assert len(header) < 4080
        preamble = b"XISF0100" + len(header).to_bytes(4, "little") + bytes(4)
        (tmp_path / "b.xisf").write_bytes((preamble + header).ljust(4096, b"\0") + block)
        return read_xisf(tmp_path / "b.xisf").carrier

    return make


@pytest.mark.parametrize("linear", LINEAR)
@pytest.mark.parametrize("order", [None, "BOTTOM-UP", "TOP-DOWN"])
def test_a_star_keeps_its_place_on_the_sky_through_both_conversions(
    field, through_xisf, linear, order
):
    header = solved(linear, **({"ROWORDER": order} if order else {}))
    truth = sky(header, *STAR)
    image = through_xisf(field(header))
    row, column = np.argwhere(image.pixels[..., 0])[0]
    assert (row, column) == (STAR[0] if order == "TOP-DOWN" else H - 1 - STAR[0], STAR[1])
    pixels, back = to_fits(image)
    np.testing.assert_array_equal(pixels, image.pixels)
    np.testing.assert_allclose(sky(back, row, column), truth, rtol=0, atol=1e-10)  # degrees
    assert back["ROWORDER"] == "TOP-DOWN"
    again = through_xisf(field(back))  # a second trip does not flip once more
    assert to_fits(again)[1]["CRPIX2"] == back["CRPIX2"]


@pytest.mark.parametrize("linear", LINEAR)
def test_keywords_of_pixinsight_are_turned_to_the_stored_rows(xisf_with, linear):
    header = solved(linear)
    elements = "".join(
        f'<FITSKeyword name="{name}" value="{text}" comment=""/>'
        for name, text, _ in xisf_keywords_from_fits(header)
    )
    back = fits_cards_from_xisf(xisf_with(elements))
    row = H - 1 - STAR[0]  # the keywords count rows from the bottom, the file from the top
    np.testing.assert_allclose(sky(back, row, STAR[1]), sky(header, *STAR), rtol=0, atol=1e-10)


def test_flipping_twice_gives_the_same_header():
    header = solved("SIP", BAYERPAT="RGGB", ROWORDER="BOTTOM-UP", CRPIX2A=4.0, CDELT2A=2.0)
    once = flip_rows(header, H)
    assert (once["BAYERPAT"], once["ROWORDER"]) == ("GBRG", "TOP-DOWN")
    assert (once["CRPIX2A"], once["CDELT2A"]) == (3.0, -2.0)
    assert flip_rows(once, H) == header
    assert flip_rows(header, 5)["BAYERPAT"] == "RGGB"  # an odd height keeps the rows' parity


def test_keywords_keep_order_duplicates_quoting_and_types(field, through_xisf):
    header = fits.Header()
    header["OBJECT"] = ("O'Hara", "a 'name'")
    header.append(("DUP", 1, "first"), end=True)
    header.append(("DUP", 2.5, "second"), end=True)
    header["NUMTEXT"] = "007"
    header["SMALL"] = -1.5e-20
    header["FLAG"] = True
    header["NONE"] = None
    header["LONG"] = ("x" * 150, "continued")
    header["HIERARCH ESO TEL AIRM START"] = (1.2, "airmass")
    header.append(("COMMENT", "one"), end=True)
    header.append(("AFTER", 3), end=True)
    header.append(("HISTORY", "two"), end=True)
    image = field(header)
    image.carrier.header = header.copy()
    image.carrier.header["BZERO"] = 32768
    back = to_fits(through_xisf(image))[1]
    kept = [card for card in back.cards if card.keyword != "ROWORDER"]
    assert [card.keyword for card in kept] == [card.keyword for card in header.cards]
    assert [card.value for card in kept] == [card.value for card in header.cards]
    assert [card.comment for card in kept] == [card.comment for card in header.cards]
    assert [type(card.value) for card in kept] == [type(card.value) for card in header.cards]


def test_text_that_fits_cannot_hold_is_transliterated_with_a_warning(xisf_with):
    carrier = xisf_with('<FITSKeyword name="SITE" value="\'Montréal\'" comment="45°"/>')
    with pytest.warns(UserWarning, match=r"b\.xisf: FITS holds ASCII only.*SITE"):
        header = fits_cards_from_xisf(carrier)
    assert header["SITE"] == "Montreal"
    assert header.tostring().isascii()


def test_keywords_of_other_writers_are_understood(xisf_with):
    carrier = xisf_with(
        '<FITSKeyword name="OBJECT" value="M31"/><FITSKeyword name="EXP" value="1.5D2"/>'
        '<FITSKeyword name="TEXT" value="\'abc&amp;\'"/>'
        '<FITSKeyword name="CONTINUE" value="\'def\'"/>'
        '<FITSKeyword name="HISTORY" value="\'done\'" comment=""/>'
        '<FITSKeyword name="NAXIS1" value="9"/><FITSKeyword name="FAR" value="1e999"/>'
    )
    header = fits_cards_from_xisf(carrier)
    assert (header["OBJECT"], header["EXP"], header["TEXT"]) == ("M31", 150.0, "abcdef")
    assert list(header["HISTORY"]) == ["done"]
    assert header["FAR"] == "1e999"
    assert "NAXIS1" not in header


def test_a_solution_that_is_only_in_properties_becomes_a_wcs(xisf_with):
    prefix = "PCL:AstrometricSolution:"

    def array(name, kind, shape, values):
        text = np.array(values, "<f8").tobytes().hex()
        attributes = f'id="{prefix}{name}" type="{kind}" {shape} location="inline:hex"'
        return f"<Property {attributes}>{text}</Property>"

    carrier = xisf_with(
        array("ReferenceCelestialCoordinates", "F64Vector", 'length="2"', [83.8, -5.4])
        + array("ReferenceImageCoordinates", "F64Vector", 'length="2"', [1.5, 4.5])
        + array(
            "LinearTransformationMatrix",
            "F64Matrix",
            'rows="2" columns="2"',
            [-0.002, 0, 0, -0.002],
        )
        + f'<Property id="{prefix}ProjectionSystem" type="String">Gnomonic</Property>'
        '<Property id="Observation:Object:Name" type="String">M 42</Property>'
        '<Property id="Observation:Time:Start" type="TimePoint" value="2025-01-02T03:04:05Z"/>'
        '<Property id="Instrument:ExposureTime" type="Float32" value="120"/>'
        '<Property id="Instrument:Telescope:FocalLength" type="Float32" value="0.53"/>'
    )
    header = fits_cards_from_xisf(carrier)
    assert header.pop("DATE-OBS") == "2025-01-02T03:04:05"  # with it astropy warns of MJD-OBS
    # PixInsight counts from the corner: (1.5, 4.5) is the centre of column 1, row 4 from the top.
    np.testing.assert_allclose(sky(header, 4, 1), [83.8, -5.4], rtol=0, atol=1e-10)
    assert sky(header, 3, 1)[1] > -5.4  # north is up, and rows count downwards
    assert header["OBJECT"] == "M 42"
    assert (header["EXPTIME"], header["FOCALLEN"]) == (120, 530.0)


def test_zeros_of_the_border_are_put_back_before_the_rows_are_flipped(field):
    border = np.zeros((H, W, 1), bool)
    border[0] = True
    image = replace(field(fits.Header()), zero_border=border)
    image.pixels[0] = np.nan
    pixels, _, _ = to_xisf(image)
    assert (pixels[-1] == 0).all()
    assert np.isnan(image.pixels[0]).all()
