"""Whether this installation is whole and computes right: a row of `CHECKS` for each part of it."""

import math
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from bgrem import __version__
from common import cli
from common.command import Call
from common.progress import events

DISTRIBUTION = "bgrem"  # name of the package for pip
OPTIONAL_PACKAGES = ("jax", "astroscrappy")  # named where they are there
REINSTALL = "python -m pip install --force-reinstall"  # command that messages recommend
GIGABYTE = 1e9  # bytes
# GB; two tiles of 576 x 576 px with TensorFlow itself take 2.85 (docs/results/speed.md)
MIN_MEMORY_GB = 3.0
MIN_TEMPORARY_GB = 1.0  # GB; images and maps of a SExtractor run over 60 megapixels
TITLE_WIDTH = 12  # characters of the first column
SHOWN_SHA256 = 12  # characters
NEEDED_LETTERS = "σ γ × – …"  # that messages and help texts contain


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    lines : list of str
        To read.
    values : dict
        The same for ``--json``.
    problems : list of str
        One line each: what, and how to fix it.
    """

    lines: list[str]
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def run(call: Call) -> int:
    """Print what all checks found; return 1 where there is a problem."""
    found: dict[str, Finding] = {}
    for name, check in CHECKS.items():
        with cli.silenced_stderr():  # TensorFlow announces itself, whatever it is told
            found[name] = examine(name, check)
        if not (call.args.quiet or call.args.json):
            for number, line in enumerate(found[name].lines):
                _show(f"{'' if number else name:{TITLE_WIDTH}}{line}")
    problems = [line for one in found.values() for line in one.problems]
    if call.args.json:
        values = {name: one.values for name, one in found.items()}
        events.emit("result", {"healthy": not problems, "problems": problems} | values)
    else:
        for line in problems:
            _show(f"problem: {line}")
        if not (problems or call.args.quiet):
            _show("all is well")
    return cli.EXIT_SOME_FAILED if problems else cli.EXIT_DONE


def examine(name: str, check: Callable[[], Finding]) -> Finding:
    """Return what a check found; an error of it is a problem, too."""
    try:
        return check()
    except Exception as error:  # a broken library raises anything
        text = cli.describe_error(error)[1].rstrip(".")
        advice = f"{REINSTALL} tensorflow keras"
        return Finding([f"failed: {text}"], {}, [f"{name}: {text}. Install again: {advice}"])


def _show(line: str) -> None:
    """Print a line on terminals of any encoding."""
    encoding = sys.stdout.encoding or "ascii"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def check_software() -> Finding:
    """Return versions, and what is older than setup.cfg demands."""
    from packaging.requirements import Requirement

    versions, problems = {"bgrem": __version__}, []
    try:
        needed = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
        installed = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        needed, installed = [], ""
        problems.append("bgrem: is not installed, but run from its source: python -m pip install .")
    if installed not in ("", __version__):
        problems.append(
            f"bgrem: files of {__version__}, metadata of {installed}: {REINSTALL} --no-deps bgrem"
        )
    for one in needed:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        version = versions[one.name] = _version_of(one.name) or "missing"
        if version == "missing" or not one.specifier.contains(version, prereleases=True):
            problems.append(
                f"{one.name}: {version}, but bgrem needs {one.specifier}: "
                f"python -m pip install '{one.name}{one.specifier}'"
            )
    versions |= {name: found for name in OPTIONAL_PACKAGES if (found := _version_of(name))}
    machine = {
        "python": platform.python_version(), "executable": sys.executable,
        "system": platform.platform(), "machine": platform.machine(),
        "processors": os.cpu_count(),
    }  # fmt: skip
    lines = [
        f"Python {machine['python']} ({sys.executable})",
        f"{machine['system']}, {machine['processors']} processors",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    return Finding(lines, {"versions": versions} | machine, problems)


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_device() -> Finding:
    """Return what a network would run on, in which precision and why."""
    from bgrem.inference.device import explain_precision, name_device
    from bgrem.networks.gpu import describe_keras, find_gpu, list_devices

    used, (precision, reason) = name_device(find_gpu()), explain_precision()
    engine, devices = describe_keras(), list_devices()
    values = {
        "engine": engine, "devices": devices, "used": used, "precision": precision,
        "reason": reason,
    }  # fmt: skip
    lines = [
        engine,
        f"sees {', '.join(devices)}",
        f"networks run on {used} in {precision}: {reason}",
    ]
    if find_gpu() is None and Path("/dev/nvidia0").exists():
        lines.append(
            "there is an NVIDIA GPU that is not used; with its driver it is after: "
            "python -m pip install 'tensorflow[and-cuda]'"
        )
    return Finding(lines, values)


def check_runtimes() -> Finding:
    """Return which values of ``--runtime`` this installation has; only Keras must be there."""
    from bgrem.networks.onnx_network import RUNTIMES

    libraries = {"keras": "keras"} | {name: library for name, (library, _) in RUNTIMES.items()}
    versions = {name: _version_of(library) for name, library in libraries.items()}
    lines = []
    for name, version in versions.items():
        found = f"{libraries[name]} {version}"
        if version is None:
            found = f"not installed: python -m pip install 'bgrem[{name}]'"
        elif name != "keras" and _version_of("onnx") is None:
            found += ", for exported files alone: the package onnx is missing"
        lines.append(f"--runtime {name}: {found}")
    return Finding(lines, versions)


def check_memory() -> Finding:
    """Return the memory of the machine, or what a container may use of it."""
    total, free = read_memory()
    if total is None or free is None:
        return Finding(["unknown"], {"total_gb": None, "free_gb": None})
    problems = []
    if free < MIN_MEMORY_GB:
        problems.append(
            f"memory: {free:.1f} GB are free, `bgrem denoise` takes {MIN_MEMORY_GB:g}: close other "
            "programs, or use --tile 256 --batch-size 1"
        )
    values = {"total_gb": round(total, 2), "free_gb": round(free, 2)}
    return Finding([f"{total:.1f} GB, {free:.1f} GB free"], values, problems)


def read_memory(root: Path = Path("/")) -> tuple[float | None, float | None]:
    """Return total and free memory in GB, None where the system does not tell (not Linux)."""
    try:
        rows = (line.split() for line in (root / "proc/meminfo").read_text("ascii").splitlines())
        sizes = {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) > 1}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError):
        return None, None
    try:  # of a container
        limit, used = (
            int((root / "sys/fs/cgroup" / name).read_text("ascii"))
            for name in ("memory.max", "memory.current")
        )
        total, free = min(total, limit), min(free, limit - used)
    except (OSError, ValueError):  # there is none, or it is "max"
        pass
    return total / GIGABYTE, free / GIGABYTE


def check_models() -> Finding:
    """Load and test each model of the package, as tiles are computed."""
    from bgrem.inference.device import automatic_precision
    from bgrem.models import list_models
    from bgrem.networks.gpu import DeviceWarning

    dtype = "mixed_bfloat16" if automatic_precision() == "bfloat16" else "float32"
    lines, values, problems = [], {}, []
    for name in list_models():
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", DeviceWarning)
            line, values[name], problem = _test_model(name, dtype)
        lines.append(line)
        problems += [problem] if problem else []
        problems += [
            f"model {name}: {one.message}. Update the driver, or hide the GPU with "
            "CUDA_VISIBLE_DEVICES=-1"
            for one in raised
            if one.category is DeviceWarning
        ]
    if not values:
        problems.append(f"models: the package has none: {REINSTALL} --no-deps bgrem")
    return Finding(lines, values, problems)


def _test_model(name: str, dtype: str) -> tuple[str, dict[str, Any], str]:
    """Return line, values and problem ("": none) of a model."""
    from bgrem.models import load_model

    try:
        model = load_model(name, dtype=dtype)
        deviation = model.test(compiled=True)
        if math.isnan(deviation):
            raise ValueError("the card has no known_answer, so that it cannot be tested")
    except Exception as error:  # a broken device or library raises anything
        text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        values = {"self_test": "failed", "error": text}
        advice = "Install bgrem, tensorflow and keras anew, or update the driver of the device"
        return f"{name}: failed", values, f"model {name}: {text}. {advice}"
    line = (
        f"{name}: SHA-256 {model.sha256[:SHOWN_SHA256]}… is right, self-test passed "
        f"(deviation {deviation:.2f} of what {model.precision} allows)"
    )
    passed = {"sha256": model.sha256, "self_test": "passed", "deviation": deviation}
    return line, passed, ""


def check_programs() -> Finding:
    """Return where SExtractor is; nothing but one engine of the catalogue needs it."""
    from bgrem.frame.sextractor_run import INSTALL_SEXTRACTOR, find_sextractor

    found = find_sextractor()
    line = found or f"none; `bgrem catalog --engine sextractor` needs it: {INSTALL_SEXTRACTOR}"
    return Finding([f"SExtractor: {line}"], {"sextractor": found})


def check_folders() -> Finding:
    """Return whether temporary files can be written."""
    try:
        folder = tempfile.gettempdir()
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
        free = shutil.disk_usage(folder).free / GIGABYTE
    except OSError as error:
        text = (
            f"temporary files: cannot be written ({error}). Set TMPDIR to a folder where they can"
        )
        return Finding(["temporary files: cannot be written"], {"writable": False}, [text])
    values = {"temporary": folder, "writable": True, "free_gb": round(free, 2)}
    problems = []
    if free < MIN_TEMPORARY_GB:
        problems.append(
            f"{folder}: {free:.2f} GB are free. Free {MIN_TEMPORARY_GB:g} GB, or set TMPDIR to "
            "another folder"
        )
    return Finding([f"{folder}: writable, {free:.1f} GB free"], values, problems)


def check_terminal() -> Finding:
    """Return whether the output can hold all letters of the messages."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        NEEDED_LETTERS.encode(encoding)
        problems = []
    except UnicodeEncodeError:
        problems = [
            f"terminal: {encoding} lacks letters of the messages. Set PYTHONIOENCODING=utf-8"
        ]
    return Finding([f"output is {encoding}"], {"encoding": encoding}, problems)


CHECKS: dict[str, Callable[[], Finding]] = {
    "software": check_software,
    "device": check_device,
    "runtimes": check_runtimes,
    "memory": check_memory,
    "models": check_models,
    "programs": check_programs,
    "folders": check_folders,
    "terminal": check_terminal,
}
