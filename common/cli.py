"""What all commands share: exit codes, error border, stops, common flags.

Imports neither numpy nor astropy, so that ``--help`` answers at once.
"""

import _thread
import argparse
import io
import os
import signal
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from common.progress import events
from common.progress.output import drop_unread, put
from common.reading.notice import FileWarning

EXIT_DONE = 0  # exit code
# exit code; inputs of a batch failed, each named; also an error of the program
EXIT_SOME_FAILED = 1
EXIT_BAD_INPUT = 2  # exit code; bad usage or bad input; argparse uses it too
EXIT_NO_DEVICE = 3  # exit code; out of memory, or the device failed
EXIT_INTERRUPTED = 130  # exit code; Ctrl-C
EXIT_SIGNAL = 128  # exit code less the number of the signal that stopped the run
# names of the signals that ask a run to stop; Windows has no SIGHUP
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
STOP_AGAIN_SECONDS = 0.01  # after a signal that came where Python cannot raise: a short wait

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
    with (
        _printable_names(),
        events.printed(arguments),
        _stop_on_signals(until_exit=argv is None) as settle,
    ):
        try:
            try:
                with file_warnings(tool, quiet="--quiet" in arguments):
                    code = main_function(arguments) or EXIT_DONE
            finally:
                settle()
        except SystemExit as stop:  # argparse: --help and usage errors
            code = stop.code if isinstance(stop.code, int) else EXIT_BAD_INPUT if stop.code else 0
        except KeyboardInterrupt:
            code = _say_stopped(tool)
        except Exception as error:
            code = _say_stopped(tool) if _stopped_by else _say_error(tool, error, arguments)
        for stream in (sys.stdout, sys.stderr):
            drop_unread(stream)
        _forget_interrupt()
    return code


def _say_error(tool: str, error: Exception, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    code, text = describe_error(error)
    say_error(tool, text, code)
    return code


def say_error(tool: str, text: str, code: int, **more: Any) -> None:
    """Print an error as one line on stderr; it is an event too, with `more` keys."""
    put(f"{tool}: error: {text}", error=True)
    events.emit("error", message=text, code=code, **more)


@contextmanager
def file_warnings(tool: str, *, quiet: bool) -> Iterator[None]:
    """Print each `FileWarning` once, as one line on stderr; other warnings as Python does."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", FileWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if not issubclass(category, FileWarning):
                usual(message, category, *place)
            elif not quiet and str(message) not in said:
                said.add(str(message))
                warn(tool, str(message), quiet=quiet)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


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


# --- stops ---------------------------------------------------------------------------------------

_stopped_by: signal.Signals | None = None  # number of the signal that asked the run to stop


_held = 0  # how many blocks hold stops back


@contextmanager
def hold_stops() -> Iterator[None]:
    """Let a signal that asks to stop wait for the end of the block; for what takes milliseconds."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if not _held:
        raise_if_stopped()


def raise_if_stopped() -> None:
    """Raise KeyboardInterrupt if a signal asked to stop and a library swallowed its exception."""
    if _stopped_by is not None:
        raise KeyboardInterrupt


def note_stop() -> None:
    """Let `raise_if_stopped` raise from now on, as after Ctrl-C."""
    global _stopped_by
    _stopped_by = signal.SIGINT


def take_interrupt() -> bool:
    """Return whether Ctrl-C asked the run to stop; the run goes on to its own end."""
    global _stopped_by
    if _stopped_by != signal.SIGINT:
        return False
    _stopped_by = None
    return True


@contextmanager
def _stop_on_signals(*, until_exit: bool) -> Iterator[Callable[[], None]]:
    """Turn the signals that ask to stop into KeyboardInterrupt, so that temporary files go.

    Gives a function to call when the run has ended: further signals change nothing then. With
    `until_exit` that holds until the process ends, where libraries that are being closed would
    print tracebacks. Signals that are ignored, as by nohup, stay so. Python cannot raise where it
    calls `__del__` and the like; there the signal comes again a moment later.
    """
    global _stopped_by
    _stopped_by, settled = None, False
    hook = sys.unraisablehook

    def stop(number: int, frame: types.FrameType | None) -> None:
        global _stopped_by
        if not settled:
            _stopped_by = signal.Signals(number)
            if not _held:
                raise KeyboardInterrupt

    def settle() -> None:
        nonlocal settled
        settled = True

    def stop_later(lost: Any) -> None:
        if _stopped_by is None or not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)
            return
        again = threading.Timer(STOP_AGAIN_SECONDS, _stop_again, (_stopped_by,))
        again.daemon = True
        again.start()

    sys.unraisablehook = stop_later
    before: dict[int, Any] = {}
    try:
        for name in STOP_SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    except ValueError:  # not in the main thread, where signals do not arrive
        pass
    try:
        yield settle
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if until_exit else handler)
        _stopped_by = None
        sys.unraisablehook = hook


def _stop_again(number: signal.Signals) -> None:
    """Let a signal arrive once more in the main thread, if the run has not ended yet."""
    if _stopped_by == number:
        _thread.interrupt_main(number)


def _forget_interrupt() -> None:
    """Let `python -m` end with the exit code and not by SIGINT.

    Python notes a KeyboardInterrupt that leaves code compiled from text, as of a dataclass, and
    forgets it only when it runs other such code.
    """
    exec("")  # noqa: S102 - an empty text


def _say_stopped(tool: str) -> int:
    """Say in one line what stopped the run and return the exit code, as shells have it."""
    number = _stopped_by or signal.SIGINT
    by = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    put(f"{tool}: {by}", error=True)
    events.emit("error", message=by, code=EXIT_SIGNAL + number)
    return EXIT_SIGNAL + number


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one line on stderr."""
        text = f"{message}. See {self.prog} --help."
        say_error(self.prog, text, EXIT_BAD_INPUT)
        self.exit(EXIT_BAD_INPUT)


def add_common_flags(
    parser: argparse.ArgumentParser, version: str, *, replays: bool = True
) -> None:
    """Add the flags of all commands, and ``--params`` to those that can replay a file."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--json", action="store_true",
        help="print JSON on stdout, one event a line: progress and results; with --quiet results",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="no progress, no messages")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")
    group.add_argument("--overwrite", action="store_true", help="replace existing output files")
    if replays:
        group.add_argument(
            "--params", type=Path, metavar="FILE", help="use the settings of a parameter file"
        )
        group.add_argument(
            "--shard", metavar="I/N",
            help="every N-th input alone, from the I-th on: for N processes or machines",
        )  # fmt: skip
        group.add_argument(
            "--resume", type=Path, metavar="FILE",
            help="list finished inputs in FILE (JSON lines), skip those that it has already",
        )  # fmt: skip
        group.add_argument(
            "--watch", action="store_true",
            help="go on with files as they appear in the folders, until Ctrl-C",
        )  # fmt: skip
        group.add_argument(
            "--jobs", type=int, metavar="N",
            help="N inputs at once, each in a process of its own (default: 1)",
        )  # fmt: skip
        group.add_argument(
            "--scheduler", metavar="local|ADDRESS",
            help="workers of Dask: of this machine, one for each GPU or core unless --jobs is "
                 "given, or those of the scheduler at tcp://HOST:PORT",
        )  # fmt: skip
    group.add_argument("--version", action="version", version=f"%(prog)s {version}")


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


# --- what is printed -----------------------------------------------------------------------------


def warn(tool: str, text: str, *, quiet: bool, kind: str = "warning") -> None:
    """Print a warning, or a line of kind "info", on stderr; it is an event too."""
    if not quiet:
        put(f"{tool}: {'warning: ' if kind == 'warning' else ''}{text}", error=True)
        events.emit(kind, message=text)


@contextmanager
def _printable_names() -> Iterator[None]:
    """Print what the terminal's encoding lacks with backslashes, in place of an error."""
    streams = [one for one in (sys.stdout, sys.stderr) if isinstance(one, io.TextIOWrapper)]
    before = [one.errors for one in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)
