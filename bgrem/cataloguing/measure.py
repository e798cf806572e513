"""Measure sources on the original pixels, one at a time without its neighbours' light.

Where to measure (centres and ellipses of apertures) comes from the denoised image, as in
SExtractor's dual-image mode; every flux, centroid, width and shape is of the original pixels.
Definitions are SExtractor's: Bertin & Arnouts 1996, and its manual for the windowed quantities.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bgrem.cataloguing.blends import FittedLight, SharedLight
from bgrem.cataloguing.profile import Profile, core_width
from bgrem.config import CatalogConfig
from bgrem.frame.sources import Frame, segment_moments
from common.robust import FWHM_PER_SIGMA
from common.scratch import map_rows

FLAG_NEIGHBOURS = 1  # bit of FLAGS, as SExtractor has it
FLAG_SATURATED = 4  # bit of FLAGS, as SExtractor has it
FLAG_TRUNCATED = 8  # bit of FLAGS, as SExtractor has it
FLAG_INCOMPLETE = 16  # bit of FLAGS, as SExtractor has it
MAX_NEIGHBOURS_AREA = 0.1  # share of the Kron ellipse, as in SExtractor
MIN_AXIS_PX = np.sqrt(1 / 12)  # px; standard deviation of one pixel
NO_PIXEL = -1e30  # value of a missing pixel, as SExtractor's VIGNET has it

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Ellipses:
    """Where N sources are measured: centres (0-based), axes (standard deviations), Kron radii."""

    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    theta: np.ndarray
    kron: np.ndarray | None = None


def measure_sources(
    frame: Frame,
    segmentation: np.ndarray,
    config: CatalogConfig,
    ellipses: Ellipses | None = None,
    fit: FittedLight | None = None,
) -> Columns:
    """Return SExtractor's columns of all sources, positions 0-based, angles in radians.

    Parameters
    ----------
    frame : Frame
    segmentation : int array, shape (H, W)
        0: no source; 1 to N: its source.
    config : CatalogConfig
        Apertures and Kron factors.
    ellipses : Ellipses, optional
        Default: the moments of the denoised segments, and Kron radii measured there.
    fit : FittedLight, optional
        Profiles of the sources: neighbours are theirs, and apertures lie around fitted places.

    Returns
    -------
    dict of array
        Each of shape (N,), the FLUX_APER ones (N, apertures). Empty where there is no source.
    """
    if not segmentation.any():
        return {}
    light = SharedLight(frame, segmentation, max(config.apertures) / 2, fit)
    shape = light.shape
    if ellipses is None:
        a, b = (np.maximum(np.nan_to_num(axis), MIN_AXIS_PX) for axis in (shape.a, shape.b))
        ellipses = Ellipses(shape.x, shape.y, a, b, shape.theta)
    own = map_rows(lambda rows: np.zeros(rows.shape), segmentation)
    rows = []
    for k, window, pixels, denoised in light.alone():
        mine = segmentation[window] == k + 1
        own[window][mine] = pixels[mine]
        source = _Source(frame, segmentation, window, pixels, denoised, ellipses, k)
        if fit is not None and fit.known(k):
            x, y = fit.fitted.x[k], fit.fitted.y[k]
            source.fit(x, y, fit.profiles.near(y, x))
        rows.append(source.measure(config, light.core_fwhm[k]))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    for name in ("X", "Y", "A", "B", "THETA"):
        columns[f"{name}_DENOISED"] = getattr(ellipses, name.lower())
    columns |= _isophotal(own, segmentation, ellipses)
    columns["FLAGS"] = columns["FLAGS"] | FLAG_TRUNCATED * _touches_border(segmentation, len(light))
    return columns


def cut_vignets(frame: Frame, segmentation: np.ndarray, columns: Columns, side: int) -> np.ndarray:
    """Return the original pixels around each source, shape (N, side, side), as PSFEx wants them.

    Missing pixels and those of other sources are `NO_PIXEL`.
    """
    half = side // 2
    padded = np.pad(np.where(frame.missing, NO_PIXEL, frame.signal), half, constant_values=NO_PIXEL)
    segments = np.pad(segmentation, half)
    stamps = np.empty((len(columns["X_IMAGE"]), side, side), np.float32)
    centres = zip(columns["Y_DENOISED"], columns["X_DENOISED"], strict=True)
    for k, (row, column) in enumerate(centres):
        window = tuple(slice(round(place), round(place) + side) for place in (row, column))
        foreign = (segments[window] != 0) & (segments[window] != k + 1)
        stamps[k] = np.where(foreign, NO_PIXEL, padded[window])
    return stamps


def _isophotal(own: np.ndarray, segmentation: np.ndarray, ellipses: Ellipses) -> Columns:
    """Return barycentres and shapes of the original pixels of each segment.

    Where noise leaves no positive flux or variance, or moves the barycentre by more than the
    source's size, they are those of the denoised segment, and SHAPE_LOST is True.
    """
    found = segment_moments(own, segmentation, len(ellipses.x))
    shift = np.hypot(found.x - ellipses.x, found.y - ellipses.y)
    lost = ~(np.isfinite(found.a) & (shift < 2 * ellipses.a))

    def kept(original: np.ndarray, denoised: np.ndarray) -> np.ndarray:
        return np.where(lost, denoised, original)

    columns = {
        "X_IMAGE": kept(found.x, ellipses.x), "Y_IMAGE": kept(found.y, ellipses.y),
        "A_IMAGE": kept(found.a, ellipses.a), "B_IMAGE": kept(found.b, ellipses.b),
        "THETA_IMAGE": kept(found.theta, ellipses.theta), "SHAPE_LOST": lost,
    }  # fmt: skip
    ratio = columns["B_IMAGE"] / columns["A_IMAGE"]
    return columns | {"ELLIPTICITY": 1 - ratio, "ELONGATION": 1 / ratio}


def _touches_border(segmentation: np.ndarray, number: int) -> np.ndarray:
    """Return which sources have pixels at the edge of the image, shape (N,)."""
    edges = [segmentation[0], segmentation[-1], segmentation[:, 0], segmentation[:, -1]]
    touches = np.zeros(number + 1, int)
    touches[np.concatenate(edges)] = 1
    return touches[1:]


class _Source:
    """One source in its window: its pixels, its denoised pixels, its ellipse."""

    def __init__(
        self, frame: Frame, segmentation: np.ndarray, window: tuple[slice, slice],
        pixels: np.ndarray, denoised: np.ndarray, ellipses: Ellipses, k: int,
    ) -> None:  # fmt: skip
        rows, columns = window
        self.pixels, self.denoised = pixels, denoised
        self.variance = np.ascontiguousarray(frame.variance[window])
        segments = segmentation[window]
        self.foreign = frame.missing[window] | ((segments != 0) & (segments != k + 1))
        self.missing = frame.missing[window]
        self.left, self.bottom = columns.start, rows.start
        self.x, self.y = ellipses.x[k] - columns.start, ellipses.y[k] - rows.start
        self.centre = (np.array([self.x]), np.array([self.y]))
        self.at = self.x, self.y
        self.width = 1.0
        self.ellipse = (ellipses.a[k], ellipses.b[k], ellipses.theta[k])
        self.kron = None if ellipses.kron is None else ellipses.kron[k]
        self.dy = np.arange(pixels.shape[0])[:, None]
        self.dx = np.arange(pixels.shape[1])

    def fit(self, x: float, y: float, profile: Profile) -> None:
        """Lay the circular apertures around a fitted place; FWHM is the profile's, of a star."""
        self.at = x - self.left, y - self.bottom
        self.width = profile.width_over_core

    def measure(self, config: CatalogConfig, core_fwhm: float) -> dict[str, Any]:
        """Return the row of the catalogue."""
        import sep

        kron = self.kron
        if kron is None:
            mine = np.where(self.foreign, 0, self.denoised)
            (first,), _ = sep.kron_radius(mine, *self.centre, *self.ellipse, 6.0)
            kron = max(config.kron_factor * np.nan_to_num(first), config.kron_minimum)
        automatic = (*self.centre, *self.ellipse, kron)
        (flux,), (error,), _ = sep.sum_ellipse(self.pixels, *automatic, var=self.variance)
        (smooth,), _, _ = sep.sum_ellipse(self.denoised, *automatic)
        radius = max(kron * self.ellipse[0], 1.0)
        half_light = self._half_light(self.pixels, flux, radius)
        seen = self._half_light(self.denoised, smooth, radius) or core_fwhm / 2
        diameters = np.array(config.apertures)
        centres = (np.full(len(diameters), axis) for axis in self.at)
        aper, aper_error, _ = sep.sum_circle(
            self.pixels, *centres, diameters / 2, var=self.variance
        )
        return {
            "FLUX_AUTO": flux, "FLUXERR_AUTO": error, "KRON_RADIUS": kron,
            "FLUX_DENOISED": smooth, "FLUX_APER": aper, "FLUXERR_APER": aper_error,
            "FLUX_RADIUS": half_light, "FLAGS": self._flags(kron),
            "FWHM_IMAGE": self.width * core_width(self.pixels, *self.at, core_fwhm),
        } | self._windowed(2 * seen / FWHM_PER_SIGMA)  # fmt: skip

    def _half_light(self, pixels: np.ndarray, flux: float, reach: float) -> float:
        """Return the radius that holds half of a flux; 0 where there is none."""
        import sep

        if not flux > 0:
            return 0.0
        (radius,), _ = sep.flux_radius(
            pixels, *self.centre, [reach], 0.5, normflux=np.array([flux]), subpix=5
        )
        return float(radius)

    def _windowed(self, sigma: float) -> dict[str, Any]:
        """Return centroid and signal-to-noise ratio under a Gaussian window of width sigma (px).

        Errors are the manual's, with the window's flux of the denoised image below the line,
        which noise cannot bring to 0.
        """
        import sep

        (x,), (y,), (flag,) = sep.winpos(self.pixels, *self.centre, [sigma])
        if flag or np.hypot(x - self.x, y - self.y) > FWHM_PER_SIGMA * sigma:
            x, y = self.x, self.y
        dx, dy = self.dx - x, self.dy - y
        weight = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
        noise = weight**2 * self.variance
        scale = 4 / max((weight * self.denoised).sum(), 1e-30) ** 2
        x2, y2, xy = (scale * (noise * part).sum() for part in (dx**2, dy**2, dx * dy))
        middle, half = (x2 + y2) / 2, np.hypot((x2 - y2) / 2, xy)
        return {
            "XWIN_IMAGE": x + self.left, "YWIN_IMAGE": y + self.bottom,
            "ERRAWIN_IMAGE": np.sqrt(middle + half),
            "ERRBWIN_IMAGE": np.sqrt(max(middle - half, 0)),
            "ERRTHETAWIN_IMAGE": 0.5 * np.arctan2(2 * xy, x2 - y2),
            "SNR_WIN": (weight * self.pixels).sum() / np.sqrt(noise.sum()),
        }  # fmt: skip

    def _flags(self, kron: float) -> int:
        """Return SExtractor's bits that the surroundings set."""
        a, b, theta = self.ellipse
        dx, dy = self.dx - self.x, self.dy - self.y
        along = np.cos(theta) * dx + np.sin(theta) * dy
        across = np.cos(theta) * dy - np.sin(theta) * dx
        inside = (along / a) ** 2 + (across / b) ** 2 <= kron**2
        number = max(inside.sum(), 1)
        # cut off by the window, which only the image's edge makes so small
        whole = number >= 0.98 * np.pi * a * b * kron**2 - 2
        flags = (
            FLAG_NEIGHBOURS if (inside & self.foreign).sum() > MAX_NEIGHBOURS_AREA * number else 0
        )
        return flags | (0 if whole and not (inside & self.missing).any() else FLAG_INCOMPLETE)
