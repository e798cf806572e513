"""What the default weights of the package do, on fields they have not seen."""

import numpy as np
import pytest

from bgrem.config import DenoiseConfig
from bgrem.denoising.flow import denoise
from bgrem.frame import detect
from bgrem.inference.run import load_for
from bgrem.simulate.optical import simulate_field
from bgrem.validation import metrics


@pytest.fixture(scope="module")
def model():
    return load_for(DenoiseConfig())


@pytest.fixture(scope="module")
def field():
    return simulate_field(seed=61_000, shape=(320, 320), stars=2000.0, faint_structures=0.0)


@pytest.fixture(scope="module")
def done(field, model):
    return denoise(field.observed, model=model)


def test_most_of_the_noise_is_gone_and_the_sources_stay(field, done):
    sigma = done.sigma[..., 0]
    before = np.abs(field.observed - field.background - field.sources) / sigma
    after = np.abs(done.result.pixels[..., 0] - field.sources) / sigma
    assert after.mean() < 0.2 * before.mean()


def test_more_sources_are_found_at_as_many_false_ones(field, done):
    import sep

    truth, allowed = field.catalogue, 0.02 * metrics.listed_number(field.catalogue)
    pixels = field.observed.astype(float)
    sky = sep.Background(pixels)
    noise = (
        sky.rms() * np.sqrt((detect.SEXTRACTOR_KERNEL**2).sum()) / detect.SEXTRACTOR_KERNEL.sum()
    )
    plain = metrics.roc_curve(
        lambda t: detect.detect_with_sep(pixels - sky.back(), t, noise=noise), truth, field.fwhm,
        (12, 1.2),
    )  # fmt: skip
    result, sigma = done.result.pixels[..., 0], done.sigma[..., 0]
    ours = metrics.roc_curve(
        lambda t: detect.detect_with_sep(result, t, noise=sigma, **detect.DENOISED_OPTIONS), truth,
        field.fwhm, (12, 0.02),
    )  # fmt: skip
    gain = metrics.true_at_false(ours, allowed) / metrics.true_at_false(plain, allowed)
    assert gain > 1.05  # larger fields give 1.1 to 1.2


def test_less_is_seen_in_pure_noise_than_without(model):
    empty = simulate_field(
        seed=61_001, shape=(512, 512), stars=1e-3, galaxies=0.0, faint_structures=0.0
    )
    done = denoise(empty.observed, model=model)
    found = detect.detect_with_sep(
        done.result.pixels[..., 0], 1.0, noise=done.sigma[..., 0], **detect.DENOISED_OPTIONS
    )
    pixels = empty.observed - empty.background
    # where more stars are found than without
    without = detect.detect_with_sep(pixels, 1.0, noise=float(pixels.std()))
    assert len(found) < 0.2 * len(without)


def test_tiles_leave_no_seams(field, model, done):
    tiled = denoise(field.observed, model=model, tile=128, clip=False)
    whole = denoise(field.observed, model=model, clip=False)
    apart = (tiled.result.pixels - whole.result.pixels) / whole.sigma
    # pooling grids of tiles are shifted against each other: 0.005 anywhere
    assert apart.std() < 0.02


def test_the_light_of_a_bright_galaxy_is_kept(model):
    y, x = np.mgrid[:256, :256]
    galaxy = 60 * np.exp(-np.hypot(y - 128, (x - 128) / 0.7) / 6)
    observed = 500 + galaxy + np.random.default_rng(0).normal(0, 7, galaxy.shape)
    result = denoise(observed, model=model).result.pixels[..., 0]
    near = np.hypot(y - 128, x - 128) < 25
    assert result[near].sum() == pytest.approx(galaxy[near].sum(), rel=0.1)
