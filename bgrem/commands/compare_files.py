"""Whether two files of one run hold the same pixels, or the same rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.config import InputConfig
from common.command import TABLE_ROWS
from common.provenance import datasum


def compare(file: Path, again: Path, hdu: str | None, settings: InputConfig) -> dict[str, Any]:
    """Return whether two files are identical, both checksums, and how far apart pixels are.

    Parameters
    ----------
    file, again : path
    hdu : str or None
        The HDU with the pixels, or `TABLE_ROWS`; None: that of `settings`.
    settings : InputConfig
        How the input was read.
    """
    if hdu == TABLE_ROWS:
        first, second = (_rows(one) for one in (file, again))
    else:
        first, second = (_part_pixels(one, hdu, settings) for one in (file, again))
    same, number = first.shape == second.shape, first.dtype.kind in "fiu"
    identical = same and first.tobytes() == second.tobytes()
    difference = None
    if number and same:
        identical = bool(np.array_equal(first, second, equal_nan=True))
        difference = _largest_difference(first, second)
    sums = [_checksum(one) for one in (first, second)]
    return {"identical": identical, "datasum": sums, "largest_difference": difference,
            "rows": None if number else [len(first), len(second)]}  # fmt: skip


def _checksum(values: np.ndarray) -> int:
    if values.dtype.kind == "f":
        return datasum(values)
    from common.fits.cards import ones_sum

    return ones_sum(values.tobytes())


def _largest_difference(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return it for pixels that are measured in both; None where others are missing."""
    both = np.isfinite(first)
    if not np.array_equal(both, np.isfinite(second)):
        return None
    apart = np.abs(np.where(both, first, 0) - np.where(both, second, 0))
    return float(apart.max(initial=0))


def describe(outcome: Mapping[str, Any]) -> list[str]:
    """Return the lines that say how two runs compare."""
    lines = [f"{what}: {old}, now {new}" for what, (old, new) in outcome["differs"].items()]
    first, second = outcome["datasum"]
    if outcome["identical"]:
        return [*lines, f"identical (DATASUM {first})"]
    difference = outcome["largest_difference"]
    apart = "shapes or missing pixels differ"
    if difference is not None:
        apart = f"largest difference {difference:g}"
    elif outcome["rows"]:
        apart = "{} rows, now {}; their values differ".format(*outcome["rows"])
    return [*lines, f"not identical: {apart} (DATASUM {first}, now {second})"]


def _rows(path: Path) -> np.ndarray:
    """Return the records of the last table of a FITS file."""
    from common.fits.parts import read_rows

    rows = read_rows(path)
    if rows is None:
        raise ValueError(f"{path}: has no table any more. Get the file as it was written.")
    return rows


def _part_pixels(path: Path, hdu: str | None, settings: InputConfig) -> np.ndarray:
    from common.io import read_image, split_suffix

    chosen, channels = (hdu, None) if hdu else (settings.hdu, settings.channels)
    if hdu and not split_suffix(path)[1].lower().endswith((".fits", ".fit", ".fts")):
        chosen = None  # one image only
    return read_image(path, hdu=chosen, channels=channels, zeros="data", verify=False).pixels
