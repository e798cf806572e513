"""Whether a GPU computes, and which errors are its own: then the processor takes its place."""

import logging
import os
import sys
import warnings
from typing import Any

from common.cli import silenced_stderr

# Names of classes: of TensorFlow all errors of operations (no memory, no cuDNN, no kernel, a lost
# device), of JAX those of its runtime. Our inputs are valid, so that the device is the cause.
OPERATION_ERRORS = {"OpError", "XlaRuntimeError", "JaxRuntimeError"}


class DeviceWarning(UserWarning):
    """The GPU failed, or memory ran out: the computation goes on in another way."""


def start_backend() -> None:
    """Load Keras and what it computes with; their own lines on stderr are dropped."""
    if "keras" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow announces itself, whatever it is told; Keras 3.13 warns of the future of NumPy
    with silenced_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import keras

        if keras.backend.backend() == "tensorflow":
            keras.ops.convert_to_tensor(0.0)  # looks for devices, which it announces too
            # in a notebook it prints hints on its speed; its errors are raised
            logging.getLogger("tensorflow").setLevel(logging.ERROR)


def find_gpu() -> str | None:
    """Return the name of the GPU that Keras computes on, or None."""
    start_backend()
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import tensorflow as tf

        found: list[Any] = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(found[0]) if found else {}
        return f"GPU {details.get('device_name', found[0].name)}" if found else None
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        first = jax.devices()[0]
        return None if first.platform == "cpu" else f"GPU {first.device_kind}"
    return None


def describe_keras() -> str:
    """Return the versions of Keras and of what it computes with."""
    import keras

    backend = keras.backend.backend()
    version = getattr(__import__(backend), "__version__", "")
    return f"keras {keras.__version__}, {backend} {version}".strip()


def list_devices() -> list[str]:
    """Return the names of all devices that Keras could compute on."""
    import keras

    return [str(name) for name in keras.distribution.list_devices()]


def is_operation_error(error: Exception) -> bool:
    """Return whether an operation of TensorFlow or JAX failed, or gave wrong numbers."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, FloatingPointError) or bool(names & OPERATION_ERRORS)
