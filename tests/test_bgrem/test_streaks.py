"""Streaks: direction and length are measured, points on them and beside are not taken for them."""

import numpy as np
import pytest

from bgrem import streaks as streaks_module
from bgrem.models import Model
from bgrem.noise_mapping import noisemap
from bgrem.simulate.trails import add_satellites, draw_trails
from bgrem.streaks import (
    NEAR,
    Streaks,
    compact_light,
    find_streaks,
    follow_streaks,
    look_along,
    look_around,
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
    frame, _ = streaked(0.6, 20, number=120)
    assert find_streaks(frame[:75, :75]).angle == pytest.approx(0.6, abs=0.06)


def trail(angle, length, peak):
    """Return one trail through the middle of a frame."""
    light = np.zeros(SHAPE)
    middle = np.array([[120.0, 100.0]])
    half = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    draw_trails(light, middle - half, middle + half, 1.1, [peak * np.sqrt(2 * np.pi) * 1.1])
    return light


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


def test_tiny_frames_are_measured_too():
    frame, _ = streaked(0.5, 60)
    seen = look_along(frame[:14, :15], Streaks(0.5, 60.0), 3.0)
    assert np.isfinite(seen.light).all()


def test_blocks_of_rows_leave_no_seam(monkeypatch):
    frame, _ = streaked(1.2, 60)
    whole = look_along(frame, Streaks(1.2, 60.0), 3.0)
    monkeypatch.setattr(streaks_module, "ROWS", 32)
    parts = look_along(frame, Streaks(1.2, 60.0), 3.0)
    assert np.array_equal(parts.points, whole.points)
    assert np.abs(parts.light - whole.light).max() < 1e-3


def test_what_is_no_sky_is_found_around_it():
    frame = np.random.default_rng(2).standard_normal(SHAPE) + trail(0.9, 80, 20)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    frame += 1.5 * np.sin(x / 40) + 300 * np.exp(-((x - 50) ** 2 + (y - 60) ** 2) / 18)
    hidden, sky = look_around(frame, 3.0)
    assert hidden[57:64, 47:54].all() and hidden[trail(0.9, 80, 20) > 10].all()
    assert hidden.mean() < 0.12
    assert np.abs(sky - 1.5 * np.sin(x / 40))[20:-20, 90:].mean() < 0.5


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
    error = np.abs(expected - light)[100]
    assert error[134:146].max() < 4  # 150 of light: half of it where an end is not seen
    assert error[140 + NEAR[1] + 2 : 170].max() < 4


def test_streaks_that_the_frame_cuts_are_no_points():
    light = np.zeros(SHAPE)
    start = np.array([[-30.0, 80.0], [210.0, 150.0], [100.0, 180.0]])
    end = start + 60 * np.array([np.cos(0.6), np.sin(0.6)])
    draw_trails(light, start, end, 1.3, [300.0, 300.0, 300.0])
    frame = light + np.random.default_rng(3).standard_normal(SHAPE)
    seen = look_along(frame, Streaks(0.6, 60.0), 3.0)
    for edge in (np.s_[:, :6], np.s_[:, -6:], np.s_[-4:]):
        assert light[edge].max() > 80
        assert not (seen.points | seen.bright)[edge].any()
    assert seen.bright[20:-20, 20:-20][light[20:-20, 20:-20] > 20].all()


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


def test_compact_light_is_found_with_its_surroundings_and_streaks_are_not():
    rng = np.random.default_rng(1)
    residual = rng.normal(size=(80, 90)).astype(np.float32)
    residual[30, 40] += 12
    residual[60, 10:70] += 12
    found = compact_light(residual, 5.0, largest=40)
    assert found[28:33, 38:43].all()
    assert not found[57:64, 15:65].any()


def test_nothing_is_found_where_nothing_stands_out():
    assert not compact_light(np.zeros((30, 40), np.float32), 3.0).any()


class Everything:
    """Takes all that it sees for structure."""

    def predict_on_batch(self, inputs):
        return np.zeros_like(inputs[0])


@pytest.mark.parametrize(("protect", "least", "most"), [(0, -0.1, 0.1), (3, 0.8, 1.2)])
def test_satellites_on_streaks_stay_out_of_a_map_of_everything(protect, least, most):
    frame, light = streaked(0.5, 60, number=20)
    inside = np.zeros(SHAPE, bool)
    inside[20:-20, 20:-20] = True
    rows, columns = np.nonzero((light > 5) & (light < 20) & inside)
    chosen = np.random.default_rng(4).choice(len(rows), 5, replace=False)
    places = np.stack([columns, rows], 1)[chosen].astype(float)
    after, _ = add_satellites(frame, np.full(5, 30.0), None, positions=places)
    model = Model("all", Everything(), {"task": "noisemap", "scaling": "noise"})
    maps = [noisemap(500 + 12 * one, model=model, runs=1, depth=100, protect=protect)
            .map.pixels[..., 0] for one in (frame, after)]  # fmt: skip
    put, mapped = 12 * (after - frame), maps[1] - maps[0]
    kept = []
    for column, row in places.astype(int):
        box = np.s_[row - 3 : row + 4, column - 3 : column + 4]
        kept.append(1 - mapped[box].sum() / put[box].sum())
    assert least < np.median(kept) < most
