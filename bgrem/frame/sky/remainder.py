"""What the smooth background has left of the sky, as the network tells it from sources."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from bgrem.frame.background import BACKGROUND_MESH_PX, Statistics
from common import scratch
from common.scratch import row_blocks, with_halo
from common.smooth.quadratic import local_quadratic

LIGHT_SIGMA = 0.5  # noise; less light than this in the denoised image is no source
LIGHT_GROWTH_PX = 2  # px; the faint rim of a source is still its light
BLOCK_SHARE = 4  # blocks along a mesh's side, summed before the surface is fitted


def with_remainder(
    found: Statistics,
    scaled: np.ndarray,
    sources: np.ndarray,
    missing: np.ndarray,
    *,
    mesh: int = BACKGROUND_MESH_PX,
) -> Statistics:
    """Return statistics whose background also has what a network removed smoothly.

    Faint sources that no mask covers lift a mesh, and masks that cover the bright half of the
    noise lower it. Training gives a network what the smooth background leaves of the sky, and asks
    for the sources alone. So what it removes where it shows no source is noise and the rest of the
    sky, which a local parabola tells apart.

    Parameters
    ----------
    found : Statistics
    scaled : array, shape (H, W)
        Pixels in the network's units, missing ones filled.
    sources : array, shape (H, W)
        What the network shows of them, in the same units; values below 0 count as 0.
    missing : bool array, shape (H, W)
    mesh : int, optional
        Standard deviation of the parabola's weights in pixels: the side of a mesh.

    Returns
    -------
    Statistics
        With the same noise. Where no pixel is free of light the background stays as it is.
    """
    removed, free = scratch.empty(scaled.shape, np.float32), scratch.empty(scaled.shape, bool)
    height = len(scaled)
    for rows in row_blocks(scaled.shape, scaled, sources, missing, removed, free):
        removed[rows] = scaled[rows] - np.maximum(sources[rows], 0)
        wide, inner = with_halo(rows, LIGHT_GROWTH_PX, height)
        dark = (sources[wide] < LIGHT_SIGMA) & ~missing[wide]
        free[rows] = ndimage.binary_erosion(
            dark, iterations=LIGHT_GROWTH_PX, border_value=1
        )[inner]  # fmt: skip
    rest = local_quadratic(removed, free, mesh, max(1, mesh // BLOCK_SHARE))
    background = scratch.empty(scaled.shape, found.background.dtype)
    for rows in row_blocks(scaled.shape, rest, found.background, found.sigma, background):
        background[rows] = found.background[rows] + rest[rows] * found.sigma[rows]
    return replace(found, background=background)
