"""The domain guard: what a frame is like, what the card allows, what the command does with it."""

import json

import numpy as np
import pytest
from astropy.io import fits

from bgrem.cli import main
from bgrem.frame.domain import FrameProperties, check_domain, guard_domain, measure_frame
from bgrem.frame.stars import PointSpread, measure_point_spread
from bgrem.models import read_description
from bgrem.simulate.optical import simulate_field
from common.image import AstroImage
from common.io import read_image

CARD = {"domain": {"fwhm_px": [1.8, 6.0], "sky_electrons": [40, 20000],
                   "stars_above_5_sigma_per_megapixel": [200, 14000],
                   "noise_correlation_of_neighbours": [0, 0.68]}}  # fmt: skip


def field_of(**changes):
    return simulate_field(shape=(384, 384), faint_structures=0.0, **changes)


@pytest.fixture(scope="module")
def usual():
    return field_of(seed=63_000, stars=2000.0)


@pytest.mark.parametrize("fwhm", [2.2, 4.1, 7.5])
def test_the_width_of_the_stars_is_measured_to_a_tenth(fwhm):
    field = field_of(seed=63_010, stars=700.0, fwhm=fwhm)
    assert measure_frame(AstroImage(field.observed)).fwhm == pytest.approx(fwhm, rel=0.1)


def test_a_moffat_profile_gives_itself_back():
    truth = PointSpread(3.4, 2.8, (0.05, -0.03))
    rng = np.random.default_rng(63_020)
    frame = rng.normal(0, 1, (300, 300))
    for row, column in rng.integers(20, 280, (12, 2)):
        drawn = truth.profile.drawImage(nx=31, ny=31, scale=1.0).array * 5000
        frame[row - 15 : row + 16, column - 15 : column + 16] += drawn
    found = measure_point_spread(frame, np.zeros(frame.shape, bool))
    assert found.fwhm == pytest.approx(3.4, rel=0.02)
    assert found.beta == pytest.approx(2.8, rel=0.1)
    assert found.shear == pytest.approx((0.05, -0.03), abs=0.01)


def test_the_light_inside_a_circle_is_moffats_integral():
    spread = PointSpread(3.4, 2.8)
    squared = (8 / (3.4 / 2)) ** 2 * (2 ** (1 / 2.8) - 1)
    exact = 1 - (1 + squared) ** (1 - 2.8)
    assert spread.light_inside(8.0) == pytest.approx(exact, abs=0.003)  # the pixels smear it


def test_sky_in_electrons_comes_from_noise_gain_and_read_noise(tmp_path):
    usual = field_of(seed=63_070, stars=300.0, sky=600.0)
    instrument = usual.instrument
    header = fits.Header([("GAIN", instrument.gain), ("RDNOISE", instrument.read_noise)])
    fits.writeto(tmp_path / "a.fits", usual.observed, header)
    found = measure_frame(read_image(tmp_path / "a.fits"))
    truth = (np.median(usual.background) - instrument.bias) * instrument.gain
    assert found.sky_electrons == pytest.approx(truth, rel=0.15)


def test_a_gain_says_nothing_of_pixels_in_other_units(usual, tmp_path):
    fits.writeto(tmp_path / "a.fits", usual.observed, fits.Header([("GAIN", 2.0)]))
    fits.setval(tmp_path / "a.fits", "BUNIT", value="MJy/sr")
    assert np.isnan(measure_frame(read_image(tmp_path / "a.fits")).sky_electrons)


@pytest.mark.parametrize("correlated", [0.0, 0.5])
def test_correlated_noise_is_seen(correlated):
    white = np.random.default_rng(63_030).normal(0, 10, (402, 402))
    frame = (
        white
        if not correlated
        else 0.5
        * (white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, (1, 1), (0, 1)))
    )
    found = measure_frame(AstroImage(frame + 500))
    assert found.noise_correlation == pytest.approx(correlated, abs=0.04)


def test_a_usual_frame_is_inside_the_domain_of_the_default_model(usual):
    assert guard_domain(AstroImage(usual.observed), read_description("optical")) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"fwhm": 9.0, "stars": 500.0}, "FWHM"),
        ({"stars": 1e-3, "galaxies": 0.0}, "stars"),
    ],
)
def test_a_frame_outside_is_named_with_value_range_and_advice(changes, word):
    field = field_of(seed=63_040, **changes)
    lines = check_domain(measure_frame(AstroImage(field.observed)), CARD)
    line = next(one for one in lines if one.startswith(word))
    assert "trained for" in line
    assert "; " in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((300, 300)), np.full((100, 90), np.nan), np.ones((5, 5)), np.eye(64),
        np.random.default_rng(63_050).poisson(0.05, (300, 280)),
    ],
    ids=["zeros", "missing", "tiny", "line", "counts"],
)  # fmt: skip
def test_what_cannot_be_measured_is_not_compared(pixels):
    image = AstroImage(pixels)
    found = measure_frame(image)
    assert isinstance(found, FrameProperties)
    assert check_domain(found, CARD) == []
    assert guard_domain(image, {"domain": {"what": "a test"}}) is None
    assert guard_domain(image, {}) is None


@pytest.mark.parametrize(("counts", "inside"), [(0.05, True), (0.005, False)])
def test_counts_are_compared_by_their_mean_since_their_median_is_zero(counts, inside):
    pixels = np.random.default_rng(63_051).poisson(counts, (300, 280))
    lines = check_domain(
        measure_frame(AstroImage(pixels)), {"domain": {"counts_per_pixel": [0.03, 500]}}
    )
    assert (lines == []) is inside


def test_unknown_properties_raise_no_warning():
    assert check_domain(FrameProperties(), CARD) == []


def test_a_large_frame_with_an_empty_border_is_measured_where_it_has_pixels(usual):
    large = np.full((1600, 1600), np.nan, np.float32)
    large[300:1452, 300:1452] = np.tile(usual.observed, (3, 3))
    found = measure_frame(AstroImage(large))
    assert found.fwhm == pytest.approx(usual.fwhm, rel=0.1)


@pytest.fixture
def wide_frame(tmp_path):
    path = tmp_path / "wide.fits"
    fits.writeto(path, field_of(seed=63_060, fwhm=9.0, stars=700.0).observed)
    return path


@pytest.fixture
def guarded_model(tiny_model, tmp_path):
    """The model of random weights with a domain on its card."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    (folder / "weights.npz").write_bytes((tiny_model / "weights.npz").read_bytes())
    description = json.loads((tiny_model / "model.json").read_text("utf-8")) | CARD
    (folder / "model.json").write_text(json.dumps(description), "utf-8")
    return folder


def test_denoise_warns_in_a_line_and_in_the_header(wide_frame, guarded_model, tmp_path, capsys):
    out = tmp_path / "out.fits"
    arguments = ["--model", str(guarded_model), "-s", "1", "--tile", "64", "--overlap", "16"]
    assert main(["denoise", str(wide_frame), "-o", str(out), "--no-verdict", *arguments]) == 0
    lines = [one for one in capsys.readouterr().err.splitlines() if "warning" in one]
    assert len(lines) == 1
    assert "wide.fits: FWHM" in lines[0]
    assert fits.getheader(out)["BGDOMAIN"] == "outside: FWHM"


@pytest.mark.parametrize("command", ["denoise", "validate"])
def test_strict_refuses_and_writes_nothing(wide_frame, guarded_model, tmp_path, capsys, command):
    out = tmp_path / "folder"
    arguments = ["--model", str(guarded_model), "--strict", "-s", "1"]
    assert main([command, str(wide_frame), "-o", str(out), *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()
