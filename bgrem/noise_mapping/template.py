"""The streak of a frame: all stars of a staring frame are one picture, times a flux, at a place.

Length, curvature, and what seeing and tracking do along a streak are the same for all stars of an
exposure. So the frame's bright streaks give the picture (as the effective point-spread function of
Anderson & King 2000), and `star_fit` fits it to all of them. The field's distortion turns,
stretches and widens it from place to place: to first order by derivatives of the picture.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline

START_WIDTH_PX = 1.2  # px, sigma of the first guess; what is measured replaces it
REACH_PX = 10  # px from the streak's line; farther out a streak of 3000 noise is under the noise
MAX_WEIGHT_SHARE = 0.15  # of all weight, for one streak: what lies on it must not be measured
HUBER_SIGMA = 2.0  # noise; from here on a pixel counts less, of a frame or of a streak
CLIPPED_CHI_SQUARE = 0.9205  # mean of a squared Gaussian that is clipped at `HUBER_SIGMA`
MEDIAN_CHI_SQUARE = 0.4549  # median of a squared Gaussian
AVERAGE_ROUNDS = 8  # of reweighting: with each the error falls to a tenth where it is none
SPLINE_ORDER = 5  # a cubic one misses 0.5 % of a peak of sigma 1.3 px between pixels
SPLINE_MARGIN = 3  # px, half of the support of such a spline
SLOPE_SMOOTHING_PX = 1.0  # px, less than what seeing smooths
DISTORTIONS = 3  # turned, stretched, widened


@dataclass(frozen=True, eq=False)
class Template:
    """A streak of flux 1.

    Attributes
    ----------
    light : array, shape (S, S)
    error : array, shape (S, S)
        Its standard deviation: what bright streaks differ by, beyond their photons' noise.
    angle, length : float
        Direction (radians from x towards y) and length (px).
    """

    light: np.ndarray
    error: np.ndarray
    angle: float
    length: float

    @property
    def half(self) -> int:
        """Half of the stamp's side, px: its middle is at (half, half)."""
        return int(self.light.shape[0] // 2)

    @cached_property
    def along_and_across(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances from the middle, along the streak and across, px: both (S, S)."""
        v, u = np.mgrid[-self.half : self.half + 1, -self.half : self.half + 1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return u * cos + v * sin, v * cos - u * sin

    def distance(self) -> np.ndarray:
        """Return the distance from the streak's line, px: (S, S)."""
        along, across = self.along_and_across
        return np.hypot(np.maximum(np.abs(along) - self.length / 2, 0), across)

    def splines(self) -> np.ndarray:
        """Return the splines of the light, and of the smoothed light: (2, S + 6, S + 6).

        These are coefficients, with a margin.
        """
        smooth = ndimage.gaussian_filter(self.light, SLOPE_SMOOTHING_PX)
        filtered = [ndimage.spline_filter(one, SPLINE_ORDER, mode="mirror")
                    for one in (self.light, smooth)]  # fmt: skip
        return np.pad(filtered, ((0, 0), (SPLINE_MARGIN,) * 2, (SPLINE_MARGIN,) * 2))


def first_guess(angle: float, length: float) -> Template:
    """Return a straight line of even light."""
    side = 2 * (int(np.ceil(length / 2)) + REACH_PX) + 1
    empty = Template(np.zeros((side, side)), np.zeros((side, side)), angle, length)
    light = np.exp(-(empty.distance() ** 2) / (2 * START_WIDTH_PX**2))
    return replace(empty, light=light / light.sum())


def with_length_of_light(template: Template) -> Template:
    """Return the template with the length that its light has, in a stamp with room for it.

    The light along the streak, summed across, is above half of its median over that length.
    """
    along = np.round(template.along_and_across[0]).astype(int) + 2 * template.half
    profile = np.bincount(along.ravel(), template.light.ravel())
    inside = np.abs(np.arange(len(profile)) - 2 * template.half) < template.length / 2
    length = float((profile > np.median(profile[inside]) / 2).sum())
    more = int(np.ceil(length / 2)) + REACH_PX - template.half
    if more > 0:
        template = replace(
            template, light=np.pad(template.light, more), error=np.pad(template.error, more)
        )
    return replace(template, length=length)


def taps(shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of a pixel's seven neighbours for shifts (N,), and their derivatives.

    Both have shape (N, 7); shifts are within half a pixel.
    """
    knots = np.arange(-SPLINE_MARGIN, SPLINE_MARGIN + 1)
    basis = BSpline.basis_element(knots, extrapolate=False)
    places = knots + np.asarray(shifts)[:, None]
    return np.nan_to_num(basis(places)), np.nan_to_num(basis.derivative()(places))


def distorted(
    template: Template, splines: np.ndarray, columns: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return a streak, moved along and across, turned, stretched and widened: (6, S, S).

    All but the first are derivatives. Those along the streak are of the smoothed light: else a
    star's own noise in the template would hold it where it is, as little else tells its place.

    Parameters
    ----------
    template : Template
    splines : array, shape (2, S + 6, S + 6)
        Of the template.
    columns, rows : array, shape (2, 7)
        Weights of neighbours and their derivatives, as `taps` gives them.
    """
    light, dx, dy = _shifted(splines[0], columns, rows)
    _, smooth_dx, smooth_dy = _shifted(splines[1], columns, rows)
    along, across = template.along_and_across
    cos, sin = np.cos(template.angle), np.sin(template.angle)
    down, beside = smooth_dx * cos + smooth_dy * sin, dy * cos - dx * sin
    return np.stack([light, down, beside, along * beside, along * down, across * beside])


def _shifted(
    spline: np.ndarray, columns: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a shifted picture and its derivatives by the shift in x and y: each (S, S)."""
    inside = slice(SPLINE_MARGIN, -SPLINE_MARGIN)
    moved, sloping = (ndimage.correlate1d(spline, one, 1)[:, inside] for one in columns)
    light, dx, dy = (
        ndimage.correlate1d(one, down, 0)[inside]
        for one, down in ((moved, rows[0]), (sloping, rows[0]), (moved, rows[1]))
    )
    return light, dx, dy


def update_template(
    template: Template, left: np.ndarray, variance: np.ndarray, stars: np.ndarray
) -> Template:
    """Return the template with what is left over at bright streaks, their robust mean.

    What is left over at a streak, over its flux, is moved to the template's pixels. Their mean is
    weighted by flux^2 / variance, with Huber's weights. With r what is left then, v = variance /
    flux^2 and w the weights, the error e is the one with

        sum w min(r^2 / (v + e^2), 2^2) / sum w = 0.92

    as for Gaussian noise, 0 if v alone is enough. No single streak can raise it by much.

    Parameters
    ----------
    template : Template
    left, variance : array, shape (H, W)
        Frame less its stars; its variance, infinite where a pixel does not count.
    stars : array, shape (N, 3)
        x, y, flux of the streaks.
    """
    half = template.half
    pad = half + 1
    padded = np.pad(left, pad)
    inverse = np.pad(1 / variance, pad)  # 0 does not count
    values, weights = [], []
    for x, y, flux in stars:
        column, row = round(x), round(y)
        box = np.s_[row + 1 : row + 2 * half + 2, column + 1 : column + 2 * half + 2]
        moved = ndimage.shift(
            padded[box], (row - y, column - x), order=SPLINE_ORDER, mode="nearest"
        )
        values.append(moved / flux)
        weights.append(flux**2 * inverse[box])
    value, photons = np.array(values), np.array(weights)
    weight = np.minimum(photons, MAX_WEIGHT_SHARE * photons.sum(0))
    weight /= weight.sum(0) + 1e-30
    noise = 1 / np.maximum(photons, 1e-30)
    change = np.median(value, 0)
    error = np.median((value - change) ** 2, 0) / MEDIAN_CHI_SQUARE
    for _ in range(AVERAGE_ROUNDS):
        off = np.abs(value - change) / np.sqrt(noise + error)
        robust = weight * HUBER_SIGMA / np.maximum(off, HUBER_SIGMA)
        change = (robust * value).sum(0) / (robust.sum(0) + 1e-30)
        error *= (weight * np.minimum(off, HUBER_SIGMA) ** 2).sum(0) / CLIPPED_CHI_SQUARE
    error = np.sqrt(error)
    near = template.distance() <= REACH_PX
    light = (template.light + change) * near
    return replace(template, light=light / light.sum(), error=error * near)
