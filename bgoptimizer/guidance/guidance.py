"""The user's help for one frame, checked, and as the fit wants it."""

from dataclasses import dataclass

import numpy as np

from bgoptimizer.guidance.reference import Reference
from common.blocks import block_reduce
from common.image import AstroImage

SKY = 1  # what the user knows of a pixel
OBJECT = -1


@dataclass(frozen=True, eq=False)
class Guidance:
    """What the user knows of one plane or image.

    Attributes
    ----------
    weights : array, shape (H, W, C), or None
        1 = use, 0 = leave out.
    known : int8 array, shape (H, W), or None
        `SKY`, `OBJECT`, or 0 where nothing is known.
    reference : Reference or None
        Another image of the field.
    objects : bool array, shape (h, w, C), or None
        Blocks with objects, where they are found already: none is looked for.
    """

    weights: np.ndarray | None = None
    known: np.ndarray | None = None
    reference: Reference | None = None
    objects: np.ndarray | None = None

    def phase(self, top: int, left: int) -> "Guidance":
        """Return what holds for one colour of a Bayer mosaic."""
        part = np.s_[top::2, left::2]
        weights, known = (one if one is None else one[part] for one in (self.weights, self.known))
        return Guidance(weights, known, self.reference)

    def known_cells(self, factor: int) -> np.ndarray | None:
        """Return what is known of blocks, int8 (h, w): sky if a pixel is, object if half of it."""
        if self.known is None:
            return None
        sky = block_reduce((self.known == SKY).astype(np.float32), factor, "mean") > 0
        objects = block_reduce((self.known == OBJECT).astype(np.float32), factor, "mean") >= 0.5
        return np.where(sky, SKY, np.where(objects, OBJECT, 0)).astype(np.int8)


def prepare_guidance(
    image: AstroImage,
    *,
    mask: np.ndarray | None = None,
    samples: np.ndarray | None = None,
    objects: np.ndarray | None = None,
    reference: AstroImage | np.ndarray | None = None,
) -> Guidance:
    """Return the help for an image; the arguments are those of `fit_background`.

    Raises
    ------
    ValueError
        If a shape does not fit, or nothing of it lies in the frame.
    """
    helped = objects is not None or samples is not None
    known = np.zeros(image.shape[:2] if helped else 0, np.int8)
    if objects is not None:
        known[_plane(objects, image, "objects")] = OBJECT
    if samples is not None:
        known[_draw_samples(np.asarray(samples), image)] = SKY  # a point is meant as it is given
    if reference is not None and not isinstance(reference, AstroImage):
        reference = AstroImage(reference, name="reference")
    return Guidance(
        prepare_mask(mask, image),
        known if known.any() else None,
        None if reference is None else Reference(reference, image),
    )


def prepare_mask(mask: np.ndarray | None, image: AstroImage) -> np.ndarray | None:
    """Return a user's mask as float weights 0...1, shape (H, W, C)."""
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.ndim == 2:
        mask = mask[..., None]
    if mask.shape[:2] != image.shape[:2] or mask.shape[-1] not in (1, image.shape[-1]):
        raise ValueError(
            f"mask: expected shape {image.shape[:2]} with 1 or {image.shape[-1]} channels, "
            f"got {mask.shape}. Make it on the same frame."
        )
    if mask.dtype.kind in "iu" and mask.max(initial=0) > 1:
        weights = mask / float(np.iinfo(mask.dtype).max)
    else:
        weights = np.nan_to_num(mask.astype(np.float32))
        if weights.max(initial=0) > 1:
            # masks of 8 and 16 bits read from a file arrive as floats in their own units
            weights = weights / (255.0 if weights.max() <= 255 else 65535.0)
    if not (weights > 0).any():
        raise ValueError("mask: all pixels are masked. 1 means use, 0 means leave out: invert it.")
    return np.broadcast_to(np.clip(weights, 0, 1), image.shape).astype(np.float32)


def _plane(pixels: np.ndarray, image: AstroImage, what: str) -> np.ndarray:
    """Return marked pixels as bool (H, W)."""
    marked = np.asarray(np.nan_to_num(pixels) > 0)
    if marked.ndim == 3 and marked.shape[-1] in (1, 3):
        marked = np.asarray(marked.any(-1))
    if marked.shape != image.shape[:2]:
        raise ValueError(
            f"{what}: expected an image of shape {image.shape[:2]}, got {marked.shape}. "
            "Make it on the same frame."
        )
    return marked


def _draw_samples(samples: np.ndarray, image: AstroImage) -> np.ndarray:
    """Return the pixels of samples, bool (H, W): points (N, 2 or 3), or already such an image."""
    if samples.ndim >= 2 and samples.shape[:2] == image.shape[:2]:
        return _plane(samples, image, "samples")
    if samples.ndim != 2 or samples.shape[1] not in (2, 3) or samples.dtype.kind not in "iuf":
        raise ValueError(
            f"samples: expected points (N, 2), x and y, or (N, 3) with radii, got shape "
            f"{samples.shape}."
        )
    if not np.isfinite(samples).all():
        raise ValueError("samples: a position or radius is not finite. Leave that point out.")
    height, width = image.shape[:2]
    drawn = np.zeros((height, width), bool)
    for x, y, *rest in samples.astype(float):
        radius = max(0.0, rest[0]) if rest else 0.0
        top, left = max(0, round(y - radius)), max(0, round(x - radius))
        bottom, right = min(height, round(y + radius) + 1), min(width, round(x + radius) + 1)
        if top < bottom and left < right:
            v, u = np.ogrid[top:bottom, left:right]
            reach = max(radius, np.sqrt(0.5))  # the pixel that the point lies in
            drawn[top:bottom, left:right] |= (v - y) ** 2 + (u - x) ** 2 <= reach**2
    if not drawn.any():
        raise ValueError(
            f"samples: none of the {len(samples)} points lies in the frame of {width} x {height} "
            "px. Positions are x, y from 0."
        )
    return drawn
