"""What the training data of all tasks share: the record of a task, batches, random tiles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from bgrem.config import TrainConfig

Report = Callable[[str], None]


class Savable(Protocol):
    """A field that knows how to be a file."""

    def save(self, path: Path) -> None:
        """Write it."""

    @classmethod
    def load(cls, path: Path) -> Any:
        """Read it."""


class Batches(keras.utils.PyDataset):
    """Batches, each drawn from (seed, epoch, index): what `__getitem__` of a subclass gives.

    Parameters
    ----------
    fields : list
        Of training fields.
    tile, batch_size, steps : int
        Side in pixels; tiles in a batch; batches in an epoch.
    seed : int
    vary : bool
        Turn and mirror tiles, and what else the subclass varies. Off: fields as they are.
    """

    def __init__(
        self,
        fields: list[Any],
        *,
        tile: int,
        batch_size: int,
        steps: int,
        seed: int,
        vary: bool = True,
    ) -> None:
        super().__init__()
        self.fields, self.tile, self.batch_size, self.steps = fields, tile, batch_size, steps
        self.seed, self.vary = seed, vary
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.steps

    def generator(self, index: int) -> np.random.Generator:
        """Return the generator that draws a batch of this epoch."""
        return np.random.default_rng([self.seed, self.epoch, index])

    def cut(self, rng: np.random.Generator, *planes: np.ndarray) -> list[np.ndarray]:
        """Return the same random tile of some planes of one shape, turned and mirrored."""
        rows, columns = planes[0].shape
        if min(rows, columns) < self.tile:
            raise ValueError(
                f"a training field has a side of {min(rows, columns)} px, tile is {self.tile}."
            )
        row, column = rng.integers(rows - self.tile + 1), rng.integers(columns - self.tile + 1)
        area = np.s_[row : row + self.tile, column : column + self.tile]
        turns, mirror = int(rng.integers(4)) * self.vary, rng.uniform() < 0.5 and self.vary
        parts = [np.rot90(plane[area], turns) for plane in planes]
        return [part[:, ::-1] if mirror else part for part in parts]


@dataclass(frozen=True)
class Task:
    """How the fields of a task are made, what batches they give, what inference needs to know.

    Attributes
    ----------
    field : type
        Of the training fields, with `save` and `load`.
    simulate : callable
        (config, seed, shape (H, W)) -> field.
    measure : callable
        (config, path) -> field, from a file of the user.
    batches : type
        Of the `Batches`.
    options : callable
        config -> further arguments of the batches.
    describe : callable
        config -> entries of model.json that inference reads.
    """

    field: type[Savable]
    simulate: Callable[[TrainConfig, int, tuple[int, int]], Savable]
    measure: Callable[[TrainConfig, Path], Savable]
    batches: Callable[..., Batches]
    options: Callable[[TrainConfig], Mapping[str, Any]]
    describe: Callable[[TrainConfig], dict[str, Any]]
