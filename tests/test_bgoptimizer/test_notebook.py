"""The Colab notebook runs from a clean kernel, with a stand-in of google.colab."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError

from bgoptimizer import make_scene
from common import AstroImage, read_image, write_image

pytestmark = pytest.mark.filterwarnings(  # the client's sockets and event loop, not our code
    "ignore::DeprecationWarning", "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)  # fmt: skip


@pytest.fixture
def execute(run_notebook):
    """Run it with form fields set, and a small simulated scene."""
    quick = {"SCENE_ROWS": 160, "DOWNSCALING_FACTOR": 4}  # 40 x 60 cells: a fit in a second
    return lambda **parameters: run_notebook("bgoptimizer.ipynb", **(quick | parameters))


def test_it_fits_a_simulated_scene_from_a_clean_kernel(execute, tmp_path):
    done = execute()
    assert "on Colab" in done.printed
    assert "rms error of the model" in done.printed
    names = ["scene_bgSubtracted.fits", "scene_bgModel.fits"]
    assert (tmp_path / "downloads.txt").read_text().split() == names
    source, result, model = (read_image(tmp_path / n).pixels for n in ("scene.fits", *names))
    pedestal = model + result - source
    assert np.ptp(pedestal, axis=(0, 1)).max() < 1e-6
    assert done.pictures == 2
    assert done.widgets == 1
    assert (tmp_path / "widgets.txt").read_text() == "enabled"


@pytest.mark.parametrize("source", ["upload", "Google Drive", "URL"])
def test_it_takes_an_image_uploaded_on_the_drive_and_of_an_address(execute, tmp_path, source):
    scene = make_scene(3, shape=(160, 200))
    write_image(tmp_path / "night.fits", AstroImage(scene.observed))
    (tmp_path / "server").mkdir()
    elsewhere = shutil.move(tmp_path / "night.fits", tmp_path / "server") if source == "URL" else ""
    path = {"Google Drive": "night.fits", "URL": Path(elsewhere).as_uri() if elsewhere else ""}
    execute(SOURCE=source, PATH=path.get(source, ""), OPERATION="divide")
    assert "night_bgDivided.fits" in (tmp_path / "downloads.txt").read_text()
    assert (tmp_path / "mounted.txt").exists() == (source == "Google Drive")


def test_a_cell_that_fails_fails_the_run(execute):
    with pytest.raises(CellExecutionError, match="there is no such file"):
        execute(SOURCE="path", PATH="nowhere.fits")


def test_it_fits_with_the_settings_of_the_live_page(execute, tmp_path):
    done = execute(SETTINGS_OF_PAGE=True, OPERATION="divide")
    assert "scene_bgSubtracted.fits" in done.printed  # the page's operation, not the form's
