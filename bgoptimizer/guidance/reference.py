"""Another image of the same field: what both have is object, what differs is background."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from common.blocks import block_reduce
from common.header import celestial_wcs, header_of
from common.image import AstroImage
from common.robust import difference_noise, neighbour_differences
from common.smooth.quadratic import local_quadratic

# cells; Gaussians of the parabola: structure is what it leaves. Wider ones see more of smooth
# objects, and of the background's own waves
STRUCTURE_CELLS = (4.0, 8.0, 16.0)
SCALE_ERROR = 0.03  # relative; a scale that is as sure needs no wider structure
SMOOTHING_CELLS = 1.0  # cells; Gaussian over which noise is averaged before structures are compared
STRUCTURE_SIGMA = 5.0  # noise of the reference; weaker structure does not count
MIN_SCALE_SIGMA = 5.0  # errors; a scale that is less sure is chance
MISFIT_SHARE = 0.1  # of the structure; passbands and saturation let two images differ by as much
CLIP_SIGMA = 2.0  # errors; structures that differ by more lose weight
SCALE_ROUNDS = 10  # of weighting what differs down
MOST_PLACES = 8  # along the side of a block; 64 of them give its median


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference image and the frame that it is for.

    Raises
    ------
    ValueError
        If it cannot be laid over the frame: no WCS in one of them and another shape, no overlap,
        or another number of channels.
    """

    image: AstroImage
    frame: AstroImage

    def __post_init__(self) -> None:
        channels = self.image.shape[-1]
        if channels not in (1, self.frame.shape[-1]):
            raise ValueError(
                f"{self.image.name}: has {channels} channels, {self.frame.name} has "
                f"{self.frame.shape[-1]}. Give a reference with 1 or as many."
            )
        if self._wcs is None and self.image.shape[:2] != self.frame.shape[:2]:
            raise ValueError(
                f"{self.image.name}: has {self.image.shape[:2]} pixels, {self.frame.name} "
                f"{self.frame.shape[:2]}, and one of them has no WCS. Align them first."
            )

    @cached_property
    def _wcs(self) -> tuple | None:
        """WCS of reference and frame, or None where one has none: their pixels are the same."""
        found = [celestial_wcs(header_of(one)) for one in (self.image, self.frame)]
        return None if None in found else tuple(found)

    def cells(self, factor: int) -> np.ndarray:
        """Return the reference's values on the frame's blocks (h, w, C); NaN = none there.

        Medians of places that lie in each block as densely as the reference's pixels do.
        """
        rows, columns = (-(-side // factor) for side in self.frame.shape[:2])
        step = factor / self._per_side(factor)
        inner = (np.arange(self._per_side(factor)) + 0.5) * step - 0.5
        y = (np.arange(rows)[:, None] * factor + inner).ravel()
        x = (np.arange(columns)[:, None] * factor + inner).ravel()
        places = self._places(np.stack(np.meshgrid(y, x, indexing="ij")))
        own = max(1, int(_spacing(places)))
        places = (places + 0.5) / own - 0.5
        planes = []
        for c in range(self.image.shape[-1]):
            plane = self.image.pixels[..., c]
            blocks = block_reduce(plane, own) if own > 1 else plane.astype(np.float64)
            # half a block beyond the last centre there is nothing to interpolate with
            inside = (places > -0.5).all(0) & (places[0] < blocks.shape[0] - 0.5)
            inside &= places[1] < blocks.shape[1] - 0.5
            values = ndimage.map_coordinates(blocks, places, order=1, mode="nearest")
            planes.append(block_reduce(np.where(inside, values, np.nan), len(inner)))
        found = np.stack(planes, -1)
        if not np.isfinite(found).any():
            raise ValueError(
                f"{self.image.name}: does not overlap {self.frame.name}. Check the WCS of both."
            )
        return np.broadcast_to(found, (*found.shape[:2], self.frame.shape[-1]))

    def _per_side(self, factor: int) -> int:
        """Return how many places lie along the side of a block."""
        middle = [side // 2 for side in self.frame.shape[:2]]
        pair = np.array([[[middle[0], middle[0]]], [[middle[1], middle[1] + 1.0]]])
        pixels = factor * _spacing(self._places(pair))
        return int(np.clip(np.ceil(pixels), 1, min(factor, MOST_PLACES)))

    def _places(self, grid: np.ndarray) -> np.ndarray:
        """Return the reference's rows and columns at rows and columns of the frame (2, h, w)."""
        if self._wcs is None:
            return grid
        reference, frame = self._wcs
        sky = frame.all_pix2world(grid[1].ravel(), grid[0].ravel(), 0)
        x, y = reference.all_world2pix(*sky, 0, quiet=True)
        return np.stack([y.reshape(grid[1].shape), x.reshape(grid[0].shape)])


def _spacing(grid: np.ndarray) -> float:
    """Return the distance of neighbouring places (2, h, w) in pixels."""
    steps = [np.hypot(*np.diff(grid, axis=axis)) for axis in (1, 2) if grid.shape[axis] > 1]
    finite = np.concatenate([one[np.isfinite(one)] for one in steps]) if steps else np.ones(1)
    return float(np.median(finite)) if finite.size else 1.0


def scale_of(cells: np.ndarray, reference: np.ndarray, use: np.ndarray) -> tuple[float, float]:
    """Return by how much the light of objects is stronger in a frame than in its reference.

    Parameters
    ----------
    cells, reference : array, shape (h, w)
    use : bool array, shape (h, w)
        Cells that both have, without stars.

    Returns
    -------
    scale, error : float
        From the structure that a parabola leaves: of the finest scale that gives it to within
        `SCALE_ERROR`, else of the scale with the least error. 0 and infinity if there is none.
    """
    best = 0.0, np.inf
    for width in STRUCTURE_CELLS:
        scale, error = _scale_at(cells, reference, use, width)
        if scale > 0 and error / scale < (best[1] / best[0] if best[0] else np.inf):
            best = scale, error
        if best[1] < SCALE_ERROR * best[0]:
            break
    return best


def _scale_at(
    cells: np.ndarray, reference: np.ndarray, use: np.ndarray, width: float
) -> tuple[float, float]:
    """Return scale and error from the structure within `width` cells."""
    structures, variances = [], []
    for plane in (cells, reference):
        filled = np.where(use, plane, 0.0)
        rest = np.where(use, filled - local_quadratic(filled, use, width, 1), 0.0)
        structures.append(ndimage.gaussian_filter(rest, SMOOTHING_CELLS)[use])
        noise = difference_noise(neighbour_differences(np.where(use, plane, np.nan), use))
        variances.append(noise**2 / (4 * np.pi * SMOOTHING_CELLS**2))
    own, other = structures
    strong = np.abs(other) > STRUCTURE_SIGMA * np.sqrt(variances[1])
    if strong.sum() < 9:
        return 0.0, np.inf
    own, other = own[strong], other[strong]
    scale, weight = 0.0, np.ones_like(own)
    for _ in range(SCALE_ROUNDS):
        # noise in the reference alone would make the slope too small
        power = float((weight * (other**2 - variances[1])).sum())
        scale = float((weight * own * other).sum()) / power
        expected = variances[0] + scale**2 * variances[1] + (MISFIT_SHARE * scale * other) ** 2
        weight = 1 / (expected + (own - scale * other) ** 2 / CLIP_SIGMA**2)
    spread = (weight**2 * other**2 * (own - scale * other) ** 2).sum()
    cells_of_one = 4 * np.pi * SMOOTHING_CELLS**2  # the smoothed cells are not independent
    return scale, float(np.sqrt(spread * cells_of_one)) / power
