"""The table of constants behind benchmarks/sensitivity.py, and how one constant is changed."""

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load(name):
    spec = spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and imports look their module up
    spec.loader.exec_module(module)
    return module


groups = load("sensitivity_groups")
table = load("sensitivity_constants")


@pytest.mark.parametrize("group", groups.GROUPS)
def test_every_constant_of_the_table_is_a_number_that_can_be_changed(group):
    constants = table.constants_of(group)
    assert constants
    for constant in constants:
        low, high = (table.changed_value(constant.value, factor) for factor in table.FACTORS)
        assert abs(low) <= abs(constant.value) < abs(high)


def test_every_function_whose_results_are_kept_exists():
    for rows in groups.REMEMBERED.values():
        for label, (module, *_) in rows.items():
            owner = importlib.import_module(module)
            for name in label.split("."):
                owner = getattr(owner, name)
            assert callable(owner)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(2, 1, 3), (1, 1, 2), (10, 8, 12), (2.0, 1.6, 2.5), (-8.0, -6.4, -10), (0.9, 0.875, 0.92)],
)
def test_integers_change_by_one_at_least_and_stay_above_zero(value, low, high):
    assert [table.changed_value(value, factor) for factor in table.FACTORS] == [low, high]


def constant(group, label):
    return next(one for one in table.constants_of(group) if one.label == label)


def test_a_constant_changes_where_it_was_imported_and_is_put_back():
    from bgrem.noise_mapping import detections, residual_noise, streaks

    modules, before = (streaks, detections, residual_noise), streaks.BRIGHT_STREAK_NOISE
    with table.changed(constant("noise map", "BRIGHT_STREAK_NOISE"), 2.5):
        assert [module.BRIGHT_STREAK_NOISE for module in modules] == [2.5] * 3
    assert [module.BRIGHT_STREAK_NOISE for module in modules] == [before] * 3


def test_one_value_of_a_tuple_changes():
    from bgrem.frame import background

    first, *more = background.BACKGROUND_MASK_SCALES_PX
    with table.changed(constant("smooth background", "BACKGROUND_MASK_SCALES_PX[0]"), 9):
        assert background.BACKGROUND_MASK_SCALES_PX == (9, *more)
    assert background.BACKGROUND_MASK_SCALES_PX == (first, *more)


def test_what_follows_from_a_constant_changes_with_it():
    from bgrem.frame.sky import base

    with table.changed(constant("smooth background", "TREND_DEGREE"), 2):
        assert len(base.TREND_POWERS) == 6
    assert len(base.TREND_POWERS) == 10


@pytest.mark.parametrize("place", list(table.FOLLOWERS))
def test_what_follows_is_what_the_module_has(place):
    module, name = importlib.import_module(place[0]), place[1]
    follower, function = table.FOLLOWERS[place]
    found, wanted = function(getattr(module, name)), getattr(module, follower)
    # figures in the modules are rounded to four digits
    assert found == (pytest.approx(wanted, rel=1e-4) if isinstance(wanted, float) else wanted)


def test_a_change_takes_effect():
    import numpy as np

    from bgrem.frame.background import whole_image_statistics

    pixels = np.random.default_rng(3).normal(10, 1, (300, 300)) + np.linspace(0, 9, 300)
    usual = whole_image_statistics(pixels).background
    with table.changed(constant("smooth background", "TREND_CLIP"), 0.1):
        assert not np.array_equal(whole_image_statistics(pixels).background, usual)
    assert np.array_equal(whole_image_statistics(pixels).background, usual)


def test_a_module_that_would_keep_a_changed_constant_is_an_error(monkeypatch):
    late = ModuleType("bgrem.late")
    late.__file__ = table.__file__
    with (
        pytest.raises(RuntimeError, match="Import it before"),
        table.changed(constant("noise map", "BRIGHT_STREAK_NOISE"), 2.5),
    ):
        monkeypatch.setitem(sys.modules, "bgrem.late", late)
