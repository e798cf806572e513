"""The checks of `bgrem validate`: what is put in, how it is measured, when a goal is met."""

from dataclasses import replace

import numpy as np
import pytest

from bgrem import metrics
from bgrem.checks.detection import _shares
from bgrem.checks.halos import check_halos
from bgrem.checks.noise import RADII, autocorrelation, empty_apertures
from bgrem.checks.pixels import radial_spectrum
from bgrem.checks.result import Measure, at_least, at_most
from bgrem.checks.sweeps import Sweep, denoised_finder, make_method
from bgrem.config import ValidateConfig
from bgrem.examination import (
    Examination,
    Planes,
    filter_inflation,
    own_noise,
    surrogate_noise,
)
from bgrem.injection import APART, EDGE, Halo, inject_sources, with_photon_noise
from bgrem.point_spread import PointSpread
from bgrem.report import shown

SPREAD = PointSpread(3.2, 3.0)
SIGMA = 5.0


def blank(shape=(260, 240), seed=63_100):
    return np.random.default_rng(seed).normal(0, SIGMA, shape)


@pytest.fixture
def injection():
    return inject_sources(
        blank(), np.full((260, 240), SIGMA), SPREAD, number=25, gain=None, inflation=1.0,
        rng=np.random.default_rng(63_101),
    )  # fmt: skip


def perfect(pixels, light):
    """Planes of a denoiser that knows the light."""
    return Planes(pixels, light, np.zeros_like(pixels), np.full_like(pixels, SIGMA))


@pytest.fixture
def examination(injection):
    """A blank frame, one injection, noise; its denoiser knows what was put in."""
    frame, noise = blank(), blank(seed=63_102)
    nothing = np.zeros_like(frame)
    exam = Examination(
        perfect(frame, nothing), lambda pixels: perfect(pixels, pixels - frame), SPREAD, None,
        ValidateConfig(),
    )  # fmt: skip
    exam.injected.append((injection, perfect(injection.pixels, injection.light)))
    exam.noise.append(perfect(noise, nothing))
    return exam


# injection


def test_injected_light_is_all_that_is_added(injection):
    assert injection.pixels - injection.light == pytest.approx(blank(), abs=1e-9)


def test_injected_flux_is_the_listed_one_up_to_the_wings(injection):
    # of a Moffat profile with beta 3 some 2 % lie outside of five FWHM
    assert injection.light.sum() == pytest.approx(injection.truth["flux"].sum(), rel=0.04)


def test_the_listed_snr_is_that_of_a_matched_filter(injection):
    stars = injection.truth["kind"] == "star"
    weight = np.sqrt((SPREAD.stamp() ** 2).sum())
    snr = injection.truth["flux"][stars] * weight / SIGMA
    assert injection.truth["snr"][stars] == pytest.approx(snr, rel=0.05)  # place within the pixel


def test_injected_sources_keep_their_distance_and_spare_gaps():
    frame = blank()
    frame[100:140, 60:200] = np.nan
    truth = inject_sources(
        frame, np.full(frame.shape, SIGMA), SPREAD, number=200, gain=None, inflation=1.0,
        rng=np.random.default_rng(63_103),
    ).truth  # fmt: skip
    places = truth["x"] + 1j * truth["y"]
    distance = np.abs(places[:, None] - places[None]) + 1e9 * np.eye(len(places))
    assert len(places) > 30
    assert distance.min() >= APART * SPREAD.fwhm
    assert min(truth["x"].min(), truth["y"].min()) >= EDGE * SPREAD.fwhm
    assert np.isfinite(frame[truth["y"].round().astype(int), truth["x"].round().astype(int)]).all()


def test_photon_noise_of_a_source_has_the_variance_of_its_electrons():
    light = np.full((300, 300), 50.0)
    noisy = with_photon_noise(light, 2.0, np.random.default_rng(63_104))
    assert noisy.mean() == pytest.approx(50, rel=0.01)
    assert noisy.var() == pytest.approx(25, rel=0.03)
    assert with_photon_noise(light, None, np.random.default_rng(0)) is light


def test_light_inside_a_circle_is_that_of_drawn_stars():
    import sep

    light, rng = np.zeros((400, 400)), np.random.default_rng(63_105)
    narrow = PointSpread(2.2, 3.0)
    drawn = inject_sources(
        light, np.ones_like(light), narrow, number=600, gain=None, inflation=1.0, rng=rng
    )
    # bright ones: in faint ones the wings of the others count
    star = (drawn.truth["kind"] == "star") & (drawn.truth["snr"] > 20)
    x, y = drawn.truth["x"][star], drawn.truth["y"][star]
    measured = sep.sum_circle(drawn.light, x, y, 2.2)[0] / drawn.truth["flux"][star]
    # the place within the pixel scatters it by 2 %
    assert measured.mean() == pytest.approx(narrow.light_inside(2.2), rel=0.004)


# frames of noise


def test_own_noise_has_no_sources_and_the_frame_elsewhere(injection):
    planes = perfect(injection.pixels, np.zeros_like(injection.pixels))
    noise = own_noise(planes, np.random.default_rng(1))
    assert noise[planes.empty] == pytest.approx(planes.scaled[planes.empty])
    assert np.abs(noise).max() < 6
    assert noise.std() == pytest.approx(1, rel=0.05)


def test_noise_drawn_anew_keeps_spread_and_correlation():
    white = np.random.default_rng(63_106).normal(size=(300, 301))
    smooth = white + np.roll(white, 1, 1)
    drawn = surrogate_noise(smooth, np.random.default_rng(2))
    assert drawn.shape == smooth.shape
    assert drawn.std() == pytest.approx(smooth.std())
    assert np.corrcoef(drawn[:, 1:].ravel(), drawn[:, :-1].ravel())[0, 1] == pytest.approx(
        0.5, abs=0.02
    )
    assert abs(np.corrcoef(drawn.ravel(), smooth.ravel())[0, 1]) < 0.05


def test_the_inflation_of_correlated_noise_is_its_correlation_summed():
    white = np.random.default_rng(63_107).normal(size=(400, 400))
    boxed = sum(np.roll(white, (i, j), (0, 1)) for i in (0, 1) for j in (0, 1)) / 2
    planes = Planes(boxed, 0 * boxed, 0 * boxed, np.ones_like(boxed))
    # wide filters see sums of 4 pixels as one of twice the noise
    wide = PointSpread(8.0, 4.0)
    assert filter_inflation(planes, wide) == pytest.approx(2, rel=0.1)


# curves


def test_a_perfect_denoiser_finds_what_was_put_in_and_nothing_else(examination):
    sweep = Sweep(examination, make_method(examination, "perfect", denoised_finder, 0.1))
    listed = metrics.listed_number(examination.injected[0][0].truth)
    assert sweep.listed == listed
    assert sweep.false.sum() == 0
    assert sweep.share_at(20) == 1


def test_what_the_frame_had_before_does_not_count_as_found(examination, injection):
    before = replace(
        examination, planes=perfect(injection.pixels, injection.light),
    )  # fmt: skip
    sweep = Sweep(before, make_method(before, "perfect", denoised_finder, 0.1))
    assert sweep.true.sum() == 0


def test_pieces_of_an_injected_source_are_false(examination, injection):
    light = injection.light.copy()
    k = int(np.argmax(injection.truth["snr"]))
    x, y = round(injection.truth["x"][k]), round(injection.truth["y"][k])
    light[y - 3 : y + 4, x + 6 : x + 9] += 100 * SIGMA  # something that nobody put in
    examination.injected[0] = (injection, perfect(injection.pixels, light))
    sweep = Sweep(examination, make_method(examination, "broken", denoised_finder, 0.1))
    assert sweep.false.max() >= 1


def test_shares_are_counted_in_bins_with_their_error():
    snr = np.repeat([4.0, 20.0], 50)
    flags = np.r_[np.arange(50) < 10, np.ones(50, bool)]
    bins = _shares(snr, flags)
    known = np.isfinite(bins["share"])
    assert bins["share"][known] == pytest.approx([0.2, 1.0])
    assert bins["error"][known][0] == pytest.approx(np.sqrt(0.2 * 0.8 / 50), rel=0.05)
    assert bins["error"][known][1] > 0


# noise


def test_autocorrelation_of_a_box_is_its_overlap():
    white = np.random.default_rng(63_108).normal(size=(400, 400))
    boxed = sum(np.roll(white, (i, j), (0, 1)) for i in (0, 1) for j in (0, 1))
    empty = np.ones(boxed.shape, bool)
    empty[:, 150:250] = False
    boxed[~empty] = 1e6  # masked pixels take no part
    found = autocorrelation(boxed, empty)
    assert found[0] == pytest.approx(1)
    # the ring of 1 px: four neighbours of 1/2, four diagonal ones of 1/4
    assert found[1] == pytest.approx(0.375, abs=0.02)
    assert np.abs(found[3:]).max() < 0.03


def test_white_noise_grows_with_the_root_of_the_area():
    white = np.random.default_rng(63_109).normal(size=(500, 500))
    scatter, area = empty_apertures(white, np.ones(white.shape, bool), np.random.default_rng(3))
    assert len(scatter) == len(RADII)
    assert scatter / np.sqrt(area) == pytest.approx(np.ones(len(RADII)), rel=0.12)


def test_the_spectrum_of_white_noise_is_one():
    white = np.random.default_rng(63_110).normal(size=(256, 300))
    frequency, power = radial_spectrum(white)
    many = frequency > 0.15  # some 400 independent modes in a bin: 5 %, three times
    assert power[many] == pytest.approx(np.ones(many.sum()), rel=0.15)


# halos


def test_a_halo_has_the_light_of_its_formula():
    halo = Halo(100.0, 100.0, 8.0, 2.0, 24.0)
    # 2 pi peak h^2, of which 1 - 4 exp(-3) lie within three scale lengths
    assert halo.light((201, 201)).sum() == pytest.approx(
        2 * np.pi * 2 * 64 * (1 - 4 * np.exp(-3)), rel=0.01
    )


def test_a_perfect_denoiser_keeps_all_halos(examination):
    (result,) = check_halos(examination)
    kept = np.array([row["denoised"] for row in result.data["halos"]])
    assert len(kept) > 10
    assert kept == pytest.approx(np.ones(len(kept)))


def test_halos_can_be_left_out(examination):
    assert check_halos(replace(examination, config=ValidateConfig(halos=False))) == []


# figures of merit


@pytest.mark.parametrize(
    ("measure", "passed"),
    [
        (at_least("a", 1.01, 1.0, error=0.05), True),
        (at_least("a", 0.97, 1.0, error=0.05), None),
        (at_least("a", 0.9, 1.0, error=0.05), False),
        (at_least("a", float("nan"), 1.0), None),
        (at_most("a", -0.7, 1.0, unit="%", error=0.1), True),
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
