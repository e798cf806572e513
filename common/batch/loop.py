"""The loop over inputs; no two may be written to one file."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from common import cli
from common.batch.done import DoneList, is_listed, take_shard
from common.batch.inputs import input_paths
from common.batch.outputs import Files, refuse_one_name
from common.batch.remote import name_remote, stage_remote, uses_remote
from common.batch.watch import LOOK_SECONDS, Watch
from common.batch.worker import concerns_all
from common.batch.workers import run_on_workers, wants_workers
from common.command import Call
from common.progress import events

MANY = 2  # inputs at least, where more may come


def run_over_inputs(
    call: Call,
    run_one: Callable[[Path], None],
    name: Callable[[Path], Files],
    *,
    refuse_several: Callable[[Call, int], None] = refuse_one_name,
    made_with: str = "",
) -> int:
    """Run over the inputs, here or on workers, and return the exit code.

    The error of a single input is the command's.

    Parameters
    ----------
    run_one : callable
        Takes the path, does all and reports.
    name : callable
        Takes the path, returns its output files.
    refuse_several, made_with
        As `common.batch.run.run_over_files` takes them.
    """
    if uses_remote(call):
        name = name_remote(call, name)
        run_one = stage_remote(call, run_one, name)
    if call.keep_work is not None:
        return call.keep_work(run_one)
    done, paths, watch = DoneList.of(call, made_with), [], None
    if call.args.watch:
        watch = Watch(call)
        refuse_several(call, MANY)
    elif len(paths := input_paths(call, remote=True)) > 1:
        refuse_several(call, len(paths))
    if len(paths := take_shard(call, paths)) > 1:
        _refuse_clashes(paths, name)
    elsewhere = wants_workers(call, MANY if watch else len(paths))
    events.emit("info", topic="version", tool=call.command.name, version=call.version,
                schema=events.SCHEMA, files=None if watch else len(paths))  # fmt: skip
    if watch is not None:
        call.reporter.endless = True
    with call.reporter:
        if elsewhere:
            code = run_on_workers(call, paths, name, done, watch)
        elif watch is not None:
            code = _run_watching(call, watch, run_one, name, done)
        else:
            code = _run_here(call, paths, run_one, name, done)
    call.reporter.status("complete", "Done")
    return code


def _run_here(
    call: Call, paths: Sequence[Path], run_one: Callable[[Path], None],
    name: Callable[[Path], Files], done: DoneList | None,
) -> int:  # fmt: skip
    """Run over the inputs one after the other; return the exit code."""
    failed = False
    for number, path in enumerate(paths):
        with call.reporter.part(number / len(paths), (number + 1) / len(paths)):
            if not is_listed(call, path, name, done):
                failed |= not _succeeds(call, path, run_one, name, done, only=len(paths) == 1)
    return cli.EXIT_SOME_FAILED if failed else cli.EXIT_DONE


def _run_watching(
    call: Call, watch: Watch, run_one: Callable[[Path], None], name: Callable[[Path], Files],
    done: DoneList | None,
) -> int:  # fmt: skip
    """Run over inputs as they come, until Ctrl-C; return the exit code."""
    with watch.until_interrupt():
        while True:
            for path in watch.ready():
                if not is_listed(call, path, name, done):
                    watch.note(path, failed=not _succeeds(call, path, run_one, name, done))
            time.sleep(LOOK_SECONDS)
    return cli.EXIT_SOME_FAILED if watch.failed else cli.EXIT_DONE


def _succeeds(
    call: Call, path: Path, run_one: Callable[[Path], None], name: Callable[[Path], Files],
    done: DoneList | None, *, only: bool = False,
) -> bool:  # fmt: skip
    """Run over one input and return whether it is done; raise the error of the only one."""
    try:
        start = time.perf_counter()
        run_one(path)
        if done is not None:
            done.add(path, name(path), time.perf_counter() - start)
    except Exception as error:
        if only or concerns_all(error):
            raise
        cli.raise_if_stopped()
        code, message = cli.describe_error(error)
        cli.say_error(call.command.program, message, code, input=path)
        return False
    return True


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
