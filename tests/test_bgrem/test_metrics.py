"""Detections against truth lists, and curves at equal false positives."""

import numpy as np
import pytest
from ratios import bootstrap_ratio
from sextractor import detect_with_sextractor

from bgrem.frame import detect, sextractor_run
from bgrem.frame.detect import Detections
from bgrem.validation import metrics


def found(*places):
    x, y = (np.array(axis, float) for axis in zip(*places, strict=True))
    return Detections(x, y, np.ones(len(x)))


@pytest.fixture
def truth():
    """A bright source, a faint one, one below the list, a galaxy of 10 px half-light radius."""
    return {
        "x": np.array([10.0, 30.0, 50.0, 80.0]), "y": np.array([10.0, 30.0, 50.0, 80.0]),
        "snr": np.array([50.0, 3.0, 1.5, 20.0]), "half_light_radius": np.array([0, 0, 0, 10.0]),
    }  # fmt: skip


def test_a_detection_on_a_source_is_true_and_one_beside_all_is_false(truth):
    result = metrics.score(found((10.5, 10), (60, 20)), truth, fwhm=4)
    assert (result.true, result.false) == (1, 1)
    assert result.partner.tolist() == [0, -1]


def test_a_second_detection_of_a_source_is_false_and_the_nearer_one_counts(truth):
    result = metrics.score(found((11.5, 10), (10.1, 10)), truth, fwhm=4)
    assert (result.true, result.false) == (1, 1)
    assert result.partner.tolist() == [-1, 0]


def test_a_source_below_the_list_is_neither_true_nor_false(truth):
    result = metrics.score(found((50, 50)), truth, fwhm=4)
    assert (result.true, result.false) == (0, 0)


def test_galaxies_are_matched_within_half_their_radius(truth):
    assert metrics.score(found((84, 80)), truth, fwhm=4).true == 1
    assert metrics.score(found((86, 80)), truth, fwhm=4).true == 0


def test_nothing_found_is_nothing(truth):
    empty = Detections(*np.zeros((3, 0)))
    assert metrics.score(empty, truth, 4).true == 0
    assert metrics.listed_number(truth) == 3


def test_true_positives_are_read_off_between_two_thresholds():
    curve = np.array([[5.0, 100, 0], [4.0, 120, 2], [3.0, 140, 6], [2.0, 150, 40]])
    assert metrics.true_at_false(curve, 4) == pytest.approx(130)
    assert metrics.true_at_false(curve, 100) == 150
    assert metrics.true_at_false(curve[1:], 1) == 0


def test_the_curve_is_refined_where_false_positives_pass_a_level():
    truth = {
        "x": np.arange(200.0), "y": np.zeros(200), "snr": np.full(200, 9.0),
        "half_light_radius": np.zeros(200),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    strengths = np.concatenate([rng.uniform(3, 9, 200), rng.exponential(1, 500)])
    x = np.concatenate([np.arange(200.0), np.arange(500.0)])
    y = np.concatenate([np.zeros(200), np.full(500, 90.0)])

    def detector(threshold):
        keep = strengths > threshold
        return Detections(x[keep], y[keep], strengths[keep])

    curve = metrics.roc_curve(detector, truth, 2.0, (10.0, 0.5))
    exact = (strengths[:200] > np.sort(strengths[200:])[-11]).sum()  # 10 false = 5 %
    assert metrics.true_at_false(curve, 10) == pytest.approx(exact, abs=3)
    assert (np.diff(curve[:, 0]) < 0).all()


def test_the_ratio_of_equal_counts_is_one_and_its_error_nothing():
    ratio, error = bootstrap_ratio(np.array([5, 7, 9]), np.array([5, 7, 9]))
    assert (ratio, error) == (1, 0)


@pytest.fixture(scope="module")
def stars():
    """Nine stars of S/N 20 to 200 in noise of 1; (pixels, x, y, profile)."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:200, :200]
    pixels = rng.normal(0, 1, (200, 200))
    places = [(40 + 60 * i + 0.3, 40 + 60 * j - 0.2) for i in range(3) for j in range(3)]

    def profile(row, column):
        return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.5**2)) / (2 * np.pi * 1.5**2)

    for number, (row, column) in enumerate(places):
        pixels += 2 * np.sqrt(np.pi) * 1.5 * (20 + 20 * number) * profile(row, column)
    centre = profile(100, 100)[90:111, 90:111]
    return pixels, np.array([p[1] for p in places]), np.array([p[0] for p in places]), centre


def nearest(found, x, y):
    return np.hypot(found.x[:, None] - x, found.y[:, None] - y).min(0)


def test_sep_and_the_matched_filter_find_the_stars_where_they_are(stars):
    pixels, x, y, profile = stars
    significance = detect.matched_filter(pixels, np.zeros((200, 200)), 1.0, profile)
    for one in (
        detect.detect_with_sep(pixels, 2.0, noise=1.0), detect.detect_peaks(significance, 8.0)
    ):  # fmt: skip
        assert len(one) == 9
        assert nearest(one, x, y).max() < 0.5


def test_the_matched_filter_is_in_units_of_signal_to_noise(stars):
    pixels, x, y, profile = stars
    significance = detect.matched_filter(pixels, np.zeros((200, 200)), 1.0, profile)
    at_stars = significance[np.round(y).astype(int), np.round(x).astype(int)]
    # pixel phases of 0.3 px cost up to 3 %, noise is 1
    assert at_stars == pytest.approx(np.arange(20, 200, 20), rel=0.04, abs=2.5)
    noise = np.random.default_rng(0).normal(0, 2, (300, 300))
    assert detect.matched_filter(noise, 0.0, 2.0, profile).std() == pytest.approx(1, abs=0.05)


@pytest.mark.skipif(
    sextractor_run.find_sextractor() is None,
    reason=f"SExtractor: {sextractor_run.INSTALL_SEXTRACTOR}",
)
def test_sextractor_finds_the_same_stars(stars):
    pixels, x, y, _ = stars
    found = detect_with_sextractor(pixels + 100, 2.0)
    assert nearest(found, x, y).max() < 0.5
    absolute = detect_with_sextractor(pixels, 2.0, relative=False, background=False)
    assert len(absolute) == 9


def test_a_missing_sextractor_is_said_with_the_way_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(sextractor_run, "find_sextractor", lambda: None)
    with pytest.raises(FileNotFoundError, match="apt install"):
        sextractor_run.run_sextractor(tmp_path, [np.zeros((8, 8))], [], {})
