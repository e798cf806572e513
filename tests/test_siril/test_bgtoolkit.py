"""The script for Siril, on the real commands and a stand-in of Siril's module."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from siril_stand_in import FakeSiril, LogColor
from source_commands import write_commands

from bgoptimizer import BackgroundConfig, correct_background, fit_background, make_scene
from common import AstroImage

SCRIPT = Path(__file__).parents[2] / "siril" / "bgtoolkit.py"
RETURNS = {"Siril 1.4": None, "Siril 1.5": True}  # what methods give that have nothing to say


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A folder with both commands of this source tree."""
    return write_commands(tmp_path_factory.mktemp("commands"))


def load(siril, monkeypatch):
    """The script as Siril would import it."""
    monkeypatch.setitem(sys.modules, "sirilpy", siril.module())
    spec = importlib.util.spec_from_file_location("bgtoolkit", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    before = signal.getsignal(signal.SIGTERM)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script.signal, "signal", lambda *_: before)
    return script


@pytest.fixture
def run(commands, monkeypatch):
    """Run the script on a stand-in of Siril; returns the exit code."""
    monkeypatch.setenv("BGTOOLKIT_FOLDER", str(commands))

    def run_on(siril, *words):
        return load(siril, monkeypatch).main(list(words))

    return run_on


@pytest.fixture(scope="module")
def colour():
    """Pixels of a colour image in [0, 1] as Siril has them, (3, H, W)."""
    scene = make_scene(3, shape=(96, 144), channels=3)
    return np.ascontiguousarray(np.moveaxis(scene.observed, -1, 0), np.float32)


@pytest.mark.parametrize("version", RETURNS)
def test_the_background_of_a_colour_image_is_removed_as_the_library_does(run, colour, version):
    siril = FakeSiril(colour, returns=RETURNS[version])
    assert run(siril, "background", "-N", "60") == 0
    image = AstroImage(np.moveaxis(colour, 0, -1))
    model = fit_background(image, BackgroundConfig(control_points=60))
    expected = correct_background(image, model).result.pixels
    np.testing.assert_allclose(siril.pixels, np.moveaxis(expected, -1, 0), atol=1e-6)
    assert (siril.pixels.dtype, siril.pixels.shape) == (np.float32, colour.shape)


def test_the_step_can_be_undone(run, colour):
    siril = FakeSiril(colour)
    assert run(siril, "background") == 0
    assert not np.array_equal(siril.pixels, colour)
    ((label, before),) = siril.undo
    assert label == "background removed (bgoptimizer)"
    np.testing.assert_array_equal(before, colour)


def test_a_mono_image_of_16_bits_stays_one(run):
    scene = make_scene(4, shape=(96, 144)).observed[..., 0]
    pixels = np.rint(50_000 * scene).astype(np.uint16)
    siril = FakeSiril(pixels)
    assert run(siril, "background") == 0
    assert (siril.pixels.dtype, siril.pixels.shape) == (np.uint16, pixels.shape)
    assert abs(np.median(siril.pixels.astype(float)) - np.median(pixels)) < 0.2 * np.median(pixels)
    assert np.ptp(siril.pixels[::8, ::8].mean(0)) < np.ptp(pixels[::8, ::8].mean(0))


def test_noise_goes_and_the_mean_stays(run):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:96, :144]
    light = 0.3 * np.exp(-(((y - 30) / 12) ** 2) - ((x - 100) / 12) ** 2)
    pixels = (0.1 + light + rng.normal(0, 0.01, (3, 96, 144))).astype(np.float32)
    siril = FakeSiril(pixels)
    assert run(siril, "denoise", "--linear") == 0
    before, after = (one[:, 60:, :60].std() for one in (pixels, siril.pixels))
    assert after < 0.5 * before
    assert siril.pixels.mean() == pytest.approx(pixels.mean(), rel=1e-2)


def test_rows_stay_from_below_to_above(monkeypatch, tmp_path):
    script = load(FakeSiril(), monkeypatch)
    pixels = np.zeros((3, 4, 5), np.float32)
    pixels[:, 0, 1] = 1  # in the lowest row
    script.write_pixels(tmp_path / "a.fits", pixels, None)
    with fits.open(tmp_path / "a.fits") as hdus:
        assert hdus[0].data[0, 0, 1] == 1  # FITS counts from below, too
        assert hdus[0].header["ROWORDER"] == "BOTTOM-UP"
    np.testing.assert_array_equal(script.read_pixels(tmp_path / "a.fits", pixels)[0], pixels)


def test_the_header_of_the_image_goes_with_the_pixels(monkeypatch, tmp_path):
    header = fits.Header({"SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": 9, "NAXIS2": 9})
    header.update({"BZERO": 32768, "GAIN": 1.5, "BAYERPAT": "RGGB", "ROWORDER": "TOP-DOWN"})
    script = load(FakeSiril(), monkeypatch)
    pixels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    script.write_pixels(tmp_path / "a.fits", pixels, header.tostring(sep="\n"))
    with fits.open(tmp_path / "a.fits") as hdus:
        np.testing.assert_array_equal(hdus[0].data, pixels)
        found = hdus[0].header
    assert [found[key] for key in ("GAIN", "BAYERPAT", "ROWORDER")] == [1.5, "RGGB", "TOP-DOWN"]


def test_what_leaves_the_range_of_16_bits_is_clipped_and_counted(monkeypatch, tmp_path):
    script = load(FakeSiril(), monkeypatch)
    found = np.array([[-3.0, 0.4, 70_000.0, np.nan]], np.float32)
    fits.writeto(tmp_path / "a.fits", found)
    pixels, clipped = script.read_pixels(tmp_path / "a.fits", np.zeros((1, 4), np.uint16))
    assert pixels.tolist() == [[0, 0, 65_535, 0]]
    assert clipped == 0.5


def test_progress_and_log_reach_siril(run, colour):
    siril = FakeSiril(colour)
    run(siril, "background")
    done = [value for _, value in siril.progress if value >= 0]
    assert done[0] == 0
    assert max(done) == 1
    assert siril.progress[-1] == ("", 0.0)  # reset
    assert any("objects cover" in text for _, text in siril.logged)
    assert siril.logged[-1][0] == LogColor.GREEN
    assert not siril.connected
    assert not siril.locked


@pytest.mark.parametrize(
    ("siril", "words", "line"),
    [
        (FakeSiril(), ["background"], "no image is loaded"),
        (FakeSiril(np.ones((8, 8), np.float32)), ["background"], "is constant"),
        (FakeSiril(np.ones((8, 8), np.float32)), ["background", "--nonsense"], "--nonsense"),
        (FakeSiril(np.ones((8, 8), np.float32), busy=True), ["background"], "already in use"),
    ],
)
def test_what_goes_wrong_is_one_line_and_the_image_stays(run, siril, words, line):
    before = None if siril.pixels is None else siril.pixels.copy()
    assert run(siril, *words) == 1
    assert line in siril.boxes[0]
    assert siril.logged[-1][0] == LogColor.RED
    assert siril.undo == []
    np.testing.assert_array_equal(siril.pixels, before)


def test_a_missing_command_is_said_with_what_to_do(run, colour, monkeypatch, tmp_path):
    monkeypatch.setenv("BGTOOLKIT_FOLDER", str(tmp_path))
    siril = FakeSiril(colour)
    script = load(siril, monkeypatch)
    assert script.main(["background"]) == 1
    assert "bgoptimizer was not found" in siril.boxes[0]
    assert "BGTOOLKIT_FOLDER" in siril.boxes[0]


def test_the_command_does_not_see_the_environment_of_sirils_python(monkeypatch):
    script = load(FakeSiril(), monkeypatch)
    monkeypatch.setenv("PYTHONHOME", "/of/siril")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/siril")
    monkeypatch.setenv("LD_LIBRARY_PATH_ORIG", "/of/user")
    found = script.clean_environment()
    assert "PYTHONHOME" not in found
    assert found["LD_LIBRARY_PATH"] == "/of/user"
    assert found["PATH"] == os.environ["PATH"]


def test_a_command_that_crashes_is_said_with_its_last_line(monkeypatch):
    script = load(FakeSiril(), monkeypatch)
    crash = [sys.executable, "-c", "raise SystemExit('no TensorFlow here')"]
    with pytest.raises(script.Failed, match="no TensorFlow here"):
        script.run_command(crash, lambda event: None)


def test_the_command_ends_when_the_script_is_stopped(monkeypatch):
    script = load(FakeSiril(), monkeypatch)
    started = []
    usual = subprocess.Popen
    monkeypatch.setattr(
        script.subprocess, "Popen", lambda *a, **k: started.append(usual(*a, **k)) or started[0]
    )
    lines = "import time; print('{}', flush=True); time.sleep(60)"

    def stop(event):
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        script.run_command([sys.executable, "-c", lines], stop)
    assert started[0].returncode is not None


def test_the_window_gives_the_words_of_a_command_line(monkeypatch):
    script = load(FakeSiril(), monkeypatch)
    chosen = {"operation": "divide", "keep": "background", "strength": "0.8", "more": "--seed 2"}
    words = script.words_of(tool="background", **chosen)
    assert words == ["background", "--operation", "divide", "--seed", "2"]
    words = script.words_of(tool="denoise", **chosen)
    assert words == ["denoise", "--keep", "background", "--strength", "0.8", "--seed", "2"]
    assert script.read_words(words) == ("denoise", words[1:])
