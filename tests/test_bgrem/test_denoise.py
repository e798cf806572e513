"""`denoise`: what holds for every model, and what the default model does."""

import numpy as np
import pytest

from bgrem.config import DenoiseConfig
from bgrem.denoising.flow import denoise
from bgrem.denoising.residual import residual_of, restore_pixels
from bgrem.inference.run import fill_missing
from bgrem.models import load_model
from bgrem.networks.gpu import DeviceWarning
from common.image import AstroImage


@pytest.fixture(scope="module")
def tiny(tiny_model):
    return load_model(tiny_model)


def run(pixels, tiny, **settings):
    return denoise(pixels, model=tiny, **({"tile": 64, "overlap": 16, "steps": 2} | settings))


def test_the_three_parts_sum_to_the_input_exactly(starfield, tiny):
    done = run(starfield[0], tiny)
    again = restore_pixels(done.result.pixels, done.background.pixels, done.residual.pixels)
    assert np.array_equal(again[..., 0], starfield[0])


def test_wide_pixels_and_dark_skies_come_back_too():
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 1e-3, (50, 50)).astype(np.float32)
    result = rng.exponential(5, (50, 50)).astype(np.float32)
    background = rng.normal(0, 1, (50, 50)).astype(np.float32)
    residual = residual_of(pixels, result, background)
    assert residual.dtype == np.float64
    assert np.array_equal(restore_pixels(result, background, residual), pixels)


def test_strength_zero_returns_the_input_bit_for_bit(starfield, tiny):
    done = run(starfield[0], tiny, strength=0.0)
    assert np.array_equal(done.result.pixels[..., 0], starfield[0])


def test_half_the_strength_lies_half_way(starfield, tiny):
    full, half = (run(starfield[0], tiny, strength=s).result.pixels for s in (1.0, 0.5))
    assert half[..., 0] == pytest.approx((full[..., 0] + starfield[0]) / 2, rel=1e-4)


def test_clipped_results_are_never_negative_and_unclipped_ones_are_the_same_above(starfield, tiny):
    clipped, free = (run(starfield[0], tiny, clip=c).result.pixels for c in (True, False))
    assert clipped.min() == 0
    assert free.min() < 0
    assert np.array_equal(clipped, np.maximum(free, 0))


def test_missing_pixels_stay_missing_and_do_not_spread(starfield, tiny):
    pixels = starfield[0].copy()
    pixels[40:60, 50] = np.nan
    pixels[0] = np.inf
    done = run(pixels, tiny)
    assert np.array_equal(np.isnan(done.result.pixels[..., 0]), ~np.isfinite(pixels))
    assert np.isfinite(done.background.pixels).all()


def test_holes_are_filled_with_light_of_the_neighbours_and_noise():
    scaled = np.full((60, 60), 20.0, np.float32)
    missing = np.zeros(scaled.shape, bool)
    missing[:, 30] = True
    filled = fill_missing(np.where(missing, np.nan, scaled), missing)
    assert filled[missing].mean() == pytest.approx(20, abs=0.6)
    assert 0.7 < filled[missing].std() < 1.3
    assert np.array_equal(filled[~missing], scaled[~missing])


def test_the_input_is_not_changed(starfield, tiny):
    pixels = starfield[0].copy()
    run(pixels, tiny)
    assert np.array_equal(pixels, starfield[0])


def test_colours_are_denoised_one_by_one(starfield, tiny):
    planes = np.stack([starfield[0], 2 * starfield[0], starfield[0] + 50], -1)
    done = run(AstroImage(planes), tiny)
    alone = run(planes[..., 1], tiny)
    assert done.result.shape == planes.shape
    assert np.array_equal(done.result.pixels[..., 1], alone.result.pixels[..., 0])


def test_the_same_input_gives_identical_pixels(starfield, tiny):
    first, second = (run(starfield[0], tiny).result.pixels for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("shape", [(17, 23), (64, 64), (48, 200), (112, 112), (130, 150)])
def test_any_shape_is_denoised(shape, tiny):
    pixels = np.random.default_rng(0).normal(100, 5, shape)
    assert run(pixels, tiny).result.shape[:2] == shape


def test_units_do_not_matter(starfield, tiny):
    plain, scaled = (run(starfield[0].astype(float) * f, tiny).result.pixels for f in (1, 1e-12))
    # sigma and background are float32
    assert scaled * 1e12 == pytest.approx(plain, rel=1e-2, abs=0.05)


def test_a_given_factor_replaces_the_measured_noise(starfield, tiny):
    done = run(starfield[0], tiny, normalisation=0.25)
    assert np.array_equal(np.unique(done.sigma), [4.0])


def test_pixels_under_the_minimum_are_lifted(starfield, tiny):
    pixels = starfield[0].copy()
    pixels[10, 10] = -1e6
    lifted = run(pixels, tiny, minimum=700.0).result.pixels
    expected = np.maximum(pixels, 700)
    assert np.array_equal(lifted, run(expected, tiny).result.pixels)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("ResourceExhaustedError", ""),
        ("MemoryError", ""),  # of NumPy, and of exported networks
        ("XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."),
        ("JaxRuntimeError", "RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."),
    ],
)
def test_when_memory_runs_out_batches_then_tiles_get_smaller(
    starfield, tiny, monkeypatch, kind, text
):
    from bgrem.inference import run as module

    seen = []

    def exhausted(scaled, plan, function, *, batch_size, progress):
        seen.append((plan.tile, batch_size))
        if len(seen) < 3:
            raise MemoryError if kind == "MemoryError" else type(kind, (Exception,), {})(text)
        return scaled

    monkeypatch.setattr(module, "map_tiles", exhausted)
    with pytest.warns(DeviceWarning) as lines:
        run(starfield[0], tiny, tile=512, batch_size=4)
    assert [str(line.message) for line in lines] == [
        "the memory is too small for 4 x 512 px at once: tiles of 512 px one by one",
        "the memory is too small for 1 x 512 px at once: tiles of 256 px one by one",
    ]
    assert seen == [(512, 4), (512, 1), (256, 1)]


def test_pixels_stay_the_same_where_memory_runs_out_in_the_network(starfield, tiny):
    whole, predict, seen = run(starfield[0], tiny, batch_size=4).result.pixels, tiny.predict, []

    def exhausted(tiles, variance):
        seen.append(len(tiles))
        if len(tiles) > 1:
            raise MemoryError
        return predict(tiles, variance)

    with pytest.MonkeyPatch.context() as patch, pytest.warns(DeviceWarning, match="one by one"):
        patch.setattr(tiny, "predict", exhausted)
        parts = run(starfield[0], tiny, batch_size=4).result.pixels
    assert seen[:2] == [4, 1]
    assert parts == pytest.approx(whole, rel=1e-4, abs=1e-3)  # float32 in another order


def test_an_error_that_only_has_the_word_in_its_text_is_not_tried_again(
    starfield, tiny, monkeypatch
):
    from bgrem.inference import run as module

    def broken(*args, **options):
        raise ValueError("no ROOM left")

    monkeypatch.setattr(module, "map_tiles", broken)
    with pytest.raises(ValueError, match="ROOM"):
        run(starfield[0], tiny, tile=512, batch_size=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"strength": 1.5}, "strength"),
        ({"normalisation": -1.0}, "positive"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        DenoiseConfig(**settings)
