"""The fitted background: a spline with few numbers, and its values at any pixel of the frame."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import make_interp_spline

from bgoptimizer.config import BackgroundConfig
from bgoptimizer.surface import evaluate_spline
from common import scratch
from common.progress.stopping import stop_if_asked

if TYPE_CHECKING:
    from bgoptimizer.original.spline import SplineSurface

ROWS_AT_ONCE = 256  # rows evaluated at once: memory
# knots of the separable cubic per frame height: error below 1e-6 of the surface's range
KNOTS_PER_HEIGHT = 240


@dataclass(frozen=True, eq=False)
class SurfacePlane:
    """The surface of one plane of pixels.

    Attributes
    ----------
    control_points : array, shape (N, 2)
        (y, x) in units of `extent`.
    weights, affine : arrays, shapes (N, C) and (3, C)
        Of the polyharmonic spline of `order`.
    order : {2, 3}
    extent : (float, float)
        Pixels that make 1.0 in y and x.
    stretch : MtfStretch or None
        The surface lives in this stretch (`original`); None: it is linear.
    """

    control_points: np.ndarray
    weights: np.ndarray
    affine: np.ndarray
    order: int
    extent: tuple[float, float]
    stretch: Any = None

    def on_knots(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return knot rows, knot columns (pixels) and the linear surface there (h, w, C)."""
        height, width = shape
        short = min(height, width)
        rows = np.linspace(0, height - 1, min(height, max(8, KNOTS_PER_HEIGHT * height // short)))
        columns = np.linspace(0, width - 1, min(width, max(8, KNOTS_PER_HEIGHT * width // short)))
        y, x = np.meshgrid(
            (rows + 0.5) / self.extent[0], (columns + 0.5) / self.extent[1], indexing="ij"
        )
        values = evaluate_spline(
            self.control_points, self.weights, self.affine, self.order,
            np.stack([y, x], -1).reshape(-1, 2),
        ).reshape(*y.shape, -1)  # fmt: skip
        if self.stretch is not None:
            values = self.stretch.inverse(values)
        return rows, columns, values

    def row_blocks(self, shape: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (rows, surface (rows, W, C) float64) from the top down: a separable cubic."""
        height, width = shape
        rows, columns, values = self.on_knots(shape)
        across = _cubic(columns, values, axis=1)(np.arange(width))
        down = _cubic(rows, across, axis=0)
        for start in range(0, height, ROWS_AT_ONCE):
            stop_if_asked()
            stop = min(start + ROWS_AT_ONCE, height)
            yield slice(start, stop), down(np.arange(start, stop))


def _cubic(knots: np.ndarray, values: np.ndarray, axis: int) -> Any:
    return make_interp_spline(knots, values, k=min(3, len(knots) - 1), axis=axis)


@dataclass(frozen=True, eq=False)
class BackgroundModel:
    """A fitted background.

    Attributes
    ----------
    shape : (H, W, C)
        Of the image.
    planes : tuple of SurfacePlane
        One; four (the phases of the 2x2 mosaic, row by row) for Bayer frames.
    cell_factor : int
        Side of the cells in pixels of a plane.
    cells : array, shape (h, w, C)
        Sky values of the blocks, NaN = missing (first phase of a Bayer frame); stretched if the
        planes are (`original`).
    objects : bool array, shape (h, w, C)
        What was recognised as object and left out of the fit.
    used : float array, shape (h, w, C)
        Weight that each cell had.
    sigma_cells : array, shape (h, w, C), or None
        Standard deviation of the surface, if `uncertainty` asked for it.
    rounds : list of (objects (h, w) or None, surface (h, w))
        History of the first channel, for the animation, in the units of the cells.
    notes : tuple of str
        What the user should know.
    """

    shape: tuple[int, int, int]
    config: BackgroundConfig
    planes: tuple[SurfacePlane, ...]
    cell_factor: int
    cells: np.ndarray
    objects: np.ndarray
    used: np.ndarray
    sigma_cells: np.ndarray | None = None
    rounds: list = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def row_blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (rows, background (rows, W, C) float64), top down, in bounded memory."""
        height, width = self.shape[:2]
        if len(self.planes) == 1:
            yield from self.planes[0].row_blocks((height, width))
            return
        whole = scratch.empty(self.shape, np.float32)
        for phase, plane in enumerate(self.planes):
            top, left = divmod(phase, 2)
            part = whole[top::2, left::2]
            for rows, values in plane.row_blocks(part.shape[:2]):
                part[rows] = values
                scratch.release(whole)
        for start in range(0, height, ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, height))
            yield rows, whole[rows].astype(np.float64)
            scratch.release(whole)

    def evaluate(self, dtype: Any = np.float32) -> np.ndarray:
        """Return the background at every pixel, shape (H, W, C), in the image's units."""
        out = scratch.empty(self.shape, dtype)
        for rows, values in self.row_blocks():
            out[rows] = values
            scratch.release(out)
        return out

    def levels(self) -> np.ndarray:
        """Return the median of the background per channel, shape (C,); (4,) for a mosaic."""
        factor = 1 if len(self.planes) == 1 else 2
        shape = (-(-self.shape[0] // factor), -(-self.shape[1] // factor))
        return np.concatenate([
            np.median(plane.on_knots(shape)[2], axis=(0, 1)) for plane in self.planes
        ])  # fmt: skip

    def per_pixel(self, constants: np.ndarray, rows: slice) -> np.ndarray:
        """Return one number per channel (or phase of a mosaic) so that it fits pixels[rows]."""
        if len(self.planes) == 1:
            return constants
        y, x = np.arange(rows.start, rows.stop)[:, None] % 2, np.arange(self.shape[1])[None] % 2
        return constants[2 * y + x][..., None]

    def sigma(self, dtype: Any = np.float32) -> np.ndarray | None:
        """Return the standard deviation of the background at every pixel (H, W, C), or None."""
        return None if self.sigma_cells is None else self.enlarge(self.sigma_cells, dtype)

    def enlarge(self, cells: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
        """Return values of cells (h, w, C) at every pixel (H, W, C): linear between centres."""
        factor = self.cell_factor * (1 if len(self.planes) == 1 else 2)
        return enlarge_cells(cells, factor, self.shape[:2], dtype)

    def keras_layer(self) -> "SplineSurface":
        """Return the (first) plane as a Keras layer with these control points and weights."""
        from bgoptimizer.original.spline import SplineSurface

        plane = self.planes[0]
        layer = SplineSurface(plane.control_points, self.shape[-1], plane.order)
        layer.build((None, 2))
        layer.assign_spline(plane.weights, plane.affine)
        return layer


def enlarge_cells(
    cells: np.ndarray, factor: float, shape: tuple[int, int], dtype: Any = np.float64
) -> np.ndarray:
    """Return cells (h, w, C) at every pixel of `shape`, linear between the cells' centres."""
    rows = np.clip((np.arange(shape[0]) + 0.5) / factor - 0.5, 0, cells.shape[0] - 1)
    columns = np.clip((np.arange(shape[1]) + 0.5) / factor - 0.5, 0, cells.shape[1] - 1)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom = np.minimum(top + 1, cells.shape[0] - 1)
    right = np.minimum(left + 1, cells.shape[1] - 1)
    down, across = (rows - top)[:, None, None], (columns - left)[None, :, None]
    wide = cells[:, left] * (1 - across) + cells[:, right] * across
    found = scratch.empty((*shape, cells.shape[-1]), dtype)
    for part in scratch.row_blocks(found.shape, found):
        upper, lower = wide[top[part]] * (1 - down[part]), wide[bottom[part]] * down[part]
        found[part] = upper + lower
    return found
