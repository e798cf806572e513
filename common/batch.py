"""Many files with one command: one file is one unit, and a failure does not stop the rest."""

import glob
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class BatchResult:
    """What became of each unit, in the order of the inputs."""

    results: dict[Path, Any] = field(default_factory=dict)
    failures: dict[Path, Exception] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if all went well, else 1."""
        return 1 if self.failures else 0


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


def leave_out_files_of(
    makers: Collection[str], tool: str, *, quiet: bool = False
) -> Callable[[Path], bool]:
    """Return what `expand_inputs` asks so that a folder's outputs do not become inputs.

    Parameters
    ----------
    makers : collection of str
        BGTOOL of what is left out, with a line on stderr each.
    tool : str
        For the lines.
    quiet : bool
        No lines.
    """
    from common.provenance import tool_of

    def leave_out(path: Path) -> bool:
        maker = tool_of(path) if makers else None
        if maker in makers and not quiet:
            print(f"{tool}: {path}: left out, {maker} made it. Name it to take it too.",
                  file=sys.stderr)  # fmt: skip
        return maker in makers

    return leave_out


def run_batch(
    paths: Iterable[str | os.PathLike[str]],
    work: Callable[[Path], Any],
    *,
    skip_if: Callable[[Path], bool] | None = None,
    progress: Callable[[Path, Exception | None], None] | None = None,
) -> BatchResult:
    """Call `work` with each file of `paths` and collect what it returns or raises.

    Parameters
    ----------
    paths : iterable of path
        Files, folders and glob patterns.
    work : callable
        Takes the path of one file.
    skip_if : callable, optional
        Takes the path; True leaves the unit out (as finished by an earlier run).
    progress : callable, optional
        Called after each unit, also a skipped one, with its path and its failure or None.
    """
    batch = BatchResult()
    for path in expand_inputs(paths):
        failure = None
        if skip_if is not None and skip_if(path):
            batch.skipped.append(path)
        else:
            try:
                batch.results[path] = work(path)
            except Exception as error:
                failure = batch.failures[path] = error
        if progress is not None:
            progress(path, failure)
    return batch


# formats that are never an image result
READ_ONLY_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif")


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
    from common.atomic import check_writable

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
