"""Many frames: which inputs are this process's (`--shard`), and which are done (`--resume`)."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.atomic import explain_write_errors
from common.batch.outputs import Files
from common.batch.remote import RemotePath, is_remote
from common.command import Call


def take_shard(call: Call, paths: Sequence[Path]) -> list[Path]:
    """Return the inputs of this process: all, or with ``--shard I/N`` each N-th from the I-th on.

    Raises
    ------
    ValueError
        If it is not two whole numbers, the first from 1 to the second.
    """
    wanted = getattr(call.args, "shard", None)
    if wanted is None:
        return list(paths)
    first, slash, number = wanted.partition("/")
    if not (slash and first.isdecimal() and number.isdecimal() and 1 <= int(first) <= int(number)):
        raise ValueError(f"--shard {wanted}: expected I/N with I from 1 to N, as in --shard 2/8.")
    return list(paths[int(first) - 1 :: int(number)])


@dataclass(frozen=True)
class DoneList:
    """The finished inputs of a file of JSON lines, one for each.

    Attributes
    ----------
    path : path
        Several processes may add to one file.
    call : Call
    made_with : str
        What else the results depend on: the SHA-256 of a model's weights.
    keys : set of str
        Of the units that were finished when the file was read.
    """

    path: Path
    call: Call
    made_with: str = ""
    keys: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, call: Call, made_with: str = "") -> "DoneList | None":
        """Return the list that ``--resume`` names, None without.

        Raises
        ------
        ValueError
            If the file is something else.
        """
        path = getattr(call.args, "resume", None)
        if path is None:
            return None
        found = cls(path, call, made_with)
        lines = path.read_bytes().splitlines() if path.exists() else []
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # a kill may have torn it
                found.keys.add(json.loads(line)["key"])
        if lines and not found.keys:
            raise ValueError(
                f"{path}: is no list of finished inputs. Name another file with --resume."
            )
        return found

    def key(self, source: Path, files: Files) -> str:
        """Return what a unit is known by: input, parameters, program, model and output files."""
        parts: list[Any] = [
            self.call.command.name, self.call.version, self.call.parameters, self.made_with,
            *_identity(source), {option: _absolute(file) for option, file in files.items()},
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()

    def has(self, source: Path, files: Files) -> bool:
        """Return whether a unit is finished and all of its files are there."""
        if not source.exists():
            return False
        there = all(file.exists() for file in files.values())
        return there and self.key(source, files) in self.keys

    def add(self, source: Path, files: Files, seconds: float) -> None:
        """Add a finished unit: one line, on disk when this returns."""
        outputs = {option: str(file) for option, file in files.items()}
        entry = {"key": self.key(source, files), "input": str(source), "outputs": outputs,
                 "seconds": round(seconds, 3)}  # fmt: skip
        with explain_write_errors(self.path), open(self.path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            line = json.dumps(entry).encode() + b"\n"
            file.write(b"\n" * torn + line)
            file.flush()
            os.fsync(file.fileno())


def _identity(source: Path) -> list[Any]:
    """Return what tells an input from others, and from itself after a change."""
    if isinstance(source, RemotePath):
        return source.identity()
    state = source.stat()
    return [os.path.abspath(source), state.st_size, state.st_mtime_ns]


def _absolute(file: Path) -> str:
    return str(file) if is_remote(file) else os.path.abspath(file)


def is_listed(call: Call, path: Path, name: Callable[[Path], Files], done: DoneList | None) -> bool:
    """Return whether an input is finished already, and say so."""
    try:
        if done is None or not done.has(path, name(path)):
            return False
    except (ValueError, OSError):
        return False  # what is wrong with it is said when it is its turn
    call.say(f"{path}: is done already")
    return True
