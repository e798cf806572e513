"""Large frames: blocks of rows and samples give what the whole frame gives, in less memory."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from bgrem import (
    catalog,
    denoise,
    denoised_uncertainty,
    enhance,
    load_calibration,
    noisemap,
    simulate_field,
)
from bgrem.config import DenoiseConfig, EnhanceConfig, NoiseMapConfig
from bgrem.denoising.residual import residual_of, restore_pixels
from bgrem.frame.background import whole_image_statistics
from bgrem.inference.run import fill_missing
from bgrem.inference.tiling import TilePlan, map_tiles
from bgrem.models import Model, read_description
from bgrem.simulate.staring import simulate_staring_frame
from common import scratch
from common.image import AstroImage
from common.io import read_image, write_image
from common.reading.missing import find_missing

SHAPE = (420, 300)


@pytest.fixture(scope="module")
def pixels():
    """A field with a gradient, waves, and a hole."""
    field = simulate_field(shape=SHAPE, seed=60_907, stars=4000).observed.astype(np.float32)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    noise = np.std(np.diff(field[:, :40], axis=1)) / 1.4
    field += (noise * (0.02 * y + 1.5 * np.sin(x / 30))).astype(np.float32)
    field[100:130, 50:90] = np.nan
    return field


@pytest.fixture
def blocks(monkeypatch):
    """Every array of the frame is a large one, and is worked on in many blocks."""
    monkeypatch.setattr(scratch, "MAX_MEMORY_BYTES", 1 << 14)
    monkeypatch.setattr(scratch, "MAX_BLOCK_PIXELS", 50 * SHAPE[1])


def test_the_background_is_the_same_in_blocks(pixels, request):
    whole = whole_image_statistics(pixels)
    request.getfixturevalue("blocks")
    parts = whole_image_statistics(pixels)
    assert np.array_equal(parts.background, whole.background)
    assert np.array_equal(parts.sigma, whole.sigma)


def test_samples_change_the_background_by_little_of_the_noise(pixels, request, monkeypatch):
    whole = whole_image_statistics(pixels)
    request.getfixturevalue("blocks")
    monkeypatch.setattr(scratch, "MAX_SAMPLE_PIXELS", pixels.size // 2)
    monkeypatch.setattr(scratch, "SAMPLE_BAND_ROWS", 42)
    parts = whole_image_statistics(pixels)
    # a mesh of 64 x 64 px, half of it masked, knows its own level to 0.03 of the noise
    change = np.abs(parts.background - whole.background) / whole.sigma
    assert 0 < np.median(change) < 0.1
    assert np.allclose(parts.sigma, whole.sigma, rtol=0.03)


def test_holes_are_filled_the_same_in_blocks(pixels, request):
    missing = ~np.isfinite(pixels)
    whole = fill_missing(pixels, missing, seed=4)
    request.getfixturevalue("blocks")
    assert np.array_equal(fill_missing(pixels, missing, seed=4), whole)


def test_tiles_of_a_large_image_give_what_those_of_a_small_one_give(request):
    image = np.random.default_rng(2).normal(0, 1, (333, 201)).astype(np.float32)
    plan = TilePlan(image.shape, 96, 32)
    whole = map_tiles(image, plan, lambda tiles: 2 * tiles, batch_size=3)
    assert np.allclose(whole, 2 * image, atol=1e-6)
    request.getfixturevalue("blocks")
    assert np.array_equal(map_tiles(image, plan, lambda tiles: 2 * tiles, batch_size=3), whole)


def test_the_residual_restores_the_input_in_blocks(pixels, blocks):
    frame, zero = pixels[..., None], np.zeros((*SHAPE, 1), np.float32)
    for result in (zero, zero + 1e-3, np.nan_to_num(frame) / 3):
        result = np.where(np.isfinite(frame), result, np.nan).astype(np.float32)
        residual = residual_of(frame, result, zero)
        assert np.array_equal(restore_pixels(result, zero, residual), frame, equal_nan=True)


def test_missing_pixels_are_found_the_same_in_blocks(pixels, request):
    frame = np.nan_to_num(pixels, nan=-5e4)[..., None]
    frame[:12] = 0
    frame[:, 200] = 7.0
    whole = find_missing(frame, "border")
    assert whole[0].any() and whole[1].any()
    request.getfixturevalue("blocks")
    parts = find_missing(frame, "border")
    assert parts[2] == whole[2]
    assert all(np.array_equal(one, other) for one, other in zip(parts[:2], whole[:2], strict=True))


def test_a_file_is_read_and_written_the_same_in_blocks(pixels, tmp_path, request):
    write_image(tmp_path / "whole.fits", AstroImage(pixels))
    request.getfixturevalue("blocks")
    image = read_image(tmp_path / "whole.fits")
    assert np.array_equal(image.pixels[..., 0], pixels, equal_nan=True)
    assert np.array_equal(image.missing[..., 0], ~np.isfinite(pixels))
    write_image(tmp_path / "blocks.fits", AstroImage(image.pixels))
    assert (tmp_path / "blocks.fits").read_bytes() == (tmp_path / "whole.fits").read_bytes()


class Softened:
    """A network's stand-in: what a Gaussian takes off; its pixels do not depend on the tiles."""

    compute_dtype = "float32"

    def predict_on_batch(self, inputs):
        return np.stack([one - ndimage.gaussian_filter(one, (1, 1, 0)) for one in inputs[0]])


def model_of(name):
    return Model(name, Softened(), read_description(name))


def test_an_enhanced_frame_is_the_same_in_blocks(pixels, request):
    def run():
        return enhance(pixels, EnhanceConfig(gain=1.0), model=model_of("hst")).result.pixels

    whole = run()
    request.getfixturevalue("blocks")
    # what goes back to stars is found by Fourier transforms of other sizes
    np.testing.assert_allclose(run(), whole, rtol=1e-6)


def test_a_catalogue_is_the_same_in_blocks(pixels, request):
    def run():
        saturate = float(np.nanquantile(pixels, 0.9999))
        found = catalog(
            pixels, denoising=DenoiseConfig(steps=1), model=model_of("optical"), gain=1.2,
            saturate=saturate,
        )  # fmt: skip
        return found.table, found.segmentation

    table, segmentation = run()
    assert (table["FLAGS"] & 2).any()  # blends, which a watershed parts
    request.getfixturevalue("blocks")
    again, segments = run()
    assert np.array_equal(segments, segmentation)
    for name in table.colnames:
        # Fourier transforms of blocks add in another order; most columns are exactly the same
        assert np.allclose(again[name], table[name], rtol=1e-9, atol=0, equal_nan=True), name


@pytest.mark.parametrize("seed", [5, 6], ids=["round stars", "streaks"])
def test_a_noise_map_is_the_same_in_blocks(seed, request):
    frame = simulate_staring_frame(seed, (300, 280))
    noise = np.random.default_rng(1).normal(0, 1, frame.structure.shape)
    pixels = (frame.structure + noise * frame.sigma).astype(np.float32)
    pixels[50:53, 20:40] = np.nan

    def run():
        config = NoiseMapConfig(eta=0.3, ddim_steps=2)
        done = noisemap(pixels, config, model=model_of("streaks"))
        return [getattr(done, name).pixels for name in ("residual", "deviation", "rms", "streaks")]

    whole = run()
    assert (np.nanmax(whole[-1]) > 0) == (seed == 6)
    request.getfixturevalue("blocks")
    for parts, one in zip(run(), whole, strict=True):
        assert np.array_equal(parts, one, equal_nan=True)


def test_half_widths_are_the_same_in_blocks(pixels, request):
    description = read_description("optical")
    config = DenoiseConfig(keep="sources", max_sigma=8.0)
    done = denoise(pixels, config, model=model_of("optical"), twin=True)
    calibration = load_calibration(DenoiseConfig(), description)
    whole = denoised_uncertainty(done, calibration)
    assert done.capped.any() and np.isnan(whole).any()
    request.getfixturevalue("blocks")
    assert np.array_equal(denoised_uncertainty(done, calibration), whole, equal_nan=True)


CHILD = """
import resource, sys, threading
import numpy as np
from common import scratch
import sep, scipy.interpolate, scipy.ndimage
from bgrem.frame.background import whole_image_statistics
side = int(sys.argv[1])
# all sizes a sixteenth of the usual ones
scratch.MAX_MEMORY_BYTES, scratch.MAX_SAMPLE_PIXELS, scratch.MAX_BLOCK_PIXELS = (
    1 << 22, 1 << 20, 1 << 18)
rng, pixels = np.random.default_rng(0), scratch.empty((side, side), np.float32)
for rows in scratch.row_blocks(pixels.shape, pixels):
    pixels[rows] = rng.standard_normal(pixels[rows].shape, np.float32)
found = whole_image_statistics(pixels)
assert abs(float(np.median(scratch.sample_of(found.sigma))) - 1) < 0.02
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss in kB")
def test_the_background_of_a_large_frame_takes_twelve_bytes_a_pixel_more_at_most():
    # One plane of float32, masks and what `sep` gives are in memory at a time. float64 copies of
    # the frame, of which there were five, would be 8 bytes a pixel each
    peaks = [
        int(subprocess.run(
            [sys.executable, "-c", CHILD, str(side)], check=True, capture_output=True, text=True
        ).stdout) for side in (1500, 3500)
    ]  # fmt: skip
    assert peaks[1] - peaks[0] < 12 * (3500**2 - 1500**2)
