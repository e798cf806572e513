"""Streaks: direction and length are measured; trails and round stars are not misclassified."""

import numpy as np
import pytest
from streaked import SHAPE, streaked, trail

from bgrem.noise_mapping.streaks import find_streaks
from bgrem.simulate.trails import draw_trails


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
    frame, _ = streaked(0.6, 20, number=120)
    assert find_streaks(frame[:75, :75]).angle == pytest.approx(0.6, abs=0.06)


def test_one_trail_is_no_direction_of_stars():
    noise = np.random.default_rng(7).standard_normal(SHAPE)
    assert find_streaks(noise + trail(1.4, 150, 30)) is None


def test_trails_among_round_stars_are_no_streaks():
    rng = np.random.default_rng(8)
    frame = rng.standard_normal(SHAPE) + trail(0.4, 200, 30) + np.roll(trail(0.4, 200, 30), 50, 0)
    places = rng.uniform(10, 190, (60, 2))
    flux = np.full(60, 30 * 2 * np.pi * 1.5**2 / 0.01)
    draw_trails(frame, places, places + np.array([0.01, 0]), 1.5, flux)
    assert find_streaks(frame) is None


def test_a_bright_trail_among_streaks_does_not_set_their_direction():
    frame, _ = streaked(0.2, 30, number=25)
    found = find_streaks(frame + trail(1.4, 190, 60))
    assert found.angle == pytest.approx(0.2, abs=0.05)


def test_trails_in_all_directions_are_no_streaks():
    rng = np.random.default_rng(5)
    frame = rng.standard_normal((2 * SHAPE[0], 2 * SHAPE[1]))
    start = rng.uniform(60, 340, (9, 2))
    angles = np.radians([31, 38, 47, 53, 71, 83, 97, 138, 140])
    end = start + 40 * np.stack([np.cos(angles), np.sin(angles)], 1)
    draw_trails(frame, start, end, 1.3, np.full(9, 10 * np.sqrt(2 * np.pi) * 1.3))
    assert find_streaks(frame) is None
