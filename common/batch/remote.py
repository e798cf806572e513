"""Inputs and outputs that are not on this machine: s3://, gs://, https://, through fsspec.

An input is fetched into a temporary folder, the work is done there, and the outputs are sent when
all of them are complete. What is printed meanwhile has the remote names and comes at the end.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from common.atomic import explain_write_errors, scratch_folder
from common.batch.outputs import Files
from common.command import Call
from common.progress import output

# a protocol of two letters or more; `Path` makes one slash of two
REMOTE = re.compile(r"^([a-z][a-z0-9+.-]+):/+(?!/)(.+)$")
INSTALL = "python3 -m pip install 'bgrem[remote]'"  # command that a message recommends
# protocols that make a file visible when it is complete; elsewhere it is renamed into place
WHOLE_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
READ_ONLY = ("http", "https")


class RemotePath(PurePosixPath):
    """The name of a file that is not on this machine; its text is a URL."""

    def __str__(self) -> str:
        protocol, _, rest = super().__str__().partition(":/")
        return f"{protocol}://{rest.lstrip('/')}"

    @property
    def protocol(self) -> str:
        """What the URL begins with."""
        return str(self).partition(":")[0]

    def open_system(self) -> tuple[Any, str]:
        """Return the file system and the name in it.

        Raises
        ------
        ValueError
            If fsspec, or the package for this protocol, is not installed.
        """
        try:
            from fsspec.core import url_to_fs

            return url_to_fs(str(self), use_listings_cache=False)  # others write there, too
        except ImportError as error:
            raise ValueError(f"{self}: {_one_line(error)} Run: {INSTALL}") from None

    def exists(self) -> bool:
        """Return whether the file is there."""
        system, name = self.open_system()
        return bool(system.exists(name))

    def is_dir(self) -> bool:
        """Return whether this is a folder of files."""
        system, name = self.open_system()
        return bool(system.isdir(name))

    def is_symlink(self) -> bool:
        """Return False: such systems have none."""
        return False

    def identity(self) -> list[Any]:
        """Return what changes with the content: size, tag and time, where the system has them."""
        system, name = self.open_system()
        facts = system.info(name)
        keys = ("size", "ETag", "etag", "LastModified", "mtime", "created", "updated")
        return [str(self), *(str(facts.get(key)) for key in keys)]


def as_path(name: str | Path) -> Path:
    """Return the path of a file, a `RemotePath` where the name is a URL."""
    found = REMOTE.match(str(name))
    if found is None:
        return Path(name)
    return cast(Path, RemotePath(f"{found[1]}://{found[2]}"))


def is_remote(name: str | Path | None) -> bool:
    """Return whether a name is a URL."""
    return name is not None and REMOTE.match(str(name)) is not None


def expand_remote(path: RemotePath, suffixes: Iterable[str]) -> list[Path]:
    """Return the files behind a URL: itself, the images of a folder, or what a pattern fits."""
    endings = tuple(suffixes)
    if path.name.lower().endswith(endings) and not any(mark in str(path) for mark in "*["):
        return [cast(Path, path)]
    system, name = path.open_system()
    with _one_line_errors(path):
        if any(mark in name for mark in "*["):
            found = system.glob(name)
        else:
            found = [one for one in system.ls(name, detail=False)
                     if str(one).lower().endswith(endings)]  # fmt: skip
    return [as_path(system.unstrip_protocol(one)) for one in sorted(found)]


def uses_remote(call: Call) -> bool:
    """Return whether inputs or outputs of a call are remote."""
    words = [
        *call.args.inputs,
        call.args.output,
        *(getattr(call.args, one) for one in _options(call)),
    ]
    return any(map(is_remote, words))


# --- one input -----------------------------------------------------------------------------------


@dataclass
class _Stage:
    """A temporary folder that stands for remote places while one input is worked on."""

    folder: Path
    remote: dict[Path, Path] = field(default_factory=dict)  # folder here -> remote folder

    def stand_in(self, place: Path, name: str = "") -> Path:
        """Return the path here of a file in a remote folder, or of the folder."""
        for here, there in self.remote.items():
            if there == place:
                return here / name
        here = self.folder / str(len(self.remote))
        self.remote[here] = place
        return here / name

    def remote_of(self, file: Path) -> Path:
        """Return where a file belongs; the same path for one that is not of this folder."""
        there = self.remote.get(file.parent)
        return file if there is None else there / file.name

    def translate(self, text: str) -> str:
        """Return a text with remote names in place of those here."""
        for here, there in self.remote.items():
            text = text.replace(str(here), str(there))
        return text

    @contextmanager
    def outputs_here(self, args: argparse.Namespace, options: Iterable[str]) -> Iterator[None]:
        """Let the remote outputs of a command line be files of this folder meanwhile."""
        before = {}
        for option in ("output", *options):
            given = getattr(args, option, None)
            if given is not None and is_remote(given):
                before[option] = given
                there = as_path(given)
                if there.suffix or option != "output":
                    here = self.stand_in(there.parent, there.name)
                else:
                    here = self.stand_in(there)
                setattr(args, option, here)
        try:
            yield
        finally:
            for option, given in before.items():
                setattr(args, option, given)


def _options(call: Call) -> list[str]:
    return [one.option for one in call.command.products.values() if one.help]


def name_remote(call: Call, name: Callable[[Path], Files]) -> Callable[[Path], Files]:
    """Return what names the outputs of an input, where one of them is remote."""

    def named(path: Path) -> Files:
        stage = _Stage(Path("/"))
        with stage.outputs_here(call.args, _options(call)):
            files = name(Path(path.name) if is_remote(path) else path)
        return {option: stage.remote_of(file) for option, file in files.items()}

    return named


def stage_remote(
    call: Call, run_one: Callable[[Path], None], name: Callable[[Path], Files]
) -> Callable[[Path], None]:
    """Return the work on one input, where it or its outputs are remote.

    Parameters
    ----------
    call : Call
    run_one : callable
        The work on files of this machine.
    name : callable
        Takes the path, returns the outputs, remote or not.
    """

    def run(path: Path) -> None:
        lines: list[tuple[str, bool]] = []
        files = name(path)
        _refuse_existing(files, overwrite=call.args.overwrite)
        with scratch_folder() as folder:
            stage = _Stage(folder)
            try:
                here = _fetch(stage, path)
                with (
                    stage.outputs_here(call.args, _options(call)),
                    output.taken_by(lambda text, error: lines.append((text, error))),
                ):
                    for made in stage.remote:
                        made.mkdir(parents=True, exist_ok=True)
                    run_one(here)
                _send({stage.stand_in(file.parent, file.name): file for file in files.values()
                       if is_remote(file)})  # fmt: skip
            except Exception as error:
                lines = [one for one in lines if one[1]]
                _rename_in(error, stage)
                raise
            finally:
                for text, is_error in lines:
                    output.put(stage.translate(text), error=is_error)

    return run


def _refuse_existing(files: Mapping[str, Path], *, overwrite: bool) -> None:
    """Raise an error where a remote output cannot be written, before any work."""
    for file in files.values():
        if not is_remote(file):
            continue
        if cast(Any, file).protocol in READ_ONLY:
            raise ValueError(f"{file}: nothing can be written there. Choose another -o.")
        with _one_line_errors(file):
            there = not overwrite and file.exists()
        if there:
            raise FileExistsError(
                f"{file}: exists already. Choose another name or allow it with --overwrite."
            )


def _fetch(stage: _Stage, path: Path) -> Path:
    """Return the path here of an input, which is fetched if it is remote."""
    if not is_remote(path):
        return path
    here = stage.stand_in(path.parent, path.name)
    here.parent.mkdir(parents=True)
    system, name = cast(RemotePath, path).open_system()
    with explain_write_errors(here), _one_line_errors(path):
        system.get_file(name, str(here))
    return here


def _send(files: Mapping[Path, Path]) -> None:
    """Send complete files; where one cannot be sent, those that are new there are removed."""
    new: list[RemotePath] = []
    try:
        for here, there in files.items():
            target = cast(RemotePath, there)
            with _one_line_errors(there):
                existed = target.exists()
                _send_whole(here, target)
            if not existed:
                new.append(target)
    except BaseException:
        for one in new:
            with suppress(Exception):
                system, name = one.open_system()
                system.rm_file(name)
        raise


def _send_whole(here: Path, there: RemotePath) -> None:
    """Send a file so that it appears complete or not at all."""
    system, name = there.open_system()
    if there.protocol in WHOLE_OBJECTS:
        system.put_file(str(here), name)
        return
    system.makedirs(str(PurePosixPath(name).parent), exist_ok=True)
    temporary = f"{name}.part"
    try:
        system.put_file(str(here), temporary)
        system.mv(temporary, name)
    except BaseException:
        with suppress(Exception):
            system.rm_file(temporary)
        raise


@contextmanager
def _one_line_errors(path: Any) -> Iterator[None]:
    """Let the errors of clients, of which each has its own kinds, be one line with the name."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: does not exist. Check the address.") from None
    except PermissionError as error:
        raise PermissionError(f"{path}: access is denied ({_one_line(error)})") from None
    except Exception as error:
        raise OSError(f"{path}: {type(error).__name__}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."


def _rename_in(error: Exception, stage: _Stage) -> None:
    """Put the remote names into the text of an error."""
    error.args = tuple(stage.translate(one) if isinstance(one, str) else one for one in error.args)
    for name in ("filename", "filename2"):
        if isinstance(found := getattr(error, name, None), str):
            setattr(error, name, stage.translate(found))
