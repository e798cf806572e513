"""Threads of parallel runs; for both notebooks a clean kernel with a stand-in of google.colab."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers are the threads; before TensorFlow starts
    for library in ("TF_NUM_INTRAOP", "TF_NUM_INTEROP", "OPENBLAS_NUM", "OMP_NUM"):
        os.environ.setdefault(f"{library}_THREADS", "1")

# in the background of a shell, or after nohup, signals are ignored, which all processes inherit
for name in ("SIGINT", "SIGHUP"):
    if (number := getattr(signal, name, None)) and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

ROOT = Path(__file__).parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
STAND_IN = """
from pathlib import Path
from types import SimpleNamespace

def download(name):
    with open("downloads.txt", "a") as log:
        log.write(f"{Path(name).resolve(strict=True).name}\\n")

def mount(folder):
    Path("mounted.txt").write_text(folder)

def enable_custom_widget_manager():
    Path("widgets.txt").write_text("enabled")

output = SimpleNamespace(enable_custom_widget_manager=enable_custom_widget_manager)
files = SimpleNamespace(upload=lambda: {"night.fits": b""}, download=download)
drive = SimpleNamespace(mount=mount)
"""


def load_notebook(name, parameters):
    """The notebook with form fields set."""
    import nbformat

    notebook = nbformat.read(ROOT / "colab" / name, as_version=4)
    for field, value in parameters.items():
        count = 0
        for cell in notebook.cells:
            lines = cell.source.split("\n")
            for i, line in enumerate(lines):
                if line.startswith(f"{field} = ") and "# @param" in line:
                    lines[i] = f"{field} = {value!r}"
                    count += 1
            cell.source = "\n".join(lines)
        assert count == 1, f"expected one form field {field}"
    return notebook


@pytest.fixture
def run_notebook(tmp_path, monkeypatch):
    """Run a notebook in a new kernel in tmp_path; raises if a cell does.

    The result has `printed` and `complaints`, stdout and stderr, and `pictures` and `widgets`,
    their numbers.
    """
    from nbclient import NotebookClient

    module = tmp_path / "stand_in" / "google" / "colab" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", f"{module.parents[2]}:{ROOT}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # the install cell has to see that nothing is missing
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def run(name, **parameters):
        resources = {"metadata": {"path": str(tmp_path)}}
        notebook = load_notebook(name, parameters)
        done = NotebookClient(notebook, timeout=300, resources=resources).execute()
        outputs = [output for cell in done.cells for output in cell.get("outputs", ())]
        streams = [one for one in outputs if one.output_type == "stream"]
        printed, complaints = (
            "".join(one.text for one in streams if one.name == name)
            for name in ("stdout", "stderr")
        )
        pictures = [one for one in outputs if "image/png" in one.get("data", {})]
        widgets = [one for one in outputs if WIDGET in one.get("data", {})]
        return SimpleNamespace(
            printed=printed, complaints=complaints, pictures=len(pictures), widgets=len(widgets),
        )  # fmt: skip

    return run
