"""What the tool shows: before and after, the object map, the stretch, the rounds of a fit."""

from pathlib import Path

import numpy as np
from PIL import Image

from bgoptimizer.cells import automatic_factor
from bgoptimizer.model import BackgroundModel, enlarge_cells
from common.atomic import atomic_write
from common.image import AstroImage
from common.pictures import MAX_PANEL_PX, caption, display, save_picture, shrink, write_side_by_side
from common.screen import auto_stf

OBJECT_COLOUR = np.array([230, 90, 40], float)  # red, green, blue; 0 to 255


def before_after(
    image: AstroImage, model: AstroImage, result: AstroImage, path: Path, *, overwrite: bool = False
) -> None:
    """Write the input, its model and the result side by side, all in the input's stretch."""
    before, background, after = (shrink(one.pixels) for one in (image, model, result))
    level = np.nanmedian(before, axis=(0, 1)) - np.nanmedian(after, axis=(0, 1))
    stf = auto_stf(before, linked=False)
    panels = [("before", before), ("background model", background), ("after", after + level)]
    write_side_by_side(panels, stf, path, overwrite=overwrite)


def object_map(
    image: AstroImage, model: BackgroundModel, path: Path, *, overwrite: bool = False
) -> None:
    """Write the stretched input with what was left out of the fit tinted in orange."""
    small = shrink(image.pixels)
    left_out = model.objects.any(-1, keepdims=True).astype(float)
    scale = image.shape[0] / small.shape[0]
    factor = model.cell_factor * (1 if len(model.planes) == 1 else 2)
    tint = 0.45 * enlarge_cells(left_out, factor / scale, small.shape[:2])
    picture = display(small, auto_stf(small, linked=False))
    mixed = picture * (1 - tint) + OBJECT_COLOUR * tint
    share = 100 * float(model.objects.any(-1).mean())
    labelled = caption(mixed.astype(np.uint8), f"left out of the fit: {share:.0f} %")
    save_picture(labelled, path, overwrite=overwrite)


def animation(
    image: AstroImage, model: BackgroundModel, path: Path, *, overwrite: bool = False
) -> None:
    """Write a GIF of the rounds of the fit: the image minus each round's surface, and the map.

    The stretch is the last round's, as for the picture it ends with.
    """
    if not model.rounds:
        raise ValueError(f"{image.name}: the fit kept no rounds to animate.")
    cells = model.cells[..., :1]
    level = float(np.median(model.rounds[-1][1]))
    frames = [cells - surface[..., None] + level for _, surface in model.rounds]
    stf = auto_stf(frames[-1])
    zoom = max(1, round(MAX_PANEL_PX / 1.5 / max(cells.shape[:2])))
    pictures = []
    for number, ((objects, _), frame) in enumerate(zip(model.rounds, frames, strict=True)):
        panel = display(frame, stf).astype(float)
        if objects is not None:
            edge = objects ^ _eroded(objects)
            panel[edge] = OBJECT_COLOUR
        panel = panel.astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
        text = f"round {number + 1} of {len(frames)}"
        pictures.append(Image.fromarray(caption(panel, text)))
    with atomic_write(path, overwrite) as temporary:
        pictures[0].save(
            temporary, format="GIF", save_all=True, append_images=pictures[1:] + pictures[-1:] * 4,
            duration=350, loop=0,
        )  # fmt: skip


def _eroded(mask: np.ndarray) -> np.ndarray:
    inside = mask.copy()
    inside[1:] &= mask[:-1]
    inside[:-1] &= mask[1:]
    inside[:, 1:] &= mask[:, :-1]
    inside[:, :-1] &= mask[:, 1:]
    return inside


def preview(
    image: AstroImage, weights: np.ndarray | None, path: Path, *, overwrite: bool = False
) -> None:
    """Write the stretch and the user's mask before any fit (masked pixels in orange)."""
    small = shrink(image.pixels)
    picture = display(small, auto_stf(small, linked=False)).astype(float)
    if weights is not None:
        tint = 0.5 * (1 - shrink(weights).mean(-1, keepdims=True))
        picture = picture * (1 - tint) + OBJECT_COLOUR * tint
    rows = automatic_factor(*image.shape[:2])
    text = f"{image.shape[1]} x {image.shape[0]} px, blocks of {rows} px"
    save_picture(caption(picture.astype(np.uint8), text), path, overwrite=overwrite)
