"""A command over its inputs: which they are, where outputs go, and the loop over them."""

import argparse
import glob
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import cli
from common.atomic import check_writable, write_together
from common.command import Call

Files = dict[str, Path]  # option of a product -> file
# formats that are never an image result
READ_ONLY_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif")


def expand_inputs(
    inputs: Iterable[str | os.PathLike[str]], leave_out: Callable[[Path], bool] | None = None
) -> list[Path]:
    """Return the files behind names, folders (their image files, sorted) and glob patterns.

    Parameters
    ----------
    inputs : iterable of path
    leave_out : callable, optional
        Takes a file of a folder or of a pattern; True leaves it out. Not asked for plain names.

    Raises
    ------
    ValueError
        If a folder or a pattern gives no file. A plain name may be missing: its unit fails.
    """
    from common.io import IMAGE_FORMATS

    found: list[Path] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = sorted(
                file
                for file in path.iterdir()
                if file.name.lower().endswith(tuple(IMAGE_FORMATS)) and file.name[0] != "."
            )
        elif not path.exists() and any(mark in str(name) for mark in "*?["):
            files = sorted(Path(match) for match in glob.glob(str(name), recursive=True))
        else:
            files = [path]
        if leave_out is not None and files != [path]:
            files = [file for file in files if not leave_out(file)]
        if not files:
            raise ValueError(f"{name}: no image file there. Check the folder or the pattern.")
        found += files
    return list(dict.fromkeys(found))


def is_image_name(path: Path) -> bool:
    """Return whether a path is a file name that an image can be written to (not a folder).

    Raises
    ------
    ValueError
        If it is the name of an image of a kind that is not written.
    """
    from common.io import IMAGE_FORMATS

    if path.suffix.lower() in READ_ONLY_SUFFIXES and not path.is_dir():
        raise ValueError(f"{path}: images are written as FITS or XISF. Name it *.fits or *.xisf.")
    return path.name.lower().endswith(tuple(IMAGE_FORMATS)) and not path.is_dir()


def prepare_outputs(
    source: Path, files: Mapping[str, Path], *, make_folder: bool, overwrite: bool
) -> None:
    """See that all outputs of one input can be written, before any work.

    Parameters
    ----------
    source : path
        The input, which no output may replace.
    files : mapping of path
        What it holds -> where; no two may be one.
    make_folder : bool
        Make the first one's folder if only it is missing.
    overwrite : bool
        Whether existing files may be replaced.

    Raises
    ------
    ValueError, OSError
        If one cannot.
    """
    folder = next(iter(files.values())).parent
    if make_folder and not folder.exists():
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise ValueError(
                f"{folder}: cannot be made ({error.strerror}). Choose another -o."
            ) from None
    taken = {source.resolve(): "the input"}
    for what, file in files.items():
        if file.resolve() in taken:
            other = taken[file.resolve()]
            raise ValueError(f"{file}: would replace {other}. Choose another output.")
        taken[file.resolve()] = f"the file of {what.replace('_', ' ')}"
        check_writable(file, overwrite)


@dataclass(frozen=True)
class OutputPlace:
    """Folder, first part of the name and suffix of the outputs; the result that -o names."""

    folder: Path
    stem: str
    suffix: str
    result: Path | None

    @classmethod
    def of(cls, path: Path, args: argparse.Namespace) -> "OutputPlace":
        """Return the place of the outputs of one input: by -o and -p, else the present folder."""
        from common.io import split_suffix

        if args.output is not None and is_image_name(args.output):
            base, suffix = split_suffix(args.output)
            return cls(base.parent, base.name, suffix, args.output)
        stem, suffix = split_suffix(path)
        prefix = getattr(args, "prefix", "")
        return cls(args.output or Path("."), prefix + stem.name, suffix, None)

    def file(self, ending: str, suffix: str | None = None) -> Path:
        """Return the file whose name ends so."""
        return self.folder / f"{self.stem}_{ending}{self.suffix if suffix is None else suffix}"


def name_products(call: Call, path: Path) -> Files:
    """Return the files of one input: what is always written, the parameters, what was asked for."""
    place, products = OutputPlace.of(path, call.args), call.command.products.values()
    given = {one.option: getattr(call.args, one.option) for one in products if one.help}
    always = {one.option: one.word for one in products if one.word}
    main = next(iter(always))
    files = {option: given.get(option) or place.file(word) for option, word in always.items()}
    files[main] = place.result or files[main]
    files["parameters"] = place.file(f"{always[main]}Params", ".json")
    return files | {option: file for option, file in given.items() if file}


def refuse_one_name(call: Call, number: int) -> None:
    """Raise ValueError where several inputs would go into one file."""
    args = call.args
    if args.output is not None and is_image_name(args.output):
        raise ValueError(f"--output {args.output}: {number} inputs need a folder.")
    products = [one.option for one in call.command.products.values() if one.help]
    for option in (*call.command.single_files, *products):
        if getattr(args, option):
            raise ValueError(f"--{option.replace('_', '-')} names one file, {number} inputs.")


def run_over_files(
    call: Call,
    read: Callable[[Path], Any],
    work: Callable[[Path, Any, Files], Mapping[str, Any]],
    *,
    name: Callable[[Call, Path], Files] = name_products,
    refuse_several: Callable[[Call, int], None] = refuse_one_name,
    timed: bool = True,
) -> int:
    """Run a command over its inputs and return the exit code; each is done or fails on its own.

    Inputs whose files would replace each other are refused before any work. Nothing of an input
    is written before all of its files could be; then all appear together.

    Parameters
    ----------
    call : Call
    read : callable
        Takes the path, returns what `work` needs.
    work : callable
        Takes path, what was read, and files; computes and writes. Returns what ``--json`` says
        beside input, outputs and seconds.
    name : callable
        Takes call and path, returns the files.
    refuse_several : callable
        Takes call and number of inputs, raises ValueError where they would go into one file.
    timed : bool, optional
        Whether the seconds are reported.
    """
    args, command = call.args, call.command

    def run_one(path: Path) -> None:
        start = time.perf_counter()
        found = read(path)
        files = name(call, path)
        prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
        with write_together():
            outcome = {"input": path, "outputs": files, **work(path, found, files)}
        seconds = {"seconds": round(time.perf_counter() - start, 3)} if timed else {}
        call.report(outcome | seconds)

    paths = expand_inputs(args.inputs, lambda path: _is_output(call, path))
    if len(paths) == 1:  # its error is the command's
        run_one(paths[0])
        return cli.EXIT_DONE
    refuse_several(call, len(paths))
    _refuse_clashes(paths, lambda path: name(call, path))
    code = cli.EXIT_DONE
    with cli.Progress(len(paths), command.program, quiet=args.quiet or args.json) as bar:
        for path in paths:
            try:
                run_one(path)
            except Exception as error:
                cli.raise_if_stopped()
                code, message = cli.EXIT_SOME_FAILED, cli.describe_error(error)[1]
                cli.put(f"{command.program}: error: {message}", error=True)
            bar.update()
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


def _is_output(call: Call, path: Path) -> bool:
    """Return whether a file of a folder is an output, with a line on stderr."""
    from common.provenance import tool_of

    maker = tool_of(path)
    if maker not in (call.command.name, *call.command.skips):
        return False
    if not call.args.quiet:
        program = call.command.program
        line = f"{program}: {path}: left out, {maker} made it. Name it to take it too."
        cli.put(line, error=True)
    return True
