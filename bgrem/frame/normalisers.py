"""How an image is brought into a network's units: one class for each kind, one row in the table.

Its name is `background` in model.json: training writes it, inference reads it. A new kind is one
class and one row.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from bgrem.frame.background import (
    BACKGROUND_MASK_SIGMA,
    BACKGROUND_MESH_PX,
    Statistics,
    paper_factor,
    whole_image_statistics,
)
from bgrem.frame.counts import counts_statistics
from bgrem.frame.picture.level import picture_statistics


class Normaliser(ABC):
    """What the whole image says of its background and noise.

    Attributes
    ----------
    is_counts : bool
        Pixels are photons: never negative, one electron each.
    subtracts_tile_median : bool
        The network sees each tile without its median.
    keeps_training_tile : bool
        The network is not given larger tiles than it was trained with.
    keeps_background : bool
        The background stays in the result.
    leaves_remainder : bool
        The network is trained to remove what the smooth background leaves of the sky.
    """

    is_counts = False
    subtracts_tile_median = False
    keeps_training_tile = False
    keeps_background = False
    leaves_remainder = False

    @abstractmethod
    def fit(
        self,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        mesh: int = BACKGROUND_MESH_PX,
        mask_sigma: float = BACKGROUND_MASK_SIGMA,
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
        mask_sigma : float, optional
            Smoothed pixels above this, in noise, are kept out of the background.
        factor : float, optional
            1 / noise, in place of the measured noise.

        Raises
        ------
        ValueError
            If no pixel is measured, or there is no noise.
        """

    def training_pair(
        self, observed: np.ndarray, clean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return observed and clean pixels, both (H, W), in the network's units."""
        found = self.fit(observed)
        return found.forward(observed), clean / found.sigma


class SmoothBackground(Normaliser):
    """Smooth background and noise of the whole image."""

    leaves_remainder = True

    def fit(
        self,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        mesh: int = BACKGROUND_MESH_PX,
        mask_sigma: float = BACKGROUND_MASK_SIGMA,
        factor: float | None = None,
    ) -> Statistics:
        """Return smooth background and noise; arguments as in `Normaliser`."""
        found = whole_image_statistics(pixels, missing, mesh=mesh, mask_sigma=mask_sigma)
        return _with_factor(found, factor)


class PoissonCounts(Normaliser):
    """Photon counts: their smooth level, and its square root as noise. They need no mesh."""

    is_counts = True
    keeps_training_tile = True

    def fit(
        self,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        mesh: int = BACKGROUND_MESH_PX,
        mask_sigma: float = BACKGROUND_MASK_SIGMA,
        factor: float | None = None,
    ) -> Statistics:
        """Return smooth level and its square root; arguments as in `Normaliser`."""
        return _with_factor(counts_statistics(pixels, missing), factor)


class TileMedian(Normaliser):
    """The published recipe: one factor for the whole image, and the median of each tile."""

    subtracts_tile_median = True

    def fit(
        self,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        mesh: int = BACKGROUND_MESH_PX,
        mask_sigma: float = BACKGROUND_MASK_SIGMA,
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


class PictureLevel(Normaliser):
    """Pictures: their local level, which is kept, and the noise of each pixel."""

    keeps_background = True

    def fit(
        self,
        pixels: np.ndarray,
        missing: np.ndarray | None = None,
        *,
        mesh: int = BACKGROUND_MESH_PX,
        mask_sigma: float = BACKGROUND_MASK_SIGMA,
        factor: float | None = None,
    ) -> Statistics:
        """Return level and noise; arguments as in `Normaliser`."""
        return _with_factor(picture_statistics(pixels, missing), factor)


def _with_factor(found: Statistics, factor: float | None) -> Statistics:
    """Return statistics with a noise of 1 / factor, or with the measured one."""
    if not factor:
        return found
    return Statistics(found.background, np.full_like(found.sigma, 1 / factor))


NORMALISERS: dict[str, Normaliser] = {
    "smooth": SmoothBackground(),
    "tile-median": TileMedian(),
    "poisson": PoissonCounts(),
    "picture": PictureLevel(),
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
