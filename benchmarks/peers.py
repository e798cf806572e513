"""The tools and methods that a background fit is measured against, each on one plane of pixels."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.interpolate import RBFInterpolator, make_interp_spline

from common.robust import mad_sigma

CELL_ROWS = 125  # blocks down the frame for the sample fits: as many as our own
KNOT_ROWS = 125  # a polynomial or thin plate is drawn through so many rows
MESH_NOTE = "source-extractor is not installed: its rows are missing. apt install source-extractor"


def sep_mesh(plane: np.ndarray, size: int) -> np.ndarray:
    import sep

    missing = np.isnan(plane)
    data = np.ascontiguousarray(np.nan_to_num(plane), np.float32)
    return sep.Background(data, mask=missing, bw=size, bh=size, fw=3, fh=3).back()


def photutils_mesh(plane: np.ndarray, size: int) -> np.ndarray:
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, SExtractorBackground

    missing = np.isnan(plane)
    return Background2D(
        np.nan_to_num(plane), size, coverage_mask=missing if missing.any() else None,
        filter_size=3, exclude_percentile=90, sigma_clip=SigmaClip(3.0),
        bkg_estimator=SExtractorBackground(),
    ).background  # fmt: skip


def source_extractor(plane: np.ndarray, size: int) -> np.ndarray:
    """Return Debian's check image BACKGROUND; missing pixels have weight 0."""
    from astropy.io import fits

    missing = np.isnan(plane)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        fits.writeto(path / "image.fits", np.nan_to_num(plane).astype(np.float32))
        (path / "empty.sex").touch()
        (path / "columns.param").write_text("NUMBER\n")
        command = [
            "source-extractor", "image.fits", "-c", "empty.sex", "-CATALOG_TYPE", "NONE",
            "-PARAMETERS_NAME", "columns.param", "-FILTER", "N", "-VERBOSE_TYPE", "QUIET",
            "-DETECT_THRESH", "1e6", "-BACK_SIZE", str(size), "-BACK_FILTERSIZE", "3",
            "-CHECKIMAGE_TYPE", "BACKGROUND", "-CHECKIMAGE_NAME", "background.fits",
        ]  # fmt: skip
        if missing.any():
            fits.writeto(path / "weight.fits", (~missing).astype(np.float32))
            command += ["-WEIGHT_TYPE", "MAP_WEIGHT", "-WEIGHT_IMAGE", "weight.fits"]
        subprocess.run(command, cwd=path, check=True, capture_output=True)
        return fits.getdata(path / "background.fits").astype(np.float32)


def cell_medians(plane: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return medians (h, w) of square cells, NaN where half is missing, and their centres."""
    rows, columns = (-(-n // side) for n in plane.shape)
    padding = [(0, rows * side - plane.shape[0]), (0, columns * side - plane.shape[1])]
    cells = np.pad(plane, padding, constant_values=np.nan)
    cells = cells.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, -1)
    present = np.isfinite(cells)
    whole, usable = present.all(-1), present.mean(-1) >= 0.5
    medians = np.full((rows, columns), np.nan)
    medians[whole] = np.median(cells[whole], axis=-1)
    if (part := usable & ~whole).any():
        medians[part] = np.nanmedian(cells[part], axis=-1)
    return medians, (np.arange(rows) + 0.5) * side, (np.arange(columns) + 0.5) * side


def draw_surface(values: np.ndarray, y: np.ndarray, x: np.ndarray, shape) -> np.ndarray:
    """Return a smooth surface known at y * x as an image: a cubic along each axis."""
    across = make_interp_spline(x, values, axis=1)(np.arange(shape[1]) + 0.5)
    return make_interp_spline(y, across, axis=0)(np.arange(shape[0]) + 0.5).astype(np.float32)


def _knots(shape) -> tuple[np.ndarray, np.ndarray]:
    counts = (KNOT_ROWS, max(8, round(KNOT_ROWS * shape[1] / shape[0])))
    return tuple(np.linspace(0, n, count) for n, count in zip(shape, counts, strict=True))


def _basis(y: np.ndarray, x: np.ndarray, shape, degree: int) -> np.ndarray:
    """Chebyshev products up to a total degree at points (N,), shape (N, terms)."""
    u, v = 2 * y / shape[0] - 1, 2 * x / shape[1] - 1
    terms = np.polynomial.chebyshev.chebvander2d(u, v, [degree, degree])
    i, j = np.mgrid[: degree + 1, : degree + 1].reshape(2, -1)
    return terms[:, i + j <= degree]


def clipped_polynomial(values, y, x, shape, degree: int, upper: float):
    """Fit by least squares, leave out residuals beyond -3 and +upper sigma, repeat."""
    basis = _basis(y, x, shape, degree)
    keep = np.ones(len(values), bool)
    for _ in range(30):
        solution = np.linalg.lstsq(basis[keep], values[keep], rcond=None)[0]
        residual = values - basis @ solution
        centre = np.median(residual[keep])
        sigma = mad_sigma(residual[keep], centre)
        new = (residual > centre - 3 * sigma) & (residual < centre + upper * sigma)
        if (new == keep).all() or new.sum() < 3 * basis.shape[1]:
            break
        keep = new
    return solution, residual, sigma


def polynomial(plane: np.ndarray, degree: int, upper: float) -> np.ndarray:
    medians, rows, columns = cell_medians(plane, max(1, min(plane.shape) // CELL_ROWS))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    good = np.isfinite(medians)
    solution = clipped_polynomial(medians[good], y[good], x[good], plane.shape, degree, upper)[0]
    rows, columns = _knots(plane.shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    values = (_basis(y.ravel(), x.ravel(), plane.shape, degree) @ solution).reshape(y.shape)
    return draw_surface(values, rows, columns, plane.shape)


def thin_plate(plane: np.ndarray, boxes: int, tolerance: float, smoothing: float) -> np.ndarray:
    """Draw a thin plate through sample boxes that are not brighter than their surroundings.

    As DBE and its kin do: boxes on a regular grid, those above a robust second-degree trend by
    more than `tolerance` sigma are rejected.
    """
    side = max(1, min(plane.shape) // CELL_ROWS)
    cells, rows, columns = cell_medians(plane, side)
    group = max(1, round(cells.shape[0] / boxes))
    medians, y, x = cell_medians(cells, group)
    y, x = np.meshgrid(y * side, x * side, indexing="ij")
    good = np.isfinite(medians)
    values, y, x = medians[good], y[good], x[good]
    _, residual, sigma = clipped_polynomial(values, y, x, plane.shape, 2, 2.0)
    keep = residual < tolerance * sigma
    scale, unit = max(float(np.std(values[keep])), 1e-12), plane.shape[0]
    spline = RBFInterpolator(
        np.stack([y, x], -1)[keep] / unit, values[keep] / scale, smoothing=smoothing
    )
    rows, columns = _knots(plane.shape)
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    drawn = scale * spline(points.reshape(-1, 2) / unit).reshape(points.shape[:2])
    return draw_surface(drawn, rows, columns, plane.shape)


def rolling_ball(plane: np.ndarray, radius: float) -> np.ndarray:
    """Roll scikit-image's ball under the smoothed cells; its radius is in cells."""
    from skimage.restoration import rolling_ball as roll

    cells, rows, columns = cell_medians(plane, max(1, min(plane.shape) // CELL_ROWS))
    nearest = ndimage.distance_transform_edt(
        np.isnan(cells), return_distances=False, return_indices=True
    )
    smooth = ndimage.gaussian_filter(cells[tuple(nearest)], 2)
    scale = radius / max(float(np.ptp(smooth)), 1e-12)
    return draw_surface(roll(smooth * scale, radius=radius) / scale, rows, columns, plane.shape)


def peer_methods(quick: bool) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return every peer's settings as 'family setting'."""
    methods: dict[str, Callable] = {}
    for size in (32, 64, 128, 256):
        methods[f"sep {size}"] = partial(sep_mesh, size=size)
    for size in () if quick else (64, 128):
        methods[f"photutils {size}"] = partial(photutils_mesh, size=size)
    if shutil.which("source-extractor"):
        for size in (64, 128, 256):
            methods[f"SExtractor {size}"] = partial(source_extractor, size=size)
    else:
        print(f"*** {MESH_NOTE}", file=sys.stderr)
    for degree in range(1, 7):
        for upper in (3.0, 1.5):
            name = f"polynomial degree {degree} clip -3+{upper:g}"
            methods[name] = partial(polynomial, degree=degree, upper=upper)
    for boxes in (10, 20):
        for tolerance in (1.0, 2.5):
            for smoothing in (0.0, 0.01):
                name = f"thin-plate {boxes} rows tolerance {tolerance:g} smoothing {smoothing:g}"
                methods[name] = partial(
                    thin_plate, boxes=boxes, tolerance=tolerance, smoothing=smoothing
                )
    for radius in (40, 100):
        methods[f"rolling-ball {radius}"] = partial(rolling_ball, radius=radius)
    return methods
