"""Units of a raw frame: its smooth background with bands, its noise, the scale of a network.

Three units are in use. Pixels, in the unit of the image. A `flat` frame, without background and in
units of its noise: streaks and points are searched for in it. A `scaled` frame, in the network's
units.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bgrem.config import NoiseMapConfig
from bgrem.frame.background import (
    BACKGROUND_MASK_SIGMA,
    BACKGROUND_MESH_PX,
    bands,
    whole_image_statistics,
)
from bgrem.models import Model
from common.scratch import map_rows

# noise of a simulated frame in the network's units: it is what the diffusion has at time 118
FRAME_NOISE_IN_UNITS = 0.4


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a frame: all arrays of shape (H, W), in the unit of the image.

        flat = (pixels - background) / sigma
        scaled = (pixels - network_level) / network_unit

    Attributes
    ----------
    network_level, network_unit : array
        Zero and unit of what the network is given.
    background, sigma : array
        Smooth background with bands; standard deviation of the noise.
    frame_noise : float
        Noise of the frame in the network's units that belongs to the diffusion; 0 for a network
        that has learned the noise as a part of the structures.
    """

    network_level: np.ndarray
    network_unit: np.ndarray
    background: np.ndarray
    sigma: np.ndarray
    frame_noise: float

    def flatten(self, pixels: np.ndarray) -> np.ndarray:
        """Return the flat frame of pixels (H, W)."""
        return map_rows(
            lambda one, sky, noise: (one - sky) / noise, pixels, self.background, self.sigma,
            dtype=np.result_type(pixels, self.background, self.sigma),
        )  # fmt: skip

    def to_pixels(self, flat: np.ndarray) -> np.ndarray:
        """Return the pixels of a flat frame: the inverse of `flatten`."""
        return map_rows(
            lambda one, sky, noise: sky + noise * one, flat, self.background, self.sigma,
            dtype=np.result_type(flat, self.background, self.sigma),
        )  # fmt: skip

    def to_network(self, flat: np.ndarray) -> np.ndarray:
        """Return a flat frame in the network's units, float32."""
        return map_rows(
            lambda one, sky, noise, level, unit: (sky - level + noise * one) / unit,
            flat, self.background, self.sigma, self.network_level, self.network_unit,
            dtype=np.float32,
        )  # fmt: skip

    def from_network(self, scaled: np.ndarray) -> np.ndarray:
        """Return a scaled frame as a flat one: the inverse of `to_network`."""
        parts = (scaled, self.background, self.sigma, self.network_level, self.network_unit)
        return map_rows(
            lambda one, sky, noise, level, unit: (level - sky + unit * one) / noise, *parts,
            dtype=np.result_type(*parts),
        )  # fmt: skip


def find_units(
    pixels: np.ndarray, missing: np.ndarray, config: NoiseMapConfig, model: Model
) -> Units:
    """Return the units of a channel for a model: by its noise, or by its contrast.

    Parameters
    ----------
    pixels : array, shape (H, W)
        NaN where missing.
    missing : bool array, shape (H, W)
    config : NoiseMapConfig
        `mesh` is the side of the background's mesh, px.
    model : Model
        Its description says how the frames of its training were scaled.

    Raises
    ------
    ValueError
        If no pixel is measured, or the frame is constant, or there is no such scaling.
    """
    name = model.description.get("scaling", DEFAULT_SCALING)
    if name not in SCALINGS:
        raise ValueError(
            f"model.json: scaling must be one of {', '.join(SCALINGS)}. Received: {name!r}"
        )
    background, sigma = frame_level(pixels, missing, mesh=config.mesh, mask_sigma=config.mask_sigma)
    return SCALINGS[name](pixels, background, sigma)


def units_of_noise(pixels: np.ndarray, background: np.ndarray, sigma: np.ndarray) -> Units:
    """Return the units of a model that was trained on frames without noise."""
    unit = map_rows(lambda noise: noise / FRAME_NOISE_IN_UNITS, sigma, dtype=sigma.dtype)
    return Units(background, unit, background, sigma, FRAME_NOISE_IN_UNITS)


def units_of_contrast(pixels: np.ndarray, background: np.ndarray, sigma: np.ndarray) -> Units:
    """Return the units of a model that was trained on raw frames: it has learned their noise."""
    level, unit = (np.full(pixels.shape, value) for value in contrast(pixels))
    return Units(level, unit, background, sigma, 0.0)


# name in model.json (`scaling`): training writes it, inference reads it
SCALINGS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], Units]] = {
    "noise": units_of_noise,
    "contrast": units_of_contrast,
}
DEFAULT_SCALING = "noise"  # row of the table for a model whose card names none


def frame_level(
    pixels: np.ndarray,
    missing: np.ndarray | None = None,
    *,
    mesh: int = BACKGROUND_MESH_PX,
    mask_sigma: float = BACKGROUND_MASK_SIGMA,
) -> tuple[np.ndarray, np.ndarray]:
    """Return smooth background with bands, and the noise, both (H, W): no network is needed for it.

    Parameters
    ----------
    pixels, missing, mesh, mask_sigma
        As in `bgrem.frame.background.whole_image_statistics`.
    """
    missing = ~np.isfinite(pixels) if missing is None else missing
    found = whole_image_statistics(pixels, missing, mesh=mesh, mask_sigma=mask_sigma)
    rest = map_rows(
        np.subtract, pixels, found.background, dtype=np.result_type(pixels, found.background)
    )
    lines = bands(rest, missing)
    return map_rows(np.add, found.background, lines, dtype=np.float32), found.sigma


def contrast(pixels: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the pixels, clipped to ZScale's limits.

    Waldmann et al. (2023, Sect. 2) scale their frames in this way.

    Raises
    ------
    ValueError
        If no pixel is measured, or all have one value.
    """
    from astropy.visualization import ZScaleInterval

    measured = pixels[np.isfinite(pixels)]
    if not measured.size:
        raise ValueError("no pixel is measured.")
    low, high = ZScaleInterval().get_limits(measured)
    clipped = np.clip(measured, low, high)
    if not clipped.std() > 0:
        raise ValueError("the frame is constant: there is nothing to map.")
    return float(clipped.mean()), float(clipped.std())
