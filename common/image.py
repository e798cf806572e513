"""The image that flows through every tool: its pixels, their units, and what its file carried."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from common import scratch

Card = tuple[str, Any, str]


def missing_of(pixels: np.ndarray) -> np.ndarray:
    """Return where pixels are not measured (NaN or infinite): bool, of their shape."""
    missing = scratch.empty(pixels.shape, bool)
    for rows in scratch.row_blocks(pixels.shape, pixels, missing):
        np.logical_not(np.isfinite(pixels[rows]), out=missing[rows])
    return missing


@dataclass(frozen=True, eq=False)
class AstroImage:
    """Pixels of one image and the file's metadata as an opaque carrier.

    Parameters
    ----------
    pixels : array, shape (H, W) or (H, W, C)
        Any real dtype. Stored as (H, W, C), C = 1 or 3, native byte order: float32, or float64
        where the source has more than 24 significant bits (float64, 32- and 64-bit integers).
        Values keep the units of the file; nothing is clipped or rescaled. NaN means missing.
    name : str, optional
        How error messages call the image (usually the file name).
    carrier : object, optional
        What the reader keeps for the writer (header, other HDUs or blocks). Opaque to the tools.
    zero_border : bool array, shape (H, W, C), optional
        Missing pixels that were exact zeros in the file; the writer puts the zeros back.
    cards : iterable of (keyword, value, comment), optional
        Keywords that the writer adds to the source header.
    history : iterable of str, optional
        HISTORY lines that the writer appends to the source header.

    Raises
    ------
    ValueError
        If the shape is not an image's, C is not 1 or 3, or the dtype is not real.

    Examples
    --------
    >>> import numpy as np
    >>> from common import AstroImage
    >>> image = AstroImage(np.array([[1.0, np.nan], [-3.0, 4.0]], np.float32), name="night.fits")
    >>> image.shape
    (2, 2, 1)
    >>> image.missing[..., 0].tolist()
    [[False, True], [False, False]]
    """

    pixels: np.ndarray
    name: str = "image"
    carrier: Any = None
    zero_border: np.ndarray | None = None
    cards: tuple[Card, ...] = field(default=())
    history: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        pixels = np.asarray(self.pixels)
        if pixels.dtype.kind not in "fiub":
            raise ValueError(
                f"{self.name}: expected real pixels, got dtype {pixels.dtype}. Convert them first."
            )
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        if pixels.ndim != 3 or 0 in pixels.shape:
            raise ValueError(
                f"{self.name}: expected an image of shape (H, W) or (H, W, C), got {pixels.shape}."
            )
        if pixels.shape[-1] not in (1, 3):
            raise ValueError(
                f"{self.name}: expected 1 or 3 channels, got {pixels.shape[-1]} "
                f"(shape {pixels.shape}). Select planes with --channels 0,1,2."
            )
        wide = pixels.dtype.itemsize > 4 or pixels.dtype in (np.int32, np.uint32)
        dtype = np.float64 if wide else np.float32
        if abs(pixels.strides[0]) < abs(pixels.strides[1]):
            # a turned view lies column by column; libraries in C want row after row
            pixels = np.ascontiguousarray(pixels)
        object.__setattr__(self, "pixels", pixels.astype(dtype, copy=False))
        object.__setattr__(self, "cards", tuple(self.cards))
        object.__setattr__(self, "history", tuple(self.history))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.pixels.shape
        return height, width, channels

    @property
    def missing(self) -> np.ndarray:
        """Bool array, shape (H, W, C): True where there is no measurement (NaN or infinite)."""
        return missing_of(self.pixels)

    def with_pixels(
        self, pixels: np.ndarray, *, cards: Iterable[Card] = (), history: Iterable[str] = ()
    ) -> "AstroImage":
        """Return a copy with other pixels of the same (H, W), and cards and history appended."""
        new = replace(
            self,
            pixels=pixels,
            cards=self.cards + tuple(cards),
            history=self.history + tuple(history),
        )
        if new.shape[:2] != self.shape[:2]:
            raise ValueError(f"{self.name}: pixels of shape {new.shape} do not fit {self.shape}.")
        return new
