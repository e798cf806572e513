"""One input after the other; no two may be written to one file."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from common import cli
from common.batch.outputs import Files
from common.command import Call
from common.progress import events


def run_each(
    call: Call, paths: Sequence[Path], run_one: Callable[[Path], None],
    name: Callable[[Path], Files],
) -> int:  # fmt: skip
    """Run over the inputs; the error of a single one is the command's."""
    command, code = call.command, cli.EXIT_DONE
    if len(paths) > 1:
        _refuse_clashes(paths, name)
    events.emit("info", topic="version", tool=command.name, version=call.version,
                schema=events.SCHEMA, files=len(paths))  # fmt: skip
    with call.reporter as reporter:
        for number, path in enumerate(paths):
            try:
                with reporter.part(number / len(paths), (number + 1) / len(paths)):
                    run_one(path)
            except Exception as error:
                if len(paths) == 1:
                    raise
                cli.raise_if_stopped()
                code, (one, message) = cli.EXIT_SOME_FAILED, cli.describe_error(error)
                cli.say_error(command.program, message, one, input=path)
    reporter.status("complete", "Done")
    return code


def _refuse_clashes(paths: Sequence[Path], name: Callable[[Path], Files]) -> None:
    """Raise ValueError where two inputs lead to one file, or one would replace another input."""
    folders: dict[Path, tuple[str, bool]] = {}
    inputs = {_place(path, folders): path for path in paths}
    makers: dict[str, Path] = {}
    for path in paths:
        try:
            files = name(path)
        except (ValueError, OSError):
            continue  # what is wrong with its name is said when it is its turn
        for file in files.values():
            place = _place(file, folders)
            if inputs.get(place, path) != path:
                raise ValueError(
                    f"{path}: its output {file} would replace the input {inputs[place]}. "
                    "Choose another -o."
                )
            if makers.setdefault(place, path) != path:
                raise ValueError(
                    f"{makers[place]} and {path} would both be written to {file}. Run them one by "
                    "one with an -o of their own; --overwrite is for files of earlier runs."
                )


def _place(path: Path, folders: dict[Path, tuple[str, bool]]) -> str:
    """Return where a path leads; in small letters if its folder does not tell them from others.

    `folders` keeps what is known of them.
    """
    folder = path.parent
    if folder not in folders:
        there = os.path.realpath(folder)
        folders[folder] = there, _ignores_case(Path(there))
    there, any_case = folders[folder]
    place = os.path.realpath(path) if path.is_symlink() else os.path.join(there, path.name)
    return place.casefold() if any_case else place


def _ignores_case(folder: Path) -> bool:
    """Return whether the name of a folder, or of the one that it is to be made in, has no case."""
    while not folder.exists():
        folder = folder.parent
    other = folder.parent / folder.name.swapcase()
    return folder.name != other.name and other.exists() and other.samefile(folder)
