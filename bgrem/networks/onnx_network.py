"""A network of an exported file, which ONNX Runtime or OpenVINO computes without Keras."""

import json
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

SUFFIX = ".onnx"  # of an exported file
CARD_KEY = "bgrem_card"  # of the model's card (model.json) among the file's metadata
ERRORS_ONLY = 3  # level of ONNX Runtime's messages
# what both say when memory runs out, in errors of no kind of their own
OUT_OF_MEMORY_TEXTS = ("bad_alloc", "bad alloc", "failed to allocate", "not enough memory")
SHOWN_ERROR = 160  # characters of an error of theirs

Arrays = tuple[np.ndarray, np.ndarray]


class OnnxNetwork:
    """A network that computes as a Keras model does, in float32 on the processor.

    Parameters
    ----------
    path : path
        A file of `bgrem models export`.
    runtime : str
        A row of `RUNTIMES`.

    Attributes
    ----------
    card : dict
        The model's card; None where the file has none that can be read.
    engine : str
        Name and version of the library.

    Raises
    ------
    ValueError
        If the library is not installed, or cannot read the file.
    """

    compute_dtype = "float32"

    def __init__(self, path: Path, runtime: str) -> None:
        library, start = RUNTIMES[runtime]
        if find_spec(library) is None:
            raise ValueError(f"{library} is not installed. Run: pip install {library}")
        if not path.is_file():
            raise ValueError(f"{path}: no such file.")
        try:
            self._run, text = start(path)
        except Exception as error:  # each library has its own
            reason = " ".join(str(error).split())[:SHOWN_ERROR].rstrip(". ")
            raise ValueError(f"{path}: {library} cannot read it ({reason}).") from None
        self.path, self.engine = path, f"{library} {metadata.version(library)}"
        try:
            self.card: Any = json.loads(text)
        except ValueError:
            self.card = None

    def predict_on_batch(self, inputs: Arrays) -> np.ndarray:
        """Return the output (B, H, W, 1) for (noisy (B, H, W, 1), number (B, 1, 1, 1)).

        Raises
        ------
        MemoryError
            If the memory is too small.
        ValueError
            If the network does not take these inputs, or gives another shape.
        """
        try:
            output = self._run(inputs)
        except Exception as error:  # each library has its own
            text = " ".join(str(error).split())
            if any(words in text.lower() for words in OUT_OF_MEMORY_TEXTS):
                raise MemoryError(f"{self.engine}: {text[:SHOWN_ERROR]}") from None
            raise ValueError(
                f"{self.path}: {self.engine} failed ({text[:SHOWN_ERROR].rstrip('. ')})."
            ) from None
        if output.shape != inputs[0].shape:
            raise ValueError(f"{self.path}: gives {output.shape} for {inputs[0].shape}.")
        return np.asarray(output, np.float32)


Run = Callable[[Arrays], np.ndarray]


def _start_onnxruntime(path: Path) -> tuple[Run, str]:
    """Return what runs the file's network, and the text of its card."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    text = session.get_modelmeta().custom_metadata_map.get(CARD_KEY, "")
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0], text


def _start_openvino(path: Path) -> tuple[Run, str]:
    """Return what runs the file's network, and the text of its card."""
    import openvino

    core = openvino.Core()
    read = core.read_model(path)
    place = ["framework", CARD_KEY]
    text = read.get_rt_info(place).astype(str) if read.has_rt_info(place) else ""
    network = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    # a copy: the library writes the next output into the same memory
    return lambda inputs: np.array(network(inputs)[0]), text


# name -> distribution, and what starts it
RUNTIMES: dict[str, tuple[str, Callable[[Path], tuple[Run, str]]]] = {
    "onnx": ("onnxruntime", _start_onnxruntime),
    "openvino": ("openvino", _start_openvino),
}


def read_card(path: Path) -> Any:
    """Return the card of an exported file, with the first library that is installed.

    Raises
    ------
    ValueError
        If there is no such library, or no card in the file.
    """
    for runtime, (library, _) in RUNTIMES.items():
        if find_spec(library) is not None:
            card = _read_once(path, path.stat().st_mtime_ns, runtime)
            if card is None:
                raise ValueError(
                    f"{path}: has no card. Make the file with `bgrem models export NAME -o "
                    f"{path.name}`."
                )
            return card
    raise ValueError(f"{path}: needs ONNX Runtime or OpenVINO. Run: pip install onnxruntime")


@lru_cache(maxsize=8)  # files; a command asks for the card several times
def _read_once(path: Path, changed: int, runtime: str) -> Any:
    return OnnxNetwork(path, runtime).card
