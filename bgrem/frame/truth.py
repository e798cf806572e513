"""The truth of a simulated frame: the columns of its catalogue, and how a file of it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# FITS name, column of the catalogue, format, unit
TRUTH_COLUMNS = (
    ("X_IMAGE", "x", "D", "pixel"),
    ("Y_IMAGE", "y", "D", "pixel"),
    ("FLUX_TRUE", "flux", "D", "adu"),
    ("SNR_TRUE", "snr", "E", ""),
    ("KIND", "kind", "9A", ""),
    ("HALF_LIGHT_RADIUS", "half_light_radius", "E", "pixel"),
    ("SERSIC", "sersic", "E", ""),
    ("AXIS_RATIO", "axis_ratio", "E", ""),
    ("THETA_IMAGE", "angle", "E", "deg"),
)


@dataclass(frozen=True, eq=False)
class FieldTruth:
    """What a simulation put into the frame: its sources' light (H, W) and its catalogue."""

    sources: np.ndarray
    catalogue: Mapping[str, np.ndarray]


def read_truth(path: Path) -> FieldTruth:
    """Return the truth of a file that `bgrem simulate` wrote.

    Raises
    ------
    ValueError
        If the file has no SOURCES and CATALOGUE.
    """
    from common.fits.parts import read_columns, read_planes

    planes, columns = read_planes(path, ["SOURCES"]), read_columns(path, "CATALOGUE")
    found = {"SOURCES": planes, "CATALOGUE": columns}
    missing = [name for name, content in found.items() if not content]
    missing += [column for column, _, _, _ in TRUTH_COLUMNS if columns and column not in columns]
    if missing:
        raise ValueError(f"{path}: no {', '.join(missing)}. Give a file of `bgrem simulate`.")
    sources = planes["SOURCES"].astype(np.float64)
    if sources.ndim != 2:
        raise ValueError(f"{path}: SOURCES has the shape {sources.shape}, expected (H, W).")
    catalogue = {}
    for column, name, form, _ in TRUTH_COLUMNS:
        cells, where = columns[column], f"{path}: CATALOGUE"
        if form.endswith("A"):
            catalogue[name] = cells.texts(where, column)
        else:
            catalogue[name] = cells.numbers(where, column).astype(np.float64)
    # FITS pixels begin with 1, FITS angles are degrees
    changed = {"x": catalogue["x"] - 1, "y": catalogue["y"] - 1}
    return FieldTruth(sources, catalogue | changed | {"angle": np.radians(catalogue["angle"])})
