"""Trained models: a folder with model.json and weights.npz, found by name, checked by SHA-256."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.networks.schedule import CosineSchedule
from common.atomic import atomic_write, write_together

WEIGHTS_FOLDER = Path(__file__).with_name("weights")  # one folder a model
DESCRIPTION_FILE = "model.json"  # name of a model's card
WEIGHTS_FILE = "weights.npz"  # name of a model's weights


@dataclass(frozen=True, eq=False)
class Model:
    """A network that is ready to predict, and what it was made for.

    Attributes
    ----------
    name : str
    network : keras.Model
        (noisy, noise_variance) -> background, or what the system's file says.
    description : dict
        model.json: `task` (the command it is for), `network`, what that command needs
        (`schedule`, `background`, `ratios`, `scaling`), `domain` (what the training covered),
        `training` (what was done).
    sha256 : str
        Of weights.npz.
    """

    name: str
    network: Any
    description: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @property
    def schedule(self) -> CosineSchedule:
        """The diffusion schedule for inference."""
        return CosineSchedule(**self.description.get("schedule", {}))


def list_models() -> dict[str, dict[str, Any]]:
    """Return the models of the package: name -> description (model.json).

    Examples
    --------
    >>> from bgrem import list_models
    >>> sorted(list_models())
    ['gamma', 'hst', 'optical', 'streaks']
    >>> list_models()["optical"]["domain"]["fwhm_px"]
    [1.8, 6.0]
    """
    return {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for path in sorted(WEIGHTS_FOLDER.glob(f"*/{DESCRIPTION_FILE}"))
    }


def find_model(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a model: one of the package, or a path.

    Raises
    ------
    ValueError
        If there is none.
    """
    for folder in (
        WEIGHTS_FOLDER / Path(name).name if Path(name).name == str(name) else None,
        Path(name),
    ):
        if folder is not None and (folder / DESCRIPTION_FILE).is_file():
            return folder
    known = ", ".join(list_models())
    raise ValueError(
        f"{name}: no such model. Give a folder with {DESCRIPTION_FILE}, or one of: {known}."
    )


def read_description(name: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a model's card (model.json) without loading Keras or the weights.

    Raises
    ------
    ValueError
        If there is no such model, or its card is damaged.
    """
    folder = find_model(name)
    try:
        return json.loads((folder / DESCRIPTION_FILE).read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder}: not a readable model ({error}).") from None


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


def load_model(name: str | os.PathLike[str] = "optical", *, dtype: str = "float32") -> Model:
    """Return a model, its weights checked against the SHA-256 of its description.

    Parameters
    ----------
    name : str or path
        A name of `list_models`, or a folder that training wrote.
    dtype : {"float32", "mixed_bfloat16"}
        What the network computes in; weights stay float32.

    Raises
    ------
    ValueError
        If there is no such model, or a file is damaged.
    """
    import keras

    from bgrem.networks.attention_unet import NETWORKS

    folder, description = find_model(name), read_description(name)
    try:
        content = (folder / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise ValueError(f"{folder}: not a readable model ({error}).") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != description["sha256"]:
        raise ValueError(
            f"{folder / WEIGHTS_FILE}: SHA-256 {sha256[:12]}… is not the description's "
            f"{description['sha256'][:12]}…. Get the file again."
        )
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        options = dict(description["network"])
        network = NETWORKS[options.pop("name")](**options)
    finally:
        keras.config.set_dtype_policy(before)
    with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as arrays:
        set_named_weights(network, dict(arrays))
    return Model(folder.name, network, description, sha256)


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
    """Write weights.npz (float16) and model.json with its SHA-256 into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with np.errstate(over="ignore"):  # seen in the next line
        halves = {name: array.astype(np.float16) for name, array in weights.items()}
    if not all(np.isfinite(array).all() for array in halves.values()):
        raise ValueError(f"{folder}: a weight does not fit float16: training has diverged.")
    with write_together():
        with atomic_write(folder / WEIGHTS_FILE, overwrite=True) as path:
            with open(path, "wb") as file:
                np.savez_compressed(file, allow_pickle=False, **halves)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        text = json.dumps(description | {"sha256": sha256}, indent=2, ensure_ascii=False) + "\n"
        with atomic_write(folder / DESCRIPTION_FILE, overwrite=True) as path:
            path.write_text(text, "utf-8")
