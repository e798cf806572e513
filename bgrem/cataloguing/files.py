"""Write a catalogue in the format that its file's suffix names."""

import io
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.cataloguing.columns import CATALOG_META, SKY_COLUMNS
from common.atomic import atomic_write
from common.fits.cards import BLOCK_BYTES, CARD_BYTES, close_header, ones_sum, pad, value_card
from common.header import celestial_wcs
from common.image import Card

# of astropy's own comment in its place, which is the time
CHECKSUM_COMMENT = "checksum of the FITS standard"
# digits that matter: a ten thousandth of a pixel, a tenth of a milliarcsecond
CSV_FORMATS = {"pixel": ".4f", "sky": ".8f", "other": ".6g"}
# what PSFEx wants of the image's header, and where it stands in the table's meta; 0: unknown
SEXTRACTOR_CARDS = {"SEXBKDEV": "BACKSIG", "SEXGAIN": "GAIN", "SEXMGZPT": "ZEROPNT"}
# first lines of a DS9 region file
REGION_HEAD = "# Region file format: DS9 version 4.1\nglobal color=green width=1\n"

Writer = Callable[[Path, Any, Any, Sequence[Card], Sequence[str]], None]


def write_catalog(
    path: str | os.PathLike[str],
    table: Any,
    *,
    header: Any = None,
    cards: Sequence[Card] = (),
    history: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write the table of `bgrem.catalog`; the file appears complete or not at all.

    Parameters
    ----------
    path : path
        A file name with one of the suffixes of `CATALOG_FORMATS`.
    table : astropy.table.Table
    header : astropy.io.fits.Header, optional
        The image's, for FITS-LDAC.
    cards, history
        Provenance, for the formats that have a place for it (all but CSV and regions, which hold
        the columns only).
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    ValueError
        If the suffix is unknown.
    OSError
        As `common.atomic.check_writable`.
    """
    path = Path(path)
    writer = CATALOG_FORMATS[catalog_suffix(path)]
    with atomic_write(path, overwrite) as temporary:
        writer(temporary, table, header, cards, history)


def write_segmentation(
    path: str | os.PathLike[str],
    segmentation: np.ndarray,
    *,
    header: Any = None,
    cards: Sequence[Card] = (),
    history: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a segmentation map, int (H, W), as int32 FITS with the image's celestial WCS."""
    from astropy.io import fits

    wcs = celestial_wcs(header)
    hdu = fits.PrimaryHDU(
        np.asarray(segmentation, np.int32), None if wcs is None else wcs.to_header(relax=True)
    )
    hdu.header["EXTNAME"] = ("SEGMENTATION", "0: sky, else NUMBER of the source")
    _add_provenance(hdu.header, cards, history)
    with atomic_write(path, overwrite) as temporary:
        temporary.write_bytes(_stored([hdu]))


def catalog_suffix(path: Path) -> str:
    """Return the suffix of a catalogue's name in lower case.

    Raises
    ------
    ValueError
        If it is not in `CATALOG_FORMATS`.
    """
    suffix = path.suffix.lower()
    if suffix not in CATALOG_FORMATS:
        raise ValueError(
            f"{path}: the suffix is not that of a catalogue. Use one of "
            f"{', '.join(CATALOG_FORMATS)}."
        )
    return suffix


def _write_fits(
    path: Path, table: Any, header: Any, cards: Sequence[Card], history: Sequence[str]
) -> None:
    from astropy.io import fits

    hdus = [fits.PrimaryHDU(), _table_hdu(table, cards, history, "CATALOG")]
    path.write_bytes(_stored(hdus))


def _write_ldac(
    path: Path, table: Any, header: Any, cards: Sequence[Card], history: Sequence[str]
) -> None:
    """Write FITS-LDAC as SExtractor does: the image's header as text, then the sources."""
    from astropy.io import fits

    header = fits.Header() if header is None else header.copy()
    for keyword, name in SEXTRACTOR_CARDS.items():
        header[keyword] = table.meta.get(name, 0.0)
    sources = _table_hdu(table, cards, history, "LDAC_OBJECTS")
    stored = _stored([fits.PrimaryHDU(), sources])
    path.write_bytes(stored[:BLOCK_BYTES] + _header_hdu(header) + stored[BLOCK_BYTES:])


def _header_hdu(header: Any) -> bytes:
    """Return LDAC_IMHEAD. astropy would write NUL in place of the blanks that SCAMP looks for."""
    text = header.tostring(sep="", padding=False).encode("ascii")
    number = len(text) // CARD_BYTES
    structure: list[Card] = [
        ("XTENSION", "BINTABLE", "binary table extension"), ("BITPIX", 8, ""), ("NAXIS", 2, ""),
        ("NAXIS1", len(text), "bytes per row"), ("NAXIS2", 1, "number of rows"),
        ("PCOUNT", 0, ""), ("GCOUNT", 1, ""), ("TFIELDS", 1, "number of columns"),
        ("EXTNAME", "LDAC_IMHEAD", "header of the image"),
        ("TTYPE1", "Field Header Card", ""), ("TFORM1", f"{len(text)}A", ""),
        ("TDIM1", f"({CARD_BYTES}, {number})", ""),
    ]  # fmt: skip
    return close_header([value_card(*card) for card in structure], ones_sum(text)) + pad(text)


def _table_hdu(table: Any, cards: Sequence[Card], history: Sequence[str], name: str) -> Any:
    from astropy.io import fits

    plain = table.copy(copy_data=False)
    plain.meta.clear()
    hdu = fits.table_to_hdu(plain)
    hdu.name = name
    for number, column in enumerate(table.columns.values(), 1):
        hdu.header.comments[f"TTYPE{number}"] = column.description
    _add_provenance(hdu.header, (*_meta_cards(table), *cards), history)
    return hdu


def _add_provenance(header: Any, cards: Sequence[Card], history: Sequence[str]) -> None:
    for keyword, value, comment in cards:
        # a hash leaves no room for a comment, which astropy would cut with a warning
        fits_in = len(f"{keyword:8}= '{value}' / {comment}") <= CARD_BYTES
        header[keyword] = (value, comment) if fits_in else value
    for line in history:
        header["HISTORY"] = line


def _meta_cards(table: Any) -> list[Card]:
    """Return the settings of the catalogue as keywords."""
    return [
        (key, value, CATALOG_META.get(key, "[pixel] diameter of an aperture"))
        for key, value in table.meta.items()
        if key.isupper()
    ]


def _stored(hdus: list[Any]) -> bytes:
    """Return the HDUs as a file holds them, with checksums."""
    from astropy.io import fits

    for hdu in hdus:
        hdu.add_checksum(when=CHECKSUM_COMMENT)
    stored = io.BytesIO()
    fits.HDUList(hdus).writeto(stored)
    return stored.getvalue()


def _write_votable(
    path: Path, table: Any, header: Any, cards: Sequence[Card], history: Sequence[str]
) -> None:
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    plain = table.copy(copy_data=False)
    plain.meta.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units that VOTable has no name for
        tree = from_table(plain)
    found = tree.get_first_table()
    settings = [(key, value) for key, value, _ in (*_meta_cards(table), *cards)]
    for key, value in (*settings, *(("HISTORY", line) for line in history)):
        found.infos.append(Info(name=key, value=str(value)))
    tree.to_xml(os.fspath(path))


def _write_ecsv(
    path: Path, table: Any, header: Any, cards: Sequence[Card], history: Sequence[str]
) -> None:
    from astropy.table import Column

    noted = table.copy(copy_data=False)
    noted.meta.clear()
    noted.meta |= {key: value for key, value, _ in (*_meta_cards(table), *cards)}
    noted.meta["HISTORY"] = list(history)
    if not len(table):  # astropy cannot read an empty column of vectors
        for name in [one for one in table.colnames if table[one].ndim > 1]:
            column = table[name]
            noted[name] = Column(
                dtype=column.dtype, unit=column.unit, description=column.description
            )
    noted.write(path, format="ascii.ecsv", overwrite=True)


def _write_csv(
    path: Path, table: Any, header: Any, cards: Sequence[Card], history: Sequence[str]
) -> None:
    """Write one column for each aperture (FLUX_APER_1, ...); stamps have no place here."""
    from astropy.table import Table

    flat = Table()
    for name, column in table.columns.items():
        if column.ndim == 1:
            flat[name] = column
        elif column.ndim == 2:
            for number in range(column.shape[1]):
                flat[f"{name}_{number + 1}"] = column[:, number]
    for name, column in flat.columns.items():
        if column.dtype.kind == "f":
            kind = "sky" if name in SKY_COLUMNS else "pixel" if column.unit == "pixel" else "other"
            column.format = CSV_FORMATS[kind]
    flat.write(path, format="ascii.csv", overwrite=True)


def _write_regions(
    path: Path, table: Any, header: Any, cards: Sequence[Card], history: Sequence[str]
) -> None:
    """Write the Kron ellipses for DS9, in sky coordinates if there are any; doubtful ones red."""
    wcs = celestial_wcs(header) if SKY_COLUMNS[0] in table.colnames else None
    lines = [REGION_HEAD + ("image" if wcs is None else "icrs")]
    a = table["KRON_RADIUS"] * table["A_DENOISED"]
    b = table["KRON_RADIUS"] * table["B_DENOISED"]
    shapes = np.column_stack([
        table["X_DENOISED"], table["Y_DENOISED"], a, b, table["THETA_DENOISED"]
    ])  # fmt: skip
    if wcs is not None and len(shapes):
        shapes = _on_sky(wcs, shapes)
    digits = '({:.3f},{:.3f},{:.3f},{:.3f},{:.2f})' if wcs is None else (
        '({:.8f},{:.8f},{:.3f}",{:.3f}",{:.2f})')  # fmt: skip
    for number, flag, shape in zip(table["NUMBER"], table["DENOISED_FLAG"], shapes, strict=True):
        colour = " color=red" if flag else ""
        lines.append(f"ellipse{digits.format(*shape)} # text={{{number}}}{colour}")
    path.write_text("\n".join(lines) + "\n", "ascii")


def _on_sky(wcs: Any, shapes: np.ndarray) -> np.ndarray:
    """Return ellipses of FITS pixels as degrees and arcsec; directions as DS9 counts them.

    DS9 counts from the west over north, the position angle goes from north over east.
    """
    x, y, a, b, theta = shapes.T
    x, y, angle = x - 1, y - 1, np.radians(theta)
    centre = wcs.pixel_to_world(x, y).icrs
    ends = wcs.pixel_to_world(x + np.cos(angle), y + np.sin(angle)).icrs
    sides = wcs.pixel_to_world(x - np.sin(angle), y + np.cos(angle)).icrs
    direction = np.mod(centre.position_angle(ends).deg + 90, 180)
    major, minor = centre.separation(ends).arcsec * a, centre.separation(sides).arcsec * b
    return np.column_stack([centre.ra.deg, centre.dec.deg, major, minor, direction])


CATALOG_FORMATS: dict[str, Writer] = {
    ".ldac": _write_ldac,
    ".cat": _write_ldac,
    ".fits": _write_fits,
    ".fit": _write_fits,
    ".vot": _write_votable,
    ".xml": _write_votable,
    ".ecsv": _write_ecsv,
    ".csv": _write_csv,
    ".reg": _write_regions,
}
