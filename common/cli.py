"""What all commands share: exit codes, error border, common flags, progress, JSON.

Imports neither numpy nor astropy, so that ``--help`` answers at once.
"""

import argparse
import json
import os
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

EXIT_DONE = 0  # exit code
# exit code; inputs of a batch failed, each named; also an error of the program
EXIT_SOME_FAILED = 1
EXIT_BAD_INPUT = 2  # exit code; bad usage or bad input; argparse uses it too
EXIT_NO_DEVICE = 3  # exit code; out of memory, or the device failed
EXIT_INTERRUPTED = 130  # exit code; Ctrl-C or SIGTERM

# Of TensorFlow and JAX, by name: importing them here would cost seconds.
OUT_OF_MEMORY_ERRORS = {"ResourceExhaustedError"}  # of TensorFlow
DEVICE_ERRORS = OUT_OF_MEMORY_ERRORS | {"InternalError", "XlaRuntimeError", "JaxRuntimeError"}
OUT_OF_MEMORY_STATUS = "RESOURCE_EXHAUSTED"  # in the text of other device errors: those of JAX


def run(
    main_function: Callable[[list[str]], int | None],
    argv: Sequence[str] | None = None,
    *,
    tool: str | None = None,
) -> int:
    """Call the command and return its exit code; errors become one line on stderr.

    Parameters
    ----------
    main_function : callable
        Takes the arguments (without the program's name), returns an exit code or None for 0.
    argv : sequence of str, optional
        The arguments; the default is those of the process.
    tool : str, optional
        The name in error messages; the default is the program's name.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    tool = tool or Path(sys.argv[0]).stem
    try:
        with _sigterm_as_interrupt():
            return main_function(arguments) or EXIT_DONE
    except SystemExit as stop:  # argparse: --help and usage errors
        return (
            stop.code
            if isinstance(stop.code, int)
            else EXIT_DONE
            if stop.code is None
            else EXIT_BAD_INPUT
        )
    except KeyboardInterrupt:
        print(f"{tool}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code, text = describe_error(error)
        print(f"{tool}: error: {text}", file=sys.stderr)
        return code


def describe_error(error: Exception) -> tuple[int, str]:
    """Return the exit code and the one line for an exception."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return (
            EXIT_NO_DEVICE,
            f"out of memory ({text or 'no details'}). Use smaller tiles or batches.",
        )
    if _class_names(error) & DEVICE_ERRORS:
        way_out = "CUDA_VISIBLE_DEVICES=-1 before the command takes the processor instead"
        return EXIT_NO_DEVICE, f"the device failed: {text.rstrip('.')}. {way_out}."
    if isinstance(error, FloatingPointError):  # the self-test of a network
        return EXIT_NO_DEVICE, f"the device computes wrong: {text}. `bgrem doctor` shows more."
    if isinstance(error, (ValueError, OSError)):
        return EXIT_BAD_INPUT, text or type(error).__name__
    return EXIT_SOME_FAILED, f"{type(error).__name__}: {text}. --debug shows where."


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the memory of machine or device was too small."""
    names = _class_names(error)
    if isinstance(error, MemoryError) or names & OUT_OF_MEMORY_ERRORS:
        return True
    return bool(names & DEVICE_ERRORS) and OUT_OF_MEMORY_STATUS in str(error)


def _class_names(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that temporary files are removed."""

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, where signals do not arrive
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line on stderr."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: error: {message}. See {self.prog} --help.\n")


def add_common_flags(
    parser: argparse.ArgumentParser, version: str, *, replays: bool = True
) -> None:
    """Add the flags of all commands, and ``--params`` to those that can replay a file."""
    group = parser.add_argument_group("common options")
    group.add_argument("--json", action="store_true", help="write the result as JSON on stdout")
    group.add_argument("--quiet", action="store_true", help="no progress bar, no messages")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    group.add_argument("--overwrite", action="store_true", help="replace existing output files")
    if replays:
        group.add_argument(
            "--params", type=Path, metavar="FILE", help="use the settings of a parameter file"
        )
    group.add_argument("--version", action="version", version=f"%(prog)s {version}")


class Progress:
    """A progress bar on stderr, shown only on a terminal.

    Parameters
    ----------
    total : int, optional
        The number of steps.
    label : str, optional
        What is going on.
    quiet : bool, optional
        No bar: with ``--quiet`` and ``--json``.
    """

    def __init__(self, total: int | None = None, label: str = "", *, quiet: bool = False) -> None:
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label or None, file=sys.stderr, leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, steps: int = 1) -> None:
        """Go on by `steps`."""
        if self._bar is not None:
            self._bar.update(steps)


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drop what is written on stderr meanwhile, by native code too; exceptions pass."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def emit_json(content: Mapping[str, Any]) -> None:
    """Write a result as one line of JSON on stdout; NaN and infinity become null."""
    print(json.dumps(plain(content), allow_nan=False), flush=True)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: lists for arrays, text for paths, null for NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
