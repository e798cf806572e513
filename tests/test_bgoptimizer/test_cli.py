"""The command: what it writes, what it keeps, and how it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from printed_events import results_of
from xisf import XISF

from bgoptimizer import make_scene
from bgoptimizer.cli import main
from common import read_image

SHAPE = (60, 90)  # no test here measures how good a fit is
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "real"


@pytest.fixture(scope="module")
def scene():
    return make_scene(1, shape=SHAPE, objects="nebula")


@pytest.fixture
def frame(tmp_path, scene):
    path = tmp_path / "night3.fits"
    header = fits.Header([("OBJECT", "M31", "target"), ("EXPTIME", 30.0)])
    fits.writeto(path, scene.observed[..., 0], header)
    return path


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_one_command_writes_result_model_mask_and_parameters(frame, tmp_path, capsys):
    assert main([str(frame), str(tmp_path / "out")]) == 0
    assert listing(tmp_path / "out") == [
        "night3_bgMask.fits", "night3_bgMask.png", "night3_bgModel.fits", "night3_bgParams.json",
        "night3_bgSubtracted.fits",
    ]  # fmt: skip
    header = fits.getheader(tmp_path / "out" / "night3_bgSubtracted.fits")
    assert header["OBJECT"] == "M31"
    assert header["BGTOOL"] == "bgoptimizer"
    assert any("downscaling_factor" in line for line in header["HISTORY"])
    assert "night3_bgSubtracted.fits" in capsys.readouterr().out


def test_a_folder_fitted_twice_leaves_its_outputs_out(frame, tmp_path, capsys):
    run = ["-o", str(tmp_path), "--overwrite", str(tmp_path)]
    assert main(run) == 0
    written = listing(tmp_path)
    capsys.readouterr()
    assert main(run) == 0
    assert listing(tmp_path) == written
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        str(tmp_path / f"night3_bg{part}.fits") for part in ("Mask", "Model", "Subtracted")
    ]


def test_the_identity_holds_in_the_written_files(frame, tmp_path):
    main([str(frame), "-o", str(tmp_path)])
    result = fits.getdata(tmp_path / "night3_bgSubtracted.fits").astype(float)
    model = fits.getdata(tmp_path / "night3_bgModel.fits").astype(float)
    pedestal = fits.getheader(tmp_path / "night3_bgSubtracted.fits")["BGPED"]
    source = fits.getdata(frame).astype(float)
    assert np.abs(model + result - pedestal - source).max() < 1e-8


def test_xisf_goes_in_and_out(tmp_path, scene):
    path = tmp_path / "colour.xisf"
    XISF.write(str(path), np.repeat(scene.observed, 3, axis=-1))
    assert main([str(path), "-o", str(tmp_path), "-c"]) == 0
    result = XISF(str(tmp_path / "colour_bgSubtracted.xisf")).read_image(0)
    assert result.shape == (*SHAPE, 3)
    assert result.dtype == np.float32


def test_output_may_be_a_file_name_of_another_format(frame, tmp_path):
    assert main([str(frame), "-o", str(tmp_path / "clean.xisf")]) == 0
    assert read_image(tmp_path / "clean.xisf").shape == (*SHAPE, 1)
    assert (tmp_path / "clean_bgModel.xisf").exists()


def test_a_parameter_file_replays_the_run(frame, tmp_path):
    main([str(frame), "-o", str(tmp_path / "a"), "-N", "40", "--pedestal", "none"])
    params = tmp_path / "a" / "night3_bgParams.json"
    assert main([str(frame), "-o", str(tmp_path / "b"), "--params", str(params)]) == 0
    first, second = (
        (tmp_path / run / "night3_bgSubtracted.fits").read_bytes() for run in ("a", "b")
    )
    assert first == second


def test_a_replay_uses_the_same_mask(frame, tmp_path):
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :30] = 0
    fits.writeto(tmp_path / "mask.fits", mask)
    main([str(frame), "-o", str(tmp_path / "a"), "-m", str(tmp_path / "mask.fits")])
    params = tmp_path / "a" / "night3_bgParams.json"
    assert main([str(frame), "-o", str(tmp_path / "b"), "--params", str(params)]) == 0
    first, second = (fits.getdata(tmp_path / run / "night3_bgModel.fits") for run in ("a", "b"))
    assert np.array_equal(first, second)


def test_a_replay_reads_the_input_as_the_first_run_did(frame, tmp_path):
    main([str(frame), "-o", str(tmp_path / "a"), "--zeros", "all", "--no-verify"])
    params = tmp_path / "a" / "night3_bgParams.json"
    main([str(frame), "-o", str(tmp_path / "b"), "--params", str(params)])
    main([str(frame), "-o", str(tmp_path / "c"), "--params", str(params), "--verify"])
    again, changed = (
        json.loads((tmp_path / run / "night3_bgParams.json").read_text())["parameters"]
        for run in ("b", "c")
    )
    assert again == json.loads(params.read_text())["parameters"]
    assert changed == again | {"verify": True}


def test_the_descent_can_be_animated_however_short(frame, tmp_path):
    arguments = ["--objective", "original", "-e", "20", "--animation", str(tmp_path / "a.gif")]
    assert main([str(frame), "-o", str(tmp_path / "o"), *arguments]) == 0
    assert (tmp_path / "a.gif").exists()


def test_json_names_the_outputs_and_the_pedestal(frame, tmp_path, capsys):
    main([str(frame), "-o", str(tmp_path), "--json"])
    (outcome,) = results_of(capsys.readouterr().out)
    assert outcome["outputs"]["result"].endswith("night3_bgSubtracted.fits")
    assert outcome["constant"][0] > 0


def test_pictures_are_written_on_request(frame, tmp_path):
    arguments = ["--before-after", str(tmp_path / "ba.png"), "--animation", str(tmp_path / "a.gif")]
    assert main([str(frame), "-o", str(tmp_path), *arguments]) == 0
    assert (tmp_path / "ba.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF8")


def test_the_original_objective_prints_no_noise_of_its_libraries(frame, tmp_path):
    arguments = [str(frame), "-o", str(tmp_path / "o"), "--objective", "original", "-e", "20"]
    command = [sys.executable, "-m", "bgoptimizer.cli", *arguments, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_preview_fits_nothing(frame, tmp_path):
    assert main([str(frame), "--preview-png", str(tmp_path / "p.png")]) == 0
    assert listing(tmp_path) == ["night3.fits", "p.png"]


def test_uncertainty_and_division_have_their_own_files(frame, tmp_path):
    arguments = ["--uncertainty", "3", "--operation", "divide", "--no-save-mask"]
    assert main([str(frame), "-o", str(tmp_path / "out"), *arguments]) == 0
    assert listing(tmp_path / "out") == [
        "night3_bgDivided.fits", "night3_bgModel.fits", "night3_bgParams.json",
        "night3_bgSigma.fits",
    ]  # fmt: skip


def test_a_zero_border_is_missing_and_comes_back_as_zero(tmp_path, scene):
    pixels = scene.observed[..., 0].copy()
    pixels[:8] = 0
    fits.writeto(tmp_path / "registered.fits", pixels)
    main([str(tmp_path / "registered.fits"), "-o", str(tmp_path)])
    result = fits.getdata(tmp_path / "registered_bgSubtracted.fits")
    assert (result[:8] == 0).all()
    assert (result[8:] != 0).mean() > 0.99


def test_one_bad_file_of_a_batch_is_named_and_the_rest_done(frame, tmp_path, capsys):
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =                    T")
    code = main([str(frame), str(tmp_path / "broken.fits"), "-o", str(tmp_path / "out")])
    assert code == 1
    assert "broken.fits" in capsys.readouterr().err
    assert (tmp_path / "out" / "night3_bgSubtracted.fits").exists()


def write_bad(kind, folder, good):
    path = folder / "bad.fits"
    if kind == "not an image":
        path.write_text("hello")
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:10_000])
    elif kind == "checksum":
        fits.writeto(path, fits.getdata(good), checksum=True)
        data = bytearray(path.read_bytes())
        data[5000] ^= 1
        path.write_bytes(data)
    elif kind in ("2 channels", "5 channels"):
        fits.writeto(path, np.ones((int(kind[0]), 50, 60), np.float32))
    elif kind == "constant":
        fits.writeto(path, np.ones((50, 60), np.float32))
    elif kind == "all NaN":
        fits.writeto(path, np.full((50, 60), np.nan, np.float32))
    elif kind == "unknown suffix":
        path = folder / "bad.jpg"
        path.write_text("hello")
    return path


@pytest.mark.parametrize(
    "kind",
    ["missing file", "not an image", "2 channels", "5 channels", "constant", "all NaN",
     "truncated", "checksum", "unknown suffix"],
)  # fmt: skip
def test_bad_input_is_one_line_exit_2_and_nothing_written(kind, frame, tmp_path, capsys):
    bad = write_bad(kind, tmp_path, frame)
    before = listing(tmp_path)
    assert main([str(bad), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert bad.name in error
    assert listing(tmp_path) in (before, sorted([*before, "out"]))
    assert not (tmp_path / "out").exists() or not listing(tmp_path / "out")


def test_masks_that_do_not_fit_or_leave_nothing_are_refused(frame, tmp_path, capsys):
    for name, mask, text in (
        ("zero.fits", np.zeros(SHAPE, np.uint8), "all pixels are masked"),
        ("shape.fits", np.ones((20, 30), np.uint8), "expected shape"),
    ):
        fits.writeto(tmp_path / name, mask)
        code = main([str(frame), "-o", str(tmp_path / "o"), "-m", str(tmp_path / name)])
        assert code == 2
        assert text in capsys.readouterr().err


def test_existing_output_needs_overwrite(frame, tmp_path, capsys):
    main([str(frame), "-o", str(tmp_path)])
    result = tmp_path / "night3_bgSubtracted.fits"
    before = result.read_bytes()
    assert main([str(frame), "-o", str(tmp_path), "-N", "20"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert result.read_bytes() == before
    assert main([str(frame), "-o", str(tmp_path), "-N", "20", "--overwrite"]) == 0


def test_an_output_folder_that_cannot_be_is_refused(frame, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert main([str(frame), "-o", str(tmp_path / "file" / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_help_answers_without_heavy_imports():
    code = (
        "import sys; from bgoptimizer.cli import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


REAL_FILES = [
    "panoptes_rgb_superpixel.xisf", "m13_orion_ssdsi_5s_0001.fits", "horsehead_ukst_dss.fits",
    "m13_orion_ssdsi_stack_excl0001.fits.gz", "hst_acs_f606w_47tuc_flt.fits.gz",
    "streak_vatt4k.fits",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_go_through(name, tmp_path):
    if not (REAL / name).exists():
        pytest.skip(f"no ../shared/data/real/{name} beside the checkout")
    assert main([str(REAL / name), "-o", str(tmp_path), "--quiet"]) == 0
    stem = name.split(".")[0]
    suffix = name[len(stem) :]
    source = read_image(REAL / name)
    result = read_image(tmp_path / f"{stem}_bgSubtracted{suffix}")
    assert result.shape == source.shape


def test_a_real_bayer_frame_with_a_wrong_checksum_needs_no_verify(tmp_path, capsys):
    path = REAL / "panoptes_rggb_unsolved.fits"
    if not path.exists():
        pytest.skip(f"no ../shared/data/real/{path.name} beside the checkout")
    assert main([str(path), "-o", str(tmp_path)]) == 2
    assert "--no-verify" in capsys.readouterr().err
    assert main([str(path), "-o", str(tmp_path), "--no-verify"]) == 0
    assert "Bayer" in capsys.readouterr().out
