"""The streak of a frame: all stars of a staring frame are one picture, times a flux, at a place.

Length, curvature, and what seeing and tracking do along a streak are the same for all stars of an
exposure. So the frame's bright streaks give the picture (as the effective point-spread function of
Anderson & King 2000), and `star_fit` fits it to all of them.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline

from common.robust import MAD_TO_SIGMA

START_WIDTH_PX = 1.2  # px, sigma of the first guess; what is measured replaces it
REACH_PX = 10  # px from the streak's line; farther out a streak of 3000 noise is under the noise
MAX_WEIGHT_SHARE = 0.15  # of all weight, for one streak: what lies on it must not be measured
HUBER_SIGMA = 2.0  # scatter between streaks; from here on a streak counts less
AVERAGE_ROUNDS = 3  # of reweighting
CHANGE_PRIOR = 0.1  # of all weight, that says that the streak is the same all over the frame
SPLINE_ORDER = 5  # a cubic one misses 0.5 % of a peak of sigma 1.3 px between pixels
SPLINE_MARGIN = 3  # px, half of the support of such a spline
TERMS = 3  # the streak in the frame's middle, and its change along x and y


@dataclass(frozen=True, eq=False)
class Template:
    """A streak of flux 1, and how it changes over the frame.

    Attributes
    ----------
    light : array, shape (3, S, S)
        In the frame's middle; what is added at the right edge; at the upper edge.
    angle, length : float
        Direction (radians from x towards y) and length (px).
    shape : tuple of int
        Of the frame.
    """

    light: np.ndarray
    angle: float
    length: float
    shape: tuple[int, int]

    @property
    def half(self) -> int:
        """Half of the stamp's side, px: its middle is at (half, half)."""
        return int(self.light.shape[1] // 2)

    def along_and_across(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances from the middle, along the streak and across, px: both (S, S)."""
        v, u = np.mgrid[-self.half : self.half + 1, -self.half : self.half + 1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return u * cos + v * sin, v * cos - u * sin

    def distance(self) -> np.ndarray:
        """Return the distance from the streak's line, px: (S, S)."""
        along, across = self.along_and_across()
        return np.hypot(np.maximum(np.abs(along) - self.length / 2, 0), across)

    def terms(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the weights of the terms at places (N,): shape (N, 3)."""
        height, width = self.shape
        return np.stack([np.ones(np.shape(x)), 2 * x / width - 1, 2 * y / height - 1], -1)

    def splines(self) -> np.ndarray:
        """Return the coefficients of the terms' splines, with a margin: (3, S + 6, S + 6)."""
        filtered = [ndimage.spline_filter(one, SPLINE_ORDER, mode="mirror") for one in self.light]
        return np.pad(filtered, ((0, 0), (SPLINE_MARGIN,) * 2, (SPLINE_MARGIN,) * 2))


def first_guess(angle: float, length: float, shape: tuple[int, int]) -> Template:
    """Return a straight line of even light."""
    side = 2 * (int(np.ceil(length / 2)) + REACH_PX) + 1
    empty = Template(np.zeros((TERMS, side, side)), angle, length, shape)
    light = empty.light.copy()
    light[0] = np.exp(-(empty.distance() ** 2) / (2 * START_WIDTH_PX**2))
    return replace(empty, light=light / light.sum())


def taps(shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of a pixel's seven neighbours for shifts (N,), and their derivatives.

    Both have shape (N, 7); shifts are within half a pixel.
    """
    knots = np.arange(-SPLINE_MARGIN, SPLINE_MARGIN + 1)
    basis = BSpline.basis_element(knots, extrapolate=False)
    places = knots + np.asarray(shifts)[:, None]
    return np.nan_to_num(basis(places)), np.nan_to_num(basis.derivative()(places))


def shifted(spline: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return a spline (S + 6, S + 6) at weights of neighbours (7,) in both directions: (S, S)."""
    inside = slice(SPLINE_MARGIN, -SPLINE_MARGIN)
    moved = ndimage.correlate1d(spline, columns, 1)[:, inside]
    return np.asarray(ndimage.correlate1d(moved, rows, 0)[inside])


def update_template(
    template: Template, left: np.ndarray, variance: np.ndarray, stars: np.ndarray
) -> Template:
    """Return the template with what is left over at bright streaks, their robust mean.

    What is left over at a streak, over its flux, is moved to the template's pixels. For each of
    them a + b x + c y is fitted to all streaks (x, y: place in the frame from -1 to 1), weighted by
    flux^2 / variance, with Huber's weights.

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
    value, weight = np.array(values), np.array(weights)
    weight = np.minimum(weight, MAX_WEIGHT_SHARE * weight.sum(0))
    middle = np.median(value, 0)
    spread = MAD_TO_SIGMA * np.median(np.abs(value - middle), 0) + 1e-12
    terms, change = template.terms(*stars[:, :2].T), np.zeros_like(template.light)
    change[0] = middle
    prior = np.diag([0, CHANGE_PRIOR, CHANGE_PRIOR])
    for _ in range(AVERAGE_ROUNDS):
        off = value - np.tensordot(terms, change, 1)
        robust = weight / np.maximum(np.abs(off) / (HUBER_SIGMA * spread), 1)
        products = np.einsum("ki,kj->kij", terms, terms).reshape(len(terms), -1)
        normal = np.tensordot(robust, products, (0, 0)).reshape(*middle.shape, TERMS, TERMS)
        right = np.tensordot(robust * value, terms, (0, 0))
        normal += prior * normal[..., :1, :1] + 1e-30 * np.eye(TERMS)
        change = np.moveaxis(np.linalg.solve(normal, right[..., None])[..., 0], -1, 0)
    light = (template.light + change) * (template.distance() <= REACH_PX)
    return replace(template, light=light / light[0].sum())
