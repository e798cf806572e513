"""The Keras backends that a descent runs on."""

import os
import sys
import warnings
from collections.abc import Callable

from common.cli import silenced_stderr


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


def compiler(backend: str) -> Callable[[Callable], Callable]:
    """Return what compiles a function of tensors.

    Raises
    ------
    ValueError
        If a descent does not run on this backend.
    """
    if backend not in COMPILERS:
        raise ValueError(
            f"the fit runs on the Keras backends {tuple(COMPILERS)}, not on {backend}. "
            "Set KERAS_BACKEND to one of them."
        )
    return COMPILERS[backend]


def _compile_tensorflow(function: Callable) -> Callable:
    import tensorflow as tf

    # XLA fuses operations: half the CPU time of the plain graph for the published descent
    return tf.function(function, jit_compile=True)


def _compile_jax(function: Callable) -> Callable:
    import jax

    return jax.jit(function)


# Keras backend -> compiler; another backend needs one function here
COMPILERS = {"tensorflow": _compile_tensorflow, "jax": _compile_jax}
