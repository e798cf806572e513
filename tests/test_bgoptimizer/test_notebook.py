"""The Colab notebook runs from a clean kernel, with a stand-in of google.colab."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from bgoptimizer import make_scene
from common import AstroImage, read_image, write_image

NOTEBOOK = Path(__file__).parents[2] / "colab" / "bgoptimizer.ipynb"
STAND_IN = """
from pathlib import Path
from types import SimpleNamespace

def download(name):
    with open("downloads.txt", "a") as log:
        log.write(f"{Path(name).resolve(strict=True).name}\\n")

def mount(folder):
    Path("mounted.txt").write_text(folder)

files = SimpleNamespace(upload=lambda: {"night.fits": b""}, download=download)
drive = SimpleNamespace(mount=mount)
"""
pytestmark = pytest.mark.filterwarnings(  # the client's sockets and event loop, not our code
    "ignore::DeprecationWarning", "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)  # fmt: skip


def load_notebook(**parameters):
    """The notebook with form fields set, and a small simulated scene."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    quick = {"SCENE_ROWS": 160, "DOWNSCALING_FACTOR": 4}  # 40 x 60 cells: a fit in a second
    for name, value in (quick | parameters).items():
        count = 0
        for cell in notebook.cells:
            lines = cell.source.split("\n")
            for i, line in enumerate(lines):
                if line.startswith(f"{name} = ") and "# @param" in line:
                    lines[i] = f"{name} = {value!r}"
                    count += 1
            cell.source = "\n".join(lines)
        assert count == 1, f"expected one form field {name}"
    return notebook


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook in a new kernel in tmp_path; raises if a cell does."""
    module = tmp_path / "stand_in" / "google" / "colab" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(STAND_IN)
    root = NOTEBOOK.parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{module.parents[2]}:{root}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # the install cell has to see that nothing is missing
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def run(notebook):
        resources = {"metadata": {"path": str(tmp_path)}}
        return NotebookClient(notebook, timeout=300, resources=resources).execute()

    return run


def printed(notebook):
    return "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and output.name == "stdout"
    )


def test_it_fits_a_simulated_scene_from_a_clean_kernel(execute, tmp_path):
    done = execute(load_notebook())
    assert "on Colab" in printed(done)
    assert "rms error of the model" in printed(done)
    names = ["scene_bgSubtracted.fits", "scene_bgModel.fits"]
    assert (tmp_path / "downloads.txt").read_text().split() == names
    source, result, model = (read_image(tmp_path / n).pixels for n in ("scene.fits", *names))
    pedestal = model + result - source
    assert np.ptp(pedestal, axis=(0, 1)).max() < 1e-6
    pictures = [
        output
        for cell in done.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2


@pytest.mark.parametrize("source", ["upload", "Google Drive"])
def test_it_takes_an_uploaded_image_and_one_on_the_drive(execute, tmp_path, source):
    scene = make_scene(3, shape=(160, 200))
    write_image(tmp_path / "night.fits", AstroImage(scene.observed))
    path = "night.fits" if source == "Google Drive" else ""
    execute(load_notebook(SOURCE=source, PATH=path, OPERATION="divide"))
    assert "night_bgDivided.fits" in (tmp_path / "downloads.txt").read_text()
    assert (tmp_path / "mounted.txt").exists() == (source == "Google Drive")


def test_a_cell_that_fails_fails_the_run(execute):
    with pytest.raises(CellExecutionError, match="there is no such file"):
        execute(load_notebook(SOURCE="path", PATH="nowhere.fits"))


def test_it_is_valid_and_its_outputs_are_stripped():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert notebook.nbformat == 4
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_it_pins_nothing_that_colab_preinstalls():
    text = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    installs = [line for line in text.split("\n") if "pip install" in line]
    assert len(installs) == 1
    assert not [mark for mark in ("==", "<", "--upgrade", "-U ") if mark in installs[0]]
