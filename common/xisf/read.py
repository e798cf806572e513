"""Read one image of a monolithic XISF file, and what is needed to write it back."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from common.image import AstroImage
from common.reading.notice import warn_of_file
from common.xisf.blocks import (
    Element,
    parse_header,
    read_block,
    read_header,
    read_planes,
    whole_numbers,
)
from common.xisf.splice import Keyword

# begin of the ids of maps that PixInsight's integration puts beside an image
COMPANION_IDS = ("rejection", "slope", "weight", "drizzle", "crop_mask", "mask")


@dataclass(frozen=True)
class XisfCarrier:
    """What the reader of an XISF file keeps for its writer.

    Parameters
    ----------
    path : Path
        The source; other blocks are copied from it when writing.
    header : bytes
        The source's XML, UTF-8, without padding.
    index : int
        Which of the images was read.
    channels : tuple of int, optional
        Which of its channels were read; None for all.
    size, modified : int
        Bytes and time (ns) of the source, to notice that it changed.
    """

    path: Path
    header: bytes
    index: int
    channels: tuple[int, ...] | None
    size: int
    modified: int

    def parse(self) -> tuple[Element, Element]:
        """Return the root element and that of the image."""
        root = parse_header(self.header, str(self.path))
        return root, root.find("Image")[self.index]

    def open(self) -> BinaryIO:
        """Open the source, if it is still the file that was read."""
        try:
            state = self.path.stat()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.path}: the source is gone, and its other blocks are needed to write the "
                "result. Put it back and run again."
            ) from error
        if (state.st_size, state.st_mtime_ns) != (self.size, self.modified):
            raise ValueError(f"{self.path}: the source changed after it was read. Run again.")
        return self.path.open("rb")


def read_xisf(
    path: str | os.PathLike[str],
    *,
    image: int | str | None = None,
    channels: Iterable[int] | None = None,
) -> AstroImage:
    """Read one image of a monolithic XISF file, in the units of the file.

    Parameters
    ----------
    path : path
        The file.
    image : int or str, optional
        Index or id of the image, where the file holds several; by default the first, with a
        `FileWarning` if others are no maps that belong to it.
    channels : iterable of int, optional
        Channels to read; all by default.

    Returns
    -------
    AstroImage
        Pixels (H, W, C); integers keep their range (0 to 65535 for UInt16), as floats.

    Raises
    ------
    ValueError
        If the file is truncated, damaged, not XISF, or holds what is not supported.
    """
    name = os.fspath(path)  # as given: what messages call it
    path = Path(path).absolute()
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        header = read_header(file, name)
        images = parse_header(header, name).find("Image")
        if image is None:
            image = 0
            _warn_of_others(images, name)
        index = _find_image(images, image, name)
        planes = read_planes(file, images[index], f"{name}: image {image}")
    chosen = None if channels is None else tuple(channels)
    if chosen is not None:
        if not chosen or min(chosen) < 0 or max(chosen) >= len(planes):
            raise ValueError(
                f"{name}: channels {chosen} are not all among the {len(planes)} of image "
                f"{image}. Count them from 0."
            )
        planes = planes[list(chosen)]
    carrier = XisfCarrier(path, header, index, chosen, state.st_size, state.st_mtime_ns)
    return AstroImage(planes.transpose(1, 2, 0), name=name, carrier=carrier)


def _warn_of_others(images: list[Element], name: str) -> None:
    """Warn where there are several images that each could be meant."""
    own = [one for one in images
           if not one.attributes.get("id", "").lower().startswith(COMPANION_IDS)]  # fmt: skip
    if len(own) > 1 and own[0] is images[0]:
        warn_of_file(f"{name}: image 1 of {len(own)} is read. --hdu N takes another (from 0 on).")


def _find_image(images: list[Element], wanted: int | str, name: str) -> int:
    ids = [image.attributes.get("id", "") for image in images]
    if isinstance(wanted, str) and wanted in ids:
        return ids.index(wanted)
    index = int(wanted) if str(wanted).isdigit() else -1
    if not 0 <= index < len(images):
        raise ValueError(
            f"{name}: no image {wanted!r} among the {len(ids)} of the file, ids {ids}."
        )
    return index


def read_keywords(carrier: XisfCarrier) -> list[Keyword]:
    """Return the FITS keywords of the image in their order; a missing comment is empty."""
    return [
        tuple(keyword.attributes.get(key, "") for key in ("name", "value", "comment"))  # type: ignore[misc]
        for keyword in carrier.parse()[1].find("FITSKeyword")
    ]


def read_property(carrier: XisfCarrier, identifier: str) -> Any:
    """Return a property of the image: text, or an array for an F64Vector or F64Matrix; or None."""
    for element in carrier.parse()[1].find("Property"):
        attributes = element.attributes
        if attributes.get("id") != identifier:
            continue
        if attributes.get("type") not in ("F64Vector", "Vector", "F64Matrix", "Matrix"):
            return attributes.get("value", element.text.strip())
        keys = ("rows", "columns") if "rows" in attributes else ("length",)
        where = f"{carrier.path}: property {identifier}"
        shape = [whole_numbers(attributes.get(key, "0"), where, key)[0] for key in keys]
        order = ">" if attributes.get("byteOrder") == "big" else "<"
        with carrier.open() as file:
            data = read_block(file, element, 8 * math.prod(shape), where)
        return data.view(f"{order}f8").astype(np.float64).reshape(shape)
    return None
