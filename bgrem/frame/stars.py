"""The point-spread function of a frame, measured on its unsaturated, isolated stars."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from bgrem.frame.detect import SEXTRACTOR_MIN_AREA, extract
from common.robust import ROUNDED_FWHM_PER_SIGMA
from common.scratch import map_rows

MIN_STAR_PEAK_SIGMA = 20.0  # sigma; the width is good to a few per cent
MIN_FAINT_STAR_PEAK_SIGMA = 8.0  # sigma; the width is good to some ten per cent
STAR_DETECTION_SIGMA = 4.0  # sigma per pixel; with five pixels above it hardly a false detection
# smoothed / unsmoothed peak: a hot pixel has 0.25, stars of 1.5 px have 0.42
MIN_SMOOTHED_PEAK_RATIO = 0.4
MIN_STARS_FOR_PSF = 3  # stars of one width
MAX_STARS_FOR_PSF = 40  # stars; more do not make the median better than the model is
# stars; fainter ones are then not needed
ENOUGH_BRIGHT_STARS = 20
UNSATURATED_QUANTILE = 0.95  # of the peaks; where no saturation is given
PSF_CORE_LEVEL = 0.25  # of the peak; above it a star is nearly a Gaussian
MAX_STAR_WIDTH_SPREAD = 0.15  # relative; stars differ by less in width, galaxies and blends by more
PSF_SAMPLES_PER_PIXEL = 3  # points per axis that stand for a pixel
PSF_PHASES = 4  # positions per axis within a pixel
DEFAULT_BETA = 3.5  # of ground-based stars, where only the width is given
BETA_RANGE = (1.5, 12.0)  # of the fit; steeper profiles are Gaussians


@dataclass(frozen=True)
class PointSpread:
    """An elliptical Moffat profile, as seen by the pixels.

    Attributes
    ----------
    fwhm : float
        Geometric mean of both axes in pixels, without the pixel's own width.
    beta : float
        Moffat's exponent.
    shear : tuple of float
        Ellipticity (1 - q) / (1 + q) times cos and sin of twice the position angle.
    stars : int
        Number of stars behind it; 0: the width was given.
    """

    fwhm: float
    beta: float = DEFAULT_BETA
    shear: tuple[float, float] = (0.0, 0.0)
    stars: int = 0

    @property
    def profile(self):
        """GalSim's profile of unit flux."""
        import galsim

        return galsim.Moffat(beta=self.beta, fwhm=self.fwhm).shear(
            g1=self.shear[0], g2=self.shear[1]
        )

    def stamp(self, side: int | None = None) -> np.ndarray:
        """Return the profile in the centre of a stamp of odd side, sum 1."""
        side = side or 2 * int(np.ceil(5 * self.fwhm)) + 1
        drawn = self.profile.drawImage(nx=side, ny=side, scale=1.0).array.astype(np.float64)
        return drawn / drawn.sum()

    def light_inside(self, radius: float) -> float:
        """Return the part of all light in a circle around the centre.

        Averaged over places of the centre within its pixel: they matter for narrow stars.
        """
        import sep

        half = int(np.ceil(radius + 2))
        side, profile, inside = 2 * half + 1, self.profile, []
        for dx, dy in itertools.product(np.arange(PSF_PHASES) / PSF_PHASES, repeat=2):
            drawn = profile.drawImage(nx=side, ny=side, scale=1.0, offset=(dx, dy)).array
            pixels = drawn.astype(np.float64)
            inside.append(sep.sum_circle(pixels, [half + dx], [half + dy], radius, subpix=0)[0][0])
        return float(np.mean(inside))


@dataclass(frozen=True)
class Stars:
    """Positions (0-based pixels) and widths of a frame's clear stars, each of shape (N,)."""

    x: np.ndarray
    y: np.ndarray
    fwhm: np.ndarray

    def __len__(self) -> int:
        """Return N."""
        return len(self.x)


def find_stars(
    scaled: np.ndarray, missing: np.ndarray, saturated: np.ndarray | None = None
) -> Stars:
    """Return the stars of a frame that tell its point-spread function, brightest first.

    Unsaturated, unblended, compact sources of the width that most of them share.

    Parameters
    ----------
    scaled : array, shape (H, W)
        Pixels with background 0 and noise 1.
    missing : bool array, shape (H, W)
    saturated : bool array, shape (H, W), optional
        Without it the brightest twentieth of many is left out.
    """
    data = map_rows(lambda rows, bad: np.where(bad, 0, rows), scaled, missing, dtype=np.float32)
    found = extract(data, STAR_DETECTION_SIGMA, mask=missing, minarea=SEXTRACTOR_MIN_AREA)
    found = clear_stars(found, MIN_FAINT_STAR_PEAK_SIGMA)
    found = found[np.argsort(-found["peak"], kind="stable")]
    found = found[: max(ENOUGH_BRIGHT_STARS, int((found["peak"] > MIN_STAR_PEAK_SIGMA).sum()))]
    if saturated is None and len(found) > ENOUGH_BRIGHT_STARS:
        found = without_brightest(found)
    elif saturated is not None:
        near = ndimage.maximum_filter(saturated, 7)
        found = found[~near[found["y"].round().astype(int), found["x"].round().astype(int)]]
    fwhm = np.array([_core_width(data, x, y) for x, y in zip(found["x"], found["y"], strict=True)])
    good = np.isfinite(fwhm)
    if good.sum() < MIN_STARS_FOR_PSF:
        return Stars(found["x"][good], found["y"][good], fwhm[good])
    alike = good & (
        np.abs(np.log(np.where(good, fwhm, 1) / _mode(fwhm[good]))) < MAX_STAR_WIDTH_SPREAD
    )
    return Stars(found["x"][alike], found["y"][alike], fwhm[alike])


def wider_than_pixels(found: np.ndarray) -> np.ndarray:
    """Return which records of `sep` (N,) are no hot pixels: bool array of shape (N,)."""
    return np.asarray(found["cpeak"] > MIN_SMOOTHED_PEAK_RATIO * found["peak"])


def clear_stars(found: np.ndarray, least: float) -> np.ndarray:
    """Return the records of `sep` that are stars alone and whole, with a peak above `least`.

    Flags: not blended, not cut by the edge.
    """
    clear = (found["flag"] == 0) & (found["peak"] > least) & wider_than_pixels(found)
    return found[clear]


def without_brightest(found: np.ndarray) -> np.ndarray:
    """Return the records of `sep` without the brightest twentieth, which may be saturated."""
    return found[found["peak"] <= np.quantile(found["peak"], UNSATURATED_QUANTILE)]


def _core_width(data: np.ndarray, x: float, y: float) -> float:
    """Return the FWHM of a Gaussian through the core of a star, NaN if it is none."""
    half = 7
    column, row = round(x), round(y)
    top, left = row - half, column - half
    area = data[max(top, 0) : row + half + 1, max(left, 0) : column + half + 1].astype(np.float64)
    if area.shape != (2 * half + 1, 2 * half + 1):
        return np.nan
    labels, _ = ndimage.label(area > PSF_CORE_LEVEL * area[half, half])
    rows, columns = np.nonzero(labels == labels[half, half])
    if labels[half, half] == 0 or len(rows) < 4:
        return np.nan
    light = area[rows, columns]
    squared = (columns + left - x) ** 2 + (rows + top - y) ** 2
    slope, _ = np.polyfit(squared, np.log(light), 1, w=light)
    return float(ROUNDED_FWHM_PER_SIGMA * np.sqrt(-0.5 / slope)) if slope < 0 else np.nan


def _mode(values: np.ndarray) -> float:
    """Return the densest value: the middle of the half that is narrowest, again and again."""
    part = np.sort(np.log(values))
    while len(part) > 3:
        count = (len(part) + 1) // 2
        start = int(np.argmin(part[count - 1 :] - part[: len(part) - count + 1]))
        part = part[start : start + count]
    return float(np.exp(np.median(part)))


def measure_point_spread(
    scaled: np.ndarray,
    missing: np.ndarray,
    saturated: np.ndarray | None = None,
    *,
    most: int = MAX_STARS_FOR_PSF,
) -> PointSpread | None:
    """Return the median Moffat profile of a frame's stars, or None if there are too few.

    Parameters
    ----------
    scaled, missing, saturated
        As for `find_stars`.
    most : int
        Number of stars to fit, the brightest ones.
    """
    _, fits = fit_stars(scaled, missing, saturated, most=most)
    if len(fits) < MIN_STARS_FOR_PSF:
        return None
    fwhm, beta, first, second = np.median(fits, axis=0)
    return PointSpread(float(fwhm), float(beta), (float(first), float(second)), len(fits))


def fit_stars(
    scaled: np.ndarray, missing: np.ndarray, saturated: np.ndarray | None = None, *, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return places (row, column), (N, 2), and shapes (FWHM, beta, shears), (N, 4), of stars.

    Parameters
    ----------
    scaled, missing, saturated
        As for `find_stars`.
    most : int
        Number of stars to fit, the brightest ones.
    """
    stars = find_stars(scaled, missing, saturated)
    places, shapes = [], []
    for k in range(min(len(stars), most)):
        fitted = _fit_moffat(scaled, missing, stars.x[k], stars.y[k], stars.fwhm[k])
        if fitted is not None:
            places.append((stars.y[k], stars.x[k]))
            shapes.append(fitted)
    return np.reshape(places, (-1, 2)), np.reshape(shapes, (-1, 4))


def _fit_moffat(
    scaled: np.ndarray, missing: np.ndarray, x: float, y: float, fwhm: float
) -> tuple[float, ...] | None:
    """Return (FWHM, beta, shear 1, shear 2) of one star, or None if the fit fails."""
    half = int(np.ceil(2.5 * fwhm))
    column, row = round(x), round(y)
    area = np.s_[row - half : row + half + 1, column - half : column + half + 1]
    if min(row, column) < half or scaled[area].shape != (2 * half + 1,) * 2 or missing[area].any():
        return None
    light = scaled[area].astype(np.float64)
    # photons and errors of the model: the core may not decide alone
    error = np.sqrt(1 + (0.03 * np.maximum(ndimage.gaussian_filter(light, 0.7), 0)) ** 2)

    def residual(values: np.ndarray) -> np.ndarray:
        return ((_moffat_pixels(values, half) - light) / error).ravel()

    peak = light[half, half]
    start = [peak, x - column, y - row, np.log(max(fwhm, 1.0)), np.log(DEFAULT_BETA), 0.0, 0.0, 0.0]
    low = [0, -2, -2, np.log(0.5), np.log(BETA_RANGE[0]), -0.5, -0.5, -np.inf]
    high = [np.inf, 2, 2, np.log(3 * fwhm + 1), np.log(BETA_RANGE[1]), 0.5, 0.5, np.inf]
    done = optimize.least_squares(residual, start, bounds=(low, high), loss="soft_l1", max_nfev=40)
    if not done.success:
        return None
    return float(np.exp(done.x[3])), float(np.exp(done.x[4])), float(done.x[5]), float(done.x[6])


def moffat(squares: np.ndarray, beta: float, scale: float) -> np.ndarray:
    """Return Moffat's profile, 1 in the centre.

    Parameters
    ----------
    squares : array
        Squared distances from the centre.
    beta : float
        Exponent.
    scale : float
        `moffat_scale` / the square of half the full width at half maximum, in the same unit.
    """
    return np.asarray((1 + squares * scale) ** -beta)


def moffat_scale(beta: float) -> float:
    """Return the scale with which `moffat` is 1/2 at a distance of 1."""
    return 2 ** (1 / beta) - 1


def _moffat_pixels(values: np.ndarray, half: int) -> np.ndarray:
    """Return a sheared Moffat profile on a level, averaged over pixels."""
    peak, x, y, log_fwhm, log_beta, first, second, level = values
    beta = np.exp(log_beta)
    steps = (
        (np.arange((2 * half + 1) * PSF_SAMPLES_PER_PIXEL) + 0.5) / PSF_SAMPLES_PER_PIXEL
        - half
        - 0.5
    )
    u, v = np.meshgrid(steps - x, steps - y)
    # the inverse of GalSim's shear, area kept
    norm = 1 / np.sqrt(1 - first**2 - second**2)
    u, v = norm * ((1 - first) * u - second * v), norm * (-second * u + (1 + first) * v)
    radius = 2 * np.sqrt(moffat_scale(beta)) / np.exp(log_fwhm)
    fine = moffat(u * u + v * v, beta, radius**2)
    side = 2 * half + 1
    return (
        peak * fine.reshape(side, PSF_SAMPLES_PER_PIXEL, side, PSF_SAMPLES_PER_PIXEL).mean((1, 3))
        + level
    )
