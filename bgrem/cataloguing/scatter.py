"""By how much fitted fluxes scatter more than independent noise of the pixels would make them."""

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from bgrem.cataloguing.profile import Profile
from common.robust import mad_sigma
from common.scratch import map_rows

INFLATION_MESH_PX = 256  # px; noise and crowding differ from place to place


def error_inflation(
    left: np.ndarray, variance: np.ndarray, use: np.ndarray, places: tuple[np.ndarray, np.ndarray],
    profile: Profile,
) -> np.ndarray:  # fmt: skip
    """Return the noise of a matched filter over that of independent pixels, (N,), at least 1.

    Neighbouring pixels whose noise is correlated, and stars that are too faint to be listed, make
    it larger. In meshes.

    Parameters
    ----------
    left, variance : array, shape (H, W)
        What the fit leaves of the pixels, and the variance of their noise.
    use : bool array, shape (H, W)
        Pixels that were fitted.
    places : tuple of array, shape (N,)
        Rows and columns of the sources, 0-based.
    profile : Profile
    """
    steps = np.arange(-profile.radius, profile.radius + 1).astype(float)
    stamp = profile.at(*np.meshgrid(steps, steps, indexing="ij"))

    def filtered(left: np.ndarray, variance: np.ndarray, use: np.ndarray) -> np.ndarray:
        weight = np.where(use, 1 / variance, 0)
        power = fftconvolve(weight, stamp**2, mode="same")
        noise = fftconvolve(left * weight, stamp, mode="same")
        return noise / np.sqrt(np.maximum(power, 1e-300))

    noise = map_rows(filtered, left, variance, use, halo=profile.radius)
    height, width = use.shape
    rows, columns = (max(1, round(side / INFLATION_MESH_PX)) for side in use.shape)
    grid = np.ones((rows, columns))
    for i in range(rows):
        for j in range(columns):
            part = np.s_[i * height // rows : (i + 1) * height // rows,
                         j * width // columns : (j + 1) * width // columns]  # fmt: skip
            values = noise[part][use[part]]
            grid[i, j] = max(1.0, float(mad_sigma(values))) if values.size else 1.0
    place = [
        np.clip(axis, 0, side - 1) / side * number - 0.5
        for axis, side, number in ((places[0], height, rows), (places[1], width, columns))
    ]
    return np.asarray(ndimage.map_coordinates(grid, np.nan_to_num(place), order=1, mode="nearest"))
