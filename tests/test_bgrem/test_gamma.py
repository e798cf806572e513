import dataclasses

import numpy as np
import pytest

from bgrem import DenoiseConfig, denoise
from bgrem.config import TrainConfig
from bgrem.denoising.binning import bin_counts, unbin
from bgrem.frame.counts import MIN_LEVEL, counts_statistics, source_width
from bgrem.simulate.gamma import GammaPatch, king_profile, simulate_patch
from bgrem.training.denoise import simulated_counts_field

SHAPE = (48, 64)


@pytest.fixture(scope="module")
def patch() -> GammaPatch:
    return simulate_patch(5, SHAPE, latitude=30.0, exposure=1.0)


def test_the_same_seed_gives_the_same_pixels(patch):
    again = simulate_patch(5, SHAPE, latitude=30.0, exposure=1.0)
    other = simulate_patch(6, SHAPE, latitude=30.0, exposure=1.0)
    for name in ("observed", "sources", "emission"):
        assert getattr(patch, name).shape == SHAPE
        np.testing.assert_array_equal(getattr(patch, name), getattr(again, name))
        assert not np.array_equal(getattr(patch, name), getattr(other, name))


def test_counts_are_whole_and_nothing_is_negative(patch):
    assert (patch.observed == np.rint(patch.observed)).all()
    assert min(patch.observed.min(), patch.sources.min()) >= 0
    assert patch.emission.min() > 0


@pytest.mark.parametrize("latitude", [0.0, 70.0])
def test_counts_scatter_about_sources_and_emission_as_poisson_says(latitude):
    deviations = []
    for seed in range(8):
        one = simulate_patch(seed, latitude=latitude)
        expected = one.sources.astype(float) + one.emission
        deviations.append((one.observed - expected) / np.sqrt(expected))
    pixels = np.concatenate([one.ravel() for one in deviations])
    assert abs(pixels.mean()) < 4 / np.sqrt(pixels.size)
    assert pixels.var() == pytest.approx(1, abs=0.05)  # 4 times its error for 3 counts per pixel


def test_the_profile_holds_68_percent_within_its_radius():
    profile = king_profile(2.4)
    y, x = np.indices(profile.shape) - profile.shape[0] // 2
    fine = king_profile(2.4, subpixel=9)
    v, u = (np.indices(fine.shape) - fine.shape[0] // 2) / 9
    assert fine[np.hypot(u, v) < 2.4].sum() == pytest.approx(0.68, abs=0.01)
    assert 0.99 < profile.sum() < 1  # the wings reach past the stamp
    assert abs((profile * x).sum()) < 1e-9 and abs((profile * y).sum()) < 1e-9


def test_the_sources_are_those_of_the_catalogue():
    one = simulate_patch(3, latitude=60.0)
    bright = np.argmax(one.catalogue["flux"])
    x, y = (round(float(one.catalogue[name][bright])) for name in ("x", "y"))
    peak = np.unravel_index(np.argmax(one.sources), one.sources.shape)
    assert abs(peak[0] - y) <= 1 and abs(peak[1] - x) <= 1
    # sources outside reach in, wings of those inside reach out: alike, not the same
    assert one.sources.sum() == pytest.approx(one.catalogue["flux"].sum(), rel=0.3)


def test_the_plane_is_brighter_than_the_poles():
    plane, pole = (
        np.mean([simulate_patch(seed, latitude=b).emission.mean() for seed in range(6)])
        for b in (0.0, 80.0)
    )
    assert plane > 4 * pole
    assert 1 < pole < 10  # counts per pixel in ten years


def test_an_emission_model_takes_the_place_of_the_simulated_one(tmp_path):
    from astropy.io import fits

    ramp = np.tile(np.linspace(5, 20, 31), (21, 1))
    fits.writeto(tmp_path / "model.fits", np.stack([ramp, 9 * ramp]))
    ours = simulate_patch(1, iem=tmp_path / "model.fits", exposure=1.0)
    np.testing.assert_array_equal(ours.emission, simulate_patch(1, iem=ramp, exposure=1.0).emission)
    assert (np.diff(ours.emission.mean(0)) > 0).all()
    with pytest.raises(ValueError, match="negative"):
        simulate_patch(1, iem=-ramp)


@pytest.mark.parametrize("level", [0.1, 3.0, 100.0])
def test_the_level_of_counts_ignores_sources(level):
    rng = np.random.default_rng(1)
    expected = np.full((96, 96), level)
    expected[40:56, 40:56] += 60 * np.sqrt(level) * king_profile(2.3)[17:33, 17:33] / 0.2
    found = counts_statistics(rng.poisson(expected).astype(np.float32))
    # 4 times the Poisson error of 450 px, and what the wings leave
    assert np.abs(found.background / level - 1).max() < 0.1 + 4 / np.sqrt(450 * level)
    np.testing.assert_allclose(found.sigma**2, found.background, rtol=1e-5)


def test_empty_maps_have_a_level_and_negative_ones_are_refused():
    assert counts_statistics(np.zeros((64, 64))).background.max() == pytest.approx(MIN_LEVEL)
    with pytest.raises(ValueError, match="negative"):
        counts_statistics(np.random.default_rng(0).normal(size=(64, 64)))


def test_a_training_field_adds_up_to_the_observed_counts():
    field = simulated_counts_field(9, (64, 64))
    total = field.clean + field.background
    assert field.electrons is None and total.dtype == np.float32
    assert abs(np.median(total)) < 1 and 0.7 < total.std()


def test_the_config_trains_on_simulated_counts(tmp_path):
    from bgrem.training.checkpoint import TrainingState
    from bgrem.training.run import describe
    from bgrem.training.tasks import load_fields, make_batches

    config = TrainConfig.read("gamma")
    assert (config.network, config.tile) == ("gamma", 64)
    small = dataclasses.replace(config, fields=2, validation_fields=1, field_shape=(64, 64))
    found, validation = load_fields(small, tmp_path, lambda line: None)
    assert len(found) == 2 and len(validation) == 1
    assert not np.array_equal(found[0].clean, found[1].clean)
    inputs, background = make_batches(small, found, 0, 1, vary=True)[0]
    assert inputs[0].shape == background.shape == (16, 64, 64, 1)
    assert describe(small, TrainingState())["background"] == "poisson"


def test_the_packaged_model_denoises_maps_larger_than_its_tile():
    from bgrem.denoising.flow import denoise
    from bgrem.models import load_model

    model = load_model("gamma")
    assert model.description["background"] == "poisson" and model.description["tile"] == 64
    patch = simulate_patch(123, (80, 112), latitude=-40.0)
    done = denoise(patch.observed, model=model, steps=1)
    result = done.result.pixels[..., 0]
    flat = patch.observed - np.median(patch.observed)
    error = np.sqrt(np.mean((result - patch.sources) ** 2))
    assert error < 0.5 * np.sqrt(np.mean((flat - patch.sources) ** 2))
    assert result.mean() == pytest.approx(patch.sources.mean(), rel=0.25)  # one patch


def counts_with_sources(fwhm, level=0.5, shape=(192, 200), number=60, seed=3):
    """Return a counts map with Gaussian sources, and what was expected of it."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    expected = np.zeros(shape)
    for _ in range(number):
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        profile = np.exp(-4 * np.log(2) * ((y - row) ** 2 + (x - column) ** 2) / fwhm**2)
        expected += 60 * profile / (1.133 * fwhm**2)
    return rng.poisson(expected + level).astype(np.float32), expected


@pytest.mark.parametrize("fwhm", [1.5, 3.0, 6.0])
def test_the_width_of_sources_is_read_from_the_correlation_of_the_counts(fwhm):
    # its own error at six pixels, where few sources overlap much, is a twentieth
    assert source_width(counts_with_sources(fwhm)[0]) == pytest.approx(fwhm, rel=0.1)


def test_no_photon_or_no_source_has_no_width_that_asks_for_sums():
    rng = np.random.default_rng(0)
    assert source_width(np.zeros((64, 64))) == 0
    assert source_width(np.full((64, 64), np.nan)) == 0
    assert source_width(rng.poisson(3, (20, 20))) == 0
    assert source_width(rng.poisson(3, (128, 128)).astype(float)) == 0


@pytest.mark.parametrize("shape", [(8, 12), (9, 13)])
def test_sums_keep_the_counts_and_go_back_to_pixels(shape):
    y, x = np.indices(shape)
    plane = (5 + np.sin(y / 4) + np.cos(x / 5)).astype(np.float32)
    sums = bin_counts(plane, 2)
    assert sums.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    assert sums[0, 0] == pytest.approx(plane[:2, :2].sum())
    fine = unbin(sums, 2, shape)
    assert fine.shape == shape
    np.testing.assert_allclose(fine[2:-2, 2:-2], plane[2:-2, 2:-2], rtol=0.02)


def test_a_missing_pixel_makes_its_sum_missing():
    plane = np.ones((6, 6), np.float32)
    plane[1, 2] = np.nan
    assert np.argwhere(np.isnan(bin_counts(plane, 2))).tolist() == [[0, 1]]


def test_wide_sources_are_denoised_in_sums_and_come_out_nearer_to_the_truth():
    observed, expected = counts_with_sources(6.0)
    settings = {"config": DenoiseConfig(model="gamma", steps=2)}
    sums = denoise(observed, **settings)
    single = denoise(observed, binning=1, **settings)
    assert (sums.binning, single.binning) == (2, 1)

    def error(done):
        return np.sqrt(np.mean((done.result.pixels[..., 0] - expected) ** 2))

    assert error(sums) < 0.8 * error(single)
    assert sums.result.pixels.min() >= 0
    total = sum(part.pixels for part in (sums.result, sums.background, sums.residual))
    np.testing.assert_allclose(total[..., 0], observed, atol=1e-4)
    noise = [np.median(done.sigma) for done in (sums, single)]
    assert noise[0] == pytest.approx(noise[1], rel=0.1)


def test_sums_are_refused_of_images_that_are_no_counts():
    with pytest.raises(ValueError, match="--binning 2: only for counts maps"):
        denoise(np.random.default_rng(0).normal(size=(64, 64)), binning=2)
