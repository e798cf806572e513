"""A command over its inputs: which they are, where outputs go, and the loop over them."""

import argparse
import glob
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import cli
from common.atomic import atomic_write, check_writable, scratch_folder, write_together
from common.command import Call

Files = dict[str, Path]  # option of a product -> file
ALL_HDUS = "all"  # value of --hdu: each image HDU
READ_ONLY_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif")  # of no image result


def expand_inputs(
    inputs: Iterable[str | os.PathLike[str]], leave_out: Callable[[Path], bool] | None = None
) -> list[Path]:
    """Return the files behind names, folders (their image files, sorted) and glob patterns.

    Parameters
    ----------
    inputs, leave_out
        Names; what is True for a file of a folder or of a pattern that is no input.

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
            images = (file for file in path.iterdir()
                      if file.name.lower().endswith(tuple(IMAGE_FORMATS)))  # fmt: skip
            files = sorted(file for file in images if file.name[0] != ".")
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


def input_paths(call: Call) -> list[Path]:
    """Return the inputs of a call; files of folders that the command made are left out."""
    return expand_inputs(call.args.inputs, lambda path: _is_output(call, path))


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
    args = call.args
    if any(getattr(one, "hdu", None) == ALL_HDUS for one in call.settings.values()):
        return _run_on_all_hdus(call)

    def run_one(path: Path) -> None:
        start = time.perf_counter()
        found = read(path)
        files = name(call, path)
        prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
        with write_together():
            outcome = {"input": path, "outputs": files, **work(path, found, files)}
        seconds = {"seconds": round(time.perf_counter() - start, 3)} if timed else {}
        call.report(outcome | seconds)

    if len(paths := input_paths(call)) > 1:
        refuse_several(call, len(paths))
    return _run_each(call, paths, run_one, lambda path: name(call, path))


def _run_each(
    call: Call, paths: Sequence[Path], run_one: Callable[[Path], None],
    name: Callable[[Path], Files],
) -> int:  # fmt: skip
    """Run over the inputs; the error of a single one is the command's."""
    args, command = call.args, call.command
    if len(paths) == 1:
        run_one(paths[0])
        return cli.EXIT_DONE
    _refuse_clashes(paths, name)
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


@dataclass(frozen=True)
class _ChipCall(Call):
    """The call for one HDU of an input: what it reports is kept."""

    outcomes: list[Mapping[str, Any]] = field(default_factory=list)

    def report(self, outcome: Mapping[str, Any]) -> None:
        self.outcomes.append(outcome)


def _run_on_all_hdus(call: Call) -> int:
    """Run a command on each image HDU of its inputs and return the exit code.

    FITS images go into one file with all HDUs. Other files, such as catalogues and pictures, are
    one for each HDU, with its name.
    """

    def name(path: Path) -> Files:
        return {"result": OutputPlace.of(path, call.args).file("")}

    if len(paths := input_paths(call)) > 1:
        refuse_one_name(call, len(paths))
    return _run_each(call, paths, lambda path: _run_chips(call, path), name)


def _run_chips(call: Call, path: Path) -> None:
    """Run a command on each image HDU of one input."""
    from common.fits import chips
    from common.fits.hdus import image_hdus
    from common.io import split_suffix

    if split_suffix(path)[1].lower() == ".xisf":
        raise ValueError(f"{path}: --hdu all is for FITS. Give the number of one image.")
    hdus = chips.read_hdus(path)
    output = call.args.output
    named = output is not None and output.suffix != "" and not output.is_dir()
    target = (output.parent if named else output) or Path(".")
    outcomes: dict[int, Mapping[str, Any]] = {}
    wanted = {one.index: one for one in image_hdus(hdus)}
    given = {one.option: file for one in call.command.products.values()
             if one.help and (file := getattr(call.args, one.option, None))}  # fmt: skip
    parent = target if target.is_dir() else None
    with scratch_folder(parent) as scratch:
        for index in wanted:
            folder = scratch / str(index)
            folder.mkdir(parents=True)
            args = argparse.Namespace(**vars(call.args))
            args.hdu, args.inputs, args.overwrite = str(index), [str(path)], True
            args.output = folder / output.name if named else folder
            for option, file in given.items():
                setattr(args, option, folder / file.name)
            one = _ChipCall(call.command, args, call.version, call.commands, call.run_words)
            one.run()
            outcomes[index] = one.outcomes[0]
        files: dict[str, dict[int, tuple[Path, Path]]] = {}  # option -> HDU -> made, final
        for index, outcome in outcomes.items():
            for option, made in outcome["outputs"].items():
                file = given.get(option) or target / Path(made).name
                files.setdefault(option, {})[index] = Path(made), file
        outputs = _place_chips(call, path, hdus, wanted, files)
    rest = [{"hdu": index} | {key: value for key, value in outcome.items()
                              if key not in ("input", "outputs")}
            for index, outcome in outcomes.items()]  # fmt: skip
    call.report({"input": path, "outputs": outputs, "hdus": rest})


def _place_chips(
    call: Call, path: Path, hdus: Sequence[Any], wanted: Mapping[int, Any],
    files: Mapping[str, Mapping[int, tuple[Path, Path]]],
) -> Files:  # fmt: skip
    """Write the results of all HDUs where they belong; return option -> file."""
    from common.fits import chips
    from common.fits.hdus import label_of

    outputs: Files = {}
    plan: list[tuple[str, Path, Mapping[int, Path]]] = []
    for option, found in files.items():
        made: Mapping[int, Path] = {index: one for index, (one, _) in found.items()}
        final = next(file for _, file in found.values())
        whole = option == "parameters" or all(
            chips.holds_chip(one, wanted[index]) for index, one in made.items()
        )
        if whole:
            outputs[option] = final
            plan.append((option, final, made))
            continue
        for index, one in made.items():
            label = label_of(wanted[index], list(hdus))
            stem, dot, suffix = final.name.partition(".")
            outputs[f"{option}_{label}"] = file = final.with_name(f"{stem}_{label}{dot}{suffix}")
            plan.append(("", file, {index: one}))
    overwrite = call.args.overwrite
    prepare_outputs(path, outputs, make_folder=call.args.output is not None, overwrite=overwrite)
    with write_together():
        for option, file, made in plan:
            content = next(iter(made.values())).read_bytes()
            if option == "parameters":
                record = json.loads(content)
                record["parameters"]["hdu"] = ALL_HDUS
                content = (json.dumps(record, indent=2) + "\n").encode()
            elif option:
                chips.merge_chips(made, len(hdus), file, overwrite=overwrite)
                continue
            with atomic_write(file, overwrite) as temporary:
                temporary.write_bytes(content)
    return outputs


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
        name = f"{call.command.program}: {path}"
        cli.put(f"{name}: left out, {maker} made it. Name it to take it too.", error=True)
    return True
