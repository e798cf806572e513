"""Fit a spline surface to the background of one image, and subtract or divide it."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "BackgroundConfig": "bgoptimizer.config",
    "BackgroundModel": "bgoptimizer.model",
    "SplineSurface": "bgoptimizer.original.spline",
    "correct_background": "bgoptimizer.correct",
    "fit_background": "bgoptimizer.fitting",
    "fit_sequence": "bgoptimizer.fitting",
    "live_page": "bgoptimizer.page.notebook",
    "make_scene": "bgoptimizer.scenes",
}
__all__ = [
    "BackgroundConfig",
    "BackgroundModel",
    "SplineSurface",
    "correct_background",
    "fit_background",
    "fit_sequence",
    "live_page",
    "make_scene",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'bgoptimizer' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
