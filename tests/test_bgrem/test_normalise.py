"""The smooth background and the noise of the whole image."""

import numpy as np
import pytest
from scipy import ndimage

from bgrem.frame.background import paper_factor, whole_image_statistics


def gradient_field(strength, shape=(400, 500), seed=0, stars=150):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    background = 5000 * (1 + strength * (x / shape[1] - 0.5)) + 30 * np.sin(y / 90)
    light = np.zeros(shape)
    for _ in range(stars):
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        light += rng.exponential(2000) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 5)
    return background + light + rng.normal(0, 50, shape), background


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strong_gradients_are_followed_to_a_tenth_of_the_noise(strength):
    observed, background = gradient_field(strength)
    found = whole_image_statistics(observed)
    error = (found.background - background) / 50
    assert abs(np.median(error)) < 0.05
    assert error.std() < 0.12
    assert np.median(found.sigma) == pytest.approx(50, rel=0.03)


def test_a_galaxy_is_not_taken_for_background():
    observed, background = gradient_field(0.02, stars=0)
    y, x = np.mgrid[:400, :500]
    galaxy = 500 * np.exp(-np.hypot(y - 200, x - 250) / 15)
    found = whole_image_statistics(observed + galaxy)
    eaten = (found.background - background).clip(0)[galaxy > 5].sum()
    assert eaten < 0.03 * galaxy.sum()


def test_a_lower_level_of_the_source_mask_leaves_less_light_in_the_background():
    rng = np.random.default_rng(5)
    pixels = rng.normal(100, 1, (400, 400))
    y, x = np.mgrid[:400, :400]
    for row, column in rng.uniform(0, 400, (300, 2)):  # stars near the noise
        pixels += 2 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
    levels = [np.mean(whole_image_statistics(pixels, mask_sigma=sigma).background)
              for sigma in (1.5, 2.0, 3.0)]  # fmt: skip
    assert 99.9 < levels[0] < levels[1] < levels[2]


def test_forward_and_inverse_belong_together():
    observed, _ = gradient_field(0.1)
    found = whole_image_statistics(observed)
    again = found.inverse(found.forward(observed)) + found.background
    assert np.allclose(again, observed, rtol=1e-5)


def test_missing_pixels_do_not_count():
    observed, background = gradient_field(0.05)
    holed = observed.copy()
    holed[100:200, 150:300] = np.nan
    found = whole_image_statistics(holed)
    assert np.isfinite(found.background).all()
    outside = np.isfinite(holed)
    assert ((found.background - background)[outside] / 50).std() < 0.15


@pytest.mark.parametrize("shape", [(5, 5), (1, 40), (20, 300), (33, 17)])
def test_small_images_have_statistics_too(shape):
    noise = np.random.default_rng(0).normal(10, 2, shape)
    found = whole_image_statistics(noise)
    assert found.background.shape == shape
    assert found.sigma.min() > 0


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "no pixel is measured"), (3.0, "constant")]
)
def test_images_without_noise_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        whole_image_statistics(np.full((50, 50), value))


def test_the_published_factor_leaves_out_zeros_negatives_and_the_brightest_tenth():
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 2, 9000)
    pixels = np.concatenate([values, np.full(1000, 1e6), np.zeros(500), np.full(500, -50.0)])
    kept = np.sort(np.concatenate([values, np.full(1000, 1e6)]))[:9000]
    assert paper_factor(pixels) == pytest.approx(1 / kept.std(), rel=1e-3)


def test_the_noise_has_the_image_s_unit_where_sources_cover_nearly_everything():
    # no mesh has enough free pixels: without a scale the library below answers 1, whatever the unit
    rng = np.random.default_rng(4)
    stars = 1e3 * rng.exponential(1, (128, 128)) * (rng.uniform(size=(128, 128)) < 0.005)
    pixels = ndimage.gaussian_filter(stars, 1.5) + rng.normal(0, 1, stars.shape)
    assert np.median(whole_image_statistics(1e-5 * pixels).sigma) == pytest.approx(1e-5, rel=0.5)


def test_waves_of_a_bright_sky_are_not_taken_for_sources():
    # crests of 2 sigma, 200 px wide, and a corner that no cubic polynomial follows
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:512, :512] / 512
    sky = 2 * np.sin(9 * (y + 0.3 * x)) + 8 * np.exp(-np.hypot(y - 1, x) / 0.15)
    pixels = 1000 + sky + rng.normal(0, 1, sky.shape)
    error = whole_image_statistics(pixels).background - 1000 - sky
    assert error.std() < 0.3
