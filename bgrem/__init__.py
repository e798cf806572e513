"""Learned systems that take background and noise out of survey images."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bgrem.config import DenoiseConfig, SimulateConfig, TrainConfig
    from bgrem.denoise import Denoised, denoise
    from bgrem.models import Model, list_models, load_model
    from bgrem.simulate.optical import SimulatedField, simulate_field
    from bgrem.training import train

_PLACES = {
    "DenoiseConfig": "config", "SimulateConfig": "config", "TrainConfig": "config",
    "Denoised": "denoise", "denoise": "denoise",
    "Model": "models", "list_models": "models", "load_model": "models",
    "SimulatedField": "simulate.optical", "simulate_field": "simulate.optical",
    "train": "training",
}  # fmt: skip
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562), so that `import bgrem` loads no TensorFlow."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
