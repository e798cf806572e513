"""Skies that no mesh follows: waves, steps of the level, correlated noise."""

import numpy as np
import pytest
from scipy import ndimage

from bgrem.denoising.flow import denoise
from bgrem.frame.background import Statistics, whole_image_statistics
from bgrem.frame.noise import neighbour_correlation, pixel_noise, smoothed_noise
from bgrem.frame.sky.border import border_light
from bgrem.frame.sky.remainder import with_remainder
from bgrem.frame.sky.steps import level_steps
from bgrem.simulate.optical import simulate_field
from common.smooth.quadratic import local_quadratic

SHAPE = (320, 400)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def grid(shape=SHAPE):
    return np.mgrid[: shape[0], : shape[1]].astype(float)


def stars(rng, number, shape=SHAPE, flux=1500.0):
    light = np.zeros(shape)
    rows, columns = (rng.integers(0, side, number) for side in shape)
    np.add.at(light, (rows, columns), rng.exponential(flux, number))
    return ndimage.gaussian_filter(light, 1.4, mode="constant")


def test_the_local_surface_is_the_weighted_fit_around_each_place(rng):
    y, x = grid((96, 120))
    pixels = 3 * np.sin(y / 11) * np.cos(x / 17) + rng.normal(0, 0.2, y.shape)
    free = rng.uniform(size=y.shape) < 0.6
    scale = 9.0
    surface = local_quadratic(pixels, free, scale)
    for row, column in ((0, 0), (40, 61), (95, 30), (70, 119)):
        dy, dx = y - row, x - column
        root = np.sqrt(free * np.exp(-(dy**2 + dx**2) / (2 * scale**2)))
        terms = np.stack([np.ones_like(dy), dy, dx, dy**2, dy * dx, dx**2], -1)
        design = (root[..., None] * terms).reshape(-1, 6)
        fitted = np.linalg.lstsq(design, (root * pixels).ravel(), rcond=None)[0][0]
        # sums of blocks in place of pixels, a reach of 3.5 scales, a little stiffness at the corner
        corner = row in (0, 95) or column in (0, 119)
        assert surface[row, column] == pytest.approx(fitted, abs=0.2 if corner else 0.06)


def test_the_local_surface_goes_on_over_holes_without_an_edge(rng):
    y, x = grid()
    sky = 5 * np.sin(x / 60) + 0.02 * y
    free = np.hypot(y - 150, x - 200) > 90
    surface = local_quadratic(np.where(free, sky, 1e6), free, 14.0)
    assert np.abs(surface - sky)[free].max() < 0.3
    assert np.abs(surface - sky).max() < 6
    assert np.abs(np.diff(surface, axis=1)).max() < 0.4


@pytest.mark.parametrize("shape", [(1, 50), (3, 3), (5, 200), (64, 64)])
def test_the_local_surface_has_any_size(shape):
    surface = local_quadratic(np.full(shape, 7.0), np.ones(shape, bool), 14.0)
    assert np.allclose(surface, 7, atol=1e-6)
    assert not local_quadratic(np.full(shape, 7.0), np.zeros(shape, bool), 14.0).any()


@pytest.mark.parametrize("height", [-30.0, 2.0])
@pytest.mark.parametrize("turned", [False, True])
def test_a_strip_of_another_level_is_found(rng, height, turned):
    y, x = grid()
    sky = 0.02 * x + 3 * np.sin(y / 50)
    strip = np.where(x < 24, height, 0)
    pixels = sky + strip + stars(rng, 300) + rng.normal(0, 1, SHAPE)
    missing = np.zeros(SHAPE, bool)
    missing[:, 200:210] = True
    if turned:
        pixels, missing, strip = pixels.T, missing.T, strip.T
    across, down = level_steps(pixels, missing)
    found = across + down[:, None]
    assert np.abs(found - strip)[~missing].max() < 0.5


def test_what_is_smooth_or_narrow_is_no_step(rng):
    y, x = grid()
    noise = rng.normal(0, 1, SHAPE)
    glow = 200 * np.exp(-x / 25)
    trails = [100 * np.exp(-((y - 160) ** 2) / (2 * width**2)) for width in (1, 3, 5, 8, 30)]
    bad_columns = np.where(np.abs(x - 300) < 2, 50.0, 0.0)
    border = np.where(x < 2, -20.0, 0.0)
    nothing = np.zeros(SHAPE, bool)
    for sky in (glow, *trails, bad_columns, border, 0.5 * x, 20 * np.sin(x / 20)):
        assert not any(one.any() for one in level_steps(sky + noise, nothing))
    assert not any(one.any() for one in level_steps(np.rint(0.7 * noise), nothing))


def test_correlated_noise_has_its_own_width_after_smoothing(rng):
    white = rng.normal(0, 1, (600, 600))
    nothing = np.zeros(white.shape, bool)
    for own in (0.6, 1.0):
        noise = ndimage.gaussian_filter(white, own, mode="wrap")
        noise /= noise.std()
        correlation = neighbour_correlation(noise, nothing)
        assert correlation == pytest.approx(np.exp(-1 / (4 * own**2)), abs=0.08)
        assert pixel_noise(noise, nothing) / np.sqrt(1 - correlation) == pytest.approx(1, abs=0.05)
        for scale in (1.5, 5.0):
            smoothed = ndimage.gaussian_filter(noise, scale, mode="wrap").std()
            assert smoothed_noise(scale, correlation) == pytest.approx(smoothed, rel=0.12)
    for unknown in (0.0, -0.2, float("nan")):
        assert smoothed_noise(2.0, unknown) == pytest.approx(1 / (4 * np.sqrt(np.pi)))


def test_resampled_noise_does_not_lower_the_background(rng):
    noise = ndimage.gaussian_filter(rng.normal(0, 1, (512, 512)), 0.6)
    noise /= noise.std()
    found = whole_image_statistics(100 + noise + stars(rng, 300, noise.shape))
    assert abs(np.median(found.background) - 100) < 0.05  # 0.2 too low if taken for white
    assert np.median(found.sigma) == pytest.approx(1, abs=0.06)


def test_a_sky_that_wanders_by_many_sigma_is_followed(rng):
    sky = ndimage.gaussian_filter(rng.normal(size=(512, 512)), 60, mode="wrap")
    sky *= 20 / np.abs(sky).max()
    pixels = 9000 + sky + stars(rng, 600, sky.shape) + rng.normal(0, 1, sky.shape)
    found = whole_image_statistics(pixels)
    error = found.background - 9000 - sky
    assert np.sqrt(np.mean(error**2)) < 0.15
    assert abs(error.mean()) < 0.05
    assert np.median(found.sigma) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("slope", [0.0, 0.75])
def test_the_noise_of_coarse_integers_is_that_of_their_steps(rng, slope):
    x = np.linspace(0, 1, 384)
    pixels = np.rint(rng.normal(0, 0.25, (384, 384)) + 10 + slope * x)
    true = np.std(pixels - 10 - slope * x)
    found = whole_image_statistics(pixels)
    assert np.isfinite(found.background).all()
    assert 0.5 * true < np.median(found.sigma) < 2 * true


@pytest.mark.parametrize("wide", [20, 50, 80])
def test_a_border_of_one_value_does_not_lower_the_noise(rng, wide):
    pixels = np.full((512, 512), 37.0)
    inside = np.s_[wide:-wide, wide:-wide]
    pixels[inside] = rng.normal(100, 5, pixels[inside].shape)
    found = whole_image_statistics(pixels)
    assert found.sigma[240:270, 240:270].mean() == pytest.approx(5, rel=0.1)


def test_missing_columns_have_the_level_of_their_part(rng):
    pixels = rng.normal(0, 1, SHAPE)
    pixels[:, :300] += 30
    missing = np.zeros(SHAPE, bool)
    missing[:, 195:205] = True
    across, down = level_steps(pixels, missing)
    found = across + down[:, None]
    assert np.abs(found[:, 195:205] - found[:, 194:195]).max() == 0


def test_a_small_mesh_is_followed_too(rng):
    sky = 5 * np.sin(np.arange(256) / 12)
    pixels = sky + rng.normal(0, 1, (256, 256))
    assert np.isfinite(whole_image_statistics(pixels, mesh=8).background).all()


def test_few_pixels_have_no_correlation_and_no_warning(rng, recwarn):
    scaled = np.zeros((64, 64))
    scaled[:3, :3] = rng.normal(size=(3, 3))
    missing = scaled == 0
    assert np.isnan(neighbour_correlation(scaled, missing))
    assert smoothed_noise(2.0, 1.0) <= 1
    assert not recwarn.list


def test_a_strip_leaves_no_trace_in_the_background(rng):
    pixels = 500 + stars(rng, 400) + rng.normal(0, 1, SHAPE)
    strip = pixels.copy()
    strip[:, :32] -= 30
    plain, found = (whole_image_statistics(one).background for one in (pixels, strip))
    plain[:, :32] -= 30
    assert np.abs(found - plain).max() < 0.3


def test_what_the_network_removes_smoothly_is_sky(rng):
    _, x = grid()
    left, light = 0.2 + 0.3 * x / SHAPE[1], stars(rng, 40, flux=300.0)
    scaled = light + left + rng.normal(size=SHAPE)
    missing = (x > 100) & (x < 110)
    found = Statistics(np.full(SHAPE, 50.0, np.float32), np.full(SHAPE, 4.0, np.float32))
    scaled[missing] = 1e4
    better = with_remainder(found, scaled, light, missing)
    error = better.background - 50 - 4 * left
    assert np.abs(error).max() < 4 * 0.1
    assert np.abs(error).mean() < 4 * 0.03
    assert np.array_equal(better.sigma, found.sigma)


def test_a_frame_full_of_light_keeps_its_background(rng):
    found = Statistics(np.full(SHAPE, 50.0, np.float32), np.ones(SHAPE, np.float32))
    scaled = 5 + rng.normal(size=SHAPE)
    better = with_remainder(found, scaled, np.full(SHAPE, 4.0), np.zeros(SHAPE, bool))
    assert np.array_equal(better.background, found.background)


def test_the_background_of_a_dense_field_is_nearer_to_the_truth_after_the_network():
    field = simulate_field(shape=(256, 256), seed=5, stars=6000, fwhm=3.5)
    before = whole_image_statistics(field.observed)
    done = denoise(field.observed, steps=1)
    first, then = (np.mean((sky - field.background) / before.sigma)
                   for sky in (before.background, done.background.pixels[..., 0]))  # fmt: skip
    assert abs(then) < abs(first) / 2


@pytest.mark.parametrize("turns", range(4))
def test_the_glow_of_an_amplifier_is_sky(rng, turns):
    y, x = grid((400, 400))
    glow = 150 * np.exp(-x / 25 - ((y - 200) / 90) ** 2)
    sky = np.rot90(1000 + 10 * glow, turns)
    pixels = sky + 10 * (stars(rng, 60, sky.shape, 300.0) + rng.normal(size=sky.shape))
    error = (whole_image_statistics(pixels).background - sky) / 10
    assert np.sqrt(np.mean(error**2)) < 0.4  # without the border's own sky 10
    assert np.abs(error).max() < 10  # 128


def test_a_galaxy_at_the_border_is_no_glow(rng):
    y, x = grid((400, 400))
    galaxy = 300 * np.exp(-np.hypot(x - 30, 2 * (y - 200)) / 20)
    pixels = 1000 + 10 * (galaxy + rng.normal(size=galaxy.shape))
    found = whole_image_statistics(pixels)
    assert np.abs(found.background - 1000).max() < 10 * 2


def test_dense_stars_and_nebulae_are_no_glow(rng):
    structure = ndimage.gaussian_filter(rng.normal(size=SHAPE), 20)
    rest = 8 * structure / structure.std() + rng.normal(size=SHAPE)
    assert border_light(rest, rest, np.zeros(SHAPE, bool)) is None
    assert border_light(rest, np.full(SHAPE, np.nan), np.ones(SHAPE, bool)) is None
