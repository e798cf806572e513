"""Point-spread functions that vary over a frame, and PSFEx's models."""

import numpy as np
import pytest
from astropy.io import fits

from bgrem.cataloguing.psf import fit_profiles
from bgrem.cataloguing.varying import own_profiles, psfex_profiles
from bgrem.frame.sources import Frame
from bgrem.frame.stars import PointSpread, measure_point_spread

SHAPE = (768, 768)
NOISE = 1.0


def width_at(x):
    """Return the FWHM at a column: 2.6 to 4.4 px."""
    return 2.6 + 1.8 * x / SHAPE[1]


@pytest.fixture(scope="module")
def frame():
    import galsim

    rng = np.random.default_rng(4)
    y, x = (part.ravel() for part in np.mgrid[24:744:40, 24:744:40] + 0.0)
    x, y = x + rng.uniform(-4, 4, x.size), y + rng.uniform(-4, 4, y.size)
    flux = 10 ** rng.uniform(2.7, 4, x.size)
    image = galsim.Image(np.zeros(SHAPE), xmin=0, ymin=0)
    for one in zip(x, y, flux, strict=True):
        stamp = galsim.Image(61, 61, dtype=float)
        stamp.setCenter(round(one[0]), round(one[1]))
        star = galsim.Moffat(beta=3.0, fwhm=width_at(one[0]), flux=one[2])
        star.drawImage(stamp, scale=1.0, center=galsim.PositionD(one[0], one[1]))
        common = stamp.bounds & image.bounds
        image[common] += stamp[common]
    light = image.array.copy()
    signal = light + rng.normal(0, NOISE, SHAPE)
    return Frame.of(signal, light, np.full(SHAPE, NOISE), None), x, y, flux


def fitted(frame, **given):
    found, x, y, flux = frame
    spread = measure_point_spread(found.signal, found.missing)
    return fit_profiles(found, x, y, spread, **given)[0].flux / flux, x, flux > 1500


def test_profiles_follow_the_stars_over_the_frame(frame):
    found = frame[0]
    spread = measure_point_spread(found.signal, found.missing)
    profiles = own_profiles(found.signal, found.missing, None, spread)
    left, right = profiles.near(300, 100).width(), profiles.near(300, 600).width()
    # each profile is that of the middle of its part
    assert right - left == pytest.approx(width_at(576) - width_at(192), rel=0.15)


def test_fluxes_hold_on_both_sides_of_a_frame_whose_stars_vary(frame):
    ratio, x, bright = fitted(frame)
    for side in (x < 384, x >= 384):
        assert np.median(ratio[side & bright]) == pytest.approx(1, abs=0.02)


def test_one_profile_for_all_would_not_do(frame):
    found = frame[0]
    spread = measure_point_spread(found.signal, found.missing)
    from bgrem.cataloguing.profile import Profile
    from bgrem.cataloguing.varying import Profiles

    ratio, x, bright = fitted(frame, given=Profiles(Profile.of(spread)))
    sides = [np.median(ratio[side & bright]) for side in (x < 384, x >= 384)]
    assert sides[0] / sides[1] > 1.05


def test_equal_stars_have_one_profile():
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:400, :400]
    signal = rng.normal(0, 1, (400, 400))
    for row in range(20, 400, 50):
        for column in range(20, 400, 50):
            signal += 300 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4.5)
    missing = np.zeros(signal.shape, bool)
    spread = measure_point_spread(signal, missing)
    assert own_profiles(signal, missing, None, spread).at is None


def write_psf(path, fwhm, *, middle=384.0, slope=0.0, names=("X_IMAGE", "Y_IMAGE")):
    """Write a model as PSFEx does: a constant, and what changes with x."""
    import galsim

    def draw(width):
        seen = galsim.Convolve(galsim.Moffat(beta=3.0, fwhm=width), galsim.Pixel(1.0))
        return seen.drawImage(nx=75, ny=75, scale=0.5, method="no_pixel").array * 4

    mask = np.zeros((3, 75, 75), np.float32)
    mask[0] = draw(fwhm)
    mask[1] = (draw(fwhm + slope) - draw(fwhm - slope)) / 2 if slope else 0
    column = fits.Column("PSF_MASK", f"{mask.size}E", dim="(75,75,3)", array=mask[None])
    table = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    table.header.update({
        "POLNAXIS": 2, "POLGRP1": 1, "POLNAME1": names[0], "POLZERO1": middle, "POLSCAL1": 384.0,
        "POLGRP2": 1, "POLNAME2": names[1], "POLZERO2": middle, "POLSCAL2": 384.0, "POLNGRP": 1,
        "POLDEG1": 1, "PSF_FWHM": fwhm, "PSF_SAMP": 0.5, "PSFNAXIS": 3, "PSFAXIS1": 75,
        "PSFAXIS2": 75, "PSFAXIS3": 3,
    })  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def test_a_model_of_psfex_gives_the_fluxes(frame, tmp_path):
    path = write_psf(tmp_path / "stars.psf", width_at(384), slope=0.9)
    spread = PointSpread(width_at(384), 3.0)
    ratio, x, bright = fitted(frame, given=psfex_profiles(path, SHAPE, spread))
    for side in (x < 384, x >= 384):
        assert np.median(ratio[side & bright]) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fwhm": 7.0}, "wide at half maximum"),
        ({"fwhm": 3.5, "middle": 3000.0}, "is of a frame around x 3000"),
        ({"fwhm": 3.5, "names": ("MAG_AUTO", "Y_IMAGE")}, "is no model that PSFEx wrote"),
    ],
)
def test_a_model_of_another_frame_is_refused_in_one_line(tmp_path, changes, words):
    path = write_psf(tmp_path / "stars.psf", **changes)
    with pytest.raises(ValueError, match=words) as caught:
        psfex_profiles(path, SHAPE, PointSpread(3.5, 3.0))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no model", "SIMPLE  =                    T"])
def test_what_is_no_model_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "stars.psf"
    path.write_text(text)
    with pytest.raises(ValueError, match="is no model that PSFEx wrote"):
        psfex_profiles(path, SHAPE, None)
