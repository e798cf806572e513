"""Files that appear complete or not at all, those of one run together; temporary folders.

What is being written lies in a hidden folder beside its target. The folder is locked while its run
lives, so that a later run can remove what a killed one left.
"""

import contextvars
import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.cli import hold_stops, raise_if_stopped

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: no locks, so nothing that a killed run left is removed
    fcntl = None

SCRATCH_PREFIX = ".bgrem"  # first part of the names of temporary folders
LOCK_FILE = "lock"  # name in a temporary folder of the file that its run holds locked
NEW_FOLDER = "new"  # name there of the folder in which files are written
OLD_FOLDER = "old"  # name there of the folder with links to files that are replaced
# errno -> why a file cannot be written, and what to do
WRITE_ERRORS = {
    errno.ENOSPC: "the disk is full. Free space, or choose another folder",
    errno.EDQUOT: "the disk quota is used up. Free space, or choose another folder",
    errno.EFBIG: "the file would be larger than the limit (ulimit -f). Raise the limit",
    errno.EROFS: "the disk is read-only. Choose another folder",
    0: "the disk is full or a limit reached. Free space, or choose another folder",  # unknown
}
SHORT_WRITE = re.compile(r"^\d+ requested and \d+ written$")  # numpy's error, without errno


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


@dataclass(frozen=True)
class _File:
    """A file that is written and not yet in its place."""

    shown: Path  # as the user named it
    temporary: Path
    target: Path
    overwrite: bool
    written: os.stat_result  # of the temporary file

    @property
    def kept(self) -> Path:
        """A link to the file that is replaced."""
        return self.temporary.parents[1] / OLD_FOLDER / self.temporary.name

    def keep_old(self) -> None:
        """Link to the old file, where the file system can."""
        if self.overwrite and self.target.exists():
            with suppress(OSError):
                self.kept.parent.mkdir(exist_ok=True)
                os.link(self.target, self.kept)

    def put(self) -> None:
        """Rename; without `overwrite` fail where a file appeared meanwhile."""
        if self.overwrite:
            os.replace(self.temporary, self.target)
            return
        try:
            os.link(self.temporary, self.target)  # unlike a rename it never replaces a file
        except FileExistsError:
            words = "was made by someone else meanwhile. Allow replacing it with --overwrite."
            raise FileExistsError(f"{self.shown}: {words}") from None
        except OSError:  # file systems without hard links (exFAT, some network folders)
            check_writable(self.target)
            os.replace(self.temporary, self.target)

    def take_back(self, existed: bool) -> bool:
        """Undo `put`, whether it was called or not; return whether the old state is back."""
        with suppress(OSError):
            if self.target.exists() and os.path.samestat(self.written, self.target.stat()):
                if existed:
                    os.replace(self.kept, self.target)
                else:
                    self.target.unlink()
            return True
        return False


class _Together:
    """The files of one run: a temporary folder beside the targets for each folder of them."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.folders: dict[Path, Path] = {}
        self.files: list[_File] = []

    def folder_for(self, target: Path) -> Path:
        """Return the temporary folder on the file system of a target."""
        folder = target.parent
        if folder not in self.folders:
            self.folders[folder] = self.stack.enter_context(scratch_folder(folder))
        return self.folders[folder]

    def put_in_place(self) -> None:
        """Rename all files; where one cannot be, take the others back."""
        for file in self.files:
            file.keep_old()
        existed = [file.target.exists() for file in self.files]
        try:
            for file in self.files:  # nothing else: a kill in here leaves old files beside new ones
                with explain_write_errors(file.shown):
                    file.put()
        except BaseException as error:
            kept = zip(self.files, existed, strict=True)
            new = [str(file.shown) for file, old in kept if not file.take_back(old)]
            if new and isinstance(error, OSError):
                raise OSError(f"{error} Replaced already: {', '.join(new)}.") from error
            raise
        for folder in self.folders:
            with suppress(OSError):  # not all systems can
                _flush(folder)


_together: contextvars.ContextVar[_Together | None] = contextvars.ContextVar(
    "files that are written together", default=None
)


@contextmanager
def write_together() -> Iterator[None]:
    """Let all files of `atomic_write` in the block appear at its end, together, or none of them.

    They are renamed one after the other, with nothing between: only SIGKILL or a loss of power
    in that fraction of a millisecond leaves old files beside new ones. On any exception, also
    where a rename fails, all old files stay or come back. An inner block is a part of the outer.

    Raises
    ------
    OSError
        If a file cannot be put in its place.
    """
    with _joined():
        yield


@contextmanager
def _joined() -> Iterator[_Together]:
    """Give the files that are being written together: those of the block around, or new ones."""
    around = _together.get()
    if around is not None:
        yield around
        return
    with ExitStack() as stack:
        run = _Together(stack)
        token = _together.set(run)
        try:
            yield run
        finally:
            _together.reset(token)
        raise_if_stopped()
        with hold_stops():
            run.put_in_place()


@contextmanager
def atomic_write(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give the path of an empty temporary file that becomes `path` when the block ends well.

    It has the name of `path` and lies in a hidden folder beside it. It is flushed to the disk and
    renamed, in `write_together` at the end of that block; on any exception, also Ctrl-C, it is
    removed and `path` stays as it was. A file in a `scratch_folder` is written at once.

    Parameters
    ----------
    path : path
        The file to be written. A symbolic link is followed.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    OSError
        As `check_writable`; if the file appears while the block runs, or the disk is full.
    """
    path, target = check_writable(path, overwrite), Path(os.path.realpath(path))
    if not _scratches.isdisjoint(target.parents):
        target.write_bytes(b"")
        yield target
        return
    with _joined() as run, explain_write_errors(path):
        temporary = run.folder_for(target) / target.name
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        except FileExistsError:
            raise FileExistsError(f"{path}: is written twice by one run.") from None
        try:
            yield temporary
            _flush(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        run.files.append(_File(path, temporary, target, overwrite, temporary.stat()))


@contextmanager
def explain_write_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let a full disk and its like be one clear line that names `path`."""
    try:
        yield
    except OSError as error:
        number = _write_errno(error)
        if number is None:
            raise
        raise _Explained(path, number) from error


class _Explained(OSError):
    """An error that says why: it stays as it is in a block around."""

    def __init__(self, path: str | os.PathLike[str], number: int) -> None:
        super().__init__(f"{path}: could not be written, {WRITE_ERRORS[number]}.")
        self.errno = number


def _write_errno(error: BaseException | None) -> int | None:
    """Return which of `WRITE_ERRORS` an error is, or the one that it came from."""
    while error is not None and not isinstance(error, _Explained):
        if isinstance(error, OSError):
            if error.errno in WRITE_ERRORS:
                return error.errno
            if SHORT_WRITE.match(str(error)):
                return 0
        error = error.__cause__ or error.__context__
    return None


def _flush(path: Path) -> None:
    """Bring a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- temporary folders ---------------------------------------------------------------------------

_scratches: set[Path] = set()  # those of this process


@contextmanager
def scratch_folder(parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Give an empty temporary folder that is removed at the end, by the next run if need be.

    It lies in `parent`, by default the system's folder for temporary files, and is locked while
    the process lives. The first one that a process makes there removes those of dead processes of
    this machine; those of live ones and of other machines stay.
    """
    parent = Path(os.path.realpath(parent or tempfile.gettempdir()))
    _remove_leftovers_once(parent)
    folder = lock = None
    try:
        with hold_stops():
            folder, lock = _new_scratch(parent)
            _scratches.add(folder)
        yield folder / NEW_FOLDER
    finally:
        if folder is not None:
            with hold_stops():
                _scratches.discard(folder)
                _remove(folder, lock)


def _new_scratch(parent: Path) -> tuple[Path, int | None]:
    """Return a new folder and the descriptor of its lock."""
    while True:
        folder, lock = parent / "-".join([SCRATCH_PREFIX, *_machine(), secrets.token_hex(6)]), None
        folder.mkdir(0o700)
        try:
            if fcntl is not None:
                lock = os.open(folder / LOCK_FILE, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
                _lock(lock)
            (folder / NEW_FOLDER).mkdir()
            if lock is None or (folder / LOCK_FILE).exists():
                return folder, lock
        except (FileNotFoundError, BlockingIOError):  # another process took it for a dead one's
            pass
        except BaseException:
            _remove(folder, lock)
            raise
        if lock is not None:
            os.close(lock)


def _lock(descriptor: int) -> None:
    """Lock an open file; BlockingIOError where another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # else the file system has no locks: nobody can remove a folder there
        if isinstance(error, BlockingIOError):
            raise


def remove_leftovers(parent: Path) -> None:
    """Remove the temporary folders in a folder whose processes, of this machine, are dead."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            prefix, *machine = entry.name.rsplit("-", 3)[:3]
            if prefix == SCRATCH_PREFIX and entry.is_dir(follow_symlinks=False):
                # after a restart the first part is the same, in another container the second
                if any(map(str.__eq__, machine, _machine())):
                    _remove_if_dead(parent / entry.name)


_remove_leftovers_once = functools.cache(remove_leftovers)  # in a process for each folder


def _remove_if_dead(folder: Path) -> None:
    lock = None
    try:
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # the lock is made first and removed last: the folder is empty
        with suppress(OSError):
            folder.rmdir()
    except OSError:  # a live process has it, it is someone else's, or the file system has no locks
        if lock is not None:
            os.close(lock)
    else:
        _remove(folder, lock)


def _remove(folder: Path, lock: int | None) -> None:
    """Remove a folder, the lock last; what cannot be removed stays with its lock."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name != LOCK_FILE:
                os.unlink(entry.path)
        if os.listdir(folder) == [LOCK_FILE]:
            os.unlink(folder / LOCK_FILE)
    if lock is not None:
        os.close(lock)
    with suppress(OSError):
        folder.rmdir()


@functools.cache
def _machine() -> tuple[str, str]:
    """Return short hashes of the host's name, and of what is the same in all its containers."""
    host = platform.node()
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:
        kernel = host
    names = (one.encode("utf-8", "backslashreplace") for one in (host, kernel))
    first, second = (hashlib.sha256(name).hexdigest()[:8] for name in names)
    return first, second
