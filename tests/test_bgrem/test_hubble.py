"""Simulated Hubble fields: conditions, light, and the exposures made of it."""

import numpy as np
import pytest

from bgrem.simulate import hubble
from bgrem.simulate.hubble_scene import (
    HUBBLE_MARGIN_PX,
    PROFILE_CUT_SIGMA,
    PUPIL_GRID,
    WFC3_SATURATION,
    HubblePointSpread,
    Scene,
)
from bgrem.simulate.optical import STAMP_PX, WIDE_STAMP_PX

SHAPE = (96, 128)
SEED = 61_000


@pytest.fixture(scope="module")
def psf():
    """The point-spread function of one field."""
    return HubblePointSpread(np.random.default_rng(SEED))


@pytest.fixture
def one_psf(psf, monkeypatch):
    """Fields that share a point-spread function, which takes most of a small field's time."""
    monkeypatch.setattr(hubble, "HubblePointSpread", lambda rng: psf)


def test_the_same_seed_gives_the_same_pixels():
    first, second = (hubble.simulate_hubble_field(SEED, SHAPE) for _ in range(2))
    other = hubble.simulate_hubble_field(SEED + 1, SHAPE)
    assert first.kind == second.kind and first.exposure == second.exposure
    np.testing.assert_array_equal(first.sources, second.sources)
    np.testing.assert_array_equal(first.sky, second.sky)
    assert other.exposure != first.exposure


@pytest.mark.usefixtures("one_psf")
@pytest.mark.parametrize("kind", hubble.HUBBLE_KINDS)
def test_light_of_every_kind_is_finite_positive_and_not_above_saturation(kind):
    field = hubble.simulate_hubble_field(SEED + 2, SHAPE, kind=kind)
    assert field.kind == kind and field.sources.shape == field.sky.shape == SHAPE
    assert field.sources.dtype == field.sky.dtype == np.float32
    assert np.isfinite(field.sources).all() and field.sources.min() >= 0
    assert field.sources.max() > 0 and field.sky.min() > 0
    electrons = (field.sources.astype(float) + field.sky) * field.exposure
    assert electrons.max() <= WFC3_SATURATION * (1 + 1e-6)  # float32
    x, y = field.catalogue["x"], field.catalogue["y"]
    assert (abs(x - 63.5) <= 64).all() and (abs(y - 47.5) <= 48).all()
    assert (field.catalogue["flux"] > 0).all()
    assert set(field.catalogue["kind"]) <= {"star", "galaxy"}


@pytest.mark.usefixtures("one_psf")
def test_seeds_draw_every_kind_and_conditions_over_their_whole_range():
    fields = [hubble.simulate_hubble_field(SEED + 10 + k, (16, 16)) for k in range(40)]
    assert {field.kind for field in fields} == set(hubble.HUBBLE_KINDS)
    for values, (low, high) in (
        ([field.exposure for field in fields], hubble.EXPOSURE_RANGE),
        ([np.median(field.sky) for field in fields], hubble.SKY_RANGE),
    ):
        # the sky's tilt and waves change its median by a few per cent
        assert low * 0.95 < min(values) < low * 1.5 and high / 1.5 < max(values) < high * 1.05


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"unknown kind of field 'comet'.*deep"):
        hubble.simulate_hubble_field(SEED, SHAPE, kind="comet")


def test_a_long_exposure_has_the_noise_of_its_electrons_dark_current_and_read_out():
    light, seconds = np.full((400, 400), 0.05), 1000.0
    long = hubble.long_exposure(light, seconds, np.random.default_rng(SEED))
    expected = 50 + hubble.WFC3_DARK_CURRENT * seconds + hubble.WFC3_READ_NOISE**2
    # five standard errors of 160,000 pixels
    assert long.mean() == pytest.approx(50, abs=5 * np.sqrt(expected / light.size))
    assert long.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / light.size))


@pytest.mark.parametrize("ratio", [2, 5])
def test_a_short_exposure_has_the_moments_of_equation_four(ratio):
    rng = np.random.default_rng(SEED + ratio)
    seconds, light = 2000.0, 0.2
    long = hubble.long_exposure(np.full((400, 400), light), seconds, rng)
    short = hubble.short_exposure(long, ratio, seconds, rng)
    dark, read = hubble.WFC3_DARK_CURRENT * seconds, hubble.WFC3_READ_NOISE**2
    own = light * seconds / ratio + dark / ratio + read
    from_long = (light * seconds + dark + read) / ratio**2
    assert short.mean() == pytest.approx(long.mean() / ratio, abs=5 * np.sqrt(own / short.size))
    tolerance = 5 * np.sqrt(2 / short.size)
    assert short.var() == pytest.approx(own + from_long, rel=tolerance)
    # what it adds to the long exposure is independent of that one's noise
    assert (short - long / ratio).var() == pytest.approx(own, rel=tolerance)


def test_pixels_below_zero_give_no_photons():
    short = hubble.short_exposure(np.full((200, 200), -50.0), 2, 100.0, np.random.default_rng(SEED))
    assert abs(short.mean()) < 5 * hubble.WFC3_READ_NOISE / 200
    assert short.std() == pytest.approx(hubble.WFC3_READ_NOISE, rel=0.03)


def test_the_profile_is_as_wide_as_wfc3s_and_holds_all_light(psf):
    # 1.68 px at 600 nm by the handbook; fields differ by focus and jitter
    assert 1.4 < psf.fwhm < 2.2
    assert psf.wide[::2, ::2].sum() == pytest.approx(1, abs=1e-3)
    assert psf.stamp(0, 0, WIDE_STAMP_PX).sum() == pytest.approx(0.996, abs=0.003)
    assert psf.wide[PUPIL_GRID // 2, PUPIL_GRID // 2] == pytest.approx(
        psf.stamp(0, 0, STAMP_PX)[32, 32], rel=1e-3
    )


def test_four_spikes_stand_out_of_the_halo(psf):
    distance = 30  # px; the vanes' own pattern dims the spikes beyond
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    row, column = (
        np.rint(PUPIL_GRID // 2 + 2 * distance * f(angle)).astype(int) for f in (np.sin, np.cos)
    )
    ring = psf.wide[row, column]
    # one in each quarter, as the vanes are at right angles; rings alone vary by less than 2
    assert (ring.reshape(4, -1).max(1) > 4 * np.median(ring)).all()


def test_stars_have_their_flux_and_place_however_bright(psf):
    sigma = 5.0
    levels = [PROFILE_CUT_SIGMA * sigma / psf.edges[size] for size in (STAMP_PX, WIDE_STAMP_PX)]
    for flux in (levels[0] / 10, levels[1] / 2, levels[1] * 10):  # one for each size of stamp
        scene = Scene(SHAPE, psf, sigma)
        scene.add_stars(np.array([70.5]), np.array([40.0]), np.array([flux]))
        light = scene.render()
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        aperture = np.hypot(x - 70.5, y - 40) < 10
        share = light[aperture].sum() / flux
        assert share == pytest.approx(0.95, abs=0.03)
        window = light * np.exp(-((x - 70.5) ** 2 + (y - 40) ** 2) / 2)
        assert (window * x).sum() / window.sum() == pytest.approx(70.5, abs=0.05)
        assert (window * y).sum() / window.sum() == pytest.approx(40, abs=0.05)


def test_a_galaxy_has_its_flux_its_size_and_its_place(psf):
    scene = Scene(SHAPE, psf, 5.0)
    scene.add_galaxy(60.3, 45.6, 1000.0, 6.0, 1.0, 1.0, 0.0)
    u, v = scene.offsets(60.3, 45.6)
    assert scene.diffuse.sum() == pytest.approx(1000)
    assert scene.diffuse[np.hypot(u, v) < 6].sum() == pytest.approx(500, rel=0.02)
    light = scene.render()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    assert light.sum() == pytest.approx(1000, rel=0.02)  # some of the halo lies outside
    assert (light * x).sum() / light.sum() == pytest.approx(60.3, abs=0.3)
    assert (light * y).sum() / light.sum() == pytest.approx(45.6, abs=0.3)


def test_a_star_beyond_the_edge_shines_in_but_is_not_listed(psf):
    scene = Scene(SHAPE, psf, 5.0)
    scene.add_stars(np.array([-20.0]), np.array([50.0]), np.array([1e6]))
    assert scene.render()[50, 0] > 1
    assert len(scene.catalogue()["x"]) == 0
    assert HUBBLE_MARGIN_PX > 20
