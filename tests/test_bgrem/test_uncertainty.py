"""Half-widths of errors: what they are, how they are calibrated, whether they hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from bgrem.cli import main
from bgrem.config import DenoiseConfig
from bgrem.denoising.flow import denoise
from bgrem.denoising.twin import other_noise
from bgrem.denoising.uncertainty import (
    INTERVAL_LEVELS,
    Calibration,
    denoised_uncertainty,
    describe_surroundings,
    design,
)
from bgrem.inference.run import load_for
from bgrem.models import list_models
from bgrem.training.calibration import (
    Sample,
    calibrate,
    coverage_table,
    fit_calibration,
    saturated_truth,
)

QUICK = ["-s", "1", "--tile", "64", "--overlap", "16"]


def drawn(seed, number=4000, scale=1.0):
    """Pixels whose error is `scale` times a Gaussian that grows with their first feature."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(3, number))
    signal = np.exp(rng.uniform(-5, 9, number))
    error = np.abs(rng.normal(size=number)) * np.exp(features[0]) * scale
    return Sample(features, signal, error, np.ones(number))


@pytest.fixture(scope="module")
def fitted():
    return fit_calibration([drawn(seed) for seed in range(8)], DenoiseConfig())


def test_both_shares_hold_on_new_pixels_in_every_range(fitted):
    rows = coverage_table([drawn(seed) for seed in range(100, 108)], fitted)
    assert len(rows) == 12
    for row in rows:
        # three standard deviations of some 2000 independent pixels in a range
        assert row["68"] == pytest.approx(INTERVAL_LEVELS[0], abs=0.04)
        assert row["95"] == pytest.approx(INTERVAL_LEVELS[1], abs=0.02)


def test_the_widths_follow_what_makes_the_errors_large(fitted):
    features = np.zeros((3, 2))
    features[0] = 0.0, 1.0
    narrow, wide = fitted.half_widths(features, np.array([1.0, 1.0]))[0]
    assert wide / narrow == pytest.approx(np.e, rel=0.15)  # error = Gaussian x exp(feature)
    assert narrow == pytest.approx(1, rel=0.15)


def test_an_error_that_is_too_large_is_seen_in_the_coverage(fitted):
    row = coverage_table([drawn(100, scale=2.0)], fitted)[0]
    assert row["68"] < 0.45  # |Gaussian| below half a sigma: 38 %
    assert row["95"] < 0.75


def test_the_wider_half_width_is_never_below_the_narrow_one(fitted):
    crossed = replace(fitted, shifts=fitted.shifts[::-1])
    widths = crossed.half_widths(drawn(3).features, drawn(3).signal)
    assert (widths[1] >= widths[0]).all()


def test_a_calibration_survives_json(fitted):
    again = Calibration.from_json(json.loads(json.dumps(fitted.to_json())), "here")
    sample = drawn(7)
    expected = fitted.half_widths(sample.features, sample.signal)
    # numbers are written with six digits; exponentials of sums of some of them
    assert again.half_widths(sample.features, sample.signal) == pytest.approx(expected, rel=1e-4)


def test_features_are_linear_and_squares():
    assert design(np.array([[2.0], [3.0]])).ravel().tolist() == [1, 2, 3, 4, 9]


@pytest.fixture
def config(tiny_model):
    return DenoiseConfig(model=str(tiny_model), steps=1, tile=64, overlap=16)


def test_the_map_is_positive_in_the_images_units_and_missing_where_the_image_is(
    starfield, config, fitted
):
    model, pixels = load_for(config), starfield[0].copy()
    pixels[40:44, 50] = np.nan
    done = denoise(pixels, config, model=model, twin=True)
    features, _ = describe_surroundings(done)
    own = replace(
        fitted, middle=np.zeros(len(features)), spread=np.ones(len(features)),
        weights=np.zeros((2, 1 + 2 * len(features))), shifts=np.zeros_like(fitted.shifts),
    )  # fmt: skip
    widths = denoised_uncertainty(done, own)
    assert widths.shape == (2, 150, 130, 1)
    assert np.array_equal(np.isnan(widths[0]), np.isnan(pixels)[..., None])
    # exp(0) = 1 in units of the noise
    known = ~np.isnan(widths[1])
    assert widths[1][known] == pytest.approx(done.sigma[known])


def test_the_twin_has_the_same_sources_and_other_noise(starfield, config):
    rng = np.random.default_rng(6)
    removed = rng.standard_normal((150, 130)) * np.linspace(0.5, 4, 130)
    removed[20, 30] = 500
    other = other_noise(removed)
    assert np.abs(other[110:, 80:]).max() < 4 * 5  # a cosmic ray does not go with the noise
    for part in (np.s_[40:, :30], np.s_[40:, 100:]):  # weak here, strong there
        assert other[part].std() == pytest.approx(removed[part].std(), rel=0.3)
    assert abs(np.corrcoef(other[40:].ravel(), removed[40:].ravel())[0, 1]) < 0.05
    model = load_for(config)
    done = denoise(starfield[0], config, model=model, twin=True)
    alone = denoise(starfield[0], config, model=model)
    assert np.array_equal(done.result.pixels, alone.result.pixels)
    assert alone.twin is None
    assert done.twin.shape == done.result.shape
    assert not np.array_equal(done.twin, done.result.pixels)


def test_a_hole_in_a_star_does_not_widen_its_surroundings(starfield, config):
    pixels = starfield[0].copy()
    pixels[60:90, 40:70] = 0
    holed = pixels.copy()
    holed[73:78, 53:58] = np.nan
    done = denoise(holed, config, model=load_for(config), twin=True)
    star = np.zeros((150, 130, 1))
    star[73:78, 53:58] = 3000 * done.sigma[73:78, 53:58]
    filled = replace(done, twin=done.twin + star)  # what a network makes of a filled hole
    assert np.array_equal(describe_surroundings(filled)[0], describe_surroundings(done)[0])


def test_without_a_twin_nothing_is_guessed(starfield, config, fitted):
    done = denoise(starfield[0], config, model=load_for(config))
    with pytest.raises(ValueError, match="twin=True"):
        denoised_uncertainty(done, fitted)


def test_too_few_fields_are_refused(starfield, config):
    pairs = [starfield[:2]] * 3
    with pytest.raises(ValueError, match="3 fields: expected 4 or more"):
        calibrate(pairs, config, load_for(config))


@pytest.fixture
def own_calibration(starfield, tiny_model, tmp_path):
    """A calibration of the small model on files of the user."""
    rng = np.random.default_rng(3)
    for number in range(6):
        observed = starfield[0] + rng.normal(0, 2, starfield[0].shape)
        planes = [fits.ImageHDU(observed.astype(np.float32), name="OBSERVED"),
                  fits.ImageHDU(starfield[1], name="SOURCES")]  # fmt: skip
        fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / f"pair{number}.fits")
    path = tmp_path / "calibration.json"
    arguments = [str(tmp_path / "pair*.fits"), "-o", str(path), "--model", str(tiny_model), *QUICK]
    assert main(["calibrate", *arguments]) == 0
    return path


def test_users_pairs_give_a_calibration_and_its_coverage(own_calibration, capsys):
    content = json.loads(own_calibration.read_text())
    assert content["settings"] == {"steps": 1, "clip": True}
    assert content["notes"]["fields"] == content["notes"]["checked_fields"] == 3
    overall = content["notes"]["coverage"][0]
    assert overall["signal"] == "all"
    # all pairs hold the same stars: two halves differ by their noise alone
    assert overall["68"] == pytest.approx(INTERVAL_LEVELS[0], abs=0.05)
    assert overall["95"] == pytest.approx(INTERVAL_LEVELS[1], abs=0.03)


def test_the_command_writes_both_half_widths(own_calibration, starfield, tiny_model, tmp_path):
    frame, out = tmp_path / "frame.fits", tmp_path / "sigma.fits"
    fits.writeto(frame, starfield[0], fits.Header([("CRVAL1", 250.4), ("OBJECT", "M13")]))
    run = ["denoise", str(frame), "-o", str(tmp_path / "out"), "--model", str(tiny_model), *QUICK]
    run += ["--calibration", str(own_calibration)]
    assert main([*run, "--uncertainty", str(out)]) == 0
    with fits.open(out, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["SIGMA68", "SIGMA95"]
        assert all(hdu.header["CRVAL1"] == 250.4 for hdu in hdus)
        assert (hdus[1].data >= hdus[0].data).all()
        assert hdus[0].header["BGCALIB"] == "calibration.json"
    assert main(["reproduce", str(out)]) == 0
    single = tmp_path / "sigma.fits.fz"
    assert main([*run, "--uncertainty", str(single), "--overwrite"]) == 0
    assert np.array_equal(fits.getdata(single), fits.getdata(out))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "has no calibration"),
        (["--strength", "0.5"], "only with --strength 1"),
        (["--calibration", "none.json"], "not a readable calibration"),
    ],
)
def test_an_uncertainty_that_nothing_backs_is_refused(
    starfield, tiny_model, tmp_path, capsys, more, message
):
    frame, out = tmp_path / "frame.fits", tmp_path / "sigma.fits"
    fits.writeto(frame, starfield[0])
    run = ["denoise", str(frame), "-o", str(tmp_path / "out"), "--model", str(tiny_model)]
    assert main([*run, "--uncertainty", str(out), *more]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_other_settings_than_the_calibrations_are_refused(
    own_calibration, tiny_model, tmp_path, capsys
):
    run = ["denoise", str(tmp_path / "pair0.fits"), "--model", str(tiny_model), *QUICK]
    run += ["--uncertainty", str(tmp_path / "u.fits"), "--calibration", str(own_calibration)]
    assert main([*run, "--no-clip"]) == 2
    assert "bgrem calibrate" in capsys.readouterr().err


def test_the_calibration_of_other_weights_is_refused(own_calibration, tmp_path, capsys):
    run = ["denoise", str(tmp_path / "pair0.fits"), *QUICK, "--model", "optical"]
    run += ["--uncertainty", str(tmp_path / "u.fits"), "--calibration", str(own_calibration)]
    assert main(run) == 2
    assert "other weights than optical" in capsys.readouterr().err


def test_the_calibration_of_other_features_is_refused(
    own_calibration, tiny_model, fitted, tmp_path, capsys
):
    content = json.loads(own_calibration.read_text())
    own_calibration.write_text(json.dumps(content | {
        name: value for name, value in fitted.to_json().items() if name not in ("settings", "notes")
    }))  # fmt: skip
    run = ["denoise", str(tmp_path / "pair0.fits"), *QUICK, "--model", str(tiny_model)]
    run += ["--uncertainty", str(tmp_path / "u.fits"), "--calibration", str(own_calibration)]
    assert main(run) == 2
    assert "another version" in capsys.readouterr().err


def test_calibrate_wants_files_or_a_simulation(tmp_path, capsys):
    assert main(["calibrate", "-o", str(tmp_path / "c.json")]) == 2
    assert "--simulate" in capsys.readouterr().err


def test_truth_is_full_where_the_detector_is():
    from bgrem.simulate.optical import simulate_field

    field = simulate_field(shape=(96, 96), seed=63_001, preset="meerlicht", stars=2000.0)
    full = field.instrument.saturation / field.instrument.gain + field.instrument.bias
    field.sources[40, 40] = 10 * full
    truth = saturated_truth(field)
    assert truth[40, 40] + field.background[40, 40] == pytest.approx(full)
    assert np.array_equal(truth[:40], field.sources[:40])


def test_the_card_of_optical_has_coverage_within_three_points():
    table = list_models()["optical"]["uncertainty"]["notes"]["coverage"]
    assert table[0]["68"] == pytest.approx(INTERVAL_LEVELS[0], abs=0.03)
    assert table[0]["95"] == pytest.approx(INTERVAL_LEVELS[1], abs=0.03)


def test_optical_holds_on_a_new_field():
    from bgrem.simulate.optical import simulate_field

    config = DenoiseConfig()
    from bgrem.denoising.uncertainty import load_calibration
    from bgrem.models import read_description

    calibration = load_calibration(config, read_description("optical"))
    field = simulate_field(shape=(320, 320), seed=63_002, preset="meerlicht", stars=2000.0)
    done = denoise(field.observed, config, twin=True)
    widths = denoised_uncertainty(done, calibration)
    error = np.abs(saturated_truth(field)[..., None] - done.result.pixels)
    # a single field: its own background and crowding move the share by some points
    assert (error <= widths[0]).mean() == pytest.approx(INTERVAL_LEVELS[0], abs=0.12)
    assert (error <= widths[1]).mean() == pytest.approx(INTERVAL_LEVELS[1], abs=0.05)
