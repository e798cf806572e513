"""What a network runs on: pixels are the same again only on the same device and software."""

import os
import platform
from typing import Any

from bgrem.models import Model

MAX_DEVICE_NAME = 56  # characters; with the precision it fits one FITS card


def describe_device(model: Model) -> str:
    """Return the processor or GPU and the precision that the model computes in."""
    precision = model.network.dtype_policy.compute_dtype
    return (
        f"{_gpu_name() or f'CPU {_processor_name()}'}"[:MAX_DEVICE_NAME].rstrip() + f", {precision}"
    )


def describe_engine() -> str:
    """Return the versions of Keras and of what it computes with."""
    import keras

    backend = keras.backend.backend()
    version = getattr(__import__(backend), "__version__", "")
    return f"keras {keras.__version__}, {backend} {version}".strip()


def _gpu_name() -> str | None:
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


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def automatic_precision() -> str:
    """Return "bfloat16" where the processor or GPU computes in it, else "float32"."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            flags = file.read(8192).split()
    except OSError:  # not Linux
        flags = []
    if {"amx_bf16", "avx512_bf16"} & set(flags):
        return "bfloat16"
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            if details.get("compute_capability", (0, 0)) >= (8, 0):
                return "bfloat16"
    return "float32"
