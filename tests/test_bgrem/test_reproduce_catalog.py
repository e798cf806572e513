"""Catalogues say how they were made: the run can be repeated, rows and segments are compared."""

import shlex

import numpy as np
import pytest
from astropy.io import fits
from printed_events import results_of

from bgrem.cli import main
from bgrem.commands import COMMANDS
from bgrem.commands.reproduce import read_replay
from bgrem.config import CatalogConfig, DenoiseConfig
from bgrem.simulate.optical import simulate_field
from common.config import from_texts

QUICK = ["-s", "1", "--tile", "64", "--overlap", "16"]


@pytest.fixture
def frame(tmp_path):
    field = simulate_field(shape=(130, 140), seed=63_040, stars=1500.0)
    header = fits.Header([("GAIN", 1.5), ("MAGZPT", 25.0)])
    fits.writeto(tmp_path / "night3.fits", field.observed.astype(np.float32), header)
    clean = field.sources.astype(np.float32)
    fits.writeto(tmp_path / "clean.fits", clean)
    return tmp_path / "night3.fits"


@pytest.fixture
def run(frame, tiny_model):
    """Run the command; the files that it wrote."""

    def run_on(suffix, *more):
        catalogue, segments = frame.with_name(f"cat{suffix}"), frame.with_name("segments.fits")
        words = ["catalog", str(frame), "-o", str(catalogue), "--model", str(tiny_model), *QUICK]
        words += ["--segmentation", str(segments), "--apertures", "4,8", "--saturate", "6e4"]
        assert main([*words, "--quiet", *more]) == 0
        return catalogue, segments

    return run_on


@pytest.mark.parametrize("suffix", [".fits", ".ldac"])
@pytest.mark.parametrize("denoised", [True, False])
def test_a_catalogue_and_its_segments_are_made_again(run, frame, suffix, denoised, capsys):
    more = ["--denoised", str(frame.with_name("clean.fits"))] if denoised else ["--threshold", "3"]
    for file in run(suffix, *more):
        capsys.readouterr()
        assert main(["reproduce", str(file)]) == 0
        printed = capsys.readouterr().out
        assert "identical (DATASUM" in printed
        assert "--apertures 4.0,8.0" in printed
        assert ("--denoised" in printed) == denoised


def test_other_rows_and_segments_are_not_identical(run, frame, capsys):
    catalogue, segments = run(".fits", "--denoised", str(frame.with_name("clean.fits")))
    with fits.open(catalogue, mode="update") as hdus:
        hdus[1].data["FLUX_AUTO"][0] *= 1.0001
    with fits.open(segments, mode="update") as hdus:
        hdus[0].data[0, 0] = 7
    for file, difference in ((catalogue, None), (segments, 7.0)):
        capsys.readouterr()
        assert main(["reproduce", str(file), "--json"]) == 1
        (outcome,) = results_of(capsys.readouterr().out)
        assert not outcome["identical"]
        assert outcome["largest_difference"] == difference


@pytest.mark.parametrize("suffix", [".csv", ".reg", ".vot"])
def test_formats_without_a_fits_header_are_one_line_with_the_way_out(run, frame, suffix, capsys):
    catalogue, _ = run(suffix, "--denoised", str(frame.with_name("clean.fits")))
    assert main(["reproduce", str(catalogue)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{catalogue}: {suffix} has no header" in error
    assert "--params" in error


def test_the_printed_command_runs_beside_the_files_that_are_there(run, frame, capsys):
    files = run(".fits", "--denoised", str(frame.with_name("clean.fits")))
    for file in files:
        for number in ("", "1"):
            capsys.readouterr()
            assert main(["reproduce", str(file), "--print"]) == 0
            words = shlex.split(capsys.readouterr().out)
            assert main(words[1:]) == 0  # refuses to replace a file
            assert file.with_name(f"{file.stem}_again{number}.fits").is_file()


def test_all_settings_of_a_catalogue_come_back_with_their_types(run, frame):
    catalogue, _ = run(".fits", "--denoised", str(frame.with_name("clean.fits")))
    settings = read_replay(catalogue, COMMANDS).settings
    assert settings[CatalogConfig] == CatalogConfig(apertures=(4.0, 8.0), saturate=6e4)
    assert settings[DenoiseConfig].steps == 1
    assert from_texts(CatalogConfig, {"apertures": "(3.0,)"}, "HISTORY").apertures == (3.0,)
    with pytest.raises(ValueError, match="apertures = wide"):
        from_texts(CatalogConfig, {"apertures": "(wide)"}, "HISTORY")
