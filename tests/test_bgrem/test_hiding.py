"""Masks of points and trails, and the sky behind them, without neighbours along streaks."""

import numpy as np
from streaked import SHAPE, streaked, trail

from bgrem.noise_mapping.hiding import (
    hide_long_trails,
    hide_without_streaks,
    mask_compact_light,
    mask_peaks,
)
from bgrem.noise_mapping.streaks import Streaks


def test_what_stands_out_is_chosen_by_its_peak_and_size():
    significance = np.zeros((40, 60))
    significance[10, 10], significance[20, 20] = 5, 2.9
    significance[30:33, 20:50] = 5
    found = mask_peaks(significance, 3.0, max_pixels=40)
    assert found[8:13, 8:13].all() and found.sum() == 25
    assert mask_peaks(significance, 3.0)[31, 30]
    assert not mask_peaks(np.zeros((5, 5)), 3.0).any()


def test_compact_light_is_found_with_its_surroundings_and_streaks_are_not():
    rng = np.random.default_rng(1)
    residual = rng.normal(size=(80, 90)).astype(np.float32)
    residual[30, 40] += 12
    residual[60, 10:70] += 12
    found = mask_compact_light(residual, 5.0, max_pixels=40)
    assert found[28:33, 38:43].all()
    assert not found[57:64, 15:65].any()


def test_nothing_is_found_where_nothing_stands_out():
    assert not mask_compact_light(np.zeros((30, 40), np.float32), 3.0).any()


def test_what_is_no_sky_is_found_around_it():
    frame = np.random.default_rng(2).standard_normal(SHAPE) + trail(0.9, 80, 20)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frame += 1.5 * np.sin(x / 40) + 300 * np.exp(-((x - 50) ** 2 + (y - 60) ** 2) / 18)
    hidden, sky = hide_without_streaks(frame, 3.0)
    assert hidden[57:64, 47:54].all() and hidden[trail(0.9, 80, 20) > 10].all()
    assert hidden.mean() < 0.12
    assert np.abs(sky - 1.5 * np.sin(x / 40))[20:-20, 90:].mean() < 0.5


def test_a_trail_does_not_raise_the_sky_that_is_left_in_its_place():
    noise = np.random.default_rng(2).standard_normal(SHAPE)
    put = trail(0.9, 80, 20)
    with_trail, without = (hide_without_streaks(one, 3.0)[1] for one in (noise + put, noise))
    assert np.abs(with_trail - without)[put > 1].mean() < 0.15


def test_among_short_streaks_longer_light_is_hidden():
    frame, light = streaked(0.3, 8, number=60)
    put = trail(1.2, 35, 8)
    hidden, sky = hide_long_trails(frame + put, Streaks(0.3, 9.0, short=True))
    assert hidden[put > 2].mean() > 0.95
    assert hidden[(light > 2) & (put < 0.1)].mean() < 0.1
    assert np.abs(sky).max() < 1
