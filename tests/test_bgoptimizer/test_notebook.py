"""The Colab notebook runs from a clean kernel, with a stand-in of google.colab."""

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


@pytest.mark.parametrize("source", ["upload", "Google Drive"])
def test_it_takes_an_uploaded_image_and_one_on_the_drive(execute, tmp_path, source):
    scene = make_scene(3, shape=(160, 200))
    write_image(tmp_path / "night.fits", AstroImage(scene.observed))
    path = "night.fits" if source == "Google Drive" else ""
    execute(SOURCE=source, PATH=path, OPERATION="divide")
    assert "night_bgDivided.fits" in (tmp_path / "downloads.txt").read_text()
    assert (tmp_path / "mounted.txt").exists() == (source == "Google Drive")


def test_a_cell_that_fails_fails_the_run(execute):
    with pytest.raises(CellExecutionError, match="there is no such file"):
        execute(SOURCE="path", PATH="nowhere.fits")
