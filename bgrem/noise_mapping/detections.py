"""What remains of a frame: points and trails, with place, light, length and a quality flag."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, optimize

from bgrem.frame.sources import second_moments
from bgrem.noise_mapping.hiding import PEAK_FOOT_SHARE, PEAK_MARGIN_PX, POINT_SIGMA_PX
from bgrem.noise_mapping.streaks import BRIGHT_STREAK_NOISE
from common.header import celestial_wcs, header_of
from common.image import AstroImage, Card

# bits of FLAGS
ON_STREAK, AT_EDGE, SATURATED, MISSING, SHARP = 1, 2, 4, 8, 16
EDGE_PX = 5  # px; nearer to the border an object's light is cut
# mean of the four neighbours / brightest pixel: a point of sigma 0.5 px has 0.2, a hot pixel 0
MIN_NEIGHBOUR_SHARE = 0.1
MIN_ELONGATION = 2.0  # variance along / across; rounder objects have no length and no angle
# keywords of time and place that a tracker needs, as far as the header has them
CARRIED_KEYWORDS = (
    "DATE-OBS", "DATE-BEG", "DATE-AVG", "DATE-END", "TIME-OBS", "TIMESYS", "MJD", "MJD-OBS",
    "MJD-BEG", "MJD-AVG", "MJD-END", "JD", "EXPTIME", "EXPOSURE", "XPOSURE", "FILTER", "OBJECT",
    "TELESCOP", "INSTRUME", "OBSERVER", "OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z", "SITELAT", "SITELONG",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Remains:
    """A residual and what tells how good its places are: all arrays (H, W).

    Attributes
    ----------
    residual, rms : array
        In the image's unit; NaN where missing.
    streaks : array
        Light of the stars in units of the frame's noise.
    saturated : bool array
        Where the frame is cut at the full well.
    """

    residual: np.ndarray
    rms: np.ndarray
    streaks: np.ndarray
    saturated: np.ndarray


def point_significance(residual: np.ndarray, rms: np.ndarray) -> np.ndarray:
    """Return the light under a Gaussian as wide as a satellite over its noise, (H, W).

    White noise of standard deviation 1 has 1 / (2 sqrt(pi) sigma) under a Gaussian of sigma.
    """
    missing = ~np.isfinite(residual)
    smooth = ndimage.gaussian_filter(np.where(missing, 0, residual), POINT_SIGMA_PX)
    smooth = smooth - np.median(smooth[~missing])
    white = 1 / (2 * np.sqrt(np.pi) * POINT_SIGMA_PX)
    return np.asarray(np.where(missing | ~(rms > 0), 0, smooth / (white * np.fmax(rms, 1e-30))))


def alarm_threshold(significance: np.ndarray, false_alarms: float, ignored: np.ndarray) -> float:
    """Return the significance above which noise gives so many peaks in this frame.

    Of Gaussian noise under a Gaussian of sigma, A pixels have (Adler 1981)

        A u exp(-u^2 / 2) / (2 sigma^2 (2 pi)^(3/2))

    peaks above u. Where the frame's own noise is worse, its negative peaks say so: satellites are
    none of them.

    Parameters
    ----------
    significance : array, shape (H, W)
    false_alarms : float
        Expected number in the frame.
    ignored : bool array, shape (H, W)
        Where peaks get a flag and are not counted.
    """
    area = float((~ignored).sum()) / (2 * POINT_SIGMA_PX**2 * (2 * np.pi) ** 1.5)

    def excess(u: float) -> float:
        return area * u * np.exp(-(u**2) / 2) - false_alarms

    gaussian = float(optimize.brentq(excess, 1, 40)) if excess(1) > 0 else 1.0
    negative = -significance
    peaks = negative[(negative == ndimage.maximum_filter(negative, 3)) & ~ignored]
    number = int(np.ceil(false_alarms))
    own = np.sort(peaks)[-number - 1] if len(peaks) > number else 0.0
    return max(gaussian, float(own))


def find_detections(image: AstroImage, remains: Remains, false_alarms: float) -> Any:
    """Return the table of what remains in a frame, the most significant first.

    Columns: NUMBER; X_IMAGE, Y_IMAGE (pixels, the first is 1); ALPHA_J2000, DELTA_J2000 (degrees)
    if the image has a WCS; FLUX, FLUXERR (image's unit); SNR, the highest significance; LENGTH
    (pixels) and ANGLE (degrees from x towards y), 0 and NaN of points; FLAGS: 1 on a streak, 2 at
    the edge, 4 beside saturated, 8 beside missing pixels, 16 sharper than a point: a hot pixel.

    Parameters
    ----------
    image : AstroImage
        Its header has the WCS.
    remains : Remains
    false_alarms : float
        Number that is expected of noise alone in the frame.
    """
    from astropy.table import Table

    significance = point_significance(remains.residual, remains.rms)
    flags = _flags(remains)
    threshold = alarm_threshold(significance, false_alarms, (flags & ~ON_STREAK) > 0)
    labels, number = ndimage.label(significance > PEAK_FOOT_SHARE * threshold, np.ones((3, 3)))
    index = np.arange(1, number + 1)
    peaks = np.atleast_1d(ndimage.maximum(significance, labels, index)) if number else index
    order = index[np.argsort(-peaks)][: int((peaks > threshold).sum())]
    renamed = np.zeros(number + 1, int)
    renamed[order] = np.arange(1, len(order) + 1)
    labels = renamed[labels]
    # a margin for the wings; what two objects share belongs to the nearer one
    near = ndimage.distance_transform_cdt(labels == 0, "chessboard", return_indices=True)
    grown = np.where(near[0] <= PEAK_MARGIN_PX, labels[tuple(near[1])], 0)
    index = np.arange(1, len(order) + 1)
    light = np.nan_to_num(remains.residual)
    flux = np.array([ndimage.sum(light, grown, k) for k in index])
    error = np.sqrt([ndimage.sum(np.nan_to_num(remains.rms) ** 2, grown, k) for k in index])
    weight = np.maximum(significance, 0)
    centres = np.array(ndimage.center_of_mass(weight, labels, index)).reshape(-1, 2)
    length, angle = _shapes(labels, weight)
    bits = np.array([int(np.bitwise_or.reduce(flags[grown == k])) for k in index], np.int16)
    bits += SHARP * _are_sharp(light, labels, index)
    table = Table()
    table["NUMBER"] = index.astype(np.int32)
    table["X_IMAGE"], table["Y_IMAGE"] = centres[:, 1] + 1, centres[:, 0] + 1
    wcs = celestial_wcs(header_of(image))
    if wcs is not None:
        sky = wcs.pixel_to_world(centres[:, 1], centres[:, 0]).icrs
        table["ALPHA_J2000"], table["DELTA_J2000"] = sky.ra.deg, sky.dec.deg
    table["FLUX"], table["FLUXERR"] = flux, np.asarray(error)
    table["SNR"] = np.sort(peaks)[::-1][: len(order)].astype(float)
    table["LENGTH"], table["ANGLE"] = length, angle
    table["FLAGS"] = bits.astype(np.int16)
    for name, (unit, about) in COLUMNS.items():
        if name in table.colnames:
            table[name].unit, table[name].description = unit, about
    table.meta["threshold"] = threshold
    return table


COLUMNS: dict[str, tuple[str | None, str]] = {
    "NUMBER": (None, "running number"),
    "X_IMAGE": ("pixel", "x, the first pixel is 1"),
    "Y_IMAGE": ("pixel", "y, the first pixel is 1"),
    "ALPHA_J2000": ("deg", "right ascension (ICRS)"),
    "DELTA_J2000": ("deg", "declination (ICRS)"),
    "FLUX": (None, "light in the unit of the image"),
    "FLUXERR": (None, "its standard deviation"),
    "SNR": (None, "highest S/N of a point in it"),
    "LENGTH": ("pixel", "of a trail; 0: a point"),
    "ANGLE": ("deg", "of a trail, from x towards y"),
    "FLAGS": (None, "1 streak, 2 edge, 4 full, 8 missing, 16 hot"),
}


def _flags(remains: Remains) -> np.ndarray:
    """Return the bits of each pixel, int (H, W)."""
    edge = np.ones(remains.residual.shape, bool)
    edge[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX] = False
    bits = {
        ON_STREAK: remains.streaks > BRIGHT_STREAK_NOISE,
        AT_EDGE: edge,
        SATURATED: ndimage.binary_dilation(remains.saturated, iterations=PEAK_MARGIN_PX),
        MISSING: ndimage.binary_dilation(~np.isfinite(remains.residual), iterations=PEAK_MARGIN_PX),
    }
    return np.sum([bit * mask.astype(int) for bit, mask in bits.items()], 0)


def _are_sharp(light: np.ndarray, labels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return which objects' brightest pixels have hardly any light around them, (N,)."""
    if not len(index):
        return np.zeros(0, bool)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    around = ndimage.convolve(light, cross, mode="nearest")
    y, x = np.array(ndimage.maximum_position(light, labels, index)).T
    return np.asarray(around[y, x] < MIN_NEIGHBOUR_SHARE * light[y, x])


def _shapes(labels: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return length (px) and angle (degrees) of each object; a line has variance length^2 / 12."""
    xx, yy, xy = (one[1:] for one in second_moments(labels, weight))
    half, root = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    long = half + root > MIN_ELONGATION * np.maximum(half - root, 1e-9)
    length = np.where(long, np.sqrt(12 * 2 * root), 0.0)
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180
    return length, np.where(long, angle, np.nan)


def carried_cards(image: AstroImage) -> list[Card]:
    """Return the cards of time and place in an image's header."""
    header = header_of(image)
    return [(name, header[name], header.comments[name]) for name in CARRIED_KEYWORDS
            if name in header]  # fmt: skip


def write_regions(path: Path, table: Any) -> None:
    """Write detections as regions of DS9, in image coordinates: lines and circles; doubtful red."""
    lines = ["# Region file format: DS9 version 4.1", "global color=green width=1", "image"]
    for row in table:
        x, y, colour = row["X_IMAGE"], row["Y_IMAGE"], " color=red" if row["FLAGS"] else ""
        shape = f"circle({x:.3f},{y:.3f},6)"
        if row["LENGTH"] > 0:
            turned = np.radians(row["ANGLE"])
            dx, dy = row["LENGTH"] / 2 * np.cos(turned), row["LENGTH"] / 2 * np.sin(turned)
            shape = f"line({x - dx:.3f},{y - dy:.3f},{x + dx:.3f},{y + dy:.3f})"
        lines.append(f"{shape} # text={{{row['NUMBER']}}}{colour}")
    path.write_text("\n".join(lines) + "\n", "ascii")
