"""A file says how it was made: the run can be repeated, checksums hold, quality bits are true."""

import dataclasses
import shutil
import subprocess
import warnings

import numpy as np
import pytest
from astropy.io import fits
from printed_events import results_of

from bgrem.cli import build_parser, main
from bgrem.commands import COMMANDS, DENOISE
from bgrem.commands.reproduce import Replay, read_replay
from bgrem.config import DenoiseConfig, InputConfig
from bgrem.denoising.flow import denoise
from bgrem.denoising.outputs import WRITERS
from bgrem.denoising.quality import (
    DQ_CAPPED,
    DQ_FILLED,
    DQ_MISSING,
    DQ_OUTSIDE_DOMAIN,
    DQ_SATURATED,
    FILLED_REACH_PX,
    quality_plane,
)
from bgrem.inference.run import load_for
from common.config import config_from_args, from_texts
from common.image import AstroImage
from common.io import write_image
from common.provenance import history_lines, parse_history

QUICK = ["-s", "1", "--tile", "64", "--overlap", "16"]
FITSVERIFY = shutil.which("fitsverify")


@pytest.fixture
def frame(starfield, tmp_path):
    """Primary without data and checksums, image with a saturation level, an integer plane."""
    path = tmp_path / "night3.fits"
    header = fits.Header([
        ("OBJECT", "M13"), ("SATURATE", 1000.0), ("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"),
        ("CRVAL1", 250.4), ("CRVAL2", 36.5), ("CRPIX1", 65.0), ("CRPIX2", 75.0),
        ("CDELT1", -1e-4), ("CDELT2", 1e-4),
    ])  # fmt: skip
    planes = [fits.ImageHDU(starfield[0], header, name="SCI"),
              fits.ImageHDU(np.arange(6, dtype=np.int16).reshape(2, 3), name="OTHER")]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(path)
    return path


@pytest.fixture
def outputs(frame, tiny_model, tmp_path):
    """The files of a run with settings of every type, by part."""
    folder = tmp_path / "out"
    files = {
        "background": folder / "b.fits", "residual": folder / "r.fits.fz",
        "bundle": folder / "all.fits", "quality": folder / "q.fits",
    }  # fmt: skip
    folder.mkdir()
    run = ["denoise", str(frame), "-o", str(folder / "out.fits"), "--model", str(tiny_model)]
    run += [*QUICK, "-i", "SCI", "--no-clip", "--max-sigma", "4", "--seed", "3", "--zeros", "all"]
    assert main([*run, *(part for n, f in files.items() for part in (f"--{n}", str(f)))]) == 0
    return files | {"result": folder / "out.fits"}


@pytest.mark.parametrize("part", ["result", "background", "residual", "bundle", "quality"])
def test_every_part_is_made_again_identically(outputs, frame, part, capsys):
    capsys.readouterr()
    assert main(["reproduce", str(outputs[part]), "--input", str(frame)]) == 0
    printed = capsys.readouterr().out
    assert "identical" in printed
    assert "--no-clip" in printed
    assert "--max-sigma 4.0" in printed


def test_the_input_is_found_beside_the_file_or_here(outputs, frame, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(frame.parent)
    assert main(["reproduce", str(outputs["result"]), "--print"]) == 0
    monkeypatch.chdir(outputs["result"].parent)
    assert main(["reproduce", str(outputs["result"]), "--print"]) == 2
    assert "--input" in capsys.readouterr().err
    shutil.copy(frame, outputs["result"].parent)
    assert main(["reproduce", str(outputs["result"]), "--print"]) == 0


def test_changed_pixels_are_exit_code_1_and_their_difference(outputs, frame, capsys):
    with fits.open(outputs["result"], mode="update") as hdus:
        hdus["SCI"].data[70, 60] += 2.5
    capsys.readouterr()
    assert main(["reproduce", str(outputs["result"]), "--input", str(frame), "--json"]) == 1
    (outcome,) = results_of(capsys.readouterr().out)
    assert not outcome["identical"]
    assert outcome["largest_difference"] == pytest.approx(2.5, abs=1e-3)  # float32 beside 1000


def test_another_input_is_refused_before_the_run(outputs, frame, starfield, tmp_path, capsys):
    fits.writeto(tmp_path / "other.fits", starfield[0] + 1)
    with fits.open(frame) as hdus:
        hdus["SCI"].data = hdus["SCI"].data + 1
        hdus.writeto(tmp_path / "changed.fits")
    file = str(outputs["result"])
    assert main(["reproduce", file, "--input", str(tmp_path / "changed.fits")]) == 2
    error = capsys.readouterr().err
    assert "DATASUM" in error
    assert error.count("\n") == 1


def test_another_model_is_refused(outputs, frame, capsys):
    with fits.open(outputs["result"], mode="update") as hdus:
        hdus["SCI"].header["BGMODEL"] = "0" * 64
    assert main(["reproduce", str(outputs["result"]), "--input", str(frame)]) == 2
    assert "the model has changed" in capsys.readouterr().err


def test_another_device_is_said(outputs, frame, capsys):
    with fits.open(outputs["result"], mode="update") as hdus:
        hdus["SCI"].header["BGDEVICE"] = "GPU of a friend, float32"
    capsys.readouterr()
    assert main(["reproduce", str(outputs["result"]), "--input", str(frame)]) == 0
    assert "device: GPU of a friend, float32, now " in capsys.readouterr().out


def test_files_of_others_are_refused(frame, capsys):
    assert main(["reproduce", str(frame)]) == 2
    assert "is not a file of bgrem denoise" in capsys.readouterr().err


def test_xisf_is_made_again_too(starfield, tiny_model, tmp_path, capsys):
    colour = np.stack([starfield[0] / 65535] * 3, -1)
    write_image(tmp_path / "m.xisf", AstroImage(colour))
    run = ["denoise", str(tmp_path / "m.xisf"), "-o", str(tmp_path), "--model", str(tiny_model)]
    assert main([*run, *QUICK]) == 0
    assert main(["reproduce", str(tmp_path / "m_denoised.xisf")]) == 0


def test_all_settings_come_back_from_history_with_their_types():
    given = DenoiseConfig(
        model="a folder/" + "x" * 90, steps=3, normalisation=0.1, minimum=-2.0, clip=False,
        strength=0.25, max_sigma=1e-7, mesh=32, tile=128, precision="float32", seed=5,
    )  # fmt: skip
    lines = history_lines("bgrem denoise", "1.2", "in.fits", dataclasses.asdict(given))
    header = fits.Header()
    header.add_history("bgrem denoise: not a line of this run")
    for line in lines:
        header.add_history(line)
    version, name, texts = parse_history(list(header["HISTORY"]), "bgrem denoise")
    assert (version, name) == ("1.2", "in.fits")
    assert from_texts(DenoiseConfig, texts, "HISTORY") == given


def test_the_command_gives_the_same_settings_again():

    given = DenoiseConfig(minimum=-2.0, clip=False, max_sigma=3.0, precision="float32")
    read = InputConfig(hdu="SCI,2", channels=(0, 1, 2), zeros="all", verify=False, dq="DQ")
    words = Replay(DENOISE, {}, {DenoiseConfig: given, InputConfig: read}).arguments()
    args = build_parser().parse_args(["denoise", "x.fits", *words])
    assert config_from_args(args, DenoiseConfig) == given
    assert config_from_args(args, InputConfig) == read


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"stepz": "3"}, "unknown to this version: stepz"),
        ({"steps": "many"}, "steps = many, which is no int"),
        ({"steps": "True"}, "steps = True"),
        ({"clip": "1"}, "clip = 1, which is no bool"),
        ({"steps": "None"}, "steps = None"),
    ],
)
def test_a_history_that_fits_no_config_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        from_texts(DenoiseConfig, texts, "HISTORY")


def test_all_files_of_a_command_can_be_made_again():
    assert set(DENOISE.products) == set(WRITERS)
    assert set(DENOISE.reproducible) == set(WRITERS) - {"before_after"}


def test_the_record_names_device_engine_input_and_part(outputs, starfield):
    replay = read_replay(outputs["background"], COMMANDS)
    assert replay.part == "background"
    assert replay.cards["BGINPUT"] == "night3.fits"
    assert replay.cards["BGDEVICE"].endswith(("float32", "bfloat16"))  # never "auto"
    assert replay.cards["BGENGINE"].startswith("keras ")
    assert replay.settings[DenoiseConfig].max_sigma == 4.0
    assert replay.settings[InputConfig].hdu == "SCI"


def test_all_hdus_of_all_files_have_checksums_that_hold(outputs):
    for file in outputs.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy renames a HDU it decompresses
            with fits.open(file, disable_image_compression=True) as hdus:
                for hdu in hdus:
                    sums = (hdu.verify_checksum(), hdu.verify_datasum())
                    assert sums == (1, 1), f"{file.name} {hdu.name}"  # 2: not there


@pytest.mark.skipif(not FITSVERIFY, reason="apt install fitsverify: files are not verified")
def test_fitsverify_finds_nothing_in_all_files(outputs):
    for file in outputs.values():
        done = subprocess.run([FITSVERIFY, str(file)], capture_output=True, text=True, check=False)
        assert "0 warning(s) and 0 error(s)" in done.stdout, done.stdout


@pytest.fixture
def odd_frame(starfield):
    """Pixels with a hole and a star that fills the detector."""
    pixels = starfield[0].copy()
    pixels[60:62, 70] = np.nan
    pixels[100, 20] = 70000.0
    return AstroImage(pixels)


def test_quality_bits_say_what_is_wrong_where(odd_frame, tiny_model):
    config = DenoiseConfig(model=str(tiny_model), steps=1, tile=64, overlap=16)
    done = denoise(odd_frame, config, model=load_for(config))
    plane = quality_plane(odd_frame, done, saturation=65535.0)
    assert plane.dtype == np.uint8
    assert plane.shape == odd_frame.shape
    expected = np.zeros(odd_frame.shape, np.uint8)
    expected[
        60 - FILLED_REACH_PX : 62 + FILLED_REACH_PX, 70 - FILLED_REACH_PX : 71 + FILLED_REACH_PX
    ] = DQ_FILLED
    expected[60:62, 70] = DQ_MISSING
    expected[100, 20] = DQ_SATURATED
    assert np.array_equal(plane, expected)
    assert (quality_plane(odd_frame, done, outside=True) & DQ_OUTSIDE_DOMAIN).all()


def test_pixels_above_the_cap_stay_as_in_the_input(odd_frame, tiny_model):
    config = DenoiseConfig(model=str(tiny_model), steps=1, tile=64, overlap=16)
    model = load_for(config)
    free = denoise(odd_frame, config, model=model)
    capped = denoise(odd_frame, config, model=model, max_sigma=2.0)
    above = np.abs(free.residual.pixels) > 2 * free.sigma
    assert 0 < above.sum() < above.size
    assert np.array_equal(capped.capped, above)
    bits = quality_plane(odd_frame, capped)
    assert np.array_equal(bits & DQ_CAPPED > 0, above)
    flat = odd_frame.pixels - capped.background.pixels
    assert capped.result.pixels[above] == pytest.approx(flat[above], rel=1e-5, abs=1e-3)
    known = ~above & ~odd_frame.missing
    assert np.array_equal(capped.result.pixels[known], free.result.pixels[known])


def test_the_quality_file_has_the_bits_and_what_they_mean(outputs, starfield):
    with fits.open(outputs["quality"]) as hdus, fits.open(outputs["bundle"]) as bundle:
        assert hdus[0].data.dtype == np.uint8
        assert np.array_equal(hdus[0].data & DQ_SATURATED > 0, starfield[0] >= 1000)
        assert np.array_equal(hdus[0].data, bundle["DQ"].data)
        assert hdus[0].header["CRVAL1"] == 250.4
        text = "\n".join(hdus[0].header["COMMENT"])
        for bit in (DQ_MISSING, DQ_FILLED, DQ_SATURATED, DQ_OUTSIDE_DOMAIN, DQ_CAPPED):
            assert f"DQ bit {bit}: " in text
        assert np.array_equal(bundle["OTHER"].data, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("BGPART", "bundle=/tmp/evil.fits", "does not write"),
        ("BGPART", "params", "does not write"),
        ("BGINPUT", "../../etc/hostname", "no file name"),
        ("BGINPUT", "/etc/hostname", "no file name"),
    ],
)
def test_a_header_names_no_other_file_and_no_other_option(
    outputs, keyword, value, words, tmp_path, capsys
):
    file = tmp_path / "hostile.fits"
    shutil.copy(outputs["result"], file)
    fits.setval(file, keyword, value=value, ext=1)
    assert main(["reproduce", str(file)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["(", "(0, __import__('os'))", "steps"])
def test_planes_in_a_header_are_numbers(outputs, text, tmp_path, capsys):
    file = tmp_path / "hostile.fits"
    with fits.open(outputs["result"]) as hdus:
        lines = [str(line) for line in hdus[1].header["HISTORY"]]
        del hdus[1].header["HISTORY"]
        for line in lines:
            line = f"bgrem denoise: channels = {text}" if "channels =" in line else line
            hdus[1].header["HISTORY"] = line
        hdus.writeto(file)
    assert main(["reproduce", str(file)]) == 2
    assert "no numbers" in capsys.readouterr().err


def test_pixels_in_another_order_are_not_identical(outputs, frame, tmp_path, capsys):
    # a DATASUM is a sum: it does not see the order
    file = tmp_path / "flipped.fits"
    with fits.open(outputs["result"]) as hdus:
        hdus["SCI"].data = hdus["SCI"].data[::-1].copy()
        hdus.writeto(file)
    capsys.readouterr()
    assert main(["reproduce", str(file), "--input", str(frame)]) == 1
    assert "not identical" in capsys.readouterr().out
