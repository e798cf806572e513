"""Figures of merit of `bgrem validate`: their values, errors, goals, words."""

from types import SimpleNamespace

import numpy as np
import pytest

from bgrem.validation import metrics
from bgrem.validation.checks.detection import TRUE_SNR_EDGES, _half, _ratios, _shares
from bgrem.validation.checks.halos import MIN_HALO_LIGHT_KEPT, _kept_up_to
from bgrem.validation.checks.result import (
    MATCHED_FILTER_LABEL,
    OURS_LABEL,
    SEXTRACTOR_DEFAULT_LABEL,
    SEXTRACTOR_TUNED_LABEL,
    Measure,
    at_least,
    at_most,
)
from bgrem.validation.report import shown


@pytest.mark.parametrize(
    ("measure", "passed"),
    [
        (at_least("a", 1.06, 1.0, error=0.05), True),
        (at_least("a", 1.0, 1.0), True),
        (at_least("a", 1.01, 1.0, error=0.05), None),
        (at_least("a", 1.001, 1.0, error=0.5), None),
        (at_least("a", 0.97, 1.0, error=0.05), None),
        (at_least("a", 0.9, 1.0, error=0.05), False),
        (at_least("a", float("nan"), 1.0), None),
        (at_most("a", -0.7, 1.0, unit="%", error=0.1), True),
        (at_most("a", -0.7, 1.0, unit="%", error=0.4), None),
        (at_most("a", -1.2, 1.0, unit="%", error=0.1), False),
        (at_most("a", -1.2, 1.0, unit="%", error=0.3), None),
        (at_most("a", 0.2, 1.0, unit="%", error=4.0), None),
    ],
)
def test_what_lies_within_the_error_is_undecided(measure, passed):
    assert measure.passed is passed


def test_values_are_shown_with_the_digits_of_their_error():
    assert shown(Measure("a", 1.23456, "%", 0.0567)) == "1.235 ± 0.057 %"
    assert shown(Measure("a", float("nan"))) == "not measured"
    assert shown(Measure("a", float("nan"), "px", unknown="at no scale")) == "at no scale"


def test_metrics_of_equal_images_are_perfect():
    image = np.random.default_rng(63_111).normal(size=(64, 64))
    assert metrics.peak_signal_to_noise(image, image) == float("inf")
    assert metrics.structural_similarity(image, image, 6.0) == pytest.approx(1)
    assert metrics.histogram_divergence(image, image, low=-3, high=3) == 0
    assert metrics.f_measure(10, 0, 0) == 1


def test_metrics_follow_the_equations():
    truth, image = np.zeros((32, 32)), np.full((32, 32), 0.1)
    truth[3, 4] = 10
    error = ((truth - image) ** 2).mean()
    assert metrics.peak_signal_to_noise(truth, image) == pytest.approx(10 * np.log10(100 / error))
    # precision 8/10, recall 8/12
    assert metrics.f_measure(8, 2, 4) == pytest.approx(2 * 0.8 * (2 / 3) / (0.8 + 2 / 3))
    found = metrics.mean_signal_to_noise(np.array([30.0, 50.0]), np.array([3.0, 3.0]), 4.0)
    assert found == pytest.approx(8)
    assert metrics.histogram_divergence(truth, image, low=-1, high=1) > 1


def test_the_threshold_at_a_false_rate_lies_between_those_of_the_curve():
    curve = np.array([[4.0, 10, 0], [2.0, 20, 4], [1.0, 25, 16]])
    assert metrics.threshold_at_false(curve, 4) == pytest.approx(2)
    assert 1 < metrics.threshold_at_false(curve, 10) < 2


def test_shares_are_counted_in_bins_with_their_error():
    snr = np.repeat([4.0, 20.0], 50)
    flags = np.r_[np.arange(50) < 10, np.ones(50, bool)]
    bins = _shares(snr, flags, TRUE_SNR_EDGES)
    known = np.isfinite(bins["share"])
    assert bins["share"][known] == pytest.approx([0.2, 1.0])
    assert bins["error"][known][0] == pytest.approx(np.sqrt(0.2 * 0.8 / 50), rel=0.05)
    assert bins["error"][known][1] > 0


def test_a_count_that_stands_for_several_has_a_larger_error():
    flags = np.arange(40) < 30
    bins = _shares(np.full(40, 4.0), flags, TRUE_SNR_EDGES, np.where(flags, 1.0, 3.0))
    k = np.flatnonzero(bins["number"])[0]
    assert bins["number"][k] == 40
    assert bins["share"][k] == pytest.approx(0.5)
    # of T / (T + 3 F), 30 true and 10 false ones: root(F'^2 T + T^2 9 F) / (T + F')^2 with F' = 30
    assert bins["error"][k] == pytest.approx(30 * np.sqrt(30 + 90) / 60**2, rel=0.03)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ([np.nan, 0.2, 0.8, 1.0], "5.66"),
        ([0.2, np.nan, 0.8, 1.0], "4"),
        ([np.nan, 0.5, 0.8, 1.0], "< 4"),
        ([0.1, 0.2, 0.4, np.nan], "> 8"),
        ([np.nan] * 4, "not measured"),
    ],
)
def test_the_place_of_one_half_is_inside_the_bins_or_said_to_be_outside(share, words):
    bins = {"snr": np.array([2.0, 4.0, 8.0, 16.0]), "share": np.array(share)}
    assert shown(_half("a", bins)) == words


def test_a_ratio_over_nothing_found_is_undecided():
    def found(share):
        return SimpleNamespace(
            share_at=lambda rate: share, drawn_at=lambda rate: np.full(10, share)
        )

    sweeps = {
        OURS_LABEL: found(0.4),
        SEXTRACTOR_DEFAULT_LABEL: found(0.0),
        SEXTRACTOR_TUNED_LABEL: found(0.2),
        MATCHED_FILTER_LABEL: found(0.0),
    }
    default, tuned, matched = _ratios(sweeps)
    assert (tuned.value, tuned.passed) == (2, True)
    for one in (default, matched):
        assert np.isnan(one.value)
        assert one.passed is None
    nothing = _ratios(sweeps | {OURS_LABEL: found(0.0)})[0]
    assert np.isnan(nothing.value)
    assert nothing.passed is None


@pytest.mark.parametrize(
    ("kept", "value"),
    [([1.0, 1.1, 0.5, 1.0], 4.0), ([1.0, 1.0, 0.95, 1.0], 16.0), ([0.5, 1.0, 1.0, 1.0], None)],
)
def test_halos_count_up_to_the_first_scale_that_loses_light(kept, value):
    rows = [{"scale": scale, "peak": 1.0, "denoised": part}
            for scale, part in zip((2.0, 4.0, 8.0, 16.0), kept, strict=True)]  # fmt: skip
    found = _kept_up_to(
        [*rows[::-1], {"scale": 1.0, "peak": 3.0, "denoised": MIN_HALO_LIGHT_KEPT / 2}], 1.0
    )
    if value is None:
        assert shown(found) == "at no scale"
    else:
        assert found.value == value
