"""Parts of a FITS file that are read for themselves: planes and columns by their names."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.fits.columns import Column, read_table
from common.fits.geometry import Values, named_errors
from common.fits.hdus import (
    Hdu,
    Scaling,
    open_checked,
    plain_file,
    scan,
    stored_array,
)

if TYPE_CHECKING:
    from astropy.io import fits


@contextmanager
def scanned_file(path: str | os.PathLike[str]) -> Iterator[tuple[Path, list[Hdu]]]:
    """Give the file without gzip, and its HDUs; errors as `scan`."""
    name = os.fspath(path)
    with plain_file(Path(path), name) as plain:
        yield plain, scan(plain, name)


def read_keywords(path: str | os.PathLike[str], keyword: str) -> list[str]:
    """Return the values of a keyword as text, of all HDUs that have it; errors as `scan`."""
    with scanned_file(path) as (_, hdus):
        found = [Values(one.cards, str(path)) for one in hdus]
    return [values.text(keyword) for values in found if keyword in values]


def read_planes(
    path: str | os.PathLike[str], names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Return images in physical units, as floats, by EXTNAME in capitals; the last one of a name.

    Parameters
    ----------
    path : path
    names : collection of str, optional
        EXTNAMEs in capitals; without it the first image alone.

    Raises
    ------
    ValueError
        If the file is no FITS file or is damaged.
    """
    found = {}
    with scanned_file(path) as (plain, hdus):
        images = [one for one in hdus if one.shape and len(one.core) <= 4]
        wanted = images[:1] if names is None else [one for one in images if one.name in names]
        for one in wanted:
            scaling = Scaling.of(one.cards, str(path))
            stored = stored_array(plain, one, str(path))
            with named_errors(str(path)):
                found[one.name] = scaling.decode(stored, scaling.dtype)
    return found


def read_columns(path: str | os.PathLike[str], name: str) -> dict[str, Column]:
    """Return the columns of the first binary table with this EXTNAME; empty where there is none.

    Raises
    ------
    ValueError
        If the file is no FITS file or is damaged.
    """
    with scanned_file(path) as (plain, hdus):
        for one in hdus:
            values = Values(one.cards, f"{path}: HDU {one.index} ({one.name})")
            if one.name == name and values.text("XTENSION") == "BINTABLE":
                data = np.fromfile(plain, np.uint8, one.size, offset=one.data)
                return read_table(data, values, values.whole("NAXIS2", 0, 2**40))[0]
    return {}


@contextmanager
def open_fits(path: str | os.PathLike[str], **options: Any) -> Iterator["fits.HDUList"]:
    """Open a file whose structure is checked with astropy; its errors become ValueError.

    Tile-compressed images stay tables: `read_planes` reads them.
    """
    name = os.fspath(path)
    with plain_file(Path(path), name) as plain:
        scan(plain, name)
        with open_checked(plain, name, disable_image_compression=True, **options) as hdus:
            yield hdus
