"""Simulated fields, their files, and the comparison with real frames."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from printed_events import results_of
from scipy import ndimage

from bgrem.cli import main
from bgrem.config import SimulateConfig
from bgrem.frame.sources import mask_frame_sources
from bgrem.simulate.compare.compare import compare_noise
from bgrem.simulate.compare.match import match_field
from bgrem.simulate.compare.measure import (
    count_slope,
    lag_correlation,
    line_pattern,
    measure_frame,
    power_spectrum,
)
from bgrem.simulate.optical import OPTICAL_COLUMNS, simulate_field
from bgrem.simulate.presets import PRESETS
from bgrem.simulate.write import write_field

EMPTY = {"stars": 0, "galaxies": 0, "faint_structures": 0, "gradient": 0, "waves": 0}
SHAPE = (256, 192)


@pytest.fixture(scope="module")
def field():
    return simulate_field(shape=SHAPE, seed=3)


@pytest.fixture(scope="module")
def written(field, tmp_path_factory):
    path = tmp_path_factory.mktemp("fields") / "meerlicht_3.fits"
    write_field(path, field)
    return path


@pytest.fixture(scope="module")
def night():
    """A crowded frame large enough that the distances of equal noise are small."""
    return simulate_field(shape=(512, 512), seed=1, stars=800, galaxies=300).observed


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(field):
    again, other = simulate_field(shape=SHAPE, seed=3), simulate_field(shape=SHAPE, seed=4)
    for part in ("observed", "sources", "background", "noise"):
        np.testing.assert_array_equal(getattr(again, part), getattr(field, part))
    for name in OPTICAL_COLUMNS:
        np.testing.assert_array_equal(again.catalogue[name], field.catalogue[name])
    assert (other.observed != field.observed).mean() > 0.9


@pytest.mark.parametrize("artefacts", [False, True])
def test_observed_is_sources_plus_background_plus_noise(artefacts):
    field = simulate_field(shape=SHAPE, seed=3, artefacts=artefacts)
    parts = [getattr(field, name) for name in ("sources", "background", "noise")]
    assert {part.dtype for part in [*parts, field.observed]} == {np.dtype(np.float32)}
    total = np.sum(parts, axis=0, dtype=np.float64)
    # each float32 part is rounded to half a unit of its last place
    np.testing.assert_allclose(total, field.observed, rtol=3 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_noise_of_an_empty_sky_is_photons_and_read_noise_over_the_gain(preset):
    camera, sky = PRESETS[preset], 500.0
    field = simulate_field(preset=preset, shape=(400, 400), seed=1, sky=sky, **EMPTY)
    dark = camera.dark_current * camera.exposure
    # whole ADU add 1/12
    expected = (sky + dark + camera.read_noise**2) / camera.gain**2 + 1 / 12
    # the variance of 160,000 pixels scatters by 0.35 %: five times that, rounded up
    assert field.noise.var(dtype=np.float64) == pytest.approx(expected, rel=0.02)
    assert abs(field.noise.mean(dtype=np.float64)) < 5 * np.sqrt(expected / field.noise.size)
    np.testing.assert_allclose(
        field.background, (sky + dark) / camera.gain + camera.bias, rtol=1e-6
    )
    assert not field.sources.any()


def test_the_noise_of_a_source_is_that_of_its_photons():
    quiet = simulate_field(shape=(400, 400), seed=2, sky=100, **EMPTY | {"stars": 300})
    bright = quiet.sources > 20
    electrons = quiet.sources + quiet.background - quiet.instrument.bias
    expected = electrons * quiet.instrument.gain + quiet.instrument.read_noise**2
    expected = expected / quiet.instrument.gain**2 + 1 / 12
    pull = quiet.noise[bright] / np.sqrt(expected[bright])
    assert bright.sum() > 500
    assert pull.std() == pytest.approx(1, abs=5 / np.sqrt(2 * bright.sum()))


def test_the_flux_of_a_bright_star_is_that_of_the_catalogue():
    field = simulate_field(shape=(512, 512), seed=4, star_slope=0.2, **EMPTY | {"stars": 150})
    x, y, flux = (field.catalogue[name] for name in ("x", "y", "flux"))
    inside = (np.abs(x - 255.5) < 150) & (np.abs(y - 255.5) < 150)
    k = np.flatnonzero(inside)[np.argmax(flux[inside])]
    assert field.catalogue["snr"][k] > 200  # else its stamp is the small one
    near = np.hypot(x - x[k], y - y[k]) < 60
    column, row = np.round([x[k], y[k]]).astype(int)
    v, u = np.indices(field.sources.shape)
    total = field.sources[np.hypot(u - x[k], v - y[k]) < 60].sum(dtype=np.float64)
    # 0.02 % of the profile lies beyond 60 px; neighbours there are cut by the circle
    assert total == pytest.approx(flux[near].sum(), rel=0.002)
    corner = field.sources[row - 3 : row + 4, column - 3 : column + 4]
    assert corner.argmax() == 24  # the middle of 7 x 7


def test_galaxies_have_the_flux_of_the_catalogue():
    field = simulate_field(shape=(512, 512), seed=5, **EMPTY | {"galaxies": 60})
    x, y, flux, radius = (field.catalogue[name] for name in ("x", "y", "flux", "half_light_radius"))
    assert set(field.catalogue["kind"]) == {"galaxy"}
    margin = 5 * radius + 20
    whole = (np.minimum(x, y) > margin) & (np.maximum(x, y) < 511 - margin)
    # those at the edge lose up to all of their light
    total = field.sources.sum(dtype=np.float64)
    assert flux[whole].sum() * 0.98 < total < flux.sum()


@pytest.mark.parametrize("fwhm", [2.0, 4.0, 6.5])
def test_stars_are_as_wide_as_asked(fwhm):
    field = simulate_field(shape=(64, 64), fwhm=fwhm, ellipticity=0, **EMPTY)
    # a Moffat profile with the preset's exponent, averaged over 15 x 15 points of each pixel
    beta = field.instrument.beta
    axis = (np.arange(65 * 15) - 32 * 15 - 7) / 15
    core = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    profile = (1 + np.add.outer(axis**2, axis**2) / core**2) ** -beta
    profile *= (beta - 1) / (np.pi * core**2)
    expected = profile.reshape(65, 15, 65, 15).mean((1, 3))
    assert field.fwhm == fwhm
    # GalSim's Fourier transforms are good to some thousandths of the peak
    np.testing.assert_allclose(field.point_spread, expected, atol=0.003 * expected.max())


@pytest.mark.parametrize("profile", ["kolmogorov", "airy"])
def test_other_profiles_have_the_width_that_was_asked_for(profile):
    field = simulate_field(shape=(64, 64), fwhm=3.0, ellipticity=0, profile=profile, **EMPTY)
    spread = field.point_spread
    above = (ndimage.zoom(spread, 5, order=3) > spread.max() / 2).sum()
    assert 2 * np.sqrt(above / np.pi) / 5 == pytest.approx(3.0, rel=0.12)  # pixels widen it
    moffat = simulate_field(shape=(64, 64), fwhm=3.0, ellipticity=0, **EMPTY).point_spread
    assert np.abs(spread - moffat).max() > 0.02 * moffat.max()


def test_full_pixels_stop_at_the_saturation():
    camera = PRESETS["ztf"]
    field = simulate_field(preset="ztf", shape=(64, 64), sky=1e6, **EMPTY)
    level = camera.saturation / camera.gain + camera.bias
    assert np.abs(field.observed - level).max() < 6 * camera.read_noise / camera.gain


def test_artefacts_are_noise_and_leave_the_truth_as_it_is():
    options = {"preset": "wfc3-uvis", "shape": SHAPE, "seed": 2}
    plain, hit = simulate_field(**options), simulate_field(**options, artefacts=True)
    np.testing.assert_array_equal(plain.sources, hit.sources)
    np.testing.assert_array_equal(plain.background, hit.background)
    limit = 8 * plain.noise[plain.sources < 1].std()
    calm = plain.sources < 1
    assert (plain.noise[calm] > limit).sum() == 0
    # 0.7 hits per second and megapixel in 500 s: 17 tracks of some pixels each, and hot pixels
    assert 15 < (hit.noise[calm] > limit).sum() < 300


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_simulates(preset):
    field = simulate_field(preset=preset, shape=(96, 128), artefacts=True)
    assert field.observed.shape == (96, 128)
    assert all(np.isfinite(getattr(field, n)).all() for n in ("observed", "sources", "noise"))
    assert len({len(column) for column in field.catalogue.values()}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hubble"], "no such preset"),
        (["ztf", "--shape", "8,8"], "shape must be"),
        (["ztf", "--shape", "64"], "shape must be"),
        (["ztf", "--shape", "64,64", "--fwhm", "0.5"], "fwhm must be"),
        (["ztf", "--shape", "64,64", "--sky", "-1"], "sky must be from 0"),
        (["ztf", "--shape", "64,64", "--gradient", "3"], "gradient must be from 0"),
        (["ztf", "--shape", "64,64", "--fwhm", "nan"], "fwhm must be from 1"),
        (["ztf", "--shape", "64,64", "--seed", "-1"], "seed must be from 0"),
        (["ztf", "--shape", "64,64", "--star-slope", "0"], "star_slope must be from 0.01"),
        (["ztf", "--shape", "64,64", "--number", "0"], "--number must be"),
        (["ztf", "--compare", "none.fits"], "no such file"),
    ],
)
def test_bad_settings_are_one_clear_line(arguments, words, tmp_path, capsys):
    assert main(["simulate", *arguments, "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("bgrem: error: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_file_has_the_field_and_valid_checksums(field, written):
    with fits.open(written, checksum=True) as hdus:  # a wrong sum is a warning, thus an error
        names = ["PRIMARY", "OBSERVED", "SOURCES", "BACKGROUND", "NOISE", "CATALOGUE"]
        assert [hdu.name for hdu in hdus] == names
        assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)
        for name in names[1:5]:
            np.testing.assert_array_equal(hdus[name].data, getattr(field, name.lower()))
            assert hdus[name].header["BUNIT"] == "adu"
        table = hdus["CATALOGUE"].data
        np.testing.assert_array_equal(table["X_IMAGE"], field.catalogue["x"] + 1)
        np.testing.assert_array_equal(table["FLUX_TRUE"], field.catalogue["flux"])
        assert list(table["KIND"]) == list(field.catalogue["kind"])
        assert "seed = 3" in str(hdus[0].header["HISTORY"])


def test_the_header_tells_what_a_reader_needs(field, written):
    camera = field.instrument
    with fits.open(written) as hdus:
        header, table = hdus["OBSERVED"].header, hdus["CATALOGUE"].data
        assert (header["GAIN"], header["RDNOISE"]) == (camera.gain, camera.read_noise)
        assert (header["EXPTIME"], header["PIXSCALE"]) == (camera.exposure, camera.pixel_scale)
        assert (header["PRESET"], header["SEED"]) == ("meerlicht", 3)
        assert header["SATURATE"] == pytest.approx(camera.saturation / camera.gain + camera.bias)
        # magnitude 20 gives 10^(-0.4 (20 - zero point)) electrons per second
        electrons = camera.exposure * 10 ** (-0.4 * (20 - camera.zero_point))
        adu = electrons / camera.gain
        assert header["MAGZPT"] - 2.5 * np.log10(adu) == pytest.approx(20, abs=1e-5)
        magnitudes = header["MAGZPT"] - 2.5 * np.log10(table["FLUX_TRUE"])
        np.testing.assert_allclose(table["MAG_TRUE"], magnitudes, rtol=1e-5)
        scales = WCS(header).proj_plane_pixel_scales()
    assert [scale.to_value("arcsec") for scale in scales] == pytest.approx([camera.pixel_scale] * 2)


def test_a_field_without_sources_is_written_with_an_empty_catalogue(tmp_path):
    write_field(tmp_path / "empty.fits", simulate_field(shape=(32, 32), **EMPTY))
    assert len(fits.getdata(tmp_path / "empty.fits", "CATALOGUE")) == 0


def test_the_command_writes_the_same_bytes_and_refuses_to_overwrite(written, tmp_path, capsys):
    command = ["simulate", "meerlicht", "--shape", "256,192", "--seed", "3", "-o", str(tmp_path)]
    assert main([*command, "--number", "2", "--json"]) == 0
    assert results_of(capsys.readouterr().out)[0]["input"] == "meerlicht"
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["meerlicht_3.fits", "meerlicht_4.fits"]
    assert (tmp_path / "meerlicht_3.fits").read_bytes() == written.read_bytes()
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--quiet"]) == 0


def test_measures_of_known_noise_are_as_by_hand():
    white = np.random.default_rng(0).standard_normal((400, 300))
    smooth = (white + np.roll(white, 1, axis=1)) / np.sqrt(2)  # r = 1/2 within rows, 0 in columns
    striped = white + 0.3 * np.random.default_rng(1).standard_normal((400, 1))
    # 120,000 pixels: r scatters by 0.003
    assert lag_correlation(white, 1) == pytest.approx(0, abs=0.015)
    assert lag_correlation(smooth, 1) == pytest.approx(0.5, abs=0.015)
    assert lag_correlation(smooth, 0) == pytest.approx(0, abs=0.015)
    assert line_pattern(striped, 1) == pytest.approx(0.3, rel=0.2)  # of 400 rows: 4 %
    assert line_pattern(striped, 0) < 0.05
    assert power_spectrum(white)[1] == pytest.approx(1, abs=0.2)
    assert 1 - mask_frame_sources(white).mean() > 0.98
    fluxes = 10 * np.random.default_rng(2).uniform(size=4000) ** (-1 / 0.8)
    assert count_slope(fluxes, 10) == pytest.approx(0.8, rel=0.08)  # 1.6 % scatter


def test_missing_pixels_are_left_out_of_the_measures(night):
    holed = night.copy()
    holed[:100, :100] = np.nan
    whole, found = measure_frame(night), measure_frame(holed)
    assert found.megapixels == pytest.approx(whole.megapixels - 0.01)
    assert found.noise == pytest.approx(whole.noise, rel=0.02)
    assert np.isnan(found.residual[:100, :100]).all()


def test_two_fields_of_one_preset_differ_in_nothing(night):
    other = simulate_field(shape=(512, 512), seed=2, stars=800, galaxies=300).observed
    assert compare_noise(night, other).troubles == []


def test_correlated_noise_is_told_from_independent_noise(night):
    resampled = ndimage.shift(night.astype(float), (0.5, 0.5), order=1, mode="nearest")
    found = {d.measure: d for d in compare_noise(resampled, night).differences}
    # half a pixel of linear interpolation averages two neighbours: r = 1/2
    for axis in ("rows", "columns"):
        assert found[f"correlation of neighbours in {axis}"].frame == pytest.approx(0.5, abs=0.05)
        assert found[f"correlation of neighbours in {axis}"].differs
    assert found["power spectrum, rms ratio (dex)"].distance > 0.3


def test_a_field_is_matched_to_a_frame_of_another_gain(night):
    header = {"GAIN": 0.5, "RDNOISE": 5.0}
    frame = night * 7.3 + 20
    measured = measure_frame(frame)
    matched = match_field(frame, measured, SimulateConfig(preset="decam", seed=9), header)
    found = measure_frame(matched.pixels)
    assert matched.instrument.read_noise == 5
    assert found.noise == pytest.approx(measured.noise, rel=0.03)
    assert found.level == pytest.approx(measured.level, abs=measured.noise)
    assert found.star_radius == pytest.approx(measured.star_radius, rel=0.1)
    # both counts scatter by their roots, some hundred sources
    assert len(found.fluxes) == pytest.approx(len(measured.fluxes), rel=0.3)


def test_a_frame_without_gain_and_sky_says_what_is_assumed(night):
    frame = (night - np.median(night)) * 1e-12
    matched = match_field(frame, measure_frame(frame), SimulateConfig(preset="ztf"))
    assert measure_frame(matched.pixels).noise == pytest.approx(
        measure_frame(frame).noise, rel=0.03
    )
    assert len([note for note in matched.notes if "header" in note]) == 2


def test_the_command_finds_a_simulated_frame_like_its_preset(tmp_path, capsys):
    frame, picture = tmp_path / "frame.fits", tmp_path / "frame.png"
    write_field(frame, simulate_field(shape=(400, 400), seed=1, stars=800, galaxies=300))
    command = ["simulate", "meerlicht", "--compare", str(frame), "--seed", "5"]
    assert main([*command, "--picture", str(picture), "--json"]) == 0
    (found,) = results_of(capsys.readouterr().out)
    assert found["troubles"] == []
    assert found["frame"]["expected_noise"] == pytest.approx(found["frame"]["noise"], rel=0.05)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--picture", str(picture)]) == 2  # exists
    assert main(command) == 0
    assert "no trouble" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frame.fits", "frame.png"]


def test_differences_know_their_limits(night):
    one = compare_noise(night, night).differences
    assert all(d.distance == 0 for d in one if np.isfinite(d.distance))
    beyond = dataclasses.replace(one[0], distance=one[0].limit * 1.01)
    assert beyond.differs
    assert not dataclasses.replace(one[0], distance=float("nan")).differs
