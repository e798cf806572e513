"""What holds for each notebook as it is committed."""

from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "colab"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    return nbformat.read(FOLDER / request.param, as_version=4)


def test_there_is_one_for_each_tool():
    assert NOTEBOOKS == ["bgoptimizer.ipynb", "bgrem.ipynb"]


def test_it_is_valid_and_its_outputs_are_stripped(notebook):
    nbformat.validate(notebook)
    assert notebook.nbformat == 4
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_it_pins_nothing_that_colab_preinstalls(notebook):
    text = "\n".join(cell.source for cell in notebook.cells)
    installs = [line for line in text.split("\n") if "pip install" in line]
    assert len(installs) == 1
    assert not [mark for mark in ("==", "<", "--upgrade", "-U ") if mark in installs[0]]
