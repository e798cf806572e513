"""How an image is brought into a network's units: one class for each kind, one row in the table.

Its name is `background` in model.json: training writes it, inference reads it. A new kind is one
class and one row.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bgrem.frame.background import (
    BACKGROUND_MESH_PX,
    Statistics,
    paper_factor,
    whole_image_statistics,
)
from bgrem.frame.counts import counts_statistics


class Normaliser:
    """What the whole image says of its background and noise.

    Attributes
    ----------
    is_counts : bool
        Pixels are photons: never negative, one electron each.
    subtracts_tile_median : bool
        The network sees each tile without its median.
    keeps_training_tile : bool
        The network is not given larger tiles than it was trained with.
    """

    is_counts = False
    subtracts_tile_median = False
    keeps_training_tile = False

    def fit(
        self,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        mesh: int = BACKGROUND_MESH_PX,
        factor: float | None = None,
    ) -> Statistics:
        """Return background and noise of an image.

        Parameters
        ----------
        pixels : array, shape (H, W)
        missing : bool array, shape (H, W), optional
            Default: what is not finite.
        mesh : int, optional
            Side of a mesh of the background in pixels.
        factor : float, optional
            1 / noise, in place of the measured noise.

        Raises
        ------
        ValueError
            If no pixel is measured, or there is no noise.
        """
        found = self._measure(pixels, missing, mesh)
        if factor:
            return Statistics(found.background, np.full_like(found.sigma, 1 / factor))
        return found

    def _measure(self, pixels: np.ndarray, missing: np.ndarray | None, mesh: int) -> Statistics:
        raise NotImplementedError

    def training_pair(
        self, observed: np.ndarray, clean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return observed and clean pixels, both (H, W), in the network's units."""
        found = self.fit(observed)
        return found.forward(observed), clean / found.sigma


class SmoothBackground(Normaliser):
    """Smooth background and noise of the whole image."""

    def _measure(self, pixels: np.ndarray, missing: np.ndarray | None, mesh: int) -> Statistics:
        return whole_image_statistics(pixels, missing, mesh=mesh)


class PoissonCounts(Normaliser):
    """Photon counts: their smooth level, and its square root as noise. They need no mesh."""

    is_counts = True
    keeps_training_tile = True

    def _measure(self, pixels: np.ndarray, missing: np.ndarray | None, mesh: int) -> Statistics:
        return counts_statistics(pixels, missing)


class TileMedian(Normaliser):
    """The published recipe: one factor for the whole image, and the median of each tile."""

    subtracts_tile_median = True

    def fit(
        self,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        mesh: int = BACKGROUND_MESH_PX,
        factor: float | None = None,
    ) -> Statistics:
        """Return a background of 0 and 1 / the published factor; arguments as in `Normaliser`."""
        unit = 1 / (factor or paper_factor(pixels))
        background = np.zeros(pixels.shape, np.float32)
        return Statistics(background, np.full(pixels.shape, unit, np.float32))

    def training_pair(
        self, observed: np.ndarray, clean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return observed and clean pixels, both (H, W), times the published factor."""
        factor = paper_factor(observed)
        return observed * factor, clean * factor


NORMALISERS: dict[str, Normaliser] = {
    "smooth": SmoothBackground(),
    "tile-median": TileMedian(),
    "poisson": PoissonCounts(),
}
DEFAULT_NORMALISER = "smooth"  # row of the table for a model whose card names none


def normaliser_of(description: Mapping[str, Any]) -> Normaliser:
    """Return the normaliser of a model's description (model.json).

    Raises
    ------
    ValueError
        If the description names one that does not exist.
    """
    name = description.get("background", DEFAULT_NORMALISER)
    if name not in NORMALISERS:
        raise ValueError(
            f"model.json: background must be one of {', '.join(NORMALISERS)}. Received: {name!r}"
        )
    return NORMALISERS[name]
