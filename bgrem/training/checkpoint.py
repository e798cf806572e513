"""Where a training is: its state, and the checkpoint from which it goes on exactly."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bgrem import models
from bgrem.training.history import HISTORY_COLUMNS
from common.atomic import atomic_write
from common.checked.archives import read_arrays
from common.checked.json_files import entry, parse_json, refuse_unknown

if TYPE_CHECKING:
    import keras

CHECKPOINT_FILE = "checkpoint.npz"  # in the run folder
MAX_EPOCHS = 10**9  # epochs that a state may count


@dataclass
class TrainingState:
    """What a checkpoint holds beside the arrays."""

    epoch: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def add(self, row: dict[str, float]) -> None:
        """Add a row of the history; `best_epoch` is its epoch if no validation loss is lower."""
        self.epoch = int(row["epoch"])
        self.history.append(row)
        if row["validation_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = row["validation_loss"], self.epoch


def load_checkpoint(path: Path) -> tuple[TrainingState, dict[str, np.ndarray], list[np.ndarray]]:
    """Return the state, the weights by their path, and the variables of the optimiser.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or is damaged.
    """
    arrays = read_arrays(path, str(path), "a checkpoint")
    text = arrays.pop("state", None)
    if text is None or text.shape != () or text.dtype.kind != "U":
        raise ValueError(f"{path}: has no state. Remove it to start the training anew.")
    state = _state(parse_json(str(text), f"{path}: its state is not JSON", constants=True), path)
    weights = {n.removeprefix("weight:"): a for n, a in arrays.items() if n.startswith("weight:")}
    kept = [arrays.get(f"optimizer:{n}") for n in range(len(arrays) - len(weights))]
    optimizer = [one for one in kept if one is not None and one.dtype.kind in "fiu"]
    if len(optimizer) + len(weights) < len(arrays):
        raise ValueError(f"{path}: holds {', '.join(arrays)[:200]}, expected weights, optimizer:n.")
    return state, models.checked_weights(weights, path), optimizer


def _state(values: Any, path: Path) -> TrainingState:
    """Return the state of its JSON."""
    where = f"{path}: state"
    history = entry(values, "history", list, where)
    for number, row in enumerate(history):
        place = f"{where}: history[{number}]"
        for name in HISTORY_COLUMNS:
            entry(row, name, float, place)
        refuse_unknown(row, HISTORY_COLUMNS, place)
    known = [one.name for one in fields(TrainingState)]
    refuse_unknown(values, known, where)
    return TrainingState(
        epoch=entry(values, "epoch", int, where, least=0, most=MAX_EPOCHS),
        best_loss=entry(values, "best_loss", float, where),
        best_epoch=entry(values, "best_epoch", int, where, least=0, most=MAX_EPOCHS),
        history=history,
    )


def read_checkpoint(folder: Path, network: "keras.Model") -> TrainingState | None:
    """Set weights and optimiser of a network and return the state; None without a checkpoint."""
    optimizer = network.optimizer
    optimizer.build(network.trainable_variables)
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    state, weights, kept = load_checkpoint(path)
    models.set_named_weights(network, weights)
    if [one.shape for one in kept] != [tuple(one.shape) for one in optimizer.variables]:
        raise ValueError(f"{path}: is of another optimiser. Remove it to start the training anew.")
    for array, variable in zip(kept, optimizer.variables, strict=True):
        variable.assign(array)
    return state


def write_checkpoint(folder: Path, network: "keras.Model", state: TrainingState) -> None:
    """Write weights, optimiser and state, whole or not at all."""
    arrays: dict[str, Any] = {f"weight:{n}": a for n, a in models.named_weights(network).items()}
    for number, variable in enumerate(network.optimizer.variables):
        arrays[f"optimizer:{number}"] = variable.numpy()
    with atomic_write(folder / CHECKPOINT_FILE, overwrite=True) as path:
        with open(path, "wb") as file:
            arrays["state"] = np.array(json.dumps(asdict(state)))
            np.savez(file, **arrays)
