"""The tasks that can be trained: their fields, from simulations or own files, and their batches."""

import glob
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.config import TrainConfig
from bgrem.training import denoise, enhance, noisemap
from bgrem.training.batches import Batches, Report, Task
from common.atomic import atomic_write

FIRST_SEED = 1_000_000  # of simulated fields: training shares none with tests and benchmarks
TASKS: dict[str, Task] = {
    "denoise": denoise.TASK,
    "enhance": enhance.TASK,
    "noisemap": noisemap.TASK,
}


def load_fields(
    config: TrainConfig, folder: Path, report: Report = print
) -> tuple[list[Any], list[Any]]:
    """Return fields for training and validation; a field is in one of the two, whole.

    They are measured on the user's files, else simulated. Simulated ones are kept in
    `folder`/fields.
    """
    task = TASKS[config.task]
    if config.files:
        return split_fields(
            [task.measure(config, path) for path in find_files(config.files)], config
        )
    cache = folder / "fields"
    cache.mkdir(exist_ok=True)
    rows, columns = config.field_shape
    total, found = config.fields + config.validation_fields, []
    for number in range(total):
        path = cache / f"{number:04d}.npz"
        if not path.exists():
            seed = FIRST_SEED * (1 + config.seed) + number
            field = task.simulate(config, seed, (rows, columns))
            with atomic_write(path) as temporary:
                field.save(temporary)
            report(f"field {number + 1} of {total}")
        found.append(task.field.load(path))
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


def make_batches(
    config: TrainConfig, fields: list[Any], seed: int, steps: int, *, vary: bool
) -> Batches:
    """Return `steps` batches of some fields, drawn by `seed`."""
    task = TASKS[config.task]
    return task.batches(
        fields,
        tile=config.tile,
        batch_size=config.batch_size,
        steps=steps,
        seed=seed,
        vary=vary,
        **task.options(config),
    )
