"""The catalogue's automatic threshold: what correlated noise raises, and what does not."""

import numpy as np
import pytest
from scipy import ndimage

from bgrem import Denoised, catalog, denoise
from bgrem.cataloguing.threshold import WHITE_NOISE_THRESHOLD, find_threshold
from bgrem.frame import sextractor_run
from bgrem.frame.sources import Frame
from bgrem.models import load_model
from bgrem.simulate.optical import simulate_field
from common.image import AstroImage

SIGMA = 7.0  # ADU
HALF_PIXEL = np.outer((0.4, 0.6), (0.4, 0.6))  # resampling by linear interpolation


def convolved(noise, kernel):
    """Return noise as resampling leaves it, its standard deviation kept."""
    return ndimage.convolve(noise, kernel / np.sqrt((kernel**2).sum()), mode="wrap")


def white_noise(seed, shape=(512, 512)):
    return np.random.default_rng(seed).normal(0, SIGMA, shape)


def frame_of(noise, clean=0.0):
    clean = np.broadcast_to(np.asarray(clean, float), noise.shape)
    return Frame.of(noise + clean, clean, np.full(noise.shape, SIGMA), None)


def perfectly_denoised(clean):
    image = AstroImage(clean[..., None])
    nothing = image.with_pixels(0 * image.pixels)
    return Denoised(image, nothing, nothing, np.full_like(image.pixels, SIGMA))


@pytest.mark.parametrize("seed", [63_020, 63_021])
def test_white_noise_keeps_the_threshold_of_one_sigma(seed):
    found = find_threshold(frame_of(white_noise(seed)))
    assert found.sigma == WHITE_NOISE_THRESHOLD
    assert found.origin == "independent noise, as measured"


def test_the_threshold_rises_with_the_correlation_of_the_noise():
    noise = white_noise(63_022)
    wide = np.outer(*[np.exp(-0.5 * (np.arange(-3, 4) / 0.65) ** 2)] * 2)
    medians = [find_threshold(frame_of(convolved(noise, k))).median for k in (HALF_PIXEL, wide)]
    assert medians == pytest.approx([1.69, 1.93], abs=0.1)  # of four meshes


def test_faint_and_bright_sources_are_not_taken_for_correlated_noise():
    field = simulate_field(shape=(512, 512), seed=63_023, stars=2000.0)
    sigma = float(np.std(field.noise[field.sources < 1]))
    frame = Frame.of(
        field.sources + field.noise, np.where(field.sources > 0.3 * sigma, field.sources, 0),
        np.full(field.noise.shape, sigma), None,
    )  # fmt: skip
    assert np.max(find_threshold(frame).sigma) < 1.1


def test_only_the_part_of_a_frame_with_correlated_noise_gets_a_higher_threshold():
    noise = white_noise(63_024, (512, 1024))
    noise[:, 512:] = convolved(noise[:, 512:], HALF_PIXEL)
    noise[:40] = np.nan
    found = find_threshold(frame_of(noise)).sigma
    assert found.shape == noise.shape
    assert np.median(found[:, :256]) == WHITE_NOISE_THRESHOLD
    assert np.median(found[:, -256:]) > 1.35


def test_a_frame_without_empty_sky_keeps_one_sigma_and_says_so():
    found = find_threshold(frame_of(convolved(white_noise(63_025), HALF_PIXEL), 5 * SIGMA))
    assert found.sigma == WHITE_NOISE_THRESHOLD
    assert "too little sky" in found.origin


@pytest.mark.parametrize("engine", ["sep", "sextractor"])
def test_the_catalogue_uses_the_threshold_and_says_it(engine):
    if engine == "sextractor" and sextractor_run.find_sextractor() is None:
        pytest.skip(f"SExtractor: {sextractor_run.INSTALL_SEXTRACTOR}")
    y, x = np.mgrid[:512, :512]
    star = np.exp(-((x % 64 - 32) ** 2 + (y % 64 - 32) ** 2) / 8.0)
    clean = 1.3 * SIGMA * star  # above one sigma, below the threshold of this noise
    noise = convolved(white_noise(63_026), HALF_PIXEL)
    done = perfectly_denoised(clean)
    automatic, given = (
        catalog(noise + clean, done=done, engine=engine, threshold=value).table
        for value in (None, 1.0)
    )
    assert len(automatic) == 0
    assert len(given) == 64
    assert automatic.meta["THRESHLO"] <= automatic.meta["THRESH"] <= automatic.meta["THRESHHI"]
    assert automatic.meta["THRESH"] == pytest.approx(1.69, abs=0.1)
    assert automatic.meta["origin"]["threshold"] == "the correlation of the noise"
    assert given.meta["THRESH"] == 1.0
    assert "THRESHLO" not in given.meta
    assert given.meta["origin"]["threshold"] == "--threshold"


@pytest.mark.slow
def test_correlated_noise_gives_few_false_sources_with_the_network():
    noise = convolved(white_noise(63_027, (640, 640)), HALF_PIXEL) + 1000
    done = denoise(noise, model=load_model("optical"))
    # sigma is that of the correlated noise, so one sigma leaves some 10 per megapixel, 0.8 some 30
    found, low = (len(catalog(noise, done=done, threshold=t).table) for t in (None, 0.8))
    assert low > 6
    assert found <= 3


def test_errors_of_fluxes_grow_where_the_noise_is_correlated():
    """The scatter of apertures is larger there than the root of the pixels' number."""
    white = find_threshold(frame_of(white_noise(63_040)))
    assert np.max(white.inflation) == 1
    noise = convolved(white_noise(63_041), HALF_PIXEL)
    found = find_threshold(frame_of(noise), given=2.0)
    assert found.sigma == 2.0
    sums = ndimage.uniform_filter(noise, 5)[::7, ::7] * 25
    scatter = sums.std() / (5 * noise.std())
    assert np.median(found.inflation) == pytest.approx(scatter, rel=0.15)
