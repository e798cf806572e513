"""Where a training is: its state, and the checkpoint from which it goes on exactly."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bgrem import models
from common.atomic import atomic_write

CHECKPOINT_FILE = "checkpoint.npz"  # in the run folder


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


def read_checkpoint(folder: Path, network: keras.Model) -> TrainingState | None:
    """Set weights and optimiser of a network and return the state; None without a checkpoint."""
    optimizer = network.optimizer
    optimizer.build(network.trainable_variables)
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        state = TrainingState(**json.loads(str(file["state"])))
        weights = {n.removeprefix("weight:"): file[n] for n in file.files if "weight:" in n[:7]}
        models.set_named_weights(network, weights)
        for number, variable in enumerate(optimizer.variables):
            variable.assign(file[f"optimizer:{number}"])
    return state


def write_checkpoint(folder: Path, network: keras.Model, state: TrainingState) -> None:
    """Write weights, optimiser and state, whole or not at all."""
    arrays: dict[str, Any] = {f"weight:{n}": a for n, a in models.named_weights(network).items()}
    for number, variable in enumerate(network.optimizer.variables):
        arrays[f"optimizer:{number}"] = variable.numpy()
    with atomic_write(folder / CHECKPOINT_FILE, overwrite=True) as path:
        with open(path, "wb") as file:
            arrays["state"] = np.array(json.dumps(asdict(state)))
            np.savez(file, **arrays)
