"""The table of what remains: places, light, lengths, flags, and the threshold."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from streaked import SHAPE, streaked, trail

from bgrem.noise_mapping import detections
from bgrem.noise_mapping.detections import Remains, alarm_threshold, find_detections
from bgrem.simulate.trails import add_satellites
from common.image import AstroImage


def remains(residual, streaks=0.0, saturated=False):
    ones = np.ones(residual.shape)
    return Remains(residual, ones, streaks * ones, np.full(residual.shape, saturated))


def found_in(residual, **more):
    image = AstroImage(residual.astype(np.float32))
    return find_detections(image, remains(residual, **more), 1.0)


@pytest.fixture
def noise():
    return np.random.default_rng(8).standard_normal(SHAPE)


def test_a_satellite_is_listed_with_its_place_and_light(noise):
    residual, truth = add_satellites(
        noise, np.array([20.0, 12.0]), None, positions=np.array([[60.3, 50.6], [150.0, 120.0]])
    )
    table = found_in(residual)[:2]
    assert np.allclose(table["X_IMAGE"], truth["x"] + 1, atol=0.25)
    assert np.allclose(table["Y_IMAGE"], truth["y"] + 1, atol=0.25)
    assert np.allclose(table["FLUX"], truth["flux"], atol=3 * table["FLUXERR"].max())
    assert (table["LENGTH"] == 0).all() and np.isnan(table["ANGLE"]).all()
    assert table["SNR"][0] > table["SNR"][1] > 8
    assert (table["FLAGS"] == 0).all()


def test_a_trail_has_length_and_angle(noise):
    row = found_in(noise + trail(0.6, 40, 12))[0]
    assert row["LENGTH"] == pytest.approx(40, abs=4)
    assert row["ANGLE"] == pytest.approx(np.degrees(0.6), abs=2)


def test_noise_alone_gives_about_one_alarm_per_frame():
    rng = np.random.default_rng(1)
    number = [len(found_in(rng.standard_normal((300, 300)))) for _ in range(12)]
    assert 0.2 < np.mean(number) < 1.8


def test_worse_noise_raises_the_threshold(noise):
    nothing = np.zeros(SHAPE, bool)
    gaussian = alarm_threshold(noise * 0, 1.0, nothing)
    assert 3.8 < gaussian < 4.6
    assert alarm_threshold(noise * 0, 0.01, nothing) > gaussian + 0.8
    worse = noise * 0
    worse[[20, 60, 90], [20, 60, 90]] = -9
    assert alarm_threshold(worse, 1.0, nothing) == 9
    assert alarm_threshold(worse, 1.0, worse < 0) == pytest.approx(gaussian, abs=1e-3)


def test_flags_tell_streaks_edges_saturation_and_missing_pixels(noise):
    noise[100, 2] += 30
    noise[100, 1:4] += 12
    noise[50, 60] += 30
    noise[150, 99:102] += 20
    noise[149:152, 100] += 20
    noise[152, 101] = np.nan
    expected = [detections.AT_EDGE, detections.MISSING, detections.SHARP]
    assert sorted(found_in(noise)["FLAGS"][:3]) == expected
    assert (found_in(noise, streaks=5.0)["FLAGS"] & detections.ON_STREAK).all()
    assert (found_in(noise, saturated=True)["FLAGS"] & detections.SATURATED).all()


def test_a_frame_in_which_nothing_remains_has_an_empty_table():
    table = found_in(np.zeros(SHAPE))
    assert len(table) == 0 and "FLUX" in table.colnames


@pytest.fixture
def raw(tmp_path):
    frame, _ = streaked(0.4, 30)
    frame, _ = add_satellites(frame, np.array([40.0]), None, positions=np.array([[120.0, 60.0]]))
    header = fits.Header()
    for key, value in {
        "DATE-OBS": "2026-03-01T20:00:00", "EXPTIME": 2.0, "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 120.0, "CRPIX2": 100.0,
        "CD1_1": -2e-4, "CD2_2": 2e-4, "CD1_2": 0.0, "CD2_1": 0.0,
    }.items():  # fmt: skip
        header[key] = value
    fits.writeto(tmp_path / "raw.fits", frame.astype(np.float32), header)
    return tmp_path / "raw.fits"


def run(raw, name, *more):
    from bgrem.cli import main

    folder = raw.parent / "out"
    command = ["noisemap", str(raw), "-o", str(folder), "--detections", str(raw.parent / name)]
    assert main([*command, "--runs", "1", "--quiet", "--overwrite", *more]) == 0
    return raw.parent / name


def test_the_command_writes_ecsv_with_sky_positions_and_times(raw):
    table = Table.read(run(raw, "found.ecsv"), format="ascii.ecsv")
    nearest = np.hypot(table["X_IMAGE"] - 121, table["Y_IMAGE"] - 61).argmin()
    assert np.hypot(table["X_IMAGE"] - 121, table["Y_IMAGE"] - 61)[nearest] < 0.5
    assert table["DELTA_J2000"][nearest] == pytest.approx(2 - 39 * 2e-4, abs=1e-4)
    assert table.meta["DATE-OBS"] == "2026-03-01T20:00:00" and table.meta["EXPTIME"] == 2.0
    assert 3.8 < table.meta["BGTHRESH"] < 9


def test_the_command_writes_a_fits_table_and_regions(raw):
    with fits.open(run(raw, "found.fits")) as hdus:
        assert hdus[1].header["DATE-OBS"] == "2026-03-01T20:00:00"
        number = len(hdus[1].data)
        assert number >= 1
    text = run(raw, "found.reg").read_text("ascii").splitlines()
    assert text[2] == "image" and len(text) == 3 + number


def test_an_unknown_suffix_is_refused_before_the_work(raw, capsys):
    from bgrem.cli import main

    assert main(["noisemap", str(raw), "--detections", str(raw.parent / "found.txt")]) != 0
    assert "suffix" in capsys.readouterr().err
    assert not (raw.parent / "raw_residual.fits").exists()
