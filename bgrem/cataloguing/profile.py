"""A point-spread function that can be laid on any place between the pixels."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from bgrem.frame.stars import PointSpread

OVERSAMPLING = 6  # points of the profile's table per pixel
RADIUS_FWHM = 4.0  # FWHM; the profile is cut off there
MIN_RADIUS_PX = 10.0  # px; rings and spikes of narrow stars reach as far
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
