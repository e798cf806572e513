"""Planes of a frame and its sources: segments, their moments, masks of light above the noise."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy import ndimage

from common.robust import mad_sigma
from common.scratch import map_rows, release, row_blocks

# sigma of a smoothed frame: above it noise is rare, little noise is masked
COMPARISON_MASK_SIGMA = 4.0
COMPARISON_MASK_SCALES_PX = (1.5, 5.0)  # px; stars, and the wings of bright ones
COMPARISON_MASK_GROWTH = 2.0  # scales; how far the mask goes on around a source


@dataclass(frozen=True, eq=False)
class Frame:
    """The planes that are measured, each (H, W); missing pixels are 0 in all but `missing`.

    Attributes
    ----------
    signal : array
        The original without its smooth background.
    denoised : array
    sigma : array
        Standard deviation of the background's noise.
    variance : array
        The same squared, with the photon noise of the sources where the gain is known.
    missing : bool array
    """

    signal: np.ndarray
    denoised: np.ndarray
    sigma: np.ndarray
    variance: np.ndarray
    missing: np.ndarray

    @classmethod
    def of(
        cls, signal: np.ndarray, denoised: np.ndarray, sigma: np.ndarray, gain: float | None
    ) -> "Frame":
        """Return the frame of planes in which NaN means missing."""
        missing = map_rows(
            lambda one, other: ~(np.isfinite(one) & np.isfinite(other)), signal, denoised,
            dtype=bool,
        )  # fmt: skip
        signal, denoised = (
            map_rows(lambda rows, bad: np.where(bad, 0, rows), plane, missing)
            for plane in (signal, denoised)
        )

        def variance_of(noise: np.ndarray, light: np.ndarray) -> np.ndarray:
            variance = noise.astype(np.float64) ** 2
            return variance if gain is None else variance + np.maximum(light, 0) / gain

        return cls(signal, denoised, sigma, map_rows(variance_of, sigma, denoised), missing)

    def release(self) -> None:
        """Take its pages out of memory; they come back when they are read."""
        release(self.signal, self.denoised, self.sigma, self.variance, self.missing)


@dataclass(frozen=True, eq=False)
class Moments:
    """Flux, barycentre (0-based) and ellipse of N segments, each of shape (N,).

    a, b are standard deviations along the axes in pixels, theta is from x towards y in radians.
    """

    flux: np.ndarray
    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray


def segment_moments(
    pixels: np.ndarray, segmentation: np.ndarray, number: int, above: np.ndarray | float = -np.inf
) -> Moments:
    """Return the moments of pixels (H, W) within each of the segments 1 to N.

    Only pixels brighter than `above`, one value or one for each segment, count. A source of one
    pixel's width gets that pixel's (1/12, as SExtractor does). Where no light is left, or noise
    makes a variance negative, a and b are NaN.
    """
    place = np.flatnonzero(segmentation)
    label, value = segmentation.ravel()[place] - 1, pixels.ravel()[place]
    bright = value > np.broadcast_to(above, number)[label]
    place, label, value = place[bright], label[bright], value[bright]
    row, column = np.divmod(place, segmentation.shape[1])

    def total(*factors: np.ndarray) -> np.ndarray:
        return sum_by_label(label, number, value, *factors)

    with np.errstate(divide="ignore", invalid="ignore"):
        flux = total()
        x, y = total(column) / flux, total(row) / flux
        dx, dy = column - x[label], row - y[label]
        x2, y2, xy = total(dx, dx) / flux, total(dy, dy) / flux, total(dx, dy) / flux
        thin = x2 * y2 - xy**2 < (1 / 12) ** 2
        x2, y2 = x2 + thin / 12, y2 + thin / 12
        middle, half = (x2 + y2) / 2, np.hypot((x2 - y2) / 2, xy)
        usable = (flux > 0) & (middle - half > 0)
        a, b = (np.sqrt(np.where(usable, middle + s * half, np.nan)) for s in (1, -1))
    return Moments(flux, x, y, a, b, 0.5 * np.arctan2(2 * xy, x2 - y2))


def second_moments(
    labels: np.ndarray, weights: np.ndarray, angle: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return variances along and across an angle and the covariance of N objects, px^2: each (N,).

    With u = x cos(angle) + y sin(angle) and v = y cos(angle) - x sin(angle), the mean of a quantity
    q over an object's pixels being <q> = sum(w q) / sum(w):

        along = <(u - <u>)^2>,  across = <(v - <v>)^2>,  covariance = <(u - <u>) (v - <v>)>

    Parameters
    ----------
    labels : array of int, shape (H, W)
        0 is no object; its moments are 0.
    weights : array, shape (H, W)
        Weights w of the pixels, not negative.
    angle : float, optional
        Radians from x towards y.
    """
    y, x = np.nonzero(labels)
    label, weight = labels[y, x], weights[y, x]
    number = int(labels.max()) + 1
    total = np.maximum(sum_by_label(label, number, weight), 1e-9)

    def mean(values: np.ndarray) -> np.ndarray:
        return sum_by_label(label, number, weight, values) / total

    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    u, v = u - mean(u)[label], v - mean(v)[label]
    return mean(u * u), mean(v * v), mean(u * v)


def sum_by_label(label: np.ndarray, number: int, *factors: np.ndarray) -> np.ndarray:
    """Return the sum of a product of factors over the pixels of each label, shape (number,).

    Parameters
    ----------
    label : int array, shape (M,)
        Of each pixel, 0 to `number` - 1.
    number : int
    *factors : array, shape (M,)
        Multiplied in this order.
    """
    return np.bincount(label, np.prod(factors, axis=0), number)


def number_anew(segmentation: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the sources 1 to N have pixels, shape (N,), and the map numbered by those.

    Of blended sources one may have lost all of its pixels to others.
    """
    found = np.zeros(number + 1, bool)
    for rows in row_blocks(segmentation.shape, segmentation):
        found[segmentation[rows]] = True
    kept = found[1:]
    numbers = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    return kept, map_rows(lambda rows: numbers[rows], segmentation, dtype=np.int32)


def mask_frame_sources(residual: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    """Return where sources stand out of a frame's noise, smoothed on two scales, and around them.

    A median filter comes first, so that single bright pixels (artefacts) stay with the noise.

    Parameters
    ----------
    residual : array, shape (H, W)
        Without background; 0 where missing.
    missing : bool array, shape (H, W), optional
        Pixels that say nothing about the noise.
    """
    return mask_sources(
        ndimage.median_filter(residual, 3),
        missing,
        scales=COMPARISON_MASK_SCALES_PX,
        sigma=COMPARISON_MASK_SIGMA,
        growth=COMPARISON_MASK_GROWTH,
    )


def mask_sources(
    pixels: np.ndarray,
    missing: np.ndarray | None = None,
    *,
    scales: tuple[float, ...],
    sigma: float,
    growth: float,
    noise: Callable[[float], np.ndarray | float] | None = None,
    smooth: Callable[[np.ndarray, float], np.ndarray] | None = None,
    opened: bool = False,
) -> np.ndarray:
    """Return where smoothed pixels stand out of the noise on any scale, and around them: (H, W).

    Parameters
    ----------
    pixels : array, shape (H, W)
        Without background; 0 where missing.
    missing : bool array, shape (H, W), optional
        Pixels that say nothing about level and noise.
    scales : tuple of float
        px; widths of the smoothing.
    sigma : float
        Noise of the smoothed pixels; brighter ones belong to sources.
    growth : float
        Scales; how far the mask goes on around them, rounded up to whole pixels.
    noise : callable, optional
        Scale -> noise of the smoothed pixels, one number or an array (H, W). Default: measured.
    smooth : callable, optional
        (pixels, scale) -> light above the level, shape (H, W). Default: a Gaussian, the level is
        the median.
    opened : bool
        Leave out spots that contain no cross of five pixels: noise.
    """
    measured = np.s_[:] if missing is None or missing.all() else ~missing

    def above_median(pixels: np.ndarray, scale: float) -> np.ndarray:
        smoothed = ndimage.gaussian_filter(pixels, scale, mode="nearest")
        return np.asarray(smoothed - np.median(smoothed[measured]))

    def on_scale(scale: float) -> np.ndarray:
        light = (smooth or above_median)(pixels, scale)
        bright = light > sigma * (noise(scale) if noise else mad_sigma(light[measured], 0.0))
        if opened:
            bright = ndimage.binary_opening(bright)
        return np.asarray(ndimage.binary_dilation(bright, iterations=ceil(growth * scale)))

    with ThreadPoolExecutor() as threads:  # the filters let go of Python's lock
        return np.logical_or.reduce(list(threads.map(on_scale, scales)))
