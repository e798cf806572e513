"""A frame's completeness and the biases of its fluxes as a table, to correct catalogues by."""

from pathlib import Path
from typing import Any

from bgrem.validation.flow import Validation
from common.atomic import atomic_write

# suffix -> format of astropy
TABLE_FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits", ".csv": "ascii.csv", ".vot": "votable"}
# column -> meaning
COLUMNS = {
    "SNR_MIN": "signal-to-noise ratio of a matched filter, from",
    "SNR_MAX": "to",
    "CROWDING_MIN": "light of neighbours / own light within one FWHM, from",
    "CROWDING_MAX": "to",
    "FLUX": "median true flux of the injected stars, in the pixels' unit",
    "INJECTED": "number of injected stars",
    "COMPLETENESS": "share of them that the catalogue has",
    "COMPLETENESS_ERR": "its binomial error",
    "BIAS_APER": "median of measured / true - 1, aperture of one FWHM, corrected for its size",
    "BIASERR_APER": "its standard error",
    "BIAS_PSF": "the same of FLUX_PSF",
    "BIASERR_PSF": "its standard error",
    "PULL_PSF": "scatter of (FLUX_PSF - truth) / FLUXERR_PSF; multiply the errors by it",
}


def completeness_suffix(path: Path) -> str:
    """Return the suffix of a table.

    Raises
    ------
    ValueError
        If it is unknown.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_FORMATS:
        raise ValueError(f"{path}: a table ends in {', '.join(TABLE_FORMATS)}. Name it so.")
    return suffix


def completeness_table(done: Validation) -> Any:
    """Return the astropy Table of what `validate` has found of injected stars."""
    from astropy.table import Table

    rows = next(one.data["corrections"] for one in done.results if "corrections" in one.data)
    table = Table(rows=rows, names=list(COLUMNS))
    for name, meaning in COLUMNS.items():
        table[name].description = meaning
    table.meta |= {"FRAME": done.facts["frame"], "MODEL": done.facts["model"]}
    return table


def write_completeness(path: Path, done: Validation, *, overwrite: bool = False) -> None:
    """Write the table in the format of the file's suffix."""
    kind = TABLE_FORMATS[completeness_suffix(path)]
    with atomic_write(path, overwrite) as temporary:
        completeness_table(done).write(temporary, format=kind, overwrite=True)
