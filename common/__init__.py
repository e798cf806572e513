"""Files and stretches shared by `bgrem` and `bgoptimizer`; imports neither TensorFlow nor Keras."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "AstroImage": "common.image",
    "read_image": "common.io",
    "write_image": "common.io",
    "MtfStretch": "common.stretch",
}
__all__ = ["AstroImage", "MtfStretch", "read_image", "write_image"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'common' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
