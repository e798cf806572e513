"""What all commands share: exit codes, error border, flags from config dataclasses, progress.

Imports neither numpy nor astropy, so that ``--help`` answers at once.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

DONE = 0
SOME_FAILED = 1  # some inputs of a batch failed, each named; also an error of the program itself
BAD_INPUT = 2  # bad usage or bad input; argparse uses it too
NO_DEVICE = 3  # out of memory, or the device failed
INTERRUPTED = 130  # Ctrl-C or SIGTERM

# Of TensorFlow and JAX, by name: importing them here would cost seconds.
_DEVICE_ERRORS = {"ResourceExhaustedError", "InternalError", "XlaRuntimeError", "JaxRuntimeError"}

Config = TypeVar("Config")


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
            return main_function(arguments) or DONE
    except SystemExit as stop:  # argparse: --help and usage errors
        return stop.code if isinstance(stop.code, int) else DONE if stop.code is None else BAD_INPUT
    except KeyboardInterrupt:
        print(f"{tool}: interrupted", file=sys.stderr)
        return INTERRUPTED
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
        return NO_DEVICE, f"out of memory ({text or 'no details'}). Use smaller tiles or batches."
    if any(kind.__name__ in _DEVICE_ERRORS for kind in type(error).__mro__):
        way_out = "CUDA_VISIBLE_DEVICES=-1 before the command takes the processor instead"
        return NO_DEVICE, f"the device failed: {text.rstrip('.')}. {way_out}."
    if isinstance(error, (ValueError, OSError)):
        return BAD_INPUT, text or type(error).__name__
    return SOME_FAILED, f"{type(error).__name__}: {text}. --debug shows where."


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
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}. See {self.prog} --help.\n")


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


def add_config_flags(parser: argparse.ArgumentParser, config: type) -> None:
    """Add one flag for each field of a config dataclass.

    A field's `metadata` may have ``help``, ``flags`` (``("-s", "--steps")``; the default is the
    field's name; an empty tuple gives no flag), ``choices`` and ``unit``. Booleans get ``--x`` and
    ``--no-x``, tuples take ``1,2,3``. A flag that is not given leaves no attribute in the parsed
    arguments: `config_from_args` fills in the parameter file's or the dataclass's value.
    """
    for one, kind in _fields(config):
        flags = one.metadata.get("flags", (f"--{one.name.replace('_', '-')}",))
        if not flags:
            continue
        options: dict[str, Any] = {
            "dest": one.name,
            "default": argparse.SUPPRESS,
            "help": _help(one),
        }
        choices = one.metadata.get("choices") or (
            typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else None
        )
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif choices:
            options |= {"choices": list(choices), "type": type(next(iter(choices)))}
        else:
            options |= {"type": _converter(kind), "metavar": _metavar(one, kind)}
        parser.add_argument(*flags, **options)


def config_from_args(
    args: argparse.Namespace, config: type[Config], replayed: Mapping[str, Any] | None = None
) -> Config:
    """Return the config: flags given, else the replayed parameters, else the defaults.

    Parameters
    ----------
    args : argparse.Namespace
        Of a parser with `add_config_flags`.
    config : type
        The dataclass.
    replayed : mapping, optional
        Parameters of ``--params``, as `common.provenance.read_params` gives them.

    Raises
    ------
    ValueError
        If `replayed` has unknown names, a required value is missing, or the config refuses one.
    """
    fields = {one.name: (one, kind) for one, kind in _fields(config)}
    values = dict(replayed or {})
    unknown = [name for name in values if name not in fields]
    if unknown:
        raise ValueError(f"unknown parameters {', '.join(unknown)}. Known are {', '.join(fields)}.")
    for name, value in values.items():
        kind = fields[name][1]
        if value is None or isinstance(value, bool):
            continue
        if typing.get_origin(kind) is tuple or kind is tuple:
            values[name] = tuple(value)
        elif kind in (Path, float):  # JSON has no paths, and writes 1.0 as 1 elsewhere
            values[name] = kind(value)
    values |= {name: getattr(args, name) for name in fields if hasattr(args, name)}
    missing = [
        name
        for name, (one, _) in fields.items()
        if name not in values and not _has_default(one) and one.init
    ]
    if missing:
        raise ValueError(f"missing {', '.join('--' + n.replace('_', '-') for n in missing)}.")
    return config(**values)


def _fields(config: type) -> Iterator[tuple[dataclasses.Field, Any]]:
    """Give each field with its type, `X | None` as X."""
    hints = typing.get_type_hints(config)
    for one in dataclasses.fields(config):
        kind = hints[one.name]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            arguments = [part for part in typing.get_args(kind) if part is not type(None)]
            kind = arguments[0] if len(arguments) == 1 else str
        yield one, kind


def _has_default(one: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return one.default is not missing or one.default_factory is not missing


def _help(one: dataclasses.Field) -> str:
    text = one.metadata.get("help", "")
    unit = one.metadata.get("unit")
    notes = [f"unit: {unit}"] if unit else []
    if not _has_default(one):
        notes.append("required")
    else:
        default = one.default
        if default is dataclasses.MISSING and one.default_factory is not dataclasses.MISSING:
            default = one.default_factory()
        if default is not None:
            shown = ",".join(map(str, default)) if isinstance(default, (tuple, list)) else default
            notes.append(f"default: {shown}")
    text = f"{text} ({'; '.join(notes)})" if notes else text
    return text.strip().replace("%", "%%")


def _converter(kind: Any) -> Callable[[str], Any]:
    if typing.get_origin(kind) is tuple or kind is tuple:
        item = next(iter(typing.get_args(kind)), str)

        def sequence(text: str) -> tuple[Any, ...]:
            return tuple(item(part) for part in text.split(","))

        sequence.__name__ = f"list of {item.__name__}"  # argparse names it in its message
        return sequence
    return kind if callable(kind) else str


def _metavar(one: dataclasses.Field, kind: Any) -> str:
    names = {int: "N", float: "X", Path: "FILE"}
    return names.get(kind, one.name.upper())


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
