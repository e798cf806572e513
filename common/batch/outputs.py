"""Where the outputs of an input go."""

import argparse
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.atomic import check_writable
from common.command import Call

Files = dict[str, Path]  # option of a product -> file
READ_ONLY_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif")  # of no image result


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
) -> tuple[Path, ...]:
    """See that all outputs of one input can be written, before any work.

    Returns the folders that it has made, the innermost first.

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
    made = make_folders(folder) if make_folder else ()
    taken = {source.resolve(): "the input"}
    for what, file in files.items():
        if file.resolve() in taken:
            other = taken[file.resolve()]
            raise ValueError(f"{file}: would replace {other}. Choose another output.")
        taken[file.resolve()] = f"the file of {what.replace('_', ' ')}"
        check_writable(file, overwrite)
    return made


def make_folders(folder: Path) -> tuple[Path, ...]:
    """Make a folder for outputs if it is missing; return what was made, the innermost first."""
    made = tuple(one for one in (folder, *folder.parents) if not one.exists())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if folder.exists():
            return ()  # no folder: what is written there says so
        raise ValueError(
            f"{folder}: cannot be made ({error.strerror}). Choose another -o."
        ) from None
    return made


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders that nothing came into, the innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


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
