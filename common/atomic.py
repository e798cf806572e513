"""Files that appear complete or not at all: written beside the target, then renamed onto it."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return `path` if a file can be written there; call it before work that takes long.

    Parameters
    ----------
    path : path
        The file to be written.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    FileExistsError, IsADirectoryError, FileNotFoundError, NotADirectoryError, PermissionError
        If it cannot; the message says how to fix it.
    """
    path = Path(path)
    folder = path.parent
    if not folder.exists():
        raise FileNotFoundError(f"{path}: the folder {folder} does not exist. Create it first.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{path}: {folder} is not a folder. Choose another output.")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected a file name. Add the name.")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path}: exists already. Choose another name or allow it with --overwrite."
        )
    target = Path(os.path.realpath(path)).parent
    if not os.access(target, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: the folder {target} is not writable. Choose another one.")
    return path


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give the path of an empty temporary file that becomes `path` when the block ends well.

    The temporary file lies in the folder of `path`, hidden, and has its suffix. It is flushed to
    the disk and renamed; on any exception (KeyboardInterrupt and SystemExit too) it is removed
    and `path` stays as it was.

    Parameters
    ----------
    path : path
        The file to be written. A symbolic link is followed.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    OSError
        As `check_writable`; FileExistsError also if the file appears while the block runs.
    """
    check_writable(path, overwrite)
    target = Path(os.path.realpath(path))
    stem, dot, suffix = target.name.partition(".")
    # 200 bytes leave room for the token within the 255 of common file systems.
    temporary = target.with_name(f".{stem[:150]}-{secrets.token_hex(6)}{dot}{suffix[-40:]}")
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        _flush(temporary)
        _put(temporary, target, overwrite)
        _flush(target.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _put(temporary: Path, target: Path, overwrite: bool) -> None:
    """Rename; without `overwrite` fail where a file appeared meanwhile."""
    if overwrite:
        os.replace(temporary, target)
        return
    try:
        os.link(temporary, target)  # unlike a rename it never replaces a file
    except FileExistsError:
        raise FileExistsError(
            f"{target}: was made by someone else meanwhile. Allow replacing it with --overwrite."
        ) from None
    except OSError:  # file systems without hard links (exFAT, some network folders)
        check_writable(target, overwrite)
        os.replace(temporary, target)


def _flush(path: Path) -> None:
    """Bring a file to the disk; a folder only where the system can."""
    folder = path.is_dir()
    with suppress(OSError) if folder else nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
