"""Light along streaks: that of the neighbours, without points and trails across."""

import numpy as np
import pytest
from streaked import SHAPE, streaked, trail

from bgrem.noise_mapping import neighbours
from bgrem.noise_mapping.neighbours import NEIGHBOUR_DISTANCES_PX, correct_streaks, light_along
from bgrem.noise_mapping.streaks import Streaks
from bgrem.simulate.trails import add_satellites, draw_trails


def test_tiny_frames_are_measured_too():
    frame, _ = streaked(0.5, 60)
    along = light_along(frame[:14, :15], Streaks(0.5, 60.0), 3.0)
    assert np.isfinite(along.light).all()


def test_blocks_of_rows_leave_no_seam(monkeypatch):
    frame, _ = streaked(1.2, 60)
    whole = light_along(frame, Streaks(1.2, 60.0), 3.0)
    monkeypatch.setattr(neighbours, "NEIGHBOUR_BLOCK_ROWS", 32)
    monkeypatch.setattr(neighbours, "FILL_CHUNK", 50)
    parts = light_along(frame, Streaks(1.2, 60.0), 3.0)
    assert np.array_equal(parts.points, whole.points)
    assert np.abs(parts.light - whole.light).max() < 1e-3


@pytest.mark.parametrize("degrees", [25, 60, 110])
def test_trails_across_streaks_are_hidden_whole_and_leave_nothing_behind(degrees):
    frame, light = streaked(0.3, 50, number=15)
    put = trail(0.3 + np.radians(degrees), 40, 12)
    along = light_along(frame + put, Streaks(0.3, 50.0), 3.0)
    without = light_along(frame, Streaks(0.3, 50.0), 3.0)
    dark = (light < 0.1) & (put > 0.5)
    assert along.points[dark & (put > 3)].mean() > 0.97
    assert abs((along.light - without.light)[dark].sum()) < 0.1 * put[dark].sum()


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
    before = light_along(frame, streaks, 3.0)
    for row, column in zip(rows[chosen], columns[chosen], strict=True):
        position = np.array([[column, row]], float)
        after, _ = add_satellites(frame, np.array([25.0]), np.random.default_rng(1),
                                  positions=position)  # fmt: skip
        along = light_along(after.astype(np.float32), streaks, 3.0)
        box = np.s_[row - 3 : row + 4, column - 3 : column + 4]
        changes.append((along.light - before.light)[box].sum() / (after - frame)[box].sum())
        kept.append(along.points[row, column])
    assert np.mean(kept) > 0.8
    assert abs(np.median(changes)) < 0.1


def test_ends_of_streaks_are_not_drawn_out():
    light = np.zeros(SHAPE)
    draw_trails(light, np.array([[60.0, 100.0]]), np.array([[140.0, 100.0]]), 1.1, [400.0])
    frame = light + np.random.default_rng(5).standard_normal(SHAPE)
    expected = light_along(frame, Streaks(0.0, 80.0), 3.0).light
    peak = light.max()
    assert expected[100, 70:130].min() > 0.9 * peak
    error = np.abs(expected - light)[100]
    assert error[134:146].max() < 4  # 150 of light: half of it where an end is not along
    assert error[140 + NEIGHBOUR_DISTANCES_PX[1] + 2 : 170].max() < 4


def test_streaks_that_the_frame_cuts_are_no_points():
    light = np.zeros(SHAPE)
    start = np.array([[-30.0, 80.0], [210.0, 150.0], [100.0, 180.0]])
    end = start + 60 * np.array([np.cos(0.6), np.sin(0.6)])
    draw_trails(light, start, end, 1.3, [300.0, 300.0, 300.0])
    frame = light + np.random.default_rng(3).standard_normal(SHAPE)
    along = light_along(frame, Streaks(0.6, 60.0), 3.0)
    for edge in (np.s_[:, :6], np.s_[:, -6:], np.s_[-4:]):
        assert light[edge].max() > 80
        assert not (along.points | along.bright)[edge].any()
    assert along.bright[20:-20, 20:-20][light[20:-20, 20:-20] > 20].all()


def test_a_map_that_misses_a_part_of_the_streaks_gets_it():
    frame, light = streaked(0.5, 60, number=20)
    streaks = Streaks(0.5, 60.0)
    along = light_along(frame, streaks, 3.0)
    found = correct_streaks(0.8 * light, frame, streaks, along)
    on = (light > 8)[20:-20, 20:-20]
    error = np.abs(found - light)[20:-20, 20:-20][on]
    assert np.median(error) < 0.5 * np.median(0.2 * light[20:-20, 20:-20][on])
    faint = ~along.bright
    assert np.array_equal(found[faint], (0.8 * light)[faint])
