"""What the training data of all systems share: batches, cut and turned views, files, a cache."""

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import keras
import numpy as np

from bgrem.config import TrainConfig
from common.atomic import atomic_write

Report = Callable[[str], None]


class Savable(Protocol):
    """A field that knows how to be a file."""

    def save(self, path: Path) -> None:
        """Write it."""

    @classmethod
    def load(cls, path: Path) -> Any:
        """Read it."""


Field = TypeVar("Field", bound=Savable)


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


def find_fields(
    config: TrainConfig,
    folder: Path,
    report: Report,
    *,
    kind: type[Field],
    simulate: Callable[[int, tuple[int, int]], Field],
    measure: Callable[[Path], Field],
) -> tuple[list[Field], list[Field]]:
    """Return fields for training and validation: of own files, else simulated.

    Simulated ones are kept in `folder`/fields. `simulate` takes a seed, a million and more, so that
    training shares none with tests, and the shape; `measure` takes a file.
    """
    if config.files:
        return split_fields([measure(path) for path in find_files(config.files)], config)
    cache = folder / "fields"
    cache.mkdir(exist_ok=True)
    rows, columns = config.field_shape
    total, found = config.fields + config.validation_fields, []
    for number in range(total):
        path = cache / f"{number:04d}.npz"
        if not path.exists():
            field = simulate(1_000_000 * (1 + config.seed) + number, (rows, columns))
            with atomic_write(path) as temporary:
                field.save(temporary)
            report(f"field {number + 1} of {total}")
        found.append(kind.load(path))
    return found[: config.fields], found[config.fields :]


def split_fields(found: list[Any], config: TrainConfig) -> tuple[list[Any], list[Any]]:
    """Return own fields for training and validation; a field is in one of the two, whole."""
    if len(found) < 2:
        raise ValueError("one field only: training needs a second one to validate. Add files.")
    number = min(max(1, round(config.validation_share * len(found))), len(found) - 1)
    order = np.random.default_rng(config.seed).permutation(len(found))
    return [found[i] for i in order[number:]], [found[i] for i in order[:number]]


def find_files(patterns: tuple[str, ...]) -> list[Path]:
    """Return the files that names and patterns stand for."""
    found = [Path(name) for pattern in patterns for name in sorted(glob.glob(pattern))]
    if not found:
        raise ValueError(f"files {', '.join(patterns)}: none found. Check folder and pattern.")
    return found
