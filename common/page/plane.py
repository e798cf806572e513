"""What the browser draws: a plane of at most 1200 px in 16 bits, and the numbers of its stretch."""

import json
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from common.blocks import block_reduce
from common.robust import mad_sigma
from common.stretch import valid_samples

MOST_PX = 1200  # px; longest side of a plane: more than the canvas of a laptop shows
TOP_CODE = 65535  # the largest 16-bit code; 0 is a missing pixel
QUANTILES = np.linspace(0.5, 1, 501)  # steps of the slider


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A picture that the page can show.

    Attributes
    ----------
    name, label : str
        In addresses, and for the eye.
    pixels : array, shape (H, W, C)
        Linear, NaN = missing; weights from 0 to 1 if `is_mask`.
    x, y : int
        Where its first pixel lies in the frame, pixels.
    pattern : str
        Colours of a mosaic's filters row by row, such as RGGB; "" for other images.
    is_mask : bool
        Whether it is an overlay.
    same_sky : bool
        Whether it is shown with the median of the input, so that both have one grey.
    """

    name: str
    label: str
    pixels: np.ndarray
    x: int = 0
    y: int = 0
    pattern: str = ""
    is_mask: bool = False
    same_sky: bool = True

    def encode(self, like: "View | None" = None) -> bytes:
        """Return the view as the browser reads it.

        The length of the header (4 bytes, little endian), the header in JSON, then the codes of
        each channel (uint16, little endian). `like` is the input.
        """
        small, factor = self.reduced()
        header: dict[str, Any] = {
            "name": self.name, "label": self.label, "x": self.x, "y": self.y, "factor": factor,
            "width": small.shape[1], "height": small.shape[0], "mask": self.is_mask,
            "frame": list(self.pixels.shape[1::-1]), "channels": [],
        }  # fmt: skip
        planes = []
        for c in range(small.shape[-1]):
            codes, scale = _mask_codes(small[..., c]) if self.is_mask else encode(small[..., c])
            planes.append(codes)
            header["channels"].append(scale)
        if not self.is_mask:
            header["levels"] = self.levels
            own = self.levels["single"]
            sky = own if like is None or not self.same_sky else like.levels["single"]
            header["offset"] = [a["median"] - b["median"] for a, b in zip(sky, own, strict=True)]
        text = json.dumps(header, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        return struct.pack("<I", len(text)) + text + b"".join(one.tobytes() for one in planes)

    @cached_property
    def levels(self) -> dict[str, list[dict[str, Any]]]:
        """Numbers of the stretch, as `levels` gives them."""
        return levels(self._colours())

    def reduced(self) -> tuple[np.ndarray, int]:
        """Return block medians (h, w, C) of at most `MOST_PX`, and the side of a block, pixels."""
        colours = self._colours()
        step = 2 if self._is_rgb_mosaic else 1
        factor = -(-max(colours.shape[:2]) // MOST_PX)
        if factor > 1:
            statistic = "mean" if self.is_mask else "median"
            channels = range(colours.shape[-1])
            colours = np.stack([block_reduce(colours[..., c], factor, statistic)
                                for c in channels], -1)  # fmt: skip
        return colours, factor * step

    @property
    def _is_rgb_mosaic(self) -> bool:
        """Whether 2x2 pixels have the three colours; other mosaics are shown as they are."""
        return len(self.pattern) == 4 and set(self.pattern) == set("RGB")

    def _colours(self) -> np.ndarray:
        """Return the pixels; those of a mosaic as red, green and blue of each 2x2 pixels."""
        if not self._is_rgb_mosaic:
            return self.pixels
        height, width = (side // 2 * 2 for side in self.pixels.shape[:2])
        parts = {(v, u): self.pixels[v:height:2, u:width:2, 0] for v in (0, 1) for u in (0, 1)}
        places = {letter: [parts[divmod(i, 2)] for i, one in enumerate(self.pattern)
                           if one == letter] for letter in "RGB"}  # fmt: skip
        return np.stack([np.mean(places[letter], axis=0) for letter in "RGB"], -1)


def encode(plane: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return codes, uint16 (h, w), of a plane and the numbers that turn them back.

    value = centre + scale sinh(low + step (code - 1)): the steps are far below the noise at the
    sky, and relative where it is bright, so that no star saturates.
    """
    good = np.isfinite(plane)
    values = plane[good].astype(np.float64)
    centre = float(np.median(values)) if values.size else 0.0
    scale = float(mad_sigma(values, centre)) if values.size else 0.0
    spread = float(np.ptp(values)) if values.size else 0.0
    scale = scale or spread or 1.0
    bent = np.arcsinh((values - centre) / scale)
    low, high = (float(bent.min()), float(bent.max())) if values.size else (0.0, 0.0)
    step = (high - low) / (TOP_CODE - 1) or 1.0
    codes = np.zeros(plane.shape, "<u2")
    codes[good] = np.clip(1 + np.round((bent - low) / step), 1, TOP_CODE)
    return codes, {"centre": centre, "scale": scale, "low": low, "step": step}


def decode(codes: np.ndarray, scale: dict[str, float]) -> np.ndarray:
    """Return the values of codes; NaN where one is 0."""
    bent = scale["low"] + scale["step"] * (codes.astype(np.float64) - 1)
    return np.where(codes > 0, scale["centre"] + scale["scale"] * np.sinh(bent), np.nan)


def _mask_codes(plane: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    codes = np.round(np.clip(np.nan_to_num(plane), 0, 1) * TOP_CODE).astype("<u2")
    return codes, {}


def levels(pixels: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """Return what `MtfStretch.fit` measures, for each channel ("single") and all ("linked").

    Minimum, median, sigma (1.4826 MAD) and the values at `QUANTILES`, of pixels (H, W, C).
    """
    found = [valid_samples(pixels[..., c], None, True) for c in range(pixels.shape[-1])]
    single = [_level(*one) for one in found]
    least = min(low for low, _ in found)
    together = single[0]
    if len(found) > 1:
        together = _level(least, np.concatenate([values for _, values in found]))
    return {"single": single, "linked": [together] * len(found)}


def _level(least: float, samples: np.ndarray) -> dict[str, Any]:
    if not samples.size:
        return {"minimum": 0.0, "median": 0.0, "sigma": 0.0, "quantiles": [0.0] * len(QUANTILES)}
    quantiles = np.quantile(samples, QUANTILES)
    sigma = float(mad_sigma(samples, float(quantiles[0])))
    return {
        "minimum": least, "median": float(quantiles[0]), "sigma": sigma,
        "quantiles": quantiles.tolist(),
    }  # fmt: skip
