"""Trained models: a folder with model.json and weights.npz, found by name, checked by SHA-256."""

import hashlib
import io
import json
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.cards import check_description
from bgrem.networks.gpu import (
    DeviceWarning,
    describe_keras,
    find_gpu,
    is_operation_error,
    start_backend,
)
from bgrem.networks.known_answer import compare_answer, describe_answer, make_probe
from bgrem.networks.onnx_network import SUFFIX, OnnxNetwork, read_card
from bgrem.networks.schedule import CosineSchedule
from common.atomic import atomic_write, write_together
from common.checked.archives import read_arrays
from common.checked.json_files import read_json, shown
from common.cli import is_out_of_memory

WEIGHTS_FOLDER = Path(__file__).with_name("weights")  # one folder a model
DESCRIPTION_FILE = "model.json"  # name of a model's card
WEIGHTS_FILE = "weights.npz"  # name of a model's weights
PROCESSOR = "cpu:0"  # as Keras names it
SHOWN_ERROR = 120  # characters of a device's error: those of XLA fill pages


@dataclass(eq=False)
class Model:
    """A network that is ready to predict, and what it was made for.

    Attributes
    ----------
    name : str
    network : keras.Model or OnnxNetwork
        (noisy, noise_variance) -> background, or what the system's file says.
    description : dict
        model.json: `task` (the command it is for), `network`, what that command needs
        (`schedule`, `background`, `ratios`, `scaling`), `domain` (what the training covered),
        `training` (what was done), `known_answer` (of the self-test).
    sha256 : str
        Of weights.npz.
    weights : dict of array
        As the file has them: a GPU that has failed gives none back.
    on_processor : bool
        Whether a GPU has failed, and the processor computes in its place.
    """

    name: str
    network: Any
    description: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    weights: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    on_processor: bool = False

    @property
    def schedule(self) -> CosineSchedule:
        """The diffusion schedule for inference."""
        return CosineSchedule(**self.description.get("schedule", {}))

    @property
    def precision(self) -> str:
        """What the network computes in: "float32" or "bfloat16"."""
        return self.network.compute_dtype

    @property
    def engine(self) -> str:
        """Versions of Keras and of what it computes with."""
        return describe_keras()

    def predict(self, noisy: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return the network's output, float32, compiled once per shape.

        Where a GPU fails, the processor computes the same again, and all that follows. Several
        tiles that do not fit its memory are the caller's to split first.

        Parameters
        ----------
        noisy : array, shape (B, T, T, 1), float32
        variance : array, shape (B, 1, 1, 1), float32

        Warns
        -----
        DeviceWarning
            Once, where a GPU failed. No GPU was at hand: tests simulate its errors.
        """
        try:
            return self._predict(noisy, variance)
        except Exception as error:
            if (len(noisy) > 1 and is_out_of_memory(error)) or not self._is_of_gpu(error):
                raise
            self._move_to_processor(error)
        return self._predict(noisy, variance)

    def _predict(self, noisy: np.ndarray, variance: np.ndarray) -> np.ndarray:
        with self._device():
            return np.asarray(self.network.predict_on_batch((noisy, variance)), np.float32)

    def prepare(self, dtype: str) -> None:
        """Build the network and test it; where a GPU fails, on the processor.

        Raises
        ------
        FloatingPointError
            If the processor fails the self-test.
        """
        try:
            self._prepare(dtype)
        except Exception as error:
            if not self._is_of_gpu(error):
                raise
            self._move_to_processor(error)

    def _prepare(self, dtype: str) -> None:
        start_backend()
        import keras

        with self._device():
            self.network = _build(self.name, self.description["network"], self.weights, dtype)
        if self.on_processor and keras.backend.backend() == "tensorflow":
            self.network.jit_compile = False  # as where there is no GPU
        # JAX compiles the test for 3 to 12 s: there `bgrem doctor` does it
        if keras.backend.backend() == "tensorflow":
            self.test()

    def test(self, *, compiled: bool = False) -> float:
        """Return the deviation of the self-test, 1 being what is allowed; NaN without an answer.

        Parameters
        ----------
        compiled : bool
            As tiles are computed; else operation by operation, which leaves the compiled network
            as it is and costs a tenth of a second.

        Raises
        ------
        FloatingPointError
            If it is above 1.
        """
        expected = self.description.get("known_answer")
        if expected is None:  # a card of an earlier version
            return np.nan
        with self._device():
            if compiled:
                output = self.network.predict_on_batch(make_probe())
            else:
                output = self.network(make_probe(), training=False)
            output = np.asarray(output, np.float32)
        found = compare_answer(output, expected, self.precision)
        if found > 1:
            raise FloatingPointError(
                f"{self.name}: the self-test of the network is {found:.3g} times as far off as "
                f"{self.precision} allows"
            )
        return found

    def _device(self) -> AbstractContextManager[Any]:
        if not self.on_processor:
            return nullcontext()
        import keras

        return keras.device(PROCESSOR)

    def _is_of_gpu(self, error: Exception) -> bool:
        return not self.on_processor and is_operation_error(error) and find_gpu() is not None

    def _move_to_processor(self, error: Exception) -> None:
        reason = " ".join(str(error).split())[:SHOWN_ERROR].rstrip(". ")
        warnings.warn(
            f"{find_gpu()} failed ({reason}): the processor computes in its place, in float32",
            DeviceWarning, stacklevel=4,
        )  # fmt: skip
        self.on_processor = True
        self._prepare("float32")  # which every processor computes in


class ExportedModel(Model):
    """A model of an exported file; its network needs no Keras and has its weights in the file."""

    network: OnnxNetwork

    @property
    def engine(self) -> str:
        """Name and version of what computes the network."""
        return self.network.engine

    def _device(self) -> AbstractContextManager[Any]:
        return nullcontext()


def list_models() -> dict[str, dict[str, Any]]:
    """Return the models of the package: name -> description (model.json).

    Examples
    --------
    >>> from bgrem import list_models
    >>> sorted(list_models())
    ['gamma', 'hst', 'optical', 'picture', 'streaks']
    >>> list_models()["optical"]["domain"]["fwhm_px"]
    [1.8, 6.0]
    """
    return {
        path.parent.name: read_json(path, "is not a readable model")
        for path in sorted(WEIGHTS_FOLDER.glob(f"*/{DESCRIPTION_FILE}"))
    }


def find_model(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a model: one of the package, or a path; or an exported file.

    Raises
    ------
    ValueError
        If there is none.
    """
    if is_exported(name) and Path(name).is_file():
        return Path(name)
    for folder in (
        WEIGHTS_FOLDER / Path(name).name if Path(name).name == str(name) else None,
        Path(name),
    ):
        if folder is not None and (folder / DESCRIPTION_FILE).is_file():
            return folder
    known = ", ".join(list_models())
    raise ValueError(
        f"{name}: no such model. Give a folder with {DESCRIPTION_FILE}, a file of `bgrem models "
        f"export`, or one of: {known}."
    )


def is_exported(name: str | os.PathLike[str]) -> bool:
    """Return whether this is the name of a file of `bgrem models export`."""
    return Path(name).suffix.lower() == SUFFIX


def read_description(name: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a model's card (model.json) without loading Keras or the weights.

    Raises
    ------
    ValueError
        If there is no such model, or its card is damaged.
    """
    path = find_model(name)
    if is_exported(path):
        return check_description(read_card(path), str(path))
    path /= DESCRIPTION_FILE
    return check_description(read_json(path, "is not a readable model"), str(path))


def require_task(name: str | os.PathLike[str], task: str) -> None:
    """Raise ValueError where a model was trained for another command than `task`."""
    found = read_description(name).get("task", "denoise")
    if found != task:
        fitting = [
            one for one, card in list_models().items() if card.get("task", "denoise") == task
        ]
        raise ValueError(
            f"{name}: is a model of `bgrem {found}`, not of `bgrem {task}`. "
            f"Choose one of: {', '.join(fitting)}."
        )


def load_model(
    name: str | os.PathLike[str] = "optical", *, dtype: str = "float32", runtime: str = "onnx"
) -> Model:
    """Return a model, its weights checked against the SHA-256 of its description, and tested.

    The network is run once on a small fixed input. Where a GPU fails or gives another output than
    the card's `known_answer`, the processor takes its place, with a `DeviceWarning`.

    Parameters
    ----------
    name : str or path
        A name of `list_models`, a folder that training wrote, or a file that
        `bgrem models export` wrote.
    dtype : {"float32", "mixed_bfloat16"}
        What the network computes in; weights stay float32. An exported file is in float32.
    runtime : {"onnx", "openvino"}
        What computes an exported file: ONNX Runtime or OpenVINO.

    Raises
    ------
    ValueError
        If there is no such model, or a file is damaged.
    FloatingPointError
        If the processor gives another output, too.
    """
    folder, description = find_model(name), read_description(name)
    if is_exported(folder):
        network = OnnxNetwork(folder, runtime)
        exported = ExportedModel(
            folder.stem, network, description, description["sha256"], on_processor=True
        )
        exported.test(compiled=True)
        return exported
    weights = read_weights(folder, description)
    model = Model(folder.name, None, description, description["sha256"], weights)
    model.prepare(dtype)
    return model


def read_weights(folder: Path, description: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the weights of a model by their path, checked against the SHA-256 of its card.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, or is another one.
    """
    path = folder / WEIGHTS_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{folder}: not a readable model ({error}).") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != description["sha256"]:
        raise ValueError(
            f"{path}: SHA-256 {sha256[:12]}… is not the description's "
            f"{description['sha256'][:12]}…. Get the file again."
        )
    return checked_weights(read_arrays(io.BytesIO(content), str(path), "a model's weights"), path)


def checked_weights(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Return arrays that are finite floats; ValueError where one is another thing."""
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} is no array of finite floats. Get the file again.")
    return arrays


def _build(name: str, network: dict[str, Any], weights: dict[str, np.ndarray], dtype: str) -> Any:
    """Return the network of a card with its weights; `name` is the model's."""
    import keras

    from bgrem.networks.attention_unet import NETWORKS

    options = dict(network)
    if (kind := options.pop("name")) not in NETWORKS:
        raise ValueError(
            f"{name}: network is {shown(kind)}, expected one of {', '.join(NETWORKS)}."
        )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        made = NETWORKS[kind](**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: no network {kind} has these options ({error}).") from error
    finally:
        keras.config.set_dtype_policy(before)
    set_named_weights(made, weights)
    return made


def named_weights(network: Any) -> dict[str, np.ndarray]:
    """Return all weights by their path, float32."""
    return {weight.path: np.asarray(weight.numpy(), np.float32) for weight in network.weights}


def set_named_weights(network: Any, arrays: dict[str, np.ndarray]) -> None:
    """Put arrays into a network by path; names and shapes must fit one to one."""
    expected = {weight.path: tuple(weight.shape) for weight in network.weights}
    if expected != {name: array.shape for name, array in arrays.items()}:
        raise ValueError("the weights do not fit this network. Use those it was trained with.")
    for weight in network.weights:
        weight.assign(arrays[weight.path].astype(np.float32))


def save_model(folder: Path, weights: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Write weights.npz (float16) and model.json with its SHA-256 and known answer into a folder.

    The answer is that of the rounded weights, in float32 on this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with np.errstate(over="ignore"):  # seen in the next line
        halves: dict[str, Any] = {name: array.astype(np.float16) for name, array in weights.items()}
    if not all(np.isfinite(array).all() for array in halves.values()):
        raise ValueError(f"{folder}: a weight does not fit float16: training has diverged.")
    with write_together():
        with atomic_write(folder / WEIGHTS_FILE, overwrite=True) as path:
            with open(path, "wb") as file:
                np.savez_compressed(file, **halves)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        network = _build(folder.name, description["network"], halves, "float32")
        answer = describe_answer(np.asarray(network(make_probe(), training=False)))
        proofs = {"sha256": sha256, "known_answer": answer}
        text = json.dumps(description | proofs, indent=2, ensure_ascii=False) + "\n"
        with atomic_write(folder / DESCRIPTION_FILE, overwrite=True) as path:
            path.write_text(text, "utf-8")
