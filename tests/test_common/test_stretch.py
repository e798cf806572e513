"""The stretch: known numbers, an exact inverse, and no silent loss."""

import numpy as np
import pytest

from common.screen import Stf, apply_stf, auto_stf
from common.stretch import MtfStretch, inverse_mtf, mtf


@pytest.fixture
def linear():
    """Three channels of a sky of 100 to 1100 units with different spreads, float64."""
    random = np.random.default_rng(3)
    return 100.0 + random.gamma(3.0, [20.0, 40.0, 90.0], (40, 50, 3))


def test_mtf_by_hand():
    # (1 - m) x / ((1 - 2m) x + m) with m = 0.2: 0.4 / (0.3 + 0.2) at x = 0.5
    np.testing.assert_allclose(mtf([0, 0.2, 0.5, 1], 0.2), [0, 0.5, 0.8, 1], rtol=1e-15)


def test_mtf_with_ratio_4_takes_the_midtones_to_a_quarter_by_hand():
    # m = 0.1: 0.9 x / (0.6 x + 0.3): 0.45 / 0.6 at x = 0.5
    np.testing.assert_allclose(mtf([0, 0.1, 0.5, 1], 0.1, 4), [0, 0.25, 0.75, 1], rtol=1e-15)


@pytest.mark.parametrize("ratio", [1.5, 2.0, 4.0, 10.0])
@pytest.mark.parametrize("midtones", [0.001, 0.1, 0.25, 0.5, 0.9])
def test_inverse_mtf_undoes_mtf(midtones, ratio):
    x = np.linspace(0, 1, 101)
    # the inverse is steep at 1 for small midtones: it magnifies rounding by up to 1 / m
    np.testing.assert_allclose(inverse_mtf(mtf(x, midtones, ratio), midtones, ratio), x, atol=1e-12)


@pytest.mark.parametrize("arguments", [(0.0,), (1.0,), (-0.2,), (np.nan,), (0.5, 1.0)])
def test_mtf_refuses_parameters_without_a_curve(arguments):
    with pytest.raises(ValueError, match="Received"):
        mtf(0.5, *arguments)


def test_mtf_keeps_float32():
    assert mtf(np.ones(3, np.float32), 0.3, 4.0).dtype == np.float32


def test_fit_by_hand():
    # values 10 … 110: minimum 10, median 60, 0.95 quantile 105
    pixels = np.arange(10.0, 111.0).reshape(101, 1, 1)
    stretch = MtfStretch.fit(pixels)
    assert stretch.pedestal == (10.0,)
    assert stretch.scale == pytest.approx((95.0,))
    assert stretch.midtones == pytest.approx((50 / 95,))
    stretched = stretch.forward(pixels)[:, 0, 0]
    assert stretched[50] == pytest.approx(0.25)
    assert (stretched[0], stretched[95], stretched[100]) == (0.0, pytest.approx(1.0), 1.0)


def test_quantile_and_target_are_parameters():
    pixels = np.arange(10.0, 111.0).reshape(101, 1, 1)
    stretch = MtfStretch.fit(pixels, quantile=0.8, target=0.4)
    assert stretch.scale == pytest.approx((80.0,))
    assert stretch.forward(pixels)[50, 0, 0] == pytest.approx(0.4)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize(
    # float32 pixels of 1000 have steps of 6e-5, a range of 200 makes that 3e-7
    ("dtype", "tolerance"),
    [(np.float64, 1e-13), (np.float32, 1e-6)],
)
def test_inverse_returns_every_pixel_that_was_not_clipped(linear, dtype, tolerance, linked):
    linear = linear.astype(dtype)
    stretch = MtfStretch.fit(linear, linked=linked)
    back = stretch.inverse(stretch.forward(linear))
    kept = ~np.any(stretch.clipped(linear)[:2], axis=0)
    assert back.dtype == dtype
    assert kept.mean() > 0.94
    for c in range(3):
        difference = np.abs(back - linear)[..., c][kept[..., c]]
        assert difference.max() < tolerance * stretch.scale[c]


def test_integers_become_float32(linear):
    stretch = MtfStretch.fit(linear.astype(np.uint16))
    assert stretch.forward(linear.astype(np.uint16)).dtype == np.float32


def test_without_clip_nothing_is_lost(linear):
    stretch = MtfStretch.fit(linear, clip=False)
    wide = np.concatenate([linear, linear * 100, linear - 1000])
    stretched = stretch.forward(wide)
    assert stretched.max() > 1 and stretched.min() < 0
    np.testing.assert_allclose(stretch.inverse(stretched), wide, rtol=1e-10)
    order = np.argsort(wide[..., 0], axis=None)
    assert np.all(np.diff(stretched[..., 0].ravel()[order]) >= 0)


def test_inverse_of_a_model_beyond_0_and_1_stays_monotone(linear):
    stretch = MtfStretch.fit(linear[..., :1])
    model = np.linspace(-3, 20, 500).reshape(500, 1, 1)
    assert np.all(np.diff(stretch.inverse(model)[:, 0, 0]) > 0)


def test_unlinked_channels_have_their_own_numbers_and_linked_ones_share(linear):
    own = MtfStretch.fit(linear)
    assert len(set(own.scale)) == 3
    alone = MtfStretch.fit(linear[..., 2:])
    assert (own.pedestal[2], own.scale[2], own.midtones[2]) == (
        *alone.pedestal,
        *alone.scale,
        *alone.midtones,
    )
    shared = MtfStretch.fit(linear, linked=True)
    assert len(set(shared.pedestal)) == len(set(shared.scale)) == len(set(shared.midtones)) == 1
    assert shared.pedestal[0] == linear.min()
    assert shared.scale[0] == pytest.approx(np.quantile(linear, 0.95) - linear.min())


def test_missing_pixels_do_not_count(linear):
    truth = MtfStretch.fit(linear[:30])
    holed = linear.copy()
    holed[30:34], holed[34:37], holed[37:] = 0, np.nan, 1e9
    masked = np.zeros(holed.shape[:2], bool)
    masked[37:] = True
    assert MtfStretch.fit(holed, masked) == truth
    assert MtfStretch.fit(holed, masked, zeros_missing=False).pedestal == (0.0, 0.0, 0.0)


def test_nan_stays_nan_both_ways(linear):
    stretch = MtfStretch.fit(linear)
    linear[0, 0], linear[0, 1] = np.nan, np.inf
    stretched = stretch.forward(linear)
    assert np.isnan(stretched[0, :2]).all() and np.isfinite(stretched[0, 2:]).all()
    assert np.isnan(stretch.inverse(stretched)[0, :2]).all()


def test_clipped_tells_low_high_and_missing_apart():
    stretch = MtfStretch.fit(np.arange(10.0, 111.0).reshape(101, 1, 1))
    clipped = stretch.clipped(np.array([9.0, 10.0, 105.0, 106.0, 0.0, np.nan]).reshape(6, 1, 1))
    assert clipped.low.ravel().tolist() == [True] + 5 * [False]
    assert clipped.high.ravel().tolist() == [False, False, False, True, False, False]
    assert clipped.missing.ravel().tolist() == 4 * [False] + [True, True]


def test_input_is_not_changed(linear):
    before = linear.copy()
    stretch = MtfStretch.fit(linear)
    stretch.inverse(stretch.forward(linear))
    apply_stf(linear, auto_stf(linear))
    np.testing.assert_array_equal(linear, before)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_channel_without_pixels_is_an_error_with_its_place(linear, value):
    linear[..., 1] = value
    with pytest.raises(ValueError, match=r"m31.fits, channel 1: no valid pixel.*Leave"):
        MtfStretch.fit(linear, name="m31.fits")


def test_a_constant_channel_is_an_error_with_its_place(linear):
    linear[..., 2] = 7
    with pytest.raises(ValueError, match=r"channel 2: .*minimum 7, median 7.*constant.*mask"):
        MtfStretch.fit(linear)


def test_wrong_shapes_and_fractions_are_errors(linear):
    with pytest.raises(ValueError, match=r"\(H, W, C\)"):
        MtfStretch.fit(linear[..., 0])
    with pytest.raises(ValueError, match="quantile=95"):
        MtfStretch.fit(linear, quantile=95)
    with pytest.raises(ValueError, match="missing of shape"):
        MtfStretch.fit(linear, np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match="3 channels"):
        MtfStretch.fit(linear).forward(linear[..., :1])


def test_a_big_image_is_sampled_and_blocked_without_a_visible_difference(monkeypatch, linear):
    whole = MtfStretch.fit(linear)
    stretched = whole.forward(linear)
    monkeypatch.setattr("common.stretch.QUANTILE_SAMPLES", 1000)
    monkeypatch.setattr("common.stretch.PIXELS_AT_ONCE", 120)
    np.testing.assert_array_equal(whole.forward(linear), stretched)
    sampled = MtfStretch.fit(linear)
    assert sampled.pedestal == whole.pedestal  # of all pixels, so that none is clipped
    # 667 samples: median and quantile vary by 1.5 % of the scale, four sigma
    np.testing.assert_allclose(sampled.scale, whole.scale, rtol=0.06)
    np.testing.assert_allclose(sampled.midtones, whole.midtones, atol=0.06)


def test_auto_stf_by_hand():
    # median 0.10, MAD 0.01: shadows 0.1 - 2.8 * 1.4826 * 0.01; midtones = mtf(median - shadows; B)
    pixels = np.array([0.08, 0.09, 0.10, 0.11, 0.12]).reshape(5, 1, 1)
    stf = auto_stf(pixels)
    assert stf.shadows == pytest.approx((0.0584872,))
    x = 0.0415128
    assert stf.midtones == pytest.approx(((1 - 0.25) * x / ((1 - 0.5) * x + 0.25),))
    assert (stf.highlights, stf.bounds) == ((1.0,), (0.0, 1.0))


def test_auto_stf_brings_the_sky_to_the_target():
    # PixInsight leaves 1 / (1 - shadows) out of the midtones: 0.25 comes out 1 / 0.94 too bright
    pixels = np.array([0.08, 0.09, 0.10, 0.11, 0.12]).reshape(5, 1, 1)
    shown = apply_stf(pixels, auto_stf(pixels))
    assert shown[2, 0, 0] == pytest.approx(0.25, abs=0.02)
    assert shown.dtype == np.float32 and shown.min() >= 0


def test_linked_auto_stf_averages_the_statistics():
    planes = np.array([[0.08, 0.09, 0.10, 0.11, 0.12], [0.16, 0.18, 0.20, 0.22, 0.24]])
    stf = auto_stf(planes.T[:, None, :], linked=True)
    shadows = 0.15 - 2.8 * 1.4826 * 0.015
    assert stf.shadows == pytest.approx((shadows, shadows))
    assert stf.midtones == pytest.approx((float(mtf(0.15 - shadows, 0.25)),) * 2)


def test_auto_stf_of_a_negative_moves_the_highlights():
    stf = auto_stf(1 - np.array([0.08, 0.09, 0.10, 0.11, 0.12]).reshape(5, 1, 1))
    assert stf.shadows == (0.0,)
    assert stf.highlights == pytest.approx((0.9 + 2.8 * 1.4826 * 0.01,))
    assert stf.midtones == pytest.approx((float(mtf(0.25, 0.0415128)),))


def test_auto_stf_of_counts_scales_them_by_their_range():
    counts = np.array([1000.0, 1090, 1100, 1110, 2000]).reshape(5, 1, 1)
    stf = auto_stf(counts)
    assert stf.bounds == (1000.0, 2000.0)
    assert stf.shadows == pytest.approx((0.1 - 2.8 * 1.4826 * 0.01,))
    assert apply_stf(counts, stf)[-1, 0, 0] == 1


def test_screen_stretch_survives_a_constant_and_a_missing_pixel():
    pixels = np.full((4, 4, 1), 0.3)
    pixels[0, 0] = np.nan
    shown = apply_stf(pixels, auto_stf(pixels))
    assert shown[0, 0, 0] == 0 and np.isfinite(shown).all()
    with pytest.raises(ValueError, match="channel 0: no valid pixel"):
        auto_stf(np.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match="1 channels"):
        apply_stf(np.zeros((4, 4, 3)), Stf(shadows=(0.0,), midtones=(0.5,), highlights=(1.0,)))
