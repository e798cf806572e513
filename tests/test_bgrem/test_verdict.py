"""The verdict on a frame: silent where all is well, loud where stars are lost or noise is found."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import mad_std
from printed_events import results_of
from scipy import ndimage

from bgrem import denoise, load_model, simulate_field
from bgrem.cli import main
from bgrem.commands import denoise as command
from bgrem.config import DenoiseConfig
from bgrem.denoising.uncertainty import denoised_uncertainty, load_calibration
from bgrem.models import read_description
from bgrem.validation import verdict
from bgrem.validation.verdict import _Tried, _verdict, judge_frame
from common import AstroImage

SHAPE = (384, 384)


@pytest.fixture(scope="module")
def model():
    return load_model("optical")


@pytest.fixture(scope="module")
def survey():
    return simulate_field(preset="meerlicht", shape=SHAPE, seed=61_950, stars=1500.0).observed


def judge(pixels, model, **settings):
    image = AstroImage(np.asarray(pixels, np.float32))
    done = denoise(image, model=model)
    return judge_frame(image, done, lambda part: denoise(part, model=model), **settings)


def structured(pixels):
    """A sky with knots as small as stars, but many times brighter than the noise."""
    rng = np.random.default_rng(2)
    knots = ndimage.gaussian_filter(rng.normal(size=pixels.shape), 3.5)
    return pixels + 8 * (knots / knots.std()) * pixels.std().clip(0, 30)


def test_nothing_speaks_against_a_frame_like_those_of_the_training(survey, model):
    found = judge(survey, model)
    assert found.problems == ()
    assert found.stars >= 60
    assert found.found > found.found_sextractor
    assert found.bright_found > 0.9
    assert found.false < 20
    assert [card[0] for card in found.cards()] == ["BGFALSE", "BGFOUND", "BGFOUNDS"]
    assert judge(survey, model) == found  # the seed draws it
    assert judge(survey, model, seed=1) != found


def test_a_sky_of_small_structures_is_spoken_of(survey, model):
    found = judge(structured(survey), model)
    assert found.problems
    assert found.bright_found < 0.9 or found.false > 20


@pytest.mark.parametrize(
    ("of_noise", "of_stars", "lit", "wanted"),
    [(1, 1, 0.2, 1), (0.9, 1.3, 0.2, 1), (1, 3, 0.01, 1), (2, 2, 0.2, 2), (1, 5, 0.9, 4.65)],
)
def test_half_widths_grow_where_they_hold_too_few_errors(of_noise, of_stars, lit, wanted):
    normal = np.abs(np.random.default_rng(3).normal(size=(2, 20_000)))
    misses = of_noise * normal[0], of_stars * normal[1, :5000]  # 1: 68 % are below 1
    nothing = np.zeros(0)
    part = _Tried(1.0, 0, 0, nothing, nothing > 0, nothing > 0, misses, lit)
    assert _verdict([part, part]).widening == pytest.approx(wanted, rel=0.05)


def test_wider_half_widths_hold_what_they_should(model):
    field = simulate_field(preset="meerlicht", shape=(256, 256), seed=61_950, stars=1500.0)
    config = DenoiseConfig()
    calibration = load_calibration(config, read_description(config.model))
    noise = mad_std(np.diff(field.observed)) / np.sqrt(2)
    rows = 3 * noise * np.random.default_rng(0).normal(size=(256, 1))

    def run(pixels):
        return denoise(pixels, config, model=model, twin=True)

    image = AstroImage((field.observed + rows).astype(np.float32))
    done = run(image)
    found = judge_frame(image, done, run, calibration=calibration)
    error = np.abs(done.result.pixels[..., 0] - field.sources)
    width = denoised_uncertainty(done, calibration)[0, ..., 0]
    assert (error <= width).mean() < 0.5
    assert 0.58 < (error <= found.widening * width).mean() < 0.78


def test_the_command_writes_the_wider_half_widths(survey, tmp_path, capsys):
    survey = survey[:256, :256]
    rows = np.random.default_rng(0).normal(size=(256, 1))
    banded = survey + 3 * float(mad_std(np.diff(survey))) / np.sqrt(2) * rows
    fits.writeto(tmp_path / "banded.fits", banded.astype(np.float32))
    both = []
    for more in ("", "--no-verdict"):
        file = tmp_path / f"sigma{more}.fits"
        arguments = ["denoise", str(tmp_path / "banded.fits"), "-o", str(tmp_path), "--overwrite"]
        assert main([*arguments, "--uncertainty", str(file), "--json", *more.split()]) == 0
        both.append((fits.getdata(file, "SIGMA68"), fits.getheader(file)))
    printed = capsys.readouterr()
    found = results_of(printed.out)[0]["verdict"]["widening"]
    assert both[0][1]["BGWIDEN"] == pytest.approx(found, abs=1e-3)
    assert "BGWIDEN" not in both[1][1]
    np.testing.assert_allclose(both[0][0], found * both[1][0], rtol=1e-5)
    assert f"multiplied by {found:.2f}" in printed.err


def test_stars_that_the_network_removes_are_missed(survey, model):
    image = AstroImage(survey)
    done = denoise(image, model=model)

    def blind(part):
        nothing = denoise(part, model=model, steps=1)
        empty = nothing.result.with_pixels(np.zeros_like(nothing.result.pixels))
        return type(nothing)(empty, nothing.background, nothing.residual, nothing.sigma)

    found = judge_frame(image, done, blind)
    assert found.found == 0
    assert len(found.problems) == 2  # few bright ones; fewer than SExtractor


def test_without_stars_the_noise_alone_is_tried(model):
    found = judge(np.random.default_rng(3).normal(500, 10, (200, 220)), model)
    assert found.stars == 0
    assert [card[0] for card in found.cards()] == ["BGFALSE"]
    assert found.facts()["found"] is None
    json.dumps(found.facts(), allow_nan=False)


@pytest.mark.parametrize("level", [0.05, 2.0])
def test_counts_are_drawn_anew(level):
    gamma = load_model("gamma")
    counts = np.random.default_rng(4).poisson(level, (192, 192)).astype(np.float32)
    found = judge(counts, gamma, counts=True, gain=1.0)
    assert np.isfinite(found.false)
    assert not [problem for problem in found.problems if "S/N" in problem]


def test_a_frame_of_one_value_in_its_parts_has_no_verdict(model):
    image = AstroImage(np.ones((64, 64), np.float32))
    done = denoise(np.random.default_rng(1).normal(0, 1, (64, 64)), model=model)
    assert judge_frame(image, done, lambda part: denoise(part, model=model)) is None


@pytest.mark.parametrize("hidden", [np.s_[:320], np.s_[:, :900], np.s_[0:0]])
def test_windows_lie_where_a_large_frame_is_measured(hidden):
    missing = np.zeros((1500, 1300), bool)
    missing[hidden] = True
    windows = verdict._windows(missing)
    assert 1 <= len(windows) <= verdict.WINDOWS
    for one in windows:
        assert missing[one].shape == (verdict.WINDOW_PX, verdict.WINDOW_PX)
        assert not missing[one].all()
    if not missing.any():  # the corners
        assert {(one[0].start, one[1].start) for one in windows} == {
            (0, 0), (0, 916), (1116, 0), (1116, 916),
        }  # fmt: skip


def test_the_command_writes_the_verdict_and_strict_refuses(survey, tmp_path, capsys, monkeypatch):
    good, bad = tmp_path / "good.fits", tmp_path / "bad.fits"
    fits.writeto(good, survey)
    fits.writeto(bad, structured(survey).astype(np.float32))
    assert main(["denoise", str(good), "-o", str(tmp_path), "--json", "--strict"]) == 0
    out, err = capsys.readouterr()
    found = results_of(out)[0]["verdict"]
    assert found["problems"] == []
    assert "warning" not in err
    header = fits.getheader(tmp_path / "good_denoised.fits")
    assert header["BGFOUND"] == pytest.approx(found["found"], abs=1e-3)
    assert header["BGFOUNDS"] == pytest.approx(found["found_sextractor"], abs=1e-3)
    assert header["BGFALSE"] == pytest.approx(found["false"], abs=0.1)
    assert main(["denoise", str(bad), "-o", str(tmp_path), "--json"]) == 0
    out, err = capsys.readouterr()
    for problem in results_of(out)[0]["verdict"]["problems"]:
        assert f"{bad}: {problem}; compare with the original (bgrem validate)" in err
    arguments = ["-o", str(tmp_path / "plain"), "--no-verdict", "--json"]
    assert main(["denoise", str(bad), *arguments]) == 0
    out, err = capsys.readouterr()
    assert results_of(out)[0]["verdict"] is None
    assert "BGFALSE" not in fits.getheader(tmp_path / "plain" / "bad_denoised.fits")

    def warned(*arguments, **options):
        return replace(judge_frame(*arguments, **options), problems=("what is wrong",))

    monkeypatch.setattr(command, "judge_frame", warned)
    arguments = ["-o", str(tmp_path / "strict"), "--strict"]
    assert main(["denoise", str(good), *arguments]) == 2
    assert f"{good}: what is wrong. Compare with the original" in capsys.readouterr().err
    assert not (tmp_path / "strict").exists()
