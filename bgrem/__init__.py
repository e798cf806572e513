"""Learned systems that take background and noise out of survey images."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Catalog": "bgrem.cataloguing.flow",
    "CatalogConfig": "bgrem.config",
    "DenoiseConfig": "bgrem.config",
    "Denoised": "bgrem.denoising.flow",
    "EnhanceConfig": "bgrem.config",
    "Enhanced": "bgrem.enhancing.flow",
    "Model": "bgrem.models",
    "NoiseMap": "bgrem.noise_mapping.flow",
    "NoiseMapConfig": "bgrem.config",
    "SimulateConfig": "bgrem.config",
    "SimulatedField": "bgrem.simulate.optical",
    "TrainConfig": "bgrem.config",
    "ValidateConfig": "bgrem.config",
    "catalog": "bgrem.cataloguing.flow",
    "denoise": "bgrem.denoising.flow",
    "denoised_uncertainty": "bgrem.denoising.uncertainty",
    "enhance": "bgrem.enhancing.flow",
    "list_models": "bgrem.models",
    "live_page": "bgrem.commands.page.notebook",
    "load_calibration": "bgrem.denoising.uncertainty",
    "load_model": "bgrem.models",
    "noisemap": "bgrem.noise_mapping.flow",
    "simulate_field": "bgrem.simulate.optical",
    "train": "bgrem.training.run",
    "validate": "bgrem.validation.flow",
}
__all__ = [
    "Catalog",
    "CatalogConfig",
    "DenoiseConfig",
    "Denoised",
    "EnhanceConfig",
    "Enhanced",
    "Model",
    "NoiseMap",
    "NoiseMapConfig",
    "SimulateConfig",
    "SimulatedField",
    "TrainConfig",
    "ValidateConfig",
    "catalog",
    "denoise",
    "denoised_uncertainty",
    "enhance",
    "list_models",
    "live_page",
    "load_calibration",
    "load_model",
    "noisemap",
    "simulate_field",
    "train",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'bgrem' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
