"""Exported files: a network with its weights and its card, for runtimes without Keras."""

import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bgrem.models import Model, find_model, is_exported, load_model, read_description
from bgrem.networks.gpu import start_backend
from bgrem.networks.known_answer import make_probe
from bgrem.networks.onnx_network import CARD_KEY, SUFFIX, OnnxNetwork
from common.atomic import atomic_write, scratch_folder

# Largest difference between Keras and ONNX Runtime, relative to rms + |pixel|. Both compute in
# float32 and add in another order; the five models of the package differ by up to 1e-5.
MAX_DIFFERENCE = 1e-4
CACHE_FORMAT = 1  # of the files in the cache: a higher one makes them anew


class ExportNotice(UserWarning):
    """A network was exported to the cache."""


def export_model(
    name: str | os.PathLike[str], path: Path, *, overwrite: bool = False
) -> tuple[Model, float]:
    """Write a model as one ONNX file that has its card, and compare the file with Keras.

    Parameters
    ----------
    name : str or path
        As `load_model` takes it.
    path : path
        A name that ends in .onnx.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    model : Model
        As Keras has it.
    difference : float
        The largest one between both outputs for the input of the self-test, relative to
        rms + |pixel|.

    Raises
    ------
    ValueError
        If the name is another, a package is missing, or there is no such model.
    FloatingPointError
        If the outputs differ by more than `MAX_DIFFERENCE`.
    """
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"{path}: the file is an ONNX file. Name it *{SUFFIX}.")
    if is_exported(name):
        raise ValueError(f"{name}: is an exported file already.")
    find_model(name)
    with atomic_write(path, overwrite) as temporary:
        return _write_export(name, temporary)


def _write_export(name: str | os.PathLike[str], path: Path) -> tuple[Model, float]:
    """Write a file at its path and test it; see `export_model`."""
    absent = [one for one in ("keras", "onnx", "onnxruntime") if find_spec(one) is None]
    if absent:
        raise ValueError(
            f"{name}: the export needs {', '.join(absent)}. Run: pip install {' '.join(absent)}"
        )
    start_backend()
    from onnx import checker, helper

    from bgrem.networks.onnx_graph import onnx_graph

    model = load_model(name)
    graph = onnx_graph(model.network)
    helper.set_model_props(graph, {CARD_KEY: json.dumps(model.description, ensure_ascii=False)})
    checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString())
    difference = compare_outputs(model, path)
    if not difference <= MAX_DIFFERENCE:
        raise FloatingPointError(
            f"{name}: the exported network differs from that of Keras by {difference:.2g} of its "
            "output"
        )
    return model, difference


def compare_outputs(model: Model, path: Path) -> float:
    """Return the largest difference of a file from Keras, relative to rms + |pixel|."""
    expected = model.predict(*make_probe())
    found = OnnxNetwork(path, "onnx").predict_on_batch(make_probe())
    allowed = np.sqrt(np.mean(expected**2)) + np.abs(expected)
    return float(np.max(np.abs(found - expected) / allowed))


def find_exported(name: str | os.PathLike[str]) -> Path:
    """Return the exported file of a model: itself, or one in the cache, which is made if need be.

    Warns
    -----
    ExportNotice
        When it is made.

    Raises
    ------
    ValueError
        If there is none, and Keras or ONNX is not installed.
    """
    if is_exported(name):
        return find_model(name)
    folder, card = find_model(name), read_description(name)
    path = cache_folder() / f"{CACHE_FORMAT}-{card['sha256'][:16]}" / f"{folder.name}{SUFFIX}"
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # at once, whatever else the run writes: it is needed now, and by later runs
        with scratch_folder(path.parent) as temporary:
            _write_export(name, temporary / path.name)
            os.replace(temporary / path.name, path)
    except ValueError as error:
        raise ValueError(
            f"{error} Or give --model a file that `bgrem models export` has written elsewhere."
        ) from None
    warnings.warn(f"{folder.name} was exported to {path}", ExportNotice, stacklevel=2)
    return path


def cache_folder() -> Path:
    """Return the folder for exported files: XDG_CACHE_HOME, else .cache of the home folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "bgrem"
