"""Streaks: direction and length are measured, points on them and beside are not taken for them."""

import numpy as np
import pytest

from bgrem.simulate.trails import add_satellites, draw_trails
from bgrem.streaks import (
    NEAR,
    Streaks,
    find_streaks,
    follow_streaks,
    look_along,
    scatter,
    stand_out,
)

SHAPE = (200, 240)


def streaked(angle, length, *, number=40, seed=3, width=1.1, brightest=60.0):
    """Return a frame in units of its noise, and its light alone."""
    rng = np.random.default_rng(seed)
    light = np.zeros(SHAPE)
    start = rng.uniform(-length, np.array(SHAPE[::-1]) + length, (number, 2))
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    peak = 3 * (brightest / 3) ** rng.uniform(size=number)
    draw_trails(light, start, end, width, peak * np.sqrt(2 * np.pi) * width)
    noise = rng.standard_normal(SHAPE) * np.sqrt(1 + light / 20)
    return (light + noise).astype(np.float32), light


@pytest.mark.parametrize("degrees", [0, 33, 90, 158])
@pytest.mark.parametrize("length", [12, 30, 70])
def test_direction_and_length_are_measured(degrees, length):
    frame, _ = streaked(np.radians(degrees), length, number=4000 // length)
    found = find_streaks(frame)
    error = (np.degrees(found.angle) - degrees + 90) % 180 - 90
    # a streak's end moves by less than its width
    assert abs(np.radians(error)) * length / 2 < 1.1
    assert found.length == pytest.approx(length, rel=0.3)


def test_round_stars_and_noise_are_no_streaks():
    rng = np.random.default_rng(8)
    frame = rng.standard_normal(SHAPE)
    assert find_streaks(frame) is None
    places = rng.uniform(10, 190, (150, 2))
    flux = np.full(150, 50 * 2 * np.pi * 2.0**2 / 0.01)
    draw_trails(frame, places, places + np.array([0.01, 0]), 2.0, flux)
    assert frame.max() > 40
    assert find_streaks(frame) is None


def test_frames_smaller_than_the_reach_can_be_measured():
    frame, _ = streaked(0.6, 30)
    assert find_streaks(frame[:40, :50]).angle == pytest.approx(0.6, abs=0.06)


@pytest.mark.parametrize("place", ["on", "off"])
def test_points_do_not_change_what_is_expected(place):
    frame, light = streaked(0.5, 60, number=20)
    streaks = Streaks(0.5, 60.0)
    inside = np.zeros(SHAPE, bool)
    inside[20:-20, 20:-20] = True
    wanted = (light > 10) & (light < 30) if place == "on" else light < 0.1
    rows, columns = np.nonzero(wanted & inside)
    chosen = np.random.default_rng(2).choice(len(rows), 12, replace=False)
    changes, kept = [], []
    before = look_along(frame, streaks, 3.0)
    for row, column in zip(rows[chosen], columns[chosen], strict=True):
        position = np.array([[column, row]], float)
        after, _ = add_satellites(frame, np.array([25.0]), np.random.default_rng(1),
                                  positions=position)  # fmt: skip
        seen = look_along(after.astype(np.float32), streaks, 3.0)
        box = np.s_[row - 3 : row + 4, column - 3 : column + 4]
        changes.append((seen.light - before.light)[box].sum() / (after - frame)[box].sum())
        kept.append(seen.points[row, column])
    assert np.mean(kept) > 0.8
    assert abs(np.median(changes)) < 0.1


def test_ends_of_streaks_are_not_drawn_out():
    light = np.zeros(SHAPE)
    draw_trails(light, np.array([[60.0, 100.0]]), np.array([[140.0, 100.0]]), 1.1, [400.0])
    frame = light + np.random.default_rng(5).standard_normal(SHAPE)
    expected = look_along(frame, Streaks(0.0, 80.0), 3.0).light
    peak = light.max()
    assert expected[100, 70:130].min() > 0.9 * peak
    assert np.abs(expected[100, 140 + NEAR[1] + 2 : 170]).max() < 0.05 * peak


def test_a_map_that_misses_a_part_of_the_streaks_gets_it():
    frame, light = streaked(0.5, 60, number=20)
    streaks = Streaks(0.5, 60.0)
    seen = look_along(frame, streaks, 3.0)
    found = follow_streaks(0.8 * light, frame, streaks, seen)
    on = (light > 8)[20:-20, 20:-20]
    error = np.abs(found - light)[20:-20, 20:-20][on]
    assert np.median(error) < 0.5 * np.median(0.2 * light[20:-20, 20:-20][on])
    faint = ~seen.bright
    assert np.array_equal(found[faint], (0.8 * light)[faint])


def test_scatter_grows_with_the_light():
    rng = np.random.default_rng(0)
    brightness = np.tile(np.linspace(0, 100, 400), (300, 1))
    values = rng.standard_normal(brightness.shape) * np.sqrt(1 + brightness / 10)
    found = scatter(values, brightness)
    assert found[:, 200].mean() == pytest.approx(np.sqrt(1 + 50 / 10), rel=0.1)
    assert found[:, -1].mean() == pytest.approx(np.sqrt(1 + 10), rel=0.15)


def test_what_stands_out_is_chosen_by_its_peak_and_size():
    significance = np.zeros((40, 60))
    significance[10, 10], significance[20, 20] = 5, 2.9
    significance[30:33, 20:50] = 5
    found = stand_out(significance, 3.0, largest=40)
    assert found[8:13, 8:13].all() and found.sum() == 25
    assert stand_out(significance, 3.0)[31, 30]
    assert not stand_out(np.zeros((5, 5)), 3.0).any()
