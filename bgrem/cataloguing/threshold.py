"""The catalogue's threshold: one sigma of independent noise, more where noise is correlated."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from bgrem.frame.sources import Frame
from common.robust import ROUNDED_FWHM_PER_SIGMA, darker_half
from common.scratch import map_rows

# sigma; leaves less than one false detection per megapixel of independent noise
WHITE_NOISE_THRESHOLD = 1.0
# Noise of a Gaussian filter of WIDTH, that of independent pixels = 1, less this is the threshold
# that leaves 0 to 7 (median 2) false ones per megapixel of white noise convolved with 17 kernels:
# shifts by linear interpolation, smoothing, Lanczos, drizzling.
INFLATION_OFFSET = 0.15
INFLATION_FWHM_PX = 4.0  # px, FWHM, as of a star; wider ones measure more unseen stars than noise
MAX_EMPTY_SIGMA = 0.3  # sigma of denoised light; brighter pixels are not empty
EMPTY_MARGIN_PX = 3  # px around light that are not empty either
INFLATION_MESH_PX = 256  # px; noise of coadded exposures differs from place to place
MIN_EMPTY_SHARE = 0.1  # of a mesh that must be empty: between blends unseen stars look like noise


@dataclass(frozen=True, eq=False)
class Threshold:
    """A detection threshold in sigma of the original's noise, and where it is from.

    Attributes
    ----------
    sigma : array, shape (H, W), or float
    origin : str
    inflation : array, shape (H, W), or float
        Noise of a star's filter over that of independent pixels: errors of fluxes grow by it. 1
        where the noise is independent.
    """

    sigma: np.ndarray | float
    origin: str
    inflation: np.ndarray | float = 1.0

    @property
    def median(self) -> float:
        """Of all pixels."""
        return float(np.median(self.sigma))


def find_threshold(frame: Frame, given: float | None = None) -> Threshold:
    """Return the threshold that was given, else that for the correlation of the frame's noise.

    Parameters
    ----------
    frame : Frame
    given : float, optional
    """
    residual = map_rows(
        lambda signal, light, noise, bad: np.where(bad, np.nan, signal - light) / noise,
        frame.signal, frame.denoised, frame.sigma, frame.missing,
    )  # fmt: skip
    inflation = star_filter_inflation(residual, map_rows(np.divide, frame.denoised, frame.sigma))
    del residual
    known = np.isfinite(inflation)
    if not known.any():
        sky = "independent noise, as too little sky is empty to measure it"
        return Threshold(WHITE_NOISE_THRESHOLD if given is None else given,
                         sky if given is None else "--threshold")  # fmt: skip
    grid = np.where(known, inflation, np.median(inflation[known]))
    if (grid - INFLATION_OFFSET <= WHITE_NOISE_THRESHOLD).all():
        found = Threshold(WHITE_NOISE_THRESHOLD, "independent noise, as measured")
    else:
        from skimage.transform import resize

        between = resize(grid, frame.signal.shape, order=1, mode="edge")
        found = Threshold(
            np.maximum(WHITE_NOISE_THRESHOLD, between - INFLATION_OFFSET),
            "the correlation of the noise", np.maximum(between, 1),
        )  # fmt: skip
    return found if given is None else replace(found, sigma=given, origin="--threshold")


def star_filter_inflation(residual: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Return the noise of a filter of a star's width / that of independent pixels, in meshes.

    Parameters
    ----------
    residual, clean : array, shape (H, W)
        What was taken off, and what is left, in sigma of the noise; NaN is missing.

    Returns
    -------
    array, shape (rows, columns) of the meshes of about `INFLATION_MESH_PX` px
        NaN where less than `MIN_EMPTY_SHARE` is empty.
    """
    scale = INFLATION_FWHM_PX / ROUNDED_FWHM_PER_SIGMA
    reach = int(np.ceil(4 * scale)) + 1  # px; of the Gaussian

    def is_empty(residual: np.ndarray, clean: np.ndarray) -> np.ndarray:
        light = ~np.isfinite(residual) | (clean > MAX_EMPTY_SIGMA)
        return ~ndimage.binary_dilation(light, iterations=EMPTY_MARGIN_PX)

    def star_filter_rows(plane: np.ndarray) -> np.ndarray:
        smooth = ndimage.gaussian_filter(plane.astype(np.float32), scale)
        smooth *= 2 * np.sqrt(np.pi) * scale
        return smooth

    def star_filter(plane: np.ndarray) -> np.ndarray:
        return map_rows(star_filter_rows, plane, dtype=np.float32, halo=reach)

    return noise_inflation(
        map_rows(lambda rows: np.where(np.isfinite(rows), rows, 0), residual),
        map_rows(is_empty, residual, clean, dtype=bool, halo=EMPTY_MARGIN_PX),
        star_filter,
        mesh=INFLATION_MESH_PX,
        least_share=MIN_EMPTY_SHARE,
    )


def noise_inflation(
    noise: np.ndarray,
    empty: np.ndarray,
    filtered: Callable[[np.ndarray], np.ndarray],
    *,
    mesh: float = np.inf,
    least_share: float = 0.0,
    least: int = 1,
) -> np.ndarray:
    """Return the noise of a filter / that of independent pixels, in meshes: (rows, columns).

    By the darker half: faint sources are in the brighter one.

    Parameters
    ----------
    noise : array, shape (H, W)
        In sigma of a pixel, sources included; 0 where missing.
    empty : bool array, shape (H, W)
        Pixels without source.
    filtered : callable
        Plane (H, W) -> the filtered plane, scaled so that independent pixels of noise 1 give 1.
    mesh : float, optional
        About the side of a mesh in pixels; default: one for the whole plane.
    least_share, least : float, int, optional
        Empty pixels that a mesh must have, relative to all, and as a number; else it is NaN.
    """
    smooth = filtered(noise)
    rows, columns = (
        np.linspace(0, side, max(1, round(side / mesh)) + 1).astype(int) for side in smooth.shape
    )
    found = np.full((len(rows) - 1, len(columns) - 1), np.nan)
    for j, k in np.ndindex(found.shape):
        area = np.s_[rows[j] : rows[j + 1], columns[k] : columns[k + 1]]
        values = smooth[area][empty[area]]
        if values.size >= max(least, least_share * empty[area].size):
            _, found[j, k] = darker_half(values)
    return found
