"""Fluxes by the point-spread function: truth, blends, errors, stars and galaxies."""

import numpy as np
import pytest

from bgrem import catalog
from bgrem.cataloguing.profile import Profile
from bgrem.cataloguing.psf import fit_profiles
from bgrem.cataloguing.scatter import error_growth
from bgrem.denoising.flow import Denoised
from bgrem.frame.sources import Frame
from bgrem.frame.stars import PointSpread
from common import AstroImage

SPREAD = PointSpread(3.0, 3.0, (0.05, 0.0))
SHAPE = (300, 320)
SIGMA = 5.0


def draw(x, y, flux, profile=SPREAD.profile, shape=SHAPE):
    import galsim

    image = galsim.Image(np.zeros(shape), xmin=0, ymin=0)
    for one in zip(x, y, flux, strict=True):
        stamp = galsim.Image(91, 91, dtype=float)
        stamp.setCenter(round(one[0]), round(one[1]))
        place = galsim.PositionD(one[0], one[1])
        profile.withFlux(one[2]).drawImage(stamp, scale=1.0, center=place)
        common = stamp.bounds & image.bounds
        image[common] += stamp[common]
    return image.array.copy()


def frame_of(light, seed=0, noise=SIGMA):
    rng = np.random.default_rng(seed)
    signal = light + rng.normal(0, noise, light.shape)
    return Frame.of(signal, light, np.full(light.shape, max(noise, 1e-3)), None)


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(1)
    number = 150
    x, y = rng.uniform(15, SHAPE[1] - 15, number), rng.uniform(15, SHAPE[0] - 15, number)
    return x, y, 10 ** rng.uniform(2.5, 4.5, number)


def test_the_profile_is_that_of_the_pixels():
    light = draw([100.3], [80.7], [1.0])
    y, x = np.mgrid[70:92, 90:112]
    seen = Profile.of(SPREAD).at((y - 80.7).astype(float), (x - 100.3).astype(float))
    np.testing.assert_allclose(seen, light[70:92, 90:112], atol=2e-4)


def test_without_noise_fluxes_and_places_are_true(stars):
    x, y, flux = stars
    rng = np.random.default_rng(2)
    frame = frame_of(draw(x, y, flux), noise=0.01)
    start = x + rng.normal(0, 0.2, len(x)), y + rng.normal(0, 0.2, len(x))
    found, _ = fit_profiles(frame, *start, SPREAD)
    ratio = found.flux / flux
    assert np.median(np.abs(ratio - 1)) < 0.01
    assert np.median(np.hypot(found.x - x, found.y - y)) < 0.02


def test_errors_hold_in_noise(stars):
    x, y, flux = stars
    light, pulls = draw(x, y, flux), []
    for seed in range(3):
        found, _ = fit_profiles(frame_of(light, seed), x, y, SPREAD)
        pulls.append((found.flux - flux) / found.error)
    faint = np.concatenate([one[flux < 3000] for one in pulls])
    assert 0.8 < np.std(faint) < 1.2
    assert abs(np.mean(faint)) < 0.2
    chi2 = found.chi2[flux < 3000]
    assert 0.8 < np.median(chi2) < 1.2


def test_a_blend_is_shared_rightly():
    x, y, flux = np.array([100.0, 102.5]), np.array([100.0, 100.5]), np.array([4000.0, 2000.0])
    many = [fit_profiles(frame_of(draw(x, y, flux), seed), x + 0.2, y - 0.2, SPREAD)[0]
            for seed in range(30)]  # fmt: skip
    fluxes = np.array([one.flux for one in many])
    np.testing.assert_allclose(fluxes.mean(0), flux, rtol=0.03)
    # the error of one grows by that of the other
    alone = fit_profiles(frame_of(draw(x[:1], y[:1], flux[:1])), x[:1], y[:1], SPREAD)[0]
    assert many[0].error[0] > 1.1 * alone.error[0]
    assert 0.6 < np.std(fluxes[:, 0]) / np.mean([one.error[0] for one in many]) < 1.5


def test_correlated_noise_makes_larger_errors(stars):
    from scipy import ndimage

    x, y, flux = stars
    light = draw(x, y, flux)
    noise = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=SHAPE), 0.8)
    noise *= SIGMA / noise.std()
    frame = Frame.of(light + noise, light, np.full(SHAPE, SIGMA), None)
    found, _ = fit_profiles(frame, x, y, SPREAD)
    white, _ = fit_profiles(frame_of(light), x, y, SPREAD)
    assert np.median(found.error / white.error) > 1.4
    faint = flux < 3000
    assert 0.6 < np.std(((found.flux - flux) / found.error)[faint]) < 1.3


def test_spread_model_tells_galaxies_from_stars(stars):
    import galsim

    x, y, flux = stars
    galaxy = galsim.Convolve(galsim.Exponential(half_light_radius=2.5), SPREAD.profile)
    half = len(x) // 2
    light = draw(x[:half], y[:half], flux[:half]) + draw(x[half:], y[half:], flux[half:], galaxy)
    found, _ = fit_profiles(frame_of(light, noise=1.0), x, y, SPREAD)
    bright = flux > 3000
    stars_, galaxies = (found.spread[bright & part] for part in
                        (np.arange(len(x)) < half, np.arange(len(x)) >= half))  # fmt: skip
    assert np.median(np.abs(stars_)) < 0.003
    assert np.median(galaxies) > 0.008


def test_sources_at_the_edge_and_on_missing_pixels(stars):
    x, y, flux = stars
    light = draw(np.r_[x, 0.2, 319.4], np.r_[y, 150, 299.6], np.r_[flux, 5000, 5000])
    frame = frame_of(light)
    signal = frame.signal.copy()
    signal[100:104] = np.nan
    signal[200:240, 200:240] = np.nan
    holed = Frame.of(signal, light, frame.sigma, None)
    places = np.r_[x, 0.2, 319.4, 220], np.r_[y, 150, 299.6, 220]
    found, _ = fit_profiles(holed, *places, SPREAD)
    assert found.flux[len(x)] == pytest.approx(5000, rel=0.1)
    assert found.flux[len(x) + 1] == pytest.approx(5000, rel=0.2)
    assert not np.isfinite(found.error[-1])  # nothing was measured there


def test_blocks_agree(stars, monkeypatch):
    x, y, flux = stars
    frame = frame_of(draw(x, y, flux))
    whole, _ = fit_profiles(frame, x, y, SPREAD)
    monkeypatch.setattr("bgrem.cataloguing.psf.BLOCK_PX", 160)
    parts, _ = fit_profiles(frame, x, y, SPREAD)
    assert (np.abs(parts.flux - whole.flux) < 0.3 * whole.error).all()
    assert np.median(np.abs(parts.flux / whole.flux - 1)) < 1e-3


def test_the_catalogue_has_the_columns(stars):
    x, y, flux = stars
    light = draw(x, y, flux)
    rng = np.random.default_rng(0)
    pixels = (1000 + light + rng.normal(0, SIGMA, SHAPE)).astype(np.float32)
    image = AstroImage(pixels)
    done = Denoised(
        AstroImage(light[..., None]), AstroImage(np.full((*SHAPE, 1), 1000.0)),
        AstroImage((pixels - light)[..., None]), np.full((*SHAPE, 1), SIGMA),
    )  # fmt: skip
    table = catalog(image, done=done).table
    from scipy.spatial import cKDTree

    tree = cKDTree(np.column_stack([x, y]))
    distance, partner = tree.query(
        np.column_stack([table["XPSF_IMAGE"] - 1, table["YPSF_IMAGE"] - 1])
    )
    near = distance < 0.5
    assert near.sum() > 100
    assert np.median(table["FLUX_PSF"][near] / flux[partner[near]]) == pytest.approx(1, abs=0.02)
    magnitude = -2.5 * np.log10(table["FLUX_PSF"][near])
    np.testing.assert_allclose(table["MAG_PSF"][near], magnitude, rtol=1e-5)
    few = catalog(AstroImage(pixels[:60, :60]), done=Denoised(
        AstroImage(light[:60, :60, None]), AstroImage(np.full((60, 60, 1), 1000.0)),
        AstroImage((pixels - light)[:60, :60, None]), np.full((60, 60, 1), SIGMA),
    )).table  # fmt: skip
    assert ("FLUX_PSF" in few.colnames) or "no FLUX_PSF" in "; ".join(few.meta["notes"])


def test_a_level_that_no_source_has_is_taken_away(stars):
    x, y, flux = stars
    frame = frame_of(draw(x, y, flux))
    level = 0.4 * SIGMA
    lifted = Frame.of(frame.signal + level, frame.denoised, frame.sigma, None)
    plain, high = (fit_profiles(one, x, y, SPREAD)[0] for one in (frame, lifted))
    profile = Profile.of(SPREAD)
    steps = np.arange(-12.0, 13.0)
    area = 1 / (profile.at(*np.meshgrid(steps, steps)) ** 2).sum()  # px; level's part of a flux
    # stars that are clear of others would each have all of it; their profile keeps a little
    assert abs(np.median((high.flux - plain.flux)[flux < 1000])) < 0.3 * level * area


def test_errors_contain_the_light_of_stars_that_are_not_listed(stars):
    x, y, flux = stars
    rng = np.random.default_rng(5)
    number = 4000  # one in 24 px, each at half of the noise of a matched filter
    unlisted = draw(rng.uniform(0, SHAPE[1], number), rng.uniform(0, SHAPE[0], number),
                    rng.exponential(60.0, number))  # fmt: skip
    light = draw(x, y, flux)
    frame = Frame.of(
        light + unlisted + rng.normal(0, SIGMA, SHAPE), light, np.full(SHAPE, SIGMA), None
    )
    found, _ = fit_profiles(frame, x, y, SPREAD)
    plain, _ = fit_profiles(frame_of(light), x, y, SPREAD)
    faint = flux < 3000
    assert np.median((found.error / plain.error)[faint]) > 1.3
    pull = ((found.flux - flux) / found.error)[faint]
    assert 0.7 < np.std(pull) < 1.3
    assert abs(np.median(pull)) < 0.3  # and their mean is taken away


def test_a_galaxy_makes_no_star_s_error_larger():
    number = 60
    rng = np.random.default_rng(6)
    sources = {"flux": np.full(number, 100.0), "error": np.ones(number),
               "x": rng.uniform(0, 300, number), "y": rng.uniform(0, 300, number)}  # fmt: skip
    around = {name: np.ones(number) for name in ("left", "noise", "unlisted", "answer")}
    around["left"][7] = 400.0
    growth = error_growth(sources, around)
    assert growth[7] == pytest.approx(20, rel=0.01)
    assert np.delete(growth, 7) == pytest.approx(1)
