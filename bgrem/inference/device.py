"""What a network runs on: pixels are the same again only on the same device and software."""

import os
import platform

from bgrem.models import Model
from bgrem.networks.gpu import find_gpu, start_backend

MAX_DEVICE_NAME = 56  # characters; with the precision it fits one FITS card
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")  # of /proc/cpuinfo: units that multiply bfloat16
BFLOAT16_CAPABILITY = (8, 0)  # of NVIDIA: first compute capability that multiplies bfloat16


def describe_device(model: Model) -> str:
    """Return the processor or GPU and the precision that the model computes in."""
    gpu = None if model.on_processor else find_gpu()
    return name_device(gpu)[:MAX_DEVICE_NAME].rstrip() + f", {model.precision}"


def name_device(gpu: str | None) -> str:
    """Return the name of the GPU, or without one of the processor."""
    return gpu or f"CPU {_processor_name()}"


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
    return explain_precision()[0]


def explain_precision() -> tuple[str, str]:
    """Return the precision that `--precision auto` takes, and why."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as file:
            flags = file.read(8192).split()
    except OSError:  # not Linux
        flags = []
    for flag in BFLOAT16_FLAGS:
        if flag in flags:
            return "bfloat16", f"the processor has {flag}"
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        start_backend()
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            capability = details.get("compute_capability", (0, 0))
            if capability >= BFLOAT16_CAPABILITY:
                return "bfloat16", f"the GPU has compute capability {capability[0]}.{capability[1]}"
    return "float32", "neither processor nor GPU is known to compute in bfloat16"
