"""Which sources are sharper than any star: cosmic rays and hot pixels."""

import numpy as np
from scipy import ndimage

from bgrem.config import CatalogConfig
from bgrem.frame.sources import Frame
from bgrem.frame.stars import measure_point_spread
from common.scratch import map_rows

STARS_FOR_SHARPNESS = 16  # stars fitted for the point-spread function
SHARPNESS_SIGMA = 4.0  # noise; by how much the brightest pixel is too bright
REACH_PX = 1  # px around the denoised light: that of a sharp track is drawn wider, or shifted


def sharper_than_stars(
    frame: Frame, segmentation: np.ndarray, saturated: np.ndarray | None = None, *,
    most: float = CatalogConfig.max_sharpness,
) -> np.ndarray:  # fmt: skip
    """Return which sources have too much of their light in one pixel of the original, shape (N,).

    The brightest pixel of a source is compared with the 3 x 3 pixels around it. The optics spread
    the light of a star by at least the point-spread function, centred on a pixel. A track of a
    cosmic ray, which the network has smoothed into a star, was not spread.

    Parameters
    ----------
    frame : Frame
    segmentation : int array, shape (H, W)
        0: no source; 1 to N: its source.
    saturated : bool array, shape (H, W), optional
        Full pixels: their stars say nothing of the point-spread function.
        As sources beside missing pixels they are never marked.
    most : float
        Sharpness from which a source is marked, that of a star on the middle of a pixel being 1.

    Returns
    -------
    bool array, shape (N,)
        All False where too few stars give a point-spread function.
    """
    number = int(segmentation.max())
    scaled = map_rows(np.divide, frame.signal, frame.sigma)
    spread = measure_point_spread(scaled, frame.missing, saturated, most=STARS_FOR_SHARPNESS)
    del scaled
    if spread is None or not number:
        return np.zeros(number, bool)
    stamp = spread.stamp(3)  # sum 1
    most *= stamp[1, 1]
    near = map_rows(
        lambda rows: ndimage.grey_dilation(rows, 2 * REACH_PX + 1), segmentation,
        dtype=segmentation.dtype, halo=REACH_PX,
    )  # fmt: skip
    pixels = np.flatnonzero(near)
    values, labels = (plane.reshape(-1)[pixels] for plane in (frame.signal, near))
    places = ndimage.maximum_position(values, labels, np.arange(1, number + 1))
    y, x = np.divmod(pixels[np.array(places)[:, 0]], near.shape[1])
    del near, pixels, values, labels
    light, variance = (_sum_around(plane, y, x) for plane in (frame.signal, frame.variance))
    # peak - most * light, the peak being a part of the light
    error = np.sqrt((1 - 2 * most) * frame.variance[y, x] + most**2 * variance)
    excess = frame.signal[y, x] - most * light
    # beside a gap or a full pixel light is missing, not sharp
    bad = frame.missing if saturated is None else frame.missing | saturated
    whole = ~ndimage.maximum_filter(bad, 3 + 2 * REACH_PX)[y, x]
    return np.asarray(whole & (excess > SHARPNESS_SIGMA * error))


def _sum_around(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the sum of 3 x 3 pixels around places (N,), the edge's pixels going on beyond it."""
    return 9 * map_rows(
        lambda rows: ndimage.uniform_filter(rows, 3, mode="nearest"), plane, halo=1
    )[y, x]  # fmt: skip
