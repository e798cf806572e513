"""The checks of `bgrem validate`: what is put in, how it is measured, when a goal is met."""

from dataclasses import replace

import numpy as np
import pytest

from bgrem.config import ValidateConfig
from bgrem.frame.sources import mask_frame_sources
from bgrem.frame.stars import PointSpread
from bgrem.validation import metrics
from bgrem.validation.checks.detection import _against_snr, _half, _noise_only, _purity
from bgrem.validation.checks.fluxes import check_fluxes
from bgrem.validation.checks.halos import check_halos
from bgrem.validation.checks.noise import (
    EMPTY_APERTURE_RADII_PX,
    autocorrelation,
    check_noise,
    empty_apertures,
)
from bgrem.validation.checks.pixels import windowed_spectrum
from bgrem.validation.checks.result import OURS_LABEL, SEXTRACTOR_DEFAULT_LABEL
from bgrem.validation.checks.sweeps import Sweep, default_finder, denoised_finder, make_method
from bgrem.validation.flow import _fill
from bgrem.validation.frames import (
    Examination,
    Planes,
    filter_inflation,
    own_noise,
    surrogate_noise,
)
from bgrem.validation.injection import (
    INJECTED_DISTANCE_FWHM,
    INJECTED_MARGIN_FWHM,
    Halo,
    inject_sources,
    with_photon_noise,
)
from bgrem.validation.report import shown

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
    assert distance.min() >= INJECTED_DISTANCE_FWHM * SPREAD.fwhm
    assert min(truth["x"].min(), truth["y"].min()) >= INJECTED_MARGIN_FWHM * SPREAD.fwhm
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


def test_gaps_do_not_narrow_the_noise_that_sources_stand_out_of():
    noise = np.random.default_rng(63_120).normal(size=(300, 300))
    missing = np.zeros(noise.shape, bool)
    missing[:, :120] = True
    masked = mask_frame_sources(np.where(missing, 0, noise), missing)
    assert masked[~missing].mean() < 0.02
    planes = perfect(np.where(missing, np.nan, SIGMA * noise), 0 * noise)
    assert planes.empty[~missing].mean() > 0.98


@pytest.mark.parametrize("counts", [True, False])
def test_frames_of_noise_have_the_gaps_of_the_frame(counts):
    frame = blank()
    frame[40:200, 30:120] = np.nan
    config = ValidateConfig(repeats=1, injections=10)
    exam = Examination(
        perfect(frame, np.zeros(frame.shape)), lambda pixels: perfect(pixels, 0 * pixels), SPREAD,
        None, config, counts=counts,
    )  # fmt: skip
    _fill(exam, lambda line: None)
    assert len(exam.noise) == (1 if counts else 2)
    for planes in exam.noise:
        assert np.array_equal(planes.missing, exam.planes.missing)


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


def test_completeness_begins_where_the_list_does(examination):
    sweep = Sweep(examination, make_method(examination, "perfect", denoised_finder, 0.1))
    bins = _against_snr(examination, sweep)
    known = np.isfinite(bins["share"])
    assert bins["number"].sum() == sweep.listed
    assert bins["snr"][0] > metrics.MIN_LISTED_SNR
    assert bins["share"][known] == pytest.approx(np.ones(known.sum()))
    assert shown(_half("perfect", bins)).startswith("<")


def test_detections_in_noise_count_once_for_all_repeats(examination):
    one = examination.injected[0]
    noise = examination.noise[0]
    blob = np.zeros_like(noise.result)
    blob[100:103, 100:103] = 5 * SIGMA
    blobs = perfect(noise.pixels + blob, blob)

    def number(planes):
        exam = replace(examination, injected=[one, one, one], noise=[planes])
        sweep = Sweep(exam, make_method(exam, "perfect", denoised_finder, 0.1))
        return _purity(exam, sweep)["number"].sum()

    assert number(blobs) == number(noise) + 1


def test_who_never_finds_as_many_is_not_compared_in_noise(examination, injection):
    blind = perfect(injection.pixels, np.zeros_like(injection.pixels))
    exam = replace(
        examination, injected=[(injection, blind)], noise=2 * examination.noise,
    )  # fmt: skip
    sweeps = {
        name: Sweep(exam, make_method(exam, name, prepare))
        for name, prepare in (
            (SEXTRACTOR_DEFAULT_LABEL, default_finder),
            (OURS_LABEL, denoised_finder),
        )
    }
    assert np.isnan(sweeps[OURS_LABEL].threshold_for(1))
    result = _noise_only(exam, sweeps)
    assert {shown(one) for one in result.measures} == {"never as complete"}
    assert all(one.passed is None for one in result.measures)
    ((_, rows),) = result.tables
    assert set(list(rows[1].values())[1:]) == {"–"}
    assert rows[0]["threshold (sigma)"] != "–"
    result.picture.canvas.draw()


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
    assert len(scatter) == len(EMPTY_APERTURE_RADII_PX)
    assert scatter / np.sqrt(area) == pytest.approx(np.ones(len(EMPTY_APERTURE_RADII_PX)), rel=0.12)


@pytest.mark.parametrize(("fwhm", "known"), [(3.2, True), (EMPTY_APERTURE_RADII_PX[-1] + 1, False)])
def test_an_inflation_that_was_not_measured_has_no_keyword(examination, fwhm, known):
    (result,) = check_noise(replace(examination, spread=PointSpread(fwhm, 3.0)))
    keywords = {key for key, _, _ in result.cards}
    assert ({"BGINFL", "BGINFLR", "BGINFLD"} <= keywords) is known
    assert "BGCORR" in keywords
    assert np.isfinite(result.measures[0].value) == known


def test_the_spectrum_of_white_noise_is_one():
    white = np.random.default_rng(63_110).normal(size=(256, 300))
    frequency, power = windowed_spectrum(white)
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


# fluxes


def test_a_frame_where_nothing_injected_is_found_has_no_fluxes(examination, injection):
    y, x = np.mgrid[:260, :240]
    distance = np.min(
        [
            np.hypot(x - x0, y - y0)
            for x0, y0 in zip(injection.truth["x"], injection.truth["y"], strict=True)
        ],
        axis=0,
    )
    distance[:20], distance[-20:], distance[:, :20], distance[:, -20:] = 0, 0, 0, 0
    row, column = np.unravel_index(np.argmax(distance), distance.shape)
    elsewhere = 50 * SIGMA * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 4)
    planes = perfect(injection.pixels, elsewhere)
    assert len(denoised_finder(planes)(1.0)) == 1
    (result,) = check_fluxes(replace(examination, injected=[(injection, planes)]))
    assert all(np.isnan(one.value) and one.passed is None for one in result.measures)
