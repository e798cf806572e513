"""Pictures of images for the eye: shrunk, stretched, captioned, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from common.atomic import atomic_write
from common.screen import Stf, apply_stf

MAX_PANEL_PX = 900  # px; longest side of a panel
CAPTION_HEIGHT_PX = 24  # px; height of the line of text


def shrink(pixels: np.ndarray, longest: int = MAX_PANEL_PX) -> np.ndarray:
    """Return block means of (H, W, C) that fit a panel, float64; NaN where nothing is measured."""
    factor = -(-max(pixels.shape[:2]) // longest)
    if factor == 1:
        return pixels.astype(np.float64)
    height, width, channels = pixels.shape
    rows, columns = -(-height // factor), -(-width // factor)
    padded = np.full((rows * factor, columns * factor, channels), np.nan)
    padded[:height, :width] = pixels
    good = np.isfinite(padded)
    axes = (1, 3)
    blocks = np.where(good, padded, 0).reshape(rows, factor, columns, factor, channels).sum(axes)
    counts = good.reshape(rows, factor, columns, factor, channels).sum(axes)
    return np.where(counts > 0, blocks / np.maximum(counts, 1), np.nan)


def display(pixels: np.ndarray, stf: Stf) -> np.ndarray:
    """Return stretched pixels (H, W, C) as uint8 RGB; missing ones are black."""
    shown = np.nan_to_num(apply_stf(pixels, stf))
    shown = np.broadcast_to(shown, (*shown.shape[:2], 3))
    return (255 * np.clip(shown, 0, 1) + 0.5).astype(np.uint8)


def caption(panel: np.ndarray, text: str) -> np.ndarray:
    """Return a panel with a line of text above."""
    canvas = Image.new("RGB", (panel.shape[1], panel.shape[0] + CAPTION_HEIGHT_PX), (24, 24, 24))
    canvas.paste(Image.fromarray(panel), (0, CAPTION_HEIGHT_PX))
    ImageDraw.Draw(canvas).text((8, 6), text, fill=(220, 220, 220))
    return np.asarray(canvas)


def draw_circles(
    panel: np.ndarray, places: np.ndarray, radius: float, colour: tuple[int, int, int]
) -> np.ndarray:
    """Return an RGB panel (H, W, 3) with circles around (x, y), shape (N, 2), 0-based pixels."""
    canvas = Image.fromarray(panel)
    draw = ImageDraw.Draw(canvas)
    for x, y in places:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour)
    return np.asarray(canvas)


def beside(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Return panels of one height with gaps between them."""
    gap = np.full((panels[0].shape[0], 6, 3), 24, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)]
    return np.concatenate(parts[1:], axis=1)


def save_picture(picture: np.ndarray, path: Path, *, overwrite: bool = False) -> None:
    """Write uint8 RGB as PNG, complete or not at all."""
    with atomic_write(path, overwrite) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def write_side_by_side(
    panels: Sequence[tuple[str, np.ndarray]], stf: Stf, path: Path, *, overwrite: bool = False
) -> None:
    """Write (caption, pixels of shape (H, W, C)) beside each other, all in one stretch."""
    save_picture(
        beside([caption(display(pixels, stf), text) for text, pixels in panels]), path,
        overwrite=overwrite,
    )  # fmt: skip
