"""Many files with one command: one file is one unit, and a failure does not stop the rest."""

import glob
import os
from collections.abc import Callable, Iterable
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


def expand_inputs(inputs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the files behind names, folders (their image files, sorted) and glob patterns.

    Raises
    ------
    ValueError
        If a folder or a pattern gives no file. A plain name may be missing: its unit fails.
    """
    from common.io import FORMATS

    found: list[Path] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = sorted(
                file
                for file in path.iterdir()
                if file.name.lower().endswith(tuple(FORMATS)) and file.name[0] != "."
            )
        elif not path.exists() and any(mark in str(name) for mark in "*?["):
            files = sorted(Path(match) for match in glob.glob(str(name), recursive=True))
        else:
            files = [path]
        if not files:
            raise ValueError(f"{name}: no image file there. Check the folder or the pattern.")
        found += files
    return list(dict.fromkeys(found))


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
