"""The command `bgrem` on small files."""

import json

import numpy as np
import pytest
from astropy.io import fits
from printed_events import results_of
from small_networks import SIZES, networks

from bgrem.cli import main
from bgrem.commands import COMMANDS
from common.io import read_image


@pytest.fixture
def frame(starfield, tmp_path):
    path = tmp_path / "night3.fits"
    header = fits.Header([("OBJECT", "M13"), ("EXPTIME", 60.0), ("CRVAL1", 250.4)])
    fits.writeto(path, starfield[0], header, checksum=True)
    return path


@pytest.fixture
def quick(tiny_model):
    return ["--model", str(tiny_model), "-s", "1", "--tile", "64", "--overlap", "16"]


def test_denoise_writes_the_image_with_its_header_and_what_was_done(frame, quick, tmp_path):
    out = tmp_path / "out"
    assert main(["denoise", str(frame), "-o", str(out), *quick, "--quiet"]) == 0
    with fits.open(out / "night3_denoised.fits", checksum=True) as hdus:
        header = hdus[0].header
        assert header["OBJECT"] == "M13"
        assert header["CRVAL1"] == 250.4
        assert header["BGTOOL"] == "bgrem denoise"
        assert len(header["BGMODEL"]) == 64
        assert any("steps = 1" in line for line in header["HISTORY"])
        assert hdus[0].data.shape == (150, 130)
    assert (out / "night3_denoisedParams.json").exists()


def test_the_output_may_be_a_file_name_and_has_a_prefix_otherwise(frame, quick, tmp_path):
    assert main(["denoise", str(frame), "-o", str(tmp_path / "mine.fits"), *quick]) == 0
    assert main(["denoise", str(frame), "-o", str(tmp_path), "-p", "a_", *quick]) == 0
    assert (tmp_path / "mine.fits").exists()
    assert (tmp_path / "a_night3_denoised.fits").exists()


def test_a_bundle_gives_the_input_back_pixel_for_pixel(frame, quick, tmp_path):
    bundle, again = tmp_path / "bundle.fits", tmp_path / "again.fits"
    main(["denoise", str(frame), "-o", str(tmp_path), *quick, "--bundle", str(bundle)])
    with fits.open(bundle, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["SCI", "BKG", "RESIDUAL", "DQ"]
    assert main(["restore", str(bundle), "-o", str(again)]) == 0
    assert np.array_equal(fits.getdata(again), fits.getdata(frame))
    assert fits.getheader(again)["OBJECT"] == "M13"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float64])
def test_bundles_give_all_pixel_types_back(starfield, quick, tmp_path, dtype):
    pixels = (starfield[0] / 8).clip(0, 255).astype(dtype)
    pixels[:, :3] = 0
    fits.writeto(tmp_path / "a.fits", pixels)
    bundle, again = tmp_path / "bundle.fits", tmp_path / "again.fits"
    arguments = ["-o", str(tmp_path), *quick, "--bundle", str(bundle)]
    assert main(["denoise", str(tmp_path / "a.fits"), *arguments]) == 0
    assert main(["restore", str(bundle), "-o", str(again)]) == 0
    with fits.open(again, checksum=True) as hdus, fits.open(tmp_path / "a.fits") as source:
        assert len(hdus) == 1  # not BKG, RESIDUAL, DQ of the bundle
        assert hdus[0].header["BITPIX"] == source[0].header["BITPIX"]
        assert hdus[0].header.get("BZERO") == source[0].header.get("BZERO")
        assert np.array_equal(hdus[0].data, pixels)


def test_planes_of_the_input_with_a_bundle_s_names_stay_in_the_restored_file(
    starfield, quick, tmp_path
):
    path, bundle, again = (tmp_path / f"{name}.fits" for name in ("a", "bundle", "again"))
    quality = np.zeros(starfield[0].shape, np.uint8)
    quality[60, 70] = 4
    image = fits.ImageHDU(starfield[0].astype(np.int16), name="IMAGE")
    fits.HDUList([fits.PrimaryHDU(), image, fits.ImageHDU(quality, name="DQ")]).writeto(path)
    arguments = ["-o", str(tmp_path), *quick, "--bundle", str(bundle)]
    assert main(["denoise", str(path), *arguments]) == 0
    assert main(["restore", str(bundle), "-o", str(again)]) == 0
    with fits.open(again, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "DQ"]
        assert np.array_equal(hdus["IMAGE"].data, image.data)
        assert np.array_equal(hdus["DQ"].data, quality)


def test_integers_with_pixels_that_nothing_stands_for_come_back_as_floats(
    starfield, quick, tmp_path
):
    path, bundle, again = (tmp_path / f"{name}.fits" for name in ("a", "bundle", "again"))
    pixels, quality = starfield[0].astype(np.int16), np.zeros(starfield[0].shape, np.uint8)
    quality[60, 70] = 4
    fits.HDUList([fits.PrimaryHDU(pixels), fits.ImageHDU(quality, name="BAD")]).writeto(path)
    arguments = ["-o", str(tmp_path), *quick, "--dq", "BAD", "--bundle", str(bundle)]
    assert main(["denoise", str(path), *arguments]) == 0
    assert main(["restore", str(bundle), "-o", str(again)]) == 0
    restored = fits.getdata(again)
    assert np.isnan(restored[60, 70])
    assert np.array_equal(restored[quality == 0], pixels[quality == 0])


def test_a_bundle_of_some_planes_gives_all_of_them_back(starfield, quick, tmp_path):
    path, bundle, again = (tmp_path / f"{name}.fits" for name in ("planes", "bundle", "again"))
    fits.writeto(path, np.stack([starfield[0], 2 * starfield[0], starfield[0] + 7]))
    arguments = ["-o", str(tmp_path), *quick, "--channels", "1", "--bundle", str(bundle)]
    assert main(["denoise", str(path), *arguments]) == 0
    assert main(["restore", str(bundle), "-o", str(again)]) == 0
    assert np.array_equal(fits.getdata(again), fits.getdata(path))


def test_a_bayer_mosaic_is_refused(frame, quick, tmp_path, capsys):
    fits.setval(frame, "BAYERPAT", value="RGGB")
    assert main(["denoise", str(frame), "-o", str(tmp_path), "--no-verify", *quick]) == 2
    assert "a Bayer mosaic" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--channels", "a"], ["--steps", "x"], ["--tint", "1"]])
def test_bad_usage_is_one_line(frame, arguments, capsys):
    assert main(["denoise", str(frame), *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_restored_is_not_restored_again(frame, quick, tmp_path, capsys):
    bundle, again = tmp_path / "bundle.fits", tmp_path / "again.fits"
    main(["denoise", str(frame), "-o", str(tmp_path), *quick, "--bundle", str(bundle)])
    main(["restore", str(bundle), "-o", str(again)])
    assert main(["restore", str(again), "-o", str(tmp_path / "twice.fits")]) == 2
    assert "restored already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--minimum", "inf"], "minimum must be a finite number"),
        (["--tile", "7"], "tile must be a multiple of 16"),
        (["--before-after", "look.fits"], "Name it *.png"),
        (["-o", "look.jpg"], "Name it *.fits or *.xisf"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(frame, arguments, words, tmp_path, capsys):
    assert main(["denoise", str(frame), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_two_outputs_are_two_files(frame, quick, tmp_path, capsys):
    same = str(tmp_path / "same.fits")
    arguments = ["-o", same, "--residual", same, *quick, "--overwrite"]
    assert main(["denoise", str(frame), *arguments]) == 2
    assert "would replace the file of result" in capsys.readouterr().err
    assert not (tmp_path / "same.fits").exists()


def test_restore_refuses_what_is_no_bundle(frame, tmp_path, capsys):
    assert main(["restore", str(frame), "-o", str(tmp_path / "x.fits")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x.fits").exists()


def test_a_parameter_file_replays_the_run(frame, quick, tmp_path):
    main(
        ["denoise", str(frame), "-o", str(tmp_path / "a"), *quick, "--no-clip", "--strength", "0.7"]
    )
    params = tmp_path / "a" / "night3_denoisedParams.json"
    assert main(["denoise", str(frame), "-o", str(tmp_path / "b"), "--params", str(params)]) == 0
    first, second = (tmp_path / run / "night3_denoised.fits" for run in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_files_of_parts_and_a_picture_are_written_on_request(frame, quick, tmp_path):
    files = {n: tmp_path / f"{n}.fits" for n in ("background", "residual")}
    arguments = [part for n, f in files.items() for part in (f"--{n}", str(f))]
    picture = tmp_path / "ba.png"
    main(
        [
            "denoise",
            str(frame),
            "-o",
            str(tmp_path),
            *quick,
            *arguments,
            "--before-after",
            str(picture),
        ]
    )
    result = fits.getdata(tmp_path / "night3_denoised.fits").astype(float)
    total = result + sum(fits.getdata(f) for f in files.values())
    assert total == pytest.approx(fits.getdata(frame).astype(float), abs=1e-3)
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_pixels_that_the_quality_plane_marks_stay_missing(starfield, quick, tmp_path):
    quality = np.zeros((150, 130), np.int16)
    quality[70:75, 60] = 4
    path = tmp_path / "mef.fits"
    fits.HDUList([
        fits.PrimaryHDU(), fits.ImageHDU(starfield[0], name="SCI"),
        fits.ImageHDU(quality, name="DQ"),
    ]).writeto(path)  # fmt: skip
    out = tmp_path / "out.fits"
    assert main(["denoise", str(path), "-i", "SCI", "--dq", "DQ", "-o", str(out), *quick]) == 0
    assert np.array_equal(np.isnan(fits.getdata(out, "SCI")), quality != 0)
    assert np.array_equal(fits.getdata(out, "DQ"), quality)


def test_xisf_goes_in_and_out(starfield, quick, tmp_path):
    from common.image import AstroImage
    from common.io import write_image

    colour = np.stack([starfield[0] / 65535] * 3, -1)
    write_image(tmp_path / "m.xisf", AstroImage(colour))
    assert main(["denoise", str(tmp_path / "m.xisf"), "-o", str(tmp_path), *quick]) == 0
    assert read_image(tmp_path / "m_denoised.xisf").shape == (150, 130, 3)


def test_one_bad_file_of_several_does_not_stop_the_rest(frame, quick, tmp_path, capsys):
    (tmp_path / "bad.fits").write_bytes(b"no FITS")
    out = tmp_path / "out"
    assert main(["denoise", str(tmp_path / "bad.fits"), str(frame), "-o", str(out), *quick]) == 1
    assert "bad.fits" in capsys.readouterr().err
    assert (out / "night3_denoised.fits").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["denoise", "missing.fits"], "missing.fits"),
        (["denoise", "missing.fits", "--model", "nothing"], "no such model"),
        (["denoise", "missing.fits", "-s", "0"], "steps"),
        (["train", "-o", "x"], "no config"),
        (["simulate", "hubble", "-o", "x"], "no such preset"),
        (["simulate", "ztf", "--number", "0"], "--number"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten_without_being_asked(frame, quick, tmp_path, capsys):
    arguments = ["denoise", str(frame), "-o", str(tmp_path), *quick]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_json_names_outputs_model_and_hash(frame, quick, tmp_path, capsys):
    main(["denoise", str(frame), "-o", str(tmp_path), *quick, "--json"])
    (outcome,) = results_of(capsys.readouterr().out)
    assert outcome["outputs"]["result"].endswith("night3_denoised.fits")
    assert len(outcome["sha256"]) == 64


@pytest.mark.parametrize("size", SIZES)
def test_a_training_runs_from_the_command_line(size, tmp_path, capsys):
    arguments = [
        "--fields", "2", "--validation-fields", "1", "--field-shape", "64,64", "--tile", "32",
        "--batch-size", "2", "--epochs", "1", "--steps-per-epoch", "2", "--validation-steps", "1",
        "--precision", "float32",
    ]  # fmt: skip
    with networks(size):
        assert main(["train", "optical", "-o", str(tmp_path / "run"), *arguments]) == 0
    assert "epoch 1" in capsys.readouterr().out
    assert (tmp_path / "run" / "model" / "weights.npz").exists()


def test_models_lists_the_package_and_shows_a_card(tiny_model, capsys):
    assert main(["models", str(tiny_model)]) == 0
    assert json.loads(capsys.readouterr().out)["domain"] == {"what": "a test"}
    assert main(["models", "--json"]) == 0
    assert "models" in results_of(capsys.readouterr().out)[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--overwrite" in text
