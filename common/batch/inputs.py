"""Which files a command is to work on."""

import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from common.batch.remote import RemotePath, as_path, expand_remote, is_remote
from common.command import Call


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
        path = as_path(Path(name))
        if isinstance(path, RemotePath):
            files = expand_remote(path, IMAGE_FORMATS)
        elif path.is_dir():
            images = (file for file in path.iterdir()
                      if file.name.lower().endswith(tuple(IMAGE_FORMATS)))  # fmt: skip
            files = sorted(file for file in images if file.name[0] != ".")
        elif not path.exists() and any(mark in str(name) for mark in "*?["):
            files = sorted(Path(match) for match in glob.glob(str(name), recursive=True))
        else:
            files = [path]
        if leave_out is not None and files != [path] and not is_remote(path):
            files = [file for file in files if not leave_out(file)]
        if not files:
            raise ValueError(f"{name}: no image file there. Check the folder or the pattern.")
        found += files
    return list(dict.fromkeys(found))


def input_paths(call: Call, *, remote: bool = False) -> list[Path]:
    """Return the inputs of a call; files of folders that the command made are left out.

    Raises
    ------
    ValueError
        As `expand_inputs`; if one is a URL, unless `remote` files can be taken.
    """
    for name in call.args.inputs:
        if is_remote(name) and not remote:
            raise ValueError(
                f"{name}: files of this machine alone can be taken so. Fetch it first."
            )
    return expand_inputs(call.args.inputs, lambda path: is_output(call, path))


def is_output(call: Call, path: Path, *, say: bool = True) -> bool:
    """Return whether a file of a folder is an output; `say` it in a line on stderr."""
    from common.provenance import tool_of

    maker = tool_of(path)
    if maker not in (call.command.name, *call.command.skips):
        return False
    if say:
        call.warn(f"{path}: left out, {maker} made it. Name it to take it too.", "info")
    return True
