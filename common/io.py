"""Read and write an image by its suffix: where a file becomes an `AstroImage` and back."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.atomic import atomic_write, check_writable
from common.image import AstroImage
from common.reading.missing import ZEROS, find_missing
from common.reading.notice import warn_of_file

__all__ = [
    "IMAGE_FORMATS",
    "check_writable",
    "read_image",
    "split_suffix",
    "stores_integers",
    "write_image",
]

Channels = Sequence[int] | None
Reader = Callable[[Path, int | str | None, Channels, bool], AstroImage]
Writer = Callable[[Path, AstroImage, bool, bool], None]


def read_image(
    path: str | os.PathLike[str],
    *,
    hdu: int | str | None = None,
    channels: Channels = None,
    zeros: str = "border",
    verify: bool = True,
) -> AstroImage:
    """Return the image of a file in its own units, with all that the file carries.

    Parameters
    ----------
    path : path
        A file with one of the suffixes of `IMAGE_FORMATS`, in lower or upper case.
    hdu : int or str, optional
        FITS: index, EXTNAME, ``"EXTNAME,EXTVER"`` or three of the first two kinds as channels.
        XISF: index or id of the image. The default is the first image.
    channels : sequence of int, optional
        The planes to take, one or three.
    zeros : {'border', 'all', 'data'}, optional
        Which exact zeros are missing pixels (NaN; the writer puts the zeros back): 'border' for
        solid areas, zero in all channels, which reach the edge of the image; 'all'; or none.
        With 'border' an image whose median is 0 (sparse photon counts) keeps its zeros as data;
        for a mosaic that is mostly empty use 'all'. With 'border' and 'all' impossible values,
        solid areas of any other value and marked bad pixels are missing, too (they stay NaN).
    verify : bool, optional
        Whether wrong checksums in the file are errors.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file to read.
    ValueError
        If the file is not an image of this kind, is damaged, or a parameter does not fit it.

    Warns
    -----
    FileWarning
        Of each decision that the file left open.

    Examples
    --------
    >>> import numpy as np
    >>> from common import AstroImage, read_image, write_image
    >>> write_image("small.fits", AstroImage(np.full((4, 6), -1.5, np.float32)))
    >>> image = read_image("small.fits")
    >>> image.name, image.shape, float(image.pixels.min())
    ('small.fits', (4, 6, 1), -1.5)
    """
    path = Path(path)
    if zeros not in ZEROS:
        raise ValueError(f"{path}: zeros={zeros!r} is unknown. Use border, all or data.")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected an image file. Name a file.")
    suffix = split_suffix(path)[1]
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file. Check the name and the folder.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes). Get it again.")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: may not be read. Change its permissions.")
    reader, _ = IMAGE_FORMATS[suffix.lower()]
    return mark_missing(reader(path, hdu, channels, verify), zeros)


def write_image(
    path: str | os.PathLike[str],
    image: AstroImage,
    *,
    overwrite: bool = False,
    compress: bool = False,
    integers: bool = False,
) -> None:
    """Write an image with all that its source carried; the file appears complete or not at all.

    Parameters
    ----------
    path : path
        A file name with one of the suffixes of `IMAGE_FORMATS`; it decides on the format.
    image : AstroImage
        From the same or the other format, or from an array.
    overwrite : bool, optional
        Whether an existing file may be replaced. The image's own source may be, too.
    compress : bool, optional
        XISF: compress the pixels without loss. FITS: name the file ``*.fits.fz`` instead.
    integers : bool, optional
        Round the pixels to the integers that the source stores, in place of float32 or float64.

    Raises
    ------
    FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError
        If the file cannot be written; as `check_writable`, which finds it out before the work.
    ValueError
        If the suffix is unknown, the image cannot be written in this format, or integers are asked
        for and its source has none of this format.

    Examples
    --------
    The suffix decides on the format; the header of the source goes with the image.

    >>> import numpy as np
    >>> from common import AstroImage, read_image, write_image
    >>> pixels = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> write_image("small.xisf", AstroImage(pixels, cards=[("EXPTIME", 30.0, "seconds")]))
    >>> bool((read_image("small.xisf").pixels[..., 0] == pixels).all())
    True
    """
    path = Path(path)
    _, writer = IMAGE_FORMATS[split_suffix(path)[1].lower()]
    with atomic_write(path, overwrite) as temporary:
        writer(temporary, image, compress, integers)


def split_suffix(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the path without its image suffix, and the suffix ('.fits.fz' is one suffix).

    Raises
    ------
    ValueError
        If the suffix is not in `IMAGE_FORMATS`.
    """
    path = Path(path)
    for suffix in sorted(IMAGE_FORMATS, key=len, reverse=True):
        stem, tail = path.name[: -len(suffix)], path.name[-len(suffix) :]
        if tail.lower() == suffix and stem:
            return path.with_name(stem), tail
    raise ValueError(
        f"{path}: the suffix is not that of an image file. Use one of {', '.join(IMAGE_FORMATS)}."
    )


def stores_integers(image: AstroImage) -> bool:
    """Return whether the file that an image was read from stores integers."""
    from common.fits.read import FitsCarrier
    from common.xisf.read import XisfCarrier

    if isinstance(image.carrier, FitsCarrier):
        return int(image.carrier.header.get("BITPIX", -32)) > 0
    if isinstance(image.carrier, XisfCarrier):
        return image.carrier.parse()[1].attributes.get("sampleFormat", "").startswith("UInt")
    return False


def mark_missing(image: AstroImage, zeros: str) -> AstroImage:
    """Return the image with all that stands for 'missing' as NaN, zeros recorded in `zero_border`.

    Parameters
    ----------
    image : AstroImage
        A fresh one: its pixels are changed in place.
    zeros : {'border', 'all', 'data'}
        As in `read_image`.

    Warns
    -----
    FileWarning
        If other numbers than 0 stand for 'missing'.
    """
    zero, filled, values = find_missing(image.pixels, zeros)
    if zero is None and filled is None:
        return image
    pixels = image.pixels if image.pixels.flags.writeable else image.pixels.copy()
    if zero is not None:
        pixels[zero] = np.nan
    if filled is not None:
        pixels[filled] = np.nan
        shown = ", ".join(f"{value:.7g}" for value in values)
        warn_of_file(
            f"{image.name}: {np.count_nonzero(filled.any(axis=-1))} pixels hold {shown} in place "
            "of a measurement and count as missing. --zeros data reads them as data."
        )
    return replace(image, pixels=pixels, zero_border=zero)


def _read_fits(path: Path, hdu: int | str | None, channels: Channels, verify: bool) -> AstroImage:
    from common.fits.read import read_fits

    return read_fits(path, hdu=hdu, channels=channels, verify=verify)


def _write_fits(path: Path, image: AstroImage, compress: bool, integers: bool) -> None:
    from common.fits.read import FitsCarrier
    from common.fits.write import write_fits
    from common.xisf.convert import to_fits

    if image.carrier is None or isinstance(image.carrier, FitsCarrier):
        write_fits(path, image, compress=compress, integers=integers)
        return
    pixels, header = to_fits(image)
    image = replace(image, pixels=pixels, carrier=None, zero_border=None)
    write_fits(path, image, compress=compress, integers=integers, header=header)


def _read_xisf(path: Path, hdu: int | str | None, channels: Channels, verify: bool) -> AstroImage:
    from common.xisf.read import read_xisf

    image = int(hdu) if hdu is not None and str(hdu).isdigit() else hdu
    return read_xisf(path, image=image, channels=channels)


def _write_xisf(path: Path, image: AstroImage, compress: bool, integers: bool) -> None:
    from common.fits.read import FitsCarrier
    from common.xisf.convert import to_xisf
    from common.xisf.write import write_xisf

    keywords: list[tuple[str, str, str]] = []
    pattern = ""
    if isinstance(image.carrier, FitsCarrier):
        pixels, keywords, pattern = to_xisf(image)
        image = replace(image, pixels=pixels, carrier=None, zero_border=None)
    with open(path, "wb") as file:
        write_xisf(
            file, image, compress=compress, integers=integers, keywords=keywords, pattern=pattern
        )


_FITS_FORMAT: tuple[Reader, Writer] = (_read_fits, _write_fits)
IMAGE_FORMATS: dict[str, tuple[Reader, Writer]] = {
    ".fits": _FITS_FORMAT,
    ".fit": _FITS_FORMAT,
    ".fts": _FITS_FORMAT,
    ".fits.fz": _FITS_FORMAT,
    ".fit.fz": _FITS_FORMAT,
    ".fts.fz": _FITS_FORMAT,
    ".fits.gz": _FITS_FORMAT,
    ".fit.gz": _FITS_FORMAT,
    ".fts.gz": _FITS_FORMAT,
    ".xisf": (_read_xisf, _write_xisf),
}
