"""Settings of `bgrem train`, and how a complete set is read."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bgrem.config.choices import (
    CONFIG_FOLDER,
    LEARNING_RATE_SCHEDULES,
    LOSS_NAMES,
    PRECISIONS,
    TASKS,
)
from common.checked.json_files import read_json, shown
from common.config import check, from_mapping, option


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a model is trained on, and how. The names of configs/ hold complete sets.

    Parameters
    ----------
    task : str
        The command that the model is for; a row of `bgrem.training.tasks.TASKS`.
    network : str
        A row of `bgrem.networks.attention_unet.NETWORKS`.
    simulation : str
        "any" (the whole optical domain), "wide" (more of it), "picture" (with nebulae,
        whose light stays), "gamma" (counts maps), or an instrument's preset; the tasks enhance
        and noisemap have one simulation each.
    files : tuple of str
        Files or patterns of the user's own fields; then nothing is simulated.
    tile_median : bool
        The published preprocessing: factor of the field, median of the tile.
    domain : dict
        What the card says of the training data.
    """

    task: str = option("denoise", "the command that the model is for", choices=TASKS)
    network: str = option("narrow", "narrow, wide or gamma; exposure; residual")
    softening: float = option(3.0, "asinh compression of the input; 0: linear", unit="noise")
    loss: str = option("l1", "loss of the predicted background", choices=LOSS_NAMES)
    huber_delta: float = option(0.5, "where Huber's loss turns linear", unit="noise")
    start_from: str = option("", "model to fine-tune: a name or a folder")

    simulation: str = option("any", "any, wide, picture, gamma, or the preset of one instrument")
    fields: int = option(96, "simulated fields for training")
    validation_fields: int = option(12, "simulated fields for validation")
    field_shape: tuple[int, ...] = option((768, 768), "rows,columns of a simulated field")
    files: tuple[str, ...] = option((), "own fields: names or patterns of FITS, HDF5, npz files")
    validation_share: float = option(0.2, "share of the own fields kept for validation")
    vary: bool = option(True, "vary simulated fields: flux, density, noise, artefacts")
    tile_median: bool = option(False, "published preprocessing: factor, median of the tile")
    ratios: tuple[float, ...] = option(
        (2.0, 5.0), "least,largest exposure ratio (enhance)", above=1
    )
    smallest_peak: float = option(0.0, "leave out tiles with fainter sources only", unit="noise")

    tile: int = option(128, "side of a training tile", unit="px", least=1, multiple_of=16)
    batch_size: int = option(16, "tiles in a batch", least=1)
    epochs: int = option(50, "largest number of epochs", least=1)
    steps_per_epoch: int = option(200, "batches in an epoch", least=1)
    validation_steps: int = option(8, "batches in a validation", least=1)
    learning_rate: float = option(1e-3, "highest learning rate", above=0)
    schedule: str = option(
        "cosine", "schedule of the learning rate", choices=LEARNING_RATE_SCHEDULES
    )
    warm_up_steps: int = option(300, "steps of the learning rate's rise (schedule cosine)")
    decay: float = option(0.92, "factor of the learning rate per epoch (schedule epoch)")
    weight_decay: float = option(1e-4, "weight decay of AdamW")
    clip_norm: float = option(1.0, "largest norm of all gradients together; 0: no limit")
    average: float = option(0.999, "momentum of the averaged weights; 0: off", least=0, below=1)
    patience: int = option(10, "epochs without a better loss; 0: never stop")
    precision: str = option("mixed_bfloat16", "precision of the network", choices=PRECISIONS)
    seed: int = option(0, "seed of weights, fields and tiles")

    min_signal: float = option(0.0, "signal rate at diffusion time 1, in training")
    inference_min_signal: float = option(0.01, "the same rate in inference")
    max_signal: float = option(0.98, "signal rate at diffusion time 0")
    domain: dict[str, Any] = field(default_factory=dict, metadata={"flags": ()})

    def __post_init__(self) -> None:
        for name in ("field_shape", "files", "ratios"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check(self)

    @classmethod
    def read(cls, source: str | Path) -> "TrainConfig":
        """Return the config of a JSON file, or of a name in `bgrem/configs`.

        Raises
        ------
        ValueError
            If there is none, or it has unknown or bad entries.
        """
        path = CONFIG_FOLDER / f"{source}.json"
        path = path if path.is_file() else Path(source)
        if not path.exists():
            known = ", ".join(sorted(one.stem for one in CONFIG_FOLDER.glob("*.json")))
            raise ValueError(f"{source}: no such config. Give a JSON file or: {known}.")
        values = read_json(path, "is not a config in JSON")
        if not isinstance(values, dict):
            raise ValueError(f"{path}: expected an object with settings, got {shown(values)}.")
        unknown = set(values) - {one.name for one in fields(cls)}
        if unknown:
            raise ValueError(f"{path}: unknown settings {', '.join(sorted(unknown))}.")
        try:
            return from_mapping(cls, values, str(path))
        except ValueError as error:  # a value out of its range names no file
            raise ValueError(f"{path}: {error}" if str(path) not in str(error) else error) from None
