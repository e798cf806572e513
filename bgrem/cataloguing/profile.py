"""A point-spread function that can be laid on any place between the pixels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from bgrem.frame.stars import PointSpread
from common.robust import FWHM_PER_SIGMA

OVERSAMPLING = 6  # points of the profile's table per pixel
RADIUS_FWHM = 4.0  # FWHM; the profile is cut off there
MIN_RADIUS_PX = 10.0  # px; rings and spikes of narrow stars reach as far
MAX_WIDTH_ITERATIONS = 20  # of the iteration of a source's width
WIDTH_TOLERANCE = 1e-3  # relative; the iteration ends
# variance of the window / that of the source: wings count less than with 1
WIDTH_WINDOW_VARIANCE = 0.5
MAX_WIDTH_RATIO = 3.0  # measured / expected width; beyond it noise is measured
DISK_SCALE_FWHM = 1 / 16  # FWHM; scale length of the disk of SPREAD_MODEL, as in SExtractor


@dataclass(frozen=True, eq=False)
class Profile:
    """A point-spread function that can be laid on any place between the pixels.

    Attributes
    ----------
    table : array, shape (M, M)
        Light of a pixel whose centre lies (row, column) away from the star; the middle is 0, 0.
    fwhm : float
    step : float
        Pixels from point to point of the table.
    """

    table: np.ndarray
    fwhm: float
    step: float = 1 / OVERSAMPLING

    @classmethod
    def of(cls, spread: PointSpread) -> "Profile":
        """Return the analytic profile."""
        import galsim

        side = table_side(spread.fwhm)
        seen = galsim.Convolve(spread.profile, galsim.Pixel(1.0))
        drawn = seen.drawImage(nx=side, ny=side, scale=1 / OVERSAMPLING, method="no_pixel")
        return cls(drawn.array.astype(np.float64) * OVERSAMPLING**2, max(spread.fwhm, 1.0))

    @property
    def radius(self) -> int:
        """How many pixels the profile reaches."""
        return reach_px(self.fwhm, RADIUS_FWHM, MIN_RADIUS_PX)

    def width(self) -> float:
        """Return the full width at half maximum as the pixels see it, in px, axes averaged."""
        area = (self.table > 0.5 * self.table.max()).sum() * self.step**2
        return float(2 * np.sqrt(area / np.pi))

    @cached_property
    def width_over_core(self) -> float:
        """Width at half maximum / `core_width` of a star without noise."""
        steps = np.arange(-self.radius, self.radius + 1.0)
        star = self.at(*np.meshgrid(steps, steps, indexing="ij"))
        core = core_width(star, self.radius, self.radius, self.width())
        return self.width() / core if core > 0 else 1.0

    def light_inside(self, radius: float) -> float:
        """Return the part of the light in a circle around the star."""
        steps = (np.arange(len(self.table)) - (len(self.table) - 1) / 2) * self.step
        inside = steps[:, None] ** 2 + steps**2 <= radius**2
        return float(self.table[inside].sum() * self.step**2)

    @cached_property
    def _coefficients(self) -> np.ndarray:
        return np.asarray(ndimage.spline_filter(self.table, 3))

    def at(self, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
        """Return the light of pixels whose centres lie so far from the star."""
        middle = (len(self.table) - 1) / 2
        places = np.stack([dy / self.step + middle, dx / self.step + middle])
        return np.asarray(
            ndimage.map_coordinates(self._coefficients, places, order=3, prefilter=False)
        )

    def with_rest(self, rest: np.ndarray, step: float) -> "Profile":
        """Return the profile and what stars have beside it, on a grid of another step."""
        middle, side = (len(self.table) - 1) / 2, np.arange(len(self.table))
        own = (side - middle) * self.step / step + (len(rest) - 1) / 2
        grid = np.meshgrid(own, own, indexing="ij")
        added = ndimage.map_coordinates(rest, grid, order=3, mode="constant")
        return Profile(self.table + added, self.fwhm, self.step)


def core_width(pixels: np.ndarray, x: float, y: float, start: float) -> float:
    """Return the FWHM of the Gaussian that has the core's moment under a Gaussian window, in px.

    Adaptive moments (Bernstein & Jarvis 2002) of a circle; 0 where noise leaves no width.

    Parameters
    ----------
    pixels : array, shape (H, W)
    x, y : float
        Place of the source, 0-based.
    start : float
        FWHM that is expected, px.
    """
    rows, columns = (np.arange(side) for side in pixels.shape)
    square = (columns - x) ** 2 + (rows[:, None] - y) ** 2
    variance = (start / FWHM_PER_SIGMA) ** 2
    for _ in range(MAX_WIDTH_ITERATIONS):
        weighted = np.exp(-square / (2 * WIDTH_WINDOW_VARIANCE * variance)) * pixels
        total = weighted.sum()
        # per axis half of the radial moment; the window makes it smaller: 1/m = 1/v + 1/(c v)
        moment = (weighted * square).sum() / total / 2 if total > 0 else 0.0
        new = moment * (1 + WIDTH_WINDOW_VARIANCE) / WIDTH_WINDOW_VARIANCE
        if not 0 < new < (MAX_WIDTH_RATIO * start / FWHM_PER_SIGMA) ** 2:
            return 0.0
        done = abs(new - variance) < WIDTH_TOLERANCE * variance
        variance = new
        if done:
            break
    return float(FWHM_PER_SIGMA * np.sqrt(variance))


def reach_px(fwhm: float, times: float, least: float) -> int:
    """Return a radius of so many FWHM, at least `least`, in whole pixels."""
    return int(np.ceil(max(times * fwhm, least)))


def table_side(fwhm: float) -> int:
    """Return the points along a side of a profile's table: the profile, and room for shifts."""
    return 2 * (reach_px(fwhm, RADIUS_FWHM, MIN_RADIUS_PX) + 2) * OVERSAMPLING + 1


def with_disk(profile: Profile) -> Profile:
    """Return the profile convolved with a small exponential disk."""
    from scipy.signal import fftconvolve

    scale = DISK_SCALE_FWHM * profile.fwhm / profile.step
    half = int(np.ceil(8 * scale))
    steps = np.arange(-half, half + 1)
    disk = np.exp(-np.hypot(*np.meshgrid(steps, steps)) / scale)
    spread = fftconvolve(profile.table, disk / disk.sum(), mode="same")
    return Profile(spread, profile.fwhm, profile.step)
