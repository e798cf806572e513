"""The script for PixInsight under Node, with a stand-in of its runtime, on the real commands."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from source_commands import write_commands

from bgoptimizer import BackgroundConfig, correct_background, fit_background, make_scene
from common import AstroImage, read_image, write_image

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "pixinsight" / "BackgroundToolkit.js"
NODE = shutil.which("node")
SHAPE = (96, 144)

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed: the script is NOT tested"),
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-in needs /bin/sh"),
]


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A folder with both commands of this source tree."""
    return write_commands(tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """A colour image as PixInsight has it."""
    file = tmp_path_factory.mktemp("images") / "nebula.xisf"
    scene = make_scene(3, shape=SHAPE, channels=3)
    cards = [("OBJECT", "M 8", "what was observed"), ("GAIN", 1.5, "")]
    write_image(file, AstroImage(scene.observed.astype(np.float32), cards=cards))
    return file


@pytest.fixture
def pixinsight(commands, tmp_path):
    """Run the script in a scenario; returns what happened, and the pixels of the view."""

    def run(image=None, *, environment=None, **scenario):
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        content = {
            "image": None if image is None else str(image), "temporary": str(temporary),
            "out": str(tmp_path), "settings": {"BackgroundToolkit/commandFolder": str(commands)},
            "mode": "view", **scenario,
        }  # fmt: skip
        (tmp_path / "scenario.json").write_text(json.dumps(content))
        done = subprocess.run(
            [NODE, Path(__file__).with_name("runtime.js"), SCRIPT, tmp_path / "scenario.json"],
            capture_output=True, text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        record = json.loads(done.stdout)
        pixels = tmp_path / "pixels.raw"
        found = np.fromfile(pixels, np.float32) if pixels.exists() else None
        return record, found

    return run


def planar(image):
    """Pixels (H, W, C) in PixInsight's order."""
    return np.moveaxis(image, -1, 0).astype(np.float32).ravel()


def critical(record):
    """The errors in the console."""
    return [text for kind, text in record["console"] if kind == "critical"]


def test_a_process_icon_on_a_view_takes_its_background_off_as_the_library_does(
    pixinsight, colour, tmp_path
):
    options = {"tool": "background", "options": "-N 60"}
    record, pixels = pixinsight(colour, parameters=options)
    assert critical(record) == []
    image = read_image(colour)
    model = fit_background(image, BackgroundConfig(control_points=60))
    expected = planar(correct_background(image, model).result.pixels)
    np.testing.assert_allclose(pixels, expected, atol=1e-6)
    assert record["steps"] == 1  # one step to undo
    np.testing.assert_array_equal(
        np.fromfile(tmp_path / "undone.raw", np.float32), planar(image.pixels)
    )


def test_only_the_pixels_change_and_nothing_is_left_behind(pixinsight, colour):
    record, _ = pixinsight(colour, parameters={"tool": "background"})
    names = [one["name"] for one in record["keywords"]]
    assert "OBJECT" in names
    assert not [
        name for name in names if name.startswith("BG")
    ]  # those of the result are not taken
    assert record["filePath"] == str(colour)  # the view was not saved elsewhere
    assert record["windows"] == [{"id": "nebula", "visible": False}]
    assert record["left"] == []


def test_the_copy_for_the_command_has_the_keywords_of_the_view(pixinsight, colour, commands):
    record, _ = pixinsight(colour, parameters={"tool": "background"})
    (run,) = record["processes"]
    assert run["program"] == f"{commands}/bgoptimizer"
    assert run["words"][:5] == ["--no-save-mask", "--operation", "subtract", "--protect", "normal"]
    assert run["words"][-1] == "--json"


def test_noise_goes_and_the_background_stays(pixinsight, tmp_path):
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:96, :144]
    light = 0.3 * np.exp(-(((y - 30) / 12) ** 2) - ((x - 100) / 12) ** 2)
    before = (0.1 + light + rng.normal(0, 0.01, (3, 96, 144))).astype(np.float32)
    write_image(tmp_path / "a.xisf", AstroImage(np.moveaxis(before, 0, -1)))
    options = {"tool": "denoise", "options": "--linear"}
    record, pixels = pixinsight(tmp_path / "a.xisf", parameters=options)
    assert critical(record) == []
    after = pixels.reshape(before.shape)
    assert after[:, 60:, :60].std() < 0.5 * before[:, 60:, :60].std()
    assert after.mean() == pytest.approx(before.mean(), rel=1e-2)


def test_an_image_of_16_bits_stays_in_its_range(pixinsight, tmp_path):
    scene = make_scene(4, shape=SHAPE).observed
    pixels = np.rint(60_000 * scene / scene.max()).astype(np.uint16)
    write_image(tmp_path / "a.xisf", AstroImage(pixels.astype(np.float32)))
    _, found = pixinsight(_integers(tmp_path, pixels), parameters={"tool": "background"})
    assert found.min() >= 0
    assert found.max() <= 1


def _integers(folder, pixels):
    """An XISF file of 16-bit integers."""
    xisf = pytest.importorskip("xisf")
    xisf.XISF.write(str(folder / "integers.xisf"), pixels)
    return folder / "integers.xisf"


def test_a_preview_is_processed_alone(pixinsight, colour):
    record, pixels = pixinsight(colour, preview=[8, 4, 136, 92], parameters={"tool": "background"})
    assert critical(record) == []
    assert pixels.size == 3 * 128 * 88
    assert record["steps"] == 1


def test_progress_and_notes_are_in_the_console(pixinsight, colour):
    record, _ = pixinsight(colour, parameters={"tool": "background"})
    lines = [text for _, text in record["console"]]
    assert lines.index("Reading") < lines.index("Saving")
    assert "100 %" in lines
    assert any("objects cover" in line for line in lines)


def test_the_dialog_runs_with_what_the_user_chooses_and_keeps_it_in_an_icon(pixinsight, colour):
    user = {
        "select": {"0": "Background: bgoptimizer", "1": "divide", "2": "strong"},
        "edit": ["-N 60", None],
        "check": ["Result in a new window", "Show the background model"],
        "icon": True,
    }
    record, pixels = pixinsight(colour, mode="dialog", user=user)
    assert critical(record) == []
    words = record["processes"][0]["words"]
    assert words[1:7] == ["--operation", "divide", "--protect", "strong", "-N", "60"]
    assert record["steps"] == 0
    np.testing.assert_array_equal(pixels, planar(read_image(colour).pixels))
    shown = {one["id"] for one in record["windows"] if one["visible"]}
    assert shown == {"nebula_background", "nebula_model"}
    assert record["icon"]["operation"] == "divide"
    assert record["icon"]["newWindow"] == "true"


def test_closing_the_dialog_runs_nothing(pixinsight, colour):
    record, _ = pixinsight(colour, mode="dialog", user={"press": "Close"})
    assert record["processes"] == []
    assert record["console"] == []


def test_the_folder_that_the_user_types_is_kept(pixinsight, colour):
    user = {"edit": [None, " /opt/tools "]}
    record, _ = pixinsight(colour, mode="dialog", user=user, settings={})
    assert record["settings"] == {"BackgroundToolkit/commandFolder": "/opt/tools"}
    assert "was not found in /opt/tools" in record["boxes"][0]


def test_an_error_of_the_command_is_its_own_line_and_the_view_stays(pixinsight, colour):
    before = planar(read_image(colour).pixels)
    options = {"tool": "background", "options": "--nonsense"}
    record, pixels = pixinsight(colour, parameters=options)
    assert "unrecognized arguments: --nonsense" in critical(record)[0]
    assert record["boxes"] == []  # a process icon may run where nobody closes a box
    assert record["left"] == []
    np.testing.assert_array_equal(pixels, before)


def test_a_result_that_pixinsight_does_not_take_is_an_error(pixinsight, colour):
    record, _ = pixinsight(colour, parameters={"tool": "background"}, refusePixelMath=True)
    assert "could not be put into the view" in critical(record)[0]
    assert [one["id"] for one in record["windows"]] == ["nebula"]
    assert record["left"] == []


def test_abort_ends_the_command_and_leaves_nothing(pixinsight, colour):
    before = planar(read_image(colour).pixels)
    record, pixels = pixinsight(
        colour, parameters={"tool": "background"}, abortAfter="Running bgoptimizer"
    )
    assert record["terminated"]
    assert "killed" not in record  # it has ended by itself
    assert "aborted" in critical(record)[0]
    assert record["left"] == []
    np.testing.assert_array_equal(pixels, before)


def test_the_command_is_found_on_the_path_and_sees_a_clean_environment(
    pixinsight, colour, commands
):
    own = dict.fromkeys(("LD_LIBRARY_PATH", "PYTHONHOME", "QT_PLUGIN_PATH"), "/opt/PixInsight")
    environment = {"PATH": f"{commands}:{os.environ['PATH']}", **own}
    record, _ = pixinsight(
        colour, parameters={"tool": "background"}, settings={}, environment=environment
    )
    assert critical(record) == []
    (run,) = record["processes"]
    assert run["program"] == f"{commands}/bgoptimizer"
    assert not set(own) & set(run["environment"])
    assert run["environment"]["PATH"] == environment["PATH"]


def test_without_an_image_it_says_so(pixinsight):
    record, _ = pixinsight(mode="dialog")
    assert "no image is open" in record["boxes"][0]


def test_the_lines_for_pixinsight_are_where_it_looks_for_them():
    lines = SCRIPT.read_text("utf-8").splitlines()
    assert lines[0] == "#engine v8"
    assert sum(line.startswith("#feature-id") for line in lines[:5]) == 1


@pytest.mark.parametrize("file", sorted(SCRIPT.parent.glob("*.js")), ids=lambda file: file.name)
def test_a_script_is_of_readable_length_and_plain_ascii(file):
    text = file.read_text("utf-8")
    assert text.isascii()
    assert len(text.splitlines()) <= 400
