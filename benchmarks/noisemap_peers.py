"""Classical ways to take streaks, banding and sky off a frame: peers of `bgrem noisemap`."""

from collections.abc import Callable

import numpy as np
import sep
from scipy import ndimage
from skimage.draw import line

from common.robust import mad_sigma

ELEMENT = 15  # px, of the lines along the streaks; a satellite has 3
SMOOTH = 0.7  # px; before an opening, whose minimum would else be noise alone
Map = Callable[[np.ndarray], np.ndarray]


def level(pixels: np.ndarray) -> np.ndarray:
    """Return the median: nothing is taken off."""
    return np.full(pixels.shape, np.median(pixels), float)


def mesh(size: int) -> Map:
    """Return the smooth background of `sep`."""

    def found(pixels: np.ndarray) -> np.ndarray:
        return sep.Background(np.ascontiguousarray(pixels, float), bw=size, bh=size).back()

    return found


def destriped(pixels: np.ndarray) -> np.ndarray:
    """Return mesh, medians of rows, medians of columns."""
    result = mesh(64)(pixels)
    for axis in (1, 0):
        result = result + np.median(pixels - result, axis, keepdims=True)
    return result


def streak_angle(flat: np.ndarray) -> float:
    """Return the streaks' angle, radians from x towards y: along it the light changes least.

    `flat` has neither sky nor banding. The structure tensor of all gradients, each pixel's light
    compressed, so that one bright star does not decide.
    """
    smooth = ndimage.gaussian_filter(flat, 1.0)
    noise = mad_sigma(smooth, 0.0)
    light = np.arcsinh(np.maximum(smooth / noise - 3, 0))
    y, x = np.gradient(light)
    across = 0.5 * np.arctan2(2 * (x * y).sum(), (x**2 - y**2).sum())
    return float((across + np.pi / 2) % np.pi)


def line_element(angle: float, length: int = ELEMENT) -> np.ndarray:
    """Return a boolean footprint of a line through its middle."""
    half = length // 2
    x, y = round(half * np.cos(angle)), round(half * np.sin(angle))
    footprint = np.zeros((2 * half + 1, 2 * half + 1), bool)
    footprint[line(half - y, half - x, half + y, half + x)] = True
    return footprint


def opened(pixels: np.ndarray) -> np.ndarray:
    """Return sky and banding, and what an opening along the streaks keeps of the rest."""
    base = destriped(pixels)
    flat = ndimage.gaussian_filter(pixels - base, SMOOTH)
    streaks = ndimage.grey_opening(flat, footprint=line_element(streak_angle(pixels - base)))
    return base + streaks - np.median(streaks)


def median_along(pixels: np.ndarray) -> np.ndarray:
    """Return sky and banding, and the median along the streaks of the rest."""
    base = destriped(pixels)
    flat = pixels - base
    footprint = line_element(streak_angle(flat))
    return base + ndimage.median_filter(flat, footprint=footprint)


PEERS: dict[str, Map] = {
    "raw frame": level,
    "sep, mesh 64": mesh(64),
    "sep, mesh 32": mesh(32),
    "mesh, rows, columns": destriped,
    "opening along streaks": opened,
    "median along streaks": median_along,
}
