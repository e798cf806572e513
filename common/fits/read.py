"""FITS in: the image of a file, and what is needed to put another one back in its place.

Reading goes through astropy where pixels are compressed and through the plain bytes elsewhere.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common import scratch
from common.fits.hdus import (
    Hdu,
    Scaling,
    image_hdus,
    image_header,
    plain_file,
    scan,
    select,
    stored_array,
    verify_sums,
)
from common.image import AstroImage
from common.reading.notice import warn_of_file

if TYPE_CHECKING:
    from astropy.io import fits

ROWS_AT_ONCE = 256  # rows converted at once: 10 MB of a frame 10,000 pixels wide


@dataclass(frozen=True, kw_only=True, eq=False)
class FitsCarrier:
    """What `write_fits` needs to put an image back into a copy of its file.

    Parameters
    ----------
    path : path
        The source file, absolute. It is read again on writing, for everything but the image.
    header : astropy.io.fits.Header
        A copy of the image header as read (of the first HDU, where each channel has its own).
    hdus : tuple of int
        Index of the image HDU, or of the three that hold one channel each.
    layout : {'plane', 'first', 'last'}
        (H, W), (C, H, W) or (H, W, C) in the file, apart from leading axes of length 1.
    shape : tuple of int
        Shape of the array in the file.
    channels : tuple of int
        The planes of the file that the pixels are.
    stamp : tuple of int
        Size (bytes) and modification time (ns) of the source file.
    unreadable : tuple of bytes
        Cards that are no FITS; they are not in `header`, and stay in the file.
    """

    path: Path
    header: "fits.Header"
    hdus: tuple[int, ...]
    layout: str
    shape: tuple[int, ...]
    channels: tuple[int, ...]
    stamp: tuple[int, int]
    unreadable: tuple[bytes, ...] = ()


def read_fits(
    path: str | os.PathLike[str],
    *,
    hdu: int | str | None = None,
    channels: Sequence[int] | None = None,
    verify: bool = True,
) -> AstroImage:
    """Return the image of a FITS file, compressed or not, in physical units.

    BZERO and BSCALE are applied, BLANK becomes NaN. 8- and 16-bit integers and float32 give
    float32, wider types float64.

    Parameters
    ----------
    path : path
        A FITS file; whole-file gzip is recognised by its content.
    hdu : int or str, optional
        Index or EXTNAME of the HDU; ``"SCI,2"`` is EXTNAME and EXTVER, ``"R,G,B"`` (three names
        or indices) takes one channel from each. The default is the first HDU with an image.
    channels : sequence of int, optional
        The planes of a cube to take, one or three.
    verify : bool, optional
        Whether to compare CHECKSUM and DATASUM of all HDUs (command line: ``--no-verify``).

    Raises
    ------
    ValueError
        If the file is not FITS, is truncated or damaged, or has no such image.
    """
    name = os.fspath(path)  # as given: what messages call it
    path = Path(os.path.abspath(path))
    status = path.stat()
    with plain_file(path, name) as plain:
        hdus = scan(plain, name)
        if verify:
            for one in hdus:
                verify_sums(plain, one, name)
        chosen = select(hdus, hdu, name)
        images = image_hdus(hdus)
        if hdu is None and len(images) > 1 and chosen[0] in images:
            warn_of_file(
                f"{name}: HDU {images.index(chosen[0]) + 1} of {len(images)} images is read (its "
                f"number in the file is {chosen[0].index}). --hdu N takes another, --hdu all takes "
                "all."
            )
        scalings = [Scaling.of(one.cards, name) for one in chosen]
        dtype = np.result_type(*(one.dtype for one in scalings))
        header, unreadable = image_header(plain, chosen[0], name)
        arrays = [stored_array(plain, one, name) for one in chosen]
        layout = _layout(chosen[0].core, channels)
        if len(chosen) > 1:
            _require_planes(chosen, name)
            if channels is not None:
                raise ValueError(
                    f"{name}: --hdu {hdu} names the channels already. Leave out --channels."
                )
            layout, channels = "plane", tuple(range(len(chosen)))
        channels = _channels(chosen[0].core, layout, channels, len(chosen), name)
        height, width = plane_of(arrays[0], layout, 0).shape
        pixels = scratch.empty((height, width, len(channels)), dtype)
        for place, channel in enumerate(channels):
            source = channel if len(chosen) > 1 else 0
            plane = plane_of(arrays[source], layout, channel)
            for rows in scratch.row_blocks(pixels.shape, pixels):
                pixels[rows, :, place] = scalings[source].decode(plane[rows], dtype)
    if unreadable:
        shown = "; ".join(card.decode("latin-1").strip() for card in unreadable)
        warn_of_file(
            f"{name}: cards that are no FITS count as unknown and are kept as they are: {shown}"
        )
    carrier = FitsCarrier(
        path=path,
        header=header,
        unreadable=tuple(unreadable),
        hdus=tuple(one.index for one in chosen),
        layout=layout,
        shape=chosen[0].shape,
        channels=channels,
        stamp=(status.st_size, status.st_mtime_ns),
    )
    return AstroImage(pixels, name=name, carrier=carrier)


def _require_planes(chosen: list[Hdu], name: str) -> None:
    shapes = [one.shape for one in chosen]
    if len(set(shapes)) > 1 or len(chosen[0].core) != 2 or len({o.index for o in chosen}) < 3:
        raise ValueError(
            f"{name}: three different HDUs of one (H, W) are expected as channels, got HDUs "
            f"{[one.index for one in chosen]} of shapes {shapes}. Select them with --hdu R,G,B."
        )


def _layout(core: tuple[int, ...], channels: Sequence[int] | None) -> str:
    """Return 'plane', 'first' or 'last': where the channels of an array of this shape lie."""
    if len(core) == 2:
        return "plane"
    last = core[-1] in ((1, 3, 4) if channels is None else (1, 2, 3, 4))
    return "last" if last and core[0] not in (2, 3, 4) else "first"


def _channels(
    core: tuple[int, ...],
    layout: str,
    wanted: Sequence[int] | None,
    hdus: int,
    name: str,
) -> tuple[int, ...]:
    count = hdus if layout == "plane" else core[0 if layout == "first" else -1]
    selected = tuple(range(count)) if wanted is None else tuple(wanted)
    if len(selected) not in (1, 3) or len(set(selected)) < len(selected):
        raise ValueError(
            f"{name}: expected 1 or 3 channels, got {len(selected)} (shape {core}). "
            "Select planes with --channels, as in --channels 0,1,2."
        )
    if not all(0 <= channel < count for channel in selected):
        raise ValueError(
            f"{name}: --channels {','.join(map(str, selected))} asks for planes outside of "
            f"0 to {count - 1} (shape {core})."
        )
    return selected


def plane_of(array: np.ndarray, layout: str, channel: int) -> np.ndarray:
    """Return one channel (H, W) of an array in the layout of a `FitsCarrier`."""
    if layout == "plane":
        return array
    return array[channel] if layout == "first" else array[..., channel]
