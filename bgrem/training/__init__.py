"""From simulated or own fields to a model, and the calibration of its uncertainty."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `train` when it is asked for: it loads Keras."""
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bgrem.training.run import train

    return train
