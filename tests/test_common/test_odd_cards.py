"""Cards that are no FITS, numbers as text: read, or one line that names the card."""

import numpy as np
import pytest
from astropy.io import fits

from bgoptimizer.cli import main
from common import read_image, write_image
from common.header import header_of
from common.reading.notice import FileWarning
from common.xisf.convert import _odd_keyword

PIXELS = np.random.default_rng(1).normal(1000, 10, (40, 50)).astype(np.float32)


def raw(path, cards, pixels=PIXELS, first="SIMPLE  =                    T"):
    """Write a FITS file from cards as they are."""
    bitpix = {"f4": -32, "i2": 16, "i4": 32}[pixels.dtype.str[1:]]
    head = [
        first,
        f"BITPIX  = {bitpix:20d}",
        "NAXIS   =                    2",
        f"NAXIS1  = {pixels.shape[1]:20d}",
        f"NAXIS2  = {pixels.shape[0]:20d}",
        *cards,
        "END",
    ]
    text = "".join(card.ljust(80) for card in head).encode("latin-1")
    body = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(text + b" " * (-len(text) % 2880) + body + b"\0" * (-len(body) % 2880))
    return path


ODD = [
    "FILTER  = Ha",
    "BAYERPAT= RGGB",
    "GAIN    = 1,5",
    "OBJECT  = M 31 / the galaxy",
    "DATE-OBS= 2024-01-01T00:00:00",
    "EXPTIME = 300s",
    "CRVAL1  = 10:20:30",
    "EXTNAME = SCI",
    "EXTVER  = one",
    "EQUINOX = J2000",
    "CTYPE1  = RA---TAN",
    "BUNIT   = 'adu",
    "ZP      = nan",
]


@pytest.mark.parametrize("card", ODD)
def test_an_odd_card_counts_as_unknown_and_is_kept(tmp_path, card, capsys):
    path = raw(tmp_path / "night.fits", [card, "AIRMASS = 1.25"])
    with pytest.warns(FileWarning, match=r"night\.fits: cards that are no FITS") as found:
        image = read_image(path)
    assert len(found) == 1
    assert card in str(found[0].message)
    header = header_of(image)
    assert header["AIRMASS"] == 1.25
    assert card[:8].strip() not in header
    assert main([str(path), "-o", str(tmp_path / "r.fits")]) == 0
    assert card in capsys.readouterr().err
    assert card.ljust(80).encode() in (tmp_path / "r.fits").read_bytes()


def test_an_odd_card_goes_to_xisf_as_it_is(tmp_path):
    with pytest.warns(FileWarning):
        image = read_image(raw(tmp_path / "a.fits", ["FILTER  = Ha / a narrow one"]))
    write_image(tmp_path / "a.xisf", image)
    content = (tmp_path / "a.xisf").read_bytes()
    assert b'name="FILTER" value="Ha" comment="a narrow one"' in content


def test_control_characters_become_blanks(tmp_path):
    image = read_image(
        raw(tmp_path / "a.fits", ["OBSERVER= 'A\0\0\0\0\0\0\0'", "NOTE    = 'a\tb'"])
    )
    header = header_of(image)
    assert (header["OBSERVER"], header["NOTE"]) == ("A", "a b")
    assert header.tostring().isprintable()


@pytest.mark.parametrize(
    ("cards", "zero", "scale"),
    [
        (["BZERO   = '32768   '"], 32768, 1),
        (["BZERO   = ' 32768.0'", "BSCALE  = '1.0'"], 32768, 1),
        (["BZERO   = 3.2768D4", "BSCALE  = 5D-1"], 32768, 0.5),
    ],
)
def test_numbers_of_the_scaling_in_quotes(tmp_path, cards, zero, scale):
    stored = np.arange(-1000, 1000, dtype=np.int16).reshape(40, 50)
    image = read_image(raw(tmp_path / "a.fits", cards, stored))
    np.testing.assert_array_equal(image.pixels[..., 0], stored.astype(float) * scale + zero)


def test_a_blank_that_no_pixel_can_have(tmp_path):
    stored = np.arange(-1000, 1000, dtype=np.int16).reshape(40, 50)
    image = read_image(raw(tmp_path / "a.fits", ["BLANK   = 99999999999999999999"], stored))
    assert not image.missing.any()


def test_blank_in_quotes(tmp_path):
    stored = np.arange(-1000, 1000, dtype=np.int16).reshape(40, 50)
    image = read_image(raw(tmp_path / "a.fits", ["BLANK   = '-1000'"], stored))
    assert image.missing.sum() == 1


@pytest.mark.parametrize(
    "card",
    [
        "BZERO   = 32768,0",
        "BSCALE  = one",
        "BZERO   = nan",
        "BLANK   = 'none'",
        "BSCALE  = T",
    ],
)
def test_a_scaling_that_is_no_number_is_named(tmp_path, card):
    path = raw(tmp_path / "a.fits", [card], PIXELS.astype(np.int16))
    with pytest.raises(ValueError, match=rf"a\.fits: the card {card} has no number. Write it"):
        read_image(path)


@pytest.mark.parametrize("card", ["DATASUM = abc", "DATASUM = 'unknown'"])
def test_a_checksum_that_is_no_number(tmp_path, card):
    path = raw(tmp_path / "a.fits", [card])
    with pytest.raises(ValueError, match=r"a\.fits: HDU 0 .*: DATASUM is .*--no-verify"):
        read_image(path)
    assert read_image(path, verify=False).shape == (40, 50, 1)


def test_simple_false_is_read_and_kept(tmp_path):
    path = raw(tmp_path / "a.fits", ["OBJECT  = 'M 31'"], first="SIMPLE  =                    F")
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[..., 0], PIXELS)
    assert header_of(image)["OBJECT"] == "M 31"
    write_image(tmp_path / "b.fits", image)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "b.fits"), PIXELS)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("NAXIS1  =                   50", "NAXIS1  =                  'a'", "NAXIS1 = 'a'"),
        ("NAXIS1  =                   50", "NAXIS1  =                   -5", "NAXIS1 = -5"),
        ("NAXIS1  =                   50", "NAXIS1  =  9223372036854775807", "NAXIS1 = 92233"),
        ("NAXIS   =                    2", "NAXIS   =           2147483647", "NAXIS = 2147483647"),
        ("BITPIX  =                  -32", "BITPIX  =                   17", "BITPIX = 17"),
        ("NAXIS2  =                   40", "NAXIS2  =              4000000", "is truncated"),
    ],
)
def test_a_structure_that_cannot_be_is_named(tmp_path, old, new, wanted):
    path = raw(tmp_path / "a.fits", [])
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    with pytest.raises(ValueError, match=f"a.fits: .*{wanted}"):
        read_image(path)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("FILTER  = Ha / narrow", ("FILTER", "Ha", "narrow")),
        ("FILTER  = / narrow", ("FILTER", "", "narrow")),
    ],
)
def test_the_xisf_keyword_of_an_odd_card(card, expected):
    assert _odd_keyword(card.ljust(80).encode()) == expected


def test_a_damaged_end_card_is_named(tmp_path):
    path = raw(tmp_path / "a.fits", [])
    path.write_bytes(path.read_bytes().replace(b"END".ljust(80), b"END".ljust(40) + b"?" * 40))
    with pytest.raises(ValueError, match=r"a\.fits: the first header has a damaged END card"):
        read_image(path)
