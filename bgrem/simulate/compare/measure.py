"""What a frame says of its noise and its sources: the measures that `compare` sets side by side."""

from dataclasses import dataclass

import numpy as np

from bgrem.frame.background import whole_image_statistics
from bgrem.frame.detect import SEXTRACTOR_KERNEL, SEXTRACTOR_MIN_AREA, extract
from bgrem.frame.sources import mask_frame_sources
from bgrem.frame.spectrum import radial_spectrum
from bgrem.frame.stars import clear_stars, wider_than_pixels, without_brightest

# sigma per pixel; with SExtractor's kernel and area hardly a false detection
COMPARISON_DETECTION_SIGMA = 3.0
MIN_PEAK_FOR_RADIUS = 20.0  # sigma; the radius of such a source is measured to a few per cent
MIN_SOURCES_FOR_RADIUS = 5  # bright sources that give the width of a star
STAR_RADIUS_QUANTILE = 0.25  # of the radii: galaxies are wider than stars
COMPARISON_SPECTRUM_BINS = 24  # bins of spatial frequency


@dataclass(frozen=True, eq=False)
class FrameMeasures:
    """Noise and sources of one frame, in units of its local noise unless said otherwise.

    Attributes
    ----------
    level, noise : float
        Medians over the frame of background and noise, in the frame's own units.
    residual : array, shape (H, W), float32
        (frame - background) / noise; NaN where sources are masked or pixels missing.
    fluxes : array, shape (N,)
        Isophotal fluxes of the detected sources.
    megapixels : float
        Measured area.
    star_radius : float
        Radius with half the light of a star in pixels; NaN if too few stars are bright.
    """

    level: float
    noise: float
    residual: np.ndarray
    fluxes: np.ndarray
    megapixels: float
    star_radius: float

    @property
    def values(self) -> np.ndarray:
        """Residuals of all pixels without source, shape (M,)."""
        return self.residual[np.isfinite(self.residual)]


def measure_frame(pixels: np.ndarray) -> FrameMeasures:
    """Return the measures of a frame of shape (H, W); NaN is missing.

    Whole numbers get uniform noise of one unit, always the same, that fills the gaps between them:
    else medians and histograms would depend on where the background lies between two of them.

    Raises
    ------
    ValueError
        If no pixel is measured, the frame is constant, or sources cover it all.
    """
    missing = ~np.isfinite(pixels)
    if is_whole(pixels):
        pixels = pixels + np.random.default_rng(0).uniform(-0.5, 0.5, pixels.shape)
    found = whole_image_statistics(pixels, missing)
    residual = np.where(missing, 0, found.forward(np.where(missing, 0, pixels)))
    mask = missing | mask_frame_sources(residual, missing)
    if (~mask).sum() < 1000:
        raise ValueError("fewer than 1000 pixels without source: no noise can be measured.")
    fluxes, radius = _sources(residual, missing)
    return FrameMeasures(
        level=float(np.median(found.background[~missing])),
        noise=float(np.median(found.sigma[~missing])),
        residual=np.where(mask, np.nan, residual).astype(np.float32),
        fluxes=fluxes,
        megapixels=float((~missing).sum() / 1e6),
        star_radius=radius,
    )


def is_whole(pixels: np.ndarray) -> bool:
    """Return whether all measured pixels are whole numbers."""
    return bool((pixels[np.isfinite(pixels)] % 1 == 0).all())


def _sources(residual: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the fluxes of all sources and the half-light radius of the stars."""
    import sep

    data = np.ascontiguousarray(residual, np.float32)
    found = extract(
        data,
        COMPARISON_DETECTION_SIGMA,
        mask=missing,
        minarea=SEXTRACTOR_MIN_AREA,
        filter_kernel=SEXTRACTOR_KERNEL,
    )
    found = found[wider_than_pixels(found)]
    clear = clear_stars(found, MIN_PEAK_FOR_RADIUS)
    if len(clear) < MIN_SOURCES_FOR_RADIUS:
        return found["flux"], np.nan
    stars = without_brightest(clear)
    radius, _ = sep.flux_radius(
        data, stars["x"], stars["y"], 6 * stars["a"], 0.5, normflux=stars["flux"], mask=missing
    )
    return found["flux"], float(np.quantile(radius, STAR_RADIUS_QUANTILE))


def lag_correlation(residual: np.ndarray, axis: int) -> float:
    """Return the correlation of next neighbours; axis 1: within rows, axis 0: within columns."""
    first = residual[:, :-1] if axis else residual[:-1]
    second = residual[:, 1:] if axis else residual[1:]
    both = np.isfinite(first) & np.isfinite(second) & (np.abs(first) < 5) & (np.abs(second) < 5)
    return float(np.corrcoef(first[both], second[both])[0, 1])


def line_pattern(residual: np.ndarray, axis: int) -> float:
    """Return the rms of the pattern that all pixels of a row (axis 1) or column (axis 0) share."""
    calm = np.where(np.abs(residual) < 5, residual, np.nan)
    number = np.isfinite(calm).sum(axis)
    lines = number > residual.shape[axis] / 4
    if lines.sum() < 3:
        return float("nan")
    means = np.nansum(calm, axis)[lines] / number[lines]
    # white noise leaves its own scatter in the means
    white = np.nanvar(calm) * np.mean(1 / number[lines])
    return float(np.sqrt(max(np.var(means) - white, 0)))


def power_spectrum(residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies (cycles per pixel) and the power there, averaged over all directions.

    The power is in units of the pixel variance: 1 everywhere for white noise. Masked pixels and
    those beyond 5 sigma count as 0.
    """
    good = np.isfinite(residual) & (np.abs(residual) < 5)
    values = np.where(good, residual - residual[good].mean(), 0)
    # below 1/32 px the background's mesh has taken the power off, beyond 1/2 only corners are left
    edges = np.linspace(1 / 32, 0.5, COMPARISON_SPECTRUM_BINS + 1)
    power = radial_spectrum(values, edges)
    filled = np.isfinite(power)
    return (0.5 * (edges[1:] + edges[:-1]))[filled], power[filled]


def count_slope(fluxes: np.ndarray, faintest: float) -> float:
    """Return the exponent a of N(>f) ~ f^-a above a flux, by maximum likelihood."""
    bright = fluxes[fluxes > faintest]
    return float(len(bright) / np.log(bright / faintest).sum()) if len(bright) else float("nan")
