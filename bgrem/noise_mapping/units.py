"""Units of a raw frame: its smooth background with bands, its noise, the scale of a network."""

from dataclasses import dataclass

import numpy as np

from bgrem.config import NoiseMapConfig
from bgrem.frame.background import BACKGROUND_MESH_PX, bands, whole_image_statistics
from bgrem.models import Model

# noise of a simulated frame in the network's units: it is what the diffusion has at time 118
FRAME_NOISE_IN_UNITS = 0.4


@dataclass(frozen=True, eq=False)
class Units:
    """Of the network, and of the frame's noise: arrays (H, W) in the frame's units.

    `own` is the frame's noise in the network's units; 0 where the network has learned it, too.
    """

    level: np.ndarray
    unit: np.ndarray
    background: np.ndarray
    sigma: np.ndarray
    own: float

    def scaled(self, flat: np.ndarray) -> np.ndarray:
        """Return what the network sees of a frame without background, its noise 1."""
        scaled = (self.background - self.level + self.sigma * flat) / self.unit
        return scaled.astype(np.float32)

    def flat(self, scaled: np.ndarray) -> np.ndarray:
        """Return the opposite of `scaled`."""
        return (self.level - self.background + self.unit * scaled) / self.sigma


def find_units(
    pixels: np.ndarray, missing: np.ndarray, config: NoiseMapConfig, model: Model
) -> Units:
    """Return the units of a channel (H, W) for a model; see `frame_level` and `contrast`."""
    background, sigma = frame_level(pixels, missing, mesh=config.mesh)
    if model.description.get("scaling") == "contrast":
        level, unit = (np.full(pixels.shape, value) for value in contrast(pixels))
        return Units(level, unit, background, sigma, 0.0)
    return Units(background, sigma / FRAME_NOISE_IN_UNITS, background, sigma, FRAME_NOISE_IN_UNITS)


def frame_level(
    pixels: np.ndarray, missing: np.ndarray | None = None, *, mesh: int = BACKGROUND_MESH_PX
) -> tuple[np.ndarray, np.ndarray]:
    """Return what no network is needed for: smooth background with bands, and the noise, (H, W).

    Parameters
    ----------
    pixels, missing, mesh
        As `bgrem.frame.background.whole_image_statistics`.
    """
    missing = ~np.isfinite(pixels) if missing is None else missing
    found = whole_image_statistics(pixels, missing, mesh=mesh)
    return found.background + bands(pixels - found.background, missing), found.sigma


def contrast(pixels: np.ndarray) -> tuple[float, float]:
    """Return level and width of a frame between ZScale's limits (Waldmann et al., Sect. 2)."""
    from astropy.visualization import ZScaleInterval

    known = pixels[np.isfinite(pixels)]
    if not known.size:
        raise ValueError("no pixel is measured.")
    low, high = ZScaleInterval().get_limits(known)
    inside = np.clip(known, low, high)
    if not inside.std() > 0:
        raise ValueError("the frame is constant: there is nothing to map.")
    return float(inside.mean()), float(inside.std())
