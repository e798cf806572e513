"""What a network must not see: points and trails, on streaks and beside, and what is there."""

import numpy as np
import pytest
from streaked import SHAPE, streaked, trail

from bgrem.models import Model
from bgrem.noise_mapping import neighbours, residual_noise
from bgrem.noise_mapping.flow import noisemap
from bgrem.noise_mapping.hiding import compact_light, longer_light, look_around, stand_out
from bgrem.noise_mapping.neighbours import NEIGHBOUR_DISTANCES_PX, follow_streaks, look_along
from bgrem.noise_mapping.residual_noise import rms_of, scatter
from bgrem.noise_mapping.streaks import Streaks
from bgrem.simulate.trails import add_satellites, draw_trails


def test_tiny_frames_are_measured_too():
    frame, _ = streaked(0.5, 60)
    seen = look_along(frame[:14, :15], Streaks(0.5, 60.0), 3.0)
    assert np.isfinite(seen.light).all()


def test_blocks_of_rows_leave_no_seam(monkeypatch):
    frame, _ = streaked(1.2, 60)
    whole = look_along(frame, Streaks(1.2, 60.0), 3.0)
    monkeypatch.setattr(neighbours, "NEIGHBOUR_BLOCK_ROWS", 32)
    monkeypatch.setattr(neighbours, "FILL_CHUNK", 50)
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


@pytest.mark.parametrize("degrees", [25, 60, 110])
def test_trails_across_streaks_are_hidden_whole_and_leave_nothing_behind(degrees):
    frame, light = streaked(0.3, 50, number=15)
    put = trail(0.3 + np.radians(degrees), 40, 12)
    seen = look_along(frame + put, Streaks(0.3, 50.0), 3.0)
    without = look_along(frame, Streaks(0.3, 50.0), 3.0)
    dark = (light < 0.1) & (put > 0.5)
    assert seen.points[dark & (put > 3)].mean() > 0.97
    assert abs((seen.light - without.light)[dark].sum()) < 0.1 * put[dark].sum()


def test_a_trail_does_not_raise_the_sky_that_is_left_in_its_place():
    noise = np.random.default_rng(2).standard_normal(SHAPE)
    put = trail(0.9, 80, 20)
    with_trail, without = (look_around(one, 3.0)[1] for one in (noise + put, noise))
    assert np.abs(with_trail - without)[put > 1].mean() < 0.15


def test_among_short_streaks_longer_light_is_hidden():
    frame, light = streaked(0.3, 8, number=60)
    put = trail(1.2, 35, 8)
    hidden, sky = longer_light(frame + put, Streaks(0.3, 9.0, short=True))
    assert hidden[put > 2].mean() > 0.95
    assert hidden[(light > 2) & (put < 0.1)].mean() < 0.1
    assert np.abs(sky).max() < 1


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
    assert error[140 + NEIGHBOUR_DISTANCES_PX[1] + 2 : 170].max() < 4


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


@pytest.mark.parametrize("enough", [90_000, 2_000_000])
def test_scatter_grows_with_the_light(monkeypatch, enough):
    monkeypatch.setattr(residual_noise, "MAX_PIXELS_FOR_RMS", enough)
    rng = np.random.default_rng(0)
    brightness = np.tile(np.linspace(0, 100, 400), (300, 1))
    values = rng.standard_normal(brightness.shape) * np.sqrt(1 + brightness / 10)
    found = scatter(values, brightness)
    assert found[:, 200].mean() == pytest.approx(np.sqrt(1 + 50 / 10), rel=0.1)
    assert found[:, -1].mean() == pytest.approx(np.sqrt(1 + 10), rel=0.15)


def test_the_noise_of_a_residual_reaches_as_far_as_its_left_overs():
    rng = np.random.default_rng(0)
    mapped = np.zeros((400, 300))
    mapped[:, 100:140] = 50
    left = rng.standard_normal(mapped.shape)
    dots = rng.random(mapped.shape) < 0.03
    left[dots & (mapped > 0)] = 20
    found = rms_of(left, mapped)
    assert found[:, 20].mean() == pytest.approx(1, rel=0.05)
    assert 5 < found[:, 120].mean() < 10
    assert found[:, 98].mean() == pytest.approx(found[:, 120].mean(), rel=0.01)  # the rim


def test_stars_that_stay_in_the_residual_are_no_noise():
    rng = np.random.default_rng(0)
    left = rng.standard_normal((300, 300))
    places = rng.uniform(10, 290, (300, 2))
    draw_trails(left, places, places + np.array([0.01, 0]), 1.5, np.full(300, 1e5))
    assert (left > 10).mean() > 0.05
    assert rms_of(left, np.zeros(left.shape)).max() < 1.35
    assert rms_of(left, np.zeros(left.shape), left > 2).max() < 1.1


def test_hidden_light_is_no_left_over():
    rng = np.random.default_rng(0)
    mapped = np.zeros((300, 300))
    mapped[100:150] = 50
    left = rng.standard_normal(mapped.shape)
    left[100:150, 40:50] += 30
    assert rms_of(left, mapped)[120, 0] > 5
    assert rms_of(left, mapped, left > 15)[120, 0] < 1.5


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


def test_among_short_streaks_trails_stay_out_of_a_map_of_everything(monkeypatch):
    frame, _ = streaked(0.3, 8, number=60)
    put = trail(1.2, 35, 8)
    short = Streaks(0.3, 9.0, short=True)
    monkeypatch.setattr("bgrem.noise_mapping.flow.find_streaks", lambda _: short)
    model = Model("all", Everything(), {"task": "noisemap", "scaling": "noise"})
    maps = [noisemap(500 + 12 * one, model=model, runs=1, depth=100).map.pixels[..., 0]
            for one in (frame, frame + put)]  # fmt: skip
    assert abs((maps[1] - maps[0])[put > 1].sum()) < 0.15 * 12 * put[put > 1].sum()


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
