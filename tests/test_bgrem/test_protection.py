"""One strategy for each kind of frame: points and trails stay out of the map."""

import numpy as np
import pytest
from streaked import SHAPE, streaked, trail

from bgrem.config import NoiseMapConfig
from bgrem.models import Model
from bgrem.noise_mapping import protection
from bgrem.noise_mapping.flow import noisemap
from bgrem.noise_mapping.protection import (
    LongStreaks,
    NoProtection,
    ShortStreaks,
    WithoutStreaks,
    choose_protection,
)
from bgrem.noise_mapping.streaks import Streaks
from bgrem.simulate.trails import add_satellites

STREAKLESS = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
STRATEGIES = {
    WithoutStreaks: None,
    LongStreaks: Streaks(0.3, 50.0),
    ShortStreaks: Streaks(0.3, 9.0, short=True),
}


def generator():
    return np.random.default_rng(1)


def chosen(flat, streaks, monkeypatch):
    """The strategy for a frame in which these streaks are found."""
    monkeypatch.setattr(protection, "find_streaks", lambda _: streaks)
    return choose_protection(flat, NoiseMapConfig(protect=3.0))


def map_nothing(flat, rng):
    return np.zeros_like(flat)


@pytest.mark.parametrize(("strategy", "streaks"), STRATEGIES.items())
def test_the_streaks_choose_the_strategy(strategy, streaks, monkeypatch):
    assert type(chosen(STREAKLESS, streaks, monkeypatch)) is strategy


def test_strategies_are_chosen_by_measured_streaks():
    config = NoiseMapConfig(protect=3.0)
    assert type(choose_protection(STREAKLESS, config)) is WithoutStreaks
    assert type(choose_protection(streaked(0.3, 50)[0], config)) is LongStreaks


def test_without_protection_the_network_is_given_the_frame():
    frame, _ = streaked(0.3, 50)
    none = choose_protection(frame, NoiseMapConfig(protect=0.0))
    given = none.protect(map_nothing, generator())
    assert type(none) is NoProtection
    assert np.array_equal(given.flat, frame)
    assert not given.hidden.any()


@pytest.mark.parametrize("streaks", STRATEGIES.values())
def test_hidden_light_is_replaced_by_noise_and_the_rest_is_kept(streaks, monkeypatch):
    put = trail(1.2, 60, 15)
    frame = STREAKLESS + put
    given = chosen(frame, streaks, monkeypatch).protect(map_nothing, generator())
    assert given.hidden[put > 3].mean() > 0.95
    # the rest: pixels that are misclassified as a bright streak
    assert (given.flat == frame)[~given.hidden].mean() > 0.99
    # 300 pixels: their deviation is good to 4 per cent, their mean to 0.06
    assert given.flat[put > 1].std() == pytest.approx(1, abs=0.2)
    assert abs(given.flat[put > 1].mean()) < 0.3


@pytest.mark.parametrize("streaks", STRATEGIES.values())
def test_the_generator_draws_the_noise_of_what_is_replaced(streaks, monkeypatch):
    strategy = chosen(STREAKLESS + trail(1.2, 60, 15), streaks, monkeypatch)
    first, again = (strategy.protect(map_nothing, generator()).flat for _ in range(2))
    other = strategy.protect(map_nothing, np.random.default_rng(9)).flat
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("strategy", "streaks"), STRATEGIES.items())
def test_only_long_streaks_are_corrected_in_the_map(strategy, streaks, monkeypatch):
    frame, light = streaked(0.3, 50, number=15)
    finished = chosen(frame, streaks, monkeypatch).finish(0.5 * light)
    assert np.array_equal(finished, 0.5 * light) == (strategy is not LongStreaks)


class Everything:
    """Returns all that it is given as structure."""

    def predict_on_batch(self, inputs):
        return np.zeros_like(inputs[0])


def test_among_short_streaks_trails_stay_out_of_a_map_of_everything(monkeypatch):
    frame, _ = streaked(0.3, 8, number=60)
    put = trail(1.2, 35, 8)
    short = Streaks(0.3, 9.0, short=True)
    monkeypatch.setattr("bgrem.noise_mapping.protection.find_streaks", lambda _: short)
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
