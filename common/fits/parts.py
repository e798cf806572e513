"""Parts of a FITS file that are read for themselves: planes and columns by their names."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.fits.columns import Column, read_table
from common.fits.geometry import Values, named_errors
from common.fits.hdus import (
    Hdu,
    Scaling,
    plain_file,
    scan,
    stored_array,
)
from common.fits.headers import make_header, split_readable

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


def read_headers(path: str | os.PathLike[str]) -> list["fits.Header"]:
    """Return the headers of all HDUs, without the cards that are no FITS; errors as `scan`."""
    with scanned_file(path) as (_, hdus):
        return [make_header(split_readable(one.cards)[0]) for one in hdus]


def read_rows(path: str | os.PathLike[str]) -> np.ndarray | None:
    """Return the rows of the last binary table as raw records; None where there is no table.

    Raises
    ------
    ValueError
        If the file is no FITS file or is damaged.
    """
    with scanned_file(path) as (plain, hdus):
        for one in reversed(hdus):
            values = Values(one.cards, f"{path}: HDU {one.index} ({one.name})")
            if values.text("XTENSION") == "BINTABLE":
                width, rows = values.whole("NAXIS1", 1, 2**31), values.whole("NAXIS2", 0, 2**40)
                return np.fromfile(plain, f"V{width}", rows, offset=one.data)
    return None
