"""Files in which users mark sky and objects: tables of points, DS9 regions, images."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from common.header import celestial_wcs, header_of
from common.image import AstroImage
from common.io import read_image

REGION_SUFFIX = ".reg"  # of files of DS9
TABLE_SUFFIXES = (".csv", ".txt")  # of tables of points
# columns of a table: name in small letters -> what must be taken off for a position from 0
POSITION_COLUMNS = {("x", "y"): 0.0, ("x_image", "y_image"): 1.0}
SKY_COLUMNS = (("ra", "dec"), ("alpha_j2000", "delta_j2000"))  # degrees
MAX_BYTES = 10_000_000  # of a table or regions; a hand makes no larger one


def read_samples(path: Path, image: AstroImage) -> np.ndarray:
    """Return the sky that a file marks: points (N, 2 or 3), or bool (H, W) of regions.

    Parameters
    ----------
    path : path
        A table with x, y and perhaps radius (px, from 0), X_IMAGE, Y_IMAGE (from 1) or ra, dec
        (degrees), separated by commas; or regions of DS9.
    image : AstroImage
        The frame.

    Raises
    ------
    ValueError, OSError
        If it cannot be read, or the frame has no WCS for its sky positions.
    """
    if path.suffix.lower() == REGION_SUFFIX:
        return _read_regions(path, image, points=True)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise ValueError(f"{path}: expected a table (.csv) or regions of DS9 (.reg).")
    return _read_table(path, image)


def read_objects(path: Path, image: AstroImage) -> np.ndarray:
    """Return the pixels that a file marks as object, bool (H, W).

    Parameters
    ----------
    path : path
        Regions of DS9 with an extent, or an image of the frame's shape: above 0 is object.
    image : AstroImage
        The frame.
    """
    if path.suffix.lower() == REGION_SUFFIX:
        return _read_regions(path, image, points=False)
    pixels = np.nan_to_num(read_image(path, zeros="data").pixels)
    return (pixels > 0).any(-1)


def _read_text(path: Path) -> str:
    if path.exists() and path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes are no list that a hand has made.")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text. Save it as UTF-8.") from None


def _read_table(path: Path, image: AstroImage) -> np.ndarray:
    rows = [row for row in csv.reader(_read_text(path).splitlines())
            if row and row[0].strip() and row[0].strip()[0] != "#"]  # fmt: skip
    names = ["x", "y", "radius"]
    if rows and not _is_number(rows[0][0]):
        names = [cell.strip().lower() for cell in rows.pop(0)]
    if not rows:
        raise ValueError(f"{path}: has no point. Write x,y or x,y,radius on each line.")
    known = {"radius", *(name for pair in (*POSITION_COLUMNS, *SKY_COLUMNS) for name in pair)}
    columns: dict[str, list[float]] = {name: [] for name in names}
    for number, row in enumerate(rows, 1):
        for name, cell in zip(names, row, strict=False):
            if name not in known:  # a name, a note
                continue
            if not _is_number(cell):
                raise ValueError(f"{path}: point {number}: {name} = {cell!r} is no number.")
            columns[name].append(float(cell))
    found = {name: column for name, column in columns.items() if len(column) == len(rows)}
    places = _positions(found, names, path, image)
    if "radius" in found:
        places = np.column_stack([places, found["radius"]])
    return places


def _positions(
    columns: dict[str, list[float]], names: list[str], path: Path, image: AstroImage
) -> np.ndarray:
    """Return x, y from 0, shape (N, 2)."""
    for pair, first in POSITION_COLUMNS.items():
        if all(name in columns for name in pair):
            return np.column_stack([columns[name] for name in pair]) - first
    for pair in SKY_COLUMNS:
        if all(name in columns for name in pair):
            places = _wcs_of(path, image).all_world2pix(*(columns[name] for name in pair), 0)
            return np.column_stack(places)
    raise ValueError(
        f"{path}: the columns are {', '.join(names)}. Expected x,y (from 0), X_IMAGE,Y_IMAGE "
        "(from 1) or ra,dec (degrees)."
    )


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _wcs_of(path: Path, image: AstroImage) -> Any:
    wcs = celestial_wcs(header_of(image))
    if wcs is None:
        raise ValueError(
            f"{path}: has positions on the sky, but {image.name} has no WCS. Give pixels."
        )
    return wcs


def _read_regions(path: Path, image: AstroImage, *, points: bool) -> np.ndarray:
    """Return the pixels in the regions of a file, bool (H, W)."""
    text = _read_text(path)
    try:
        from regions import PixelRegion, PointPixelRegion, Regions
    except ImportError:
        raise ValueError(
            f"{path}: regions of DS9 need the package regions: pip install regions."
        ) from None
    try:
        found = Regions.parse(text, format="ds9")
    except Exception as error:  # the parser raises many kinds
        raise ValueError(f"{path}: no regions of DS9 ({' '.join(str(error).split())}).") from None
    if not len(found):
        raise ValueError(f"{path}: has no region.")
    marked = np.zeros(image.shape[:2], bool)
    for one in found:
        pixels = one if isinstance(one, PixelRegion) else one.to_pixel(_wcs_of(path, image))
        if isinstance(pixels, PointPixelRegion):
            if not points:
                raise ValueError(f"{path}: a point has no extent. Draw a circle or a polygon.")
            x, y = round(pixels.center.x), round(pixels.center.y)
            if 0 <= y < marked.shape[0] and 0 <= x < marked.shape[1]:
                marked[y, x] = True
            continue
        drawn = pixels.to_mask("center").to_image(marked.shape)
        if drawn is not None:  # None: beyond the frame
            marked |= drawn > 0
    if not marked.any():
        raise ValueError(f"{path}: no region lies in the frame of {image.name}.")
    return marked
