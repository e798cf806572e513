"""What `bgrem denoise` takes and writes: folders twice, measured keywords, errors with the path."""

import numpy as np
import pytest
from astropy.io import fits

from bgrem.cli import main


@pytest.fixture
def frame(starfield, tmp_path):
    (tmp_path / "night").mkdir()
    path = tmp_path / "night" / "night3.fits"
    fits.writeto(path, starfield[0])
    return path


@pytest.fixture
def quick(tiny_model):
    return ["--model", str(tiny_model), "-s", "1", "--tile", "64", "--overlap", "16"]


@pytest.mark.parametrize("colour", [False, True])
def test_the_outputs_say_noise_and_background_in_the_image_s_units(
    starfield, quick, tmp_path, colour
):
    plane = starfield[0]
    pixels = np.stack([plane, 2 * plane, 3 * plane]) if colour else plane
    fits.writeto(tmp_path / "a.fits", pixels)
    arguments = ["-o", str(tmp_path), "--background", str(tmp_path / "b.fits"), *quick]
    assert main(["denoise", str(tmp_path / "a.fits"), *arguments]) == 0
    background = np.reshape(fits.getdata(tmp_path / "b.fits"), (-1, *plane.shape))
    # differences of neighbours: nothing of the sky is in them, hardly anything of the stars
    noise = 1.4826 * np.median(np.abs(np.diff(plane, axis=1))) / np.sqrt(2)
    for name in ("a_denoised", "b"):
        header = fits.getheader(tmp_path / f"{name}.fits")
        for number, level in enumerate(background, 1):
            ending = str(number) if colour else ""
            assert header[f"BGLEVEL{ending}"] == pytest.approx(np.median(level), rel=1e-5)
            assert header[f"BGNOISE{ending}"] == pytest.approx(number * noise, rel=0.15)


@pytest.mark.parametrize("suffix", [".fits", ".fits.fz", ".xisf"])
def test_outputs_in_a_folder_are_left_out_with_a_line_unless_named(frame, quick, suffix, capsys):
    folder = frame.parent
    run = ["denoise", "--overwrite", "--no-verdict", "-o"]
    made = folder / f"night3_denoised{suffix}"
    assert main([*run, str(made), str(frame), *quick]) == 0
    for inputs in (folder, folder / "night3*[szf]"):
        capsys.readouterr()
        assert main([*run, str(folder), str(inputs), *quick]) == 0
        assert capsys.readouterr().err == (
            f"bgrem: {made}: left out, bgrem denoise made it. Name it to take it too.\n"
        )
        assert not list(folder.glob("*_denoised_denoised.*"))
        if suffix != ".fits":
            (folder / "night3_denoised.fits").unlink()
    assert main([*run, str(folder), str(made), *quick]) == 0
    assert list(folder.glob("*_denoised_denoised.*"))


def test_catalogues_in_a_folder_are_left_out_and_restored_inputs_are_not(frame, quick, capsys):
    folder = frame.parent
    bundle, segments = folder / "all.fits", folder / "segments.fits"
    assert main(["denoise", str(frame), "-o", str(folder), "--bundle", str(bundle), *quick]) == 0
    assert main(["restore", str(bundle), "-o", str(folder / "again.fits")]) == 0
    more = ["--denoised", str(bundle), "--segmentation", str(segments)]
    assert main(["catalog", str(frame), "-o", str(folder), *more]) == 0
    for command in ("denoise", "catalog"):
        capsys.readouterr()
        assert main([command, str(folder), "-o", str(folder / command), *quick]) == 0
        lines = capsys.readouterr().err.splitlines()
        left = [line.split(": ")[1] for line in lines if "left out" in line]
        assert [line.removeprefix(f"{folder}/") for line in left] == [
            "all.fits", "night3_catalog.fits", "night3_denoised.fits", "segments.fits",
        ]  # fmt: skip
        assert {path.name[:5] for path in (folder / command).iterdir()} == {"again", "night"}


@pytest.mark.parametrize("command", [["restore", "x.fits", "-o", "y.fits"], ["models"]])
def test_commands_without_a_parameter_file_refuse_one(command, capsys):
    assert main([*command, "--params", "p.json"]) == 2
    error = capsys.readouterr().err
    assert "--params" in error
    assert error.count("\n") == 1


def test_a_wrong_quality_plane_names_its_own_option_and_the_path_as_given(
    frame, quick, monkeypatch, capsys
):
    monkeypatch.chdir(frame.parent.parent)
    assert main(["denoise", "night/night3.fits", "-o", "night", *quick, "--dq", "MASK"]) == 2
    error = capsys.readouterr().err
    assert "night/night3.fits: no HDU 'MASK'" in error
    assert str(frame) not in error
    assert "Select with --dq" in error
    assert "--hdu" not in error
