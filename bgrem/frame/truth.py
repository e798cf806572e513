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
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        missing = [name for name in ("SOURCES", "CATALOGUE") if name not in hdus]
        if missing:
            raise ValueError(
                f"{path}: no extension {', '.join(missing)}. Give a file of `bgrem simulate`."
            )
        sources = np.asarray(hdus["SOURCES"].data, np.float64)
        table = hdus["CATALOGUE"].data
        catalogue = {name: np.array(table[column]) for column, name, _, _ in TRUTH_COLUMNS}
    catalogue = {
        name: column if column.dtype.kind == "U" else column.astype(np.float64)
        for name, column in catalogue.items()
    }
    # FITS pixels begin with 1, FITS angles are degrees
    changed = {"x": catalogue["x"] - 1, "y": catalogue["y"] - 1}
    return FieldTruth(sources, catalogue | changed | {"angle": np.radians(catalogue["angle"])})
