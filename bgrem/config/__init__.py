"""Every setting of the learned systems; the only place where a default exists."""

from bgrem.config.catalog import CatalogConfig
from bgrem.config.choices import (
    CONFIG_FOLDER,
    KEEP_CHOICES,
    LEARNING_RATE_SCHEDULES,
    LOSS_NAMES,
    MODEL_HELP,
    PICTURE_MODEL,
    PRECISIONS,
    PRESET_NAMES,
    PROFILES,
    RUNTIME_CHOICES,
    SURVEY_MODEL,
    TASKS,
)
from bgrem.config.denoise import DenoiseConfig
from bgrem.config.reading import InputConfig
from bgrem.config.simulate import SimulateConfig
from bgrem.config.train import TrainConfig
from bgrem.config.validate import ValidateConfig
from bgrem.config.windows import EnhanceConfig, NoiseMapConfig

__all__ = [
    "CONFIG_FOLDER",
    "KEEP_CHOICES",
    "LEARNING_RATE_SCHEDULES",
    "LOSS_NAMES",
    "MODEL_HELP",
    "PICTURE_MODEL",
    "PRECISIONS",
    "PRESET_NAMES",
    "PROFILES",
    "RUNTIME_CHOICES",
    "SURVEY_MODEL",
    "TASKS",
    "CatalogConfig",
    "DenoiseConfig",
    "EnhanceConfig",
    "InputConfig",
    "NoiseMapConfig",
    "SimulateConfig",
    "TrainConfig",
    "ValidateConfig",
]
