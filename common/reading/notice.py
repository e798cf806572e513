"""Lines on what a file leaves open: warnings in Python, one line on stderr of a command."""

import warnings


class FileWarning(UserWarning):
    """What a reader or a writer had to decide about a file; the line names the file."""


def warn_of_file(line: str) -> None:
    """Warn of what a file leaves open, with one line that names it."""
    warnings.warn(line, FileWarning, stacklevel=3)
