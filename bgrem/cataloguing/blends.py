"""Share the light of blends: each source of a segmentation map without its neighbours' light.

The denoised image shows blended sources without noise. Each source gets a profile, an elliptical
Moffat function of the height, width and direction that its core has there; the denoised light of a
pixel is shared in proportion to the profiles. What the network took off (noise, and light that it
missed) stays with every source: a share of it would be biased.

Where profiles of stars have been fitted to all sources, they say whose light it is, and only what
they leave of the denoised light is shared.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bgrem.cataloguing.psf import Fitted
from bgrem.cataloguing.scatter import level_of
from bgrem.cataloguing.varying import Profiles
from bgrem.frame.sources import Frame, segment_moments
from bgrem.frame.stars import moffat, moffat_scale
from common.scratch import map_rows, row_blocks

# Of the profile's wings. 3.5 is usual from the ground; with 3 bright sources keep their halos.
# On development fields (crowded) 2.5 and 3 bias stars at S/N 10 to 20 by -2 and +2 %.
CORE_BETA = 3.0
MIN_AXIS_RATIO = 0.2  # of a profile; a noisy source is not made a line
SHARE_WINDOW_AXES = 6.0  # isophotal major axes; SExtractor's limit for the Kron radius
SHARE_WINDOW_FWHM = 3.0  # FWHM; about 2 % of a star's light lie outside
MAX_SHARE_WINDOW_PX = 300  # px; larger galaxies lose the light beyond
# x, y of sources -> their fitted profiles
Fit = Callable[[np.ndarray, np.ndarray], tuple[Fitted, Profiles]]


@dataclass(frozen=True, eq=False)
class FittedLight:
    """The light of all sources as profiles that were fitted to them.

    Attributes
    ----------
    fitted : Fitted
    profiles : Profiles
    level, shared : array, shape (H, W)
        Smooth means of what the denoised image leaves of the pixels, and of what the profiles leave
        of it: light of sources that are not listed.
    """

    fitted: Fitted
    profiles: Profiles
    level: np.ndarray
    shared: np.ndarray

    @classmethod
    def of(cls, frame: Frame, fitted: Fitted, profiles: Profiles) -> "FittedLight":
        """Return it with the levels of a frame."""
        use = map_rows(np.logical_not, frame.missing, dtype=bool)
        levels = [
            level_of(map_rows(np.subtract, light, less), frame.variance, use)
            for light, less in ((frame.signal, frame.denoised), (frame.denoised, fitted.model))
        ]
        return cls(fitted, profiles, *levels)

    def known(self, k: int) -> bool:
        """Return whether source k was fitted."""
        return bool(np.isfinite(self.fitted.flux[k] + self.fitted.error[k]))

    def of_source(self, k: int, window: tuple[slice, slice]) -> np.ndarray:
        """Return the light of source k in the pixels of a window."""
        rows, columns = window
        found = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        if not self.known(k):
            return found
        x, y = self.fitted.x[k], self.fitted.y[k]
        profile = self.profiles.near(y, x)
        inner = tuple(
            slice(max(round(centre) - profile.radius, side.start) - side.start,
                  max(min(round(centre) + profile.radius + 1, side.stop) - side.start, 0))
            for centre, side in ((y, rows), (x, columns))
        )  # fmt: skip
        dy, dx = np.meshgrid(
            np.arange(rows.start, rows.stop)[inner[0]] - y,
            np.arange(columns.start, columns.stop)[inner[1]] - x, indexing="ij",
        )  # fmt: skip
        inside = dy**2 + dx**2 <= profile.radius**2
        light = self.fitted.flux[k] / self.fitted.scale * profile.at(dy, dx)
        found[inner] = np.where(inside, light, 0)
        return found


class SharedLight:
    """The light of a frame, shared between the sources of a segmentation map.

    Parameters
    ----------
    frame : Frame
    segmentation : int array, shape (H, W)
        0: no source; 1 to N: its source.
    reach : float
        Pixels around a source that a window has at least.
    fit : FittedLight, optional
        Of the same sources.

    Attributes
    ----------
    shape : Moments
        Of each source's share of its denoised segment.
    """

    def __init__(
        self, frame: Frame, segmentation: np.ndarray, reach: float = 0.0,
        fit: FittedLight | None = None,
    ) -> None:  # fmt: skip
        self.frame, self.segmentation, self.fit = frame, segmentation, fit
        number = int(segmentation.max())
        whole = segment_moments(frame.denoised, segmentation, number)
        peak = np.zeros(number + 1)
        for rows in row_blocks(segmentation.shape, segmentation, frame.denoised):
            np.maximum.at(peak, segmentation[rows], frame.denoised[rows])
        self.peak = peak[1:]
        core = segment_moments(frame.denoised, segmentation, number, above=self.peak / 2)
        self.core_x, self.core_y = core.x, core.y
        area = np.zeros(number + 1, int)
        for rows in row_blocks(segmentation.shape, segmentation, frame.denoised):
            above_half = frame.denoised[rows] > peak[segmentation[rows]] / 2
            area += np.bincount(segmentation[rows][above_half], minlength=number + 1)
        area = area[1:]
        self.core_fwhm = 2 * np.sqrt(np.maximum(area, 1) / np.pi)
        self.ratio, self.theta = np.clip(whole.b / whole.a, MIN_AXIS_RATIO, 1), whole.theta
        half = np.maximum(SHARE_WINDOW_AXES * whole.a, SHARE_WINDOW_FWHM * self.core_fwhm)
        half = np.maximum(np.minimum(half, MAX_SHARE_WINDOW_PX), reach)
        half = np.ceil(half + np.hypot(whole.x - core.x, whole.y - core.y)).astype(int) + 1
        self.half = np.maximum(half, self._extent())
        self.total, own = (
            map_rows(lambda rows: np.zeros(rows.shape), segmentation) for _ in range(2)
        )
        for k in range(number):
            window, profile = self.window(k), self.profile(k)
            self.total[window] += profile
            own[window] += np.where(segmentation[window] == k + 1, profile, 0)

        def light_of(denoised: np.ndarray, own: np.ndarray, total: np.ndarray) -> np.ndarray:
            return denoised * np.divide(own, total, out=own.copy(), where=total > 0)

        shared = map_rows(light_of, frame.denoised, own, self.total)
        self.shape = segment_moments(shared, segmentation, number)

    def __len__(self) -> int:
        """Return N."""
        return len(self.peak)

    def _extent(self) -> np.ndarray:
        """Return how far each segment reaches from its core along rows and columns, (N,)."""
        boxes = ndimage.find_objects(self.segmentation)
        edges = np.array([(r.start, r.stop, c.start, c.stop) for r, c in boxes]).reshape(-1, 4)
        cores = np.stack([self.core_y, self.core_y, self.core_x, self.core_x], -1)
        return np.ceil(abs(edges - cores)).max(1, initial=0).astype(int)

    def window(self, k: int) -> tuple[slice, slice]:
        """Return the rows and columns around source k."""
        return tuple(
            slice(max(round(centre) - self.half[k], 0), min(round(centre) + self.half[k] + 1, most))
            for centre, most in zip(
                (self.core_y[k], self.core_x[k]), self.segmentation.shape, strict=True
            )
        )  # type: ignore[return-value]

    def profile(self, k: int) -> np.ndarray:
        """Return the profile of source k in its window."""
        rows, columns = self.window(k)
        dy = np.arange(rows.start, rows.stop)[:, None] - self.core_y[k]
        dx = np.arange(columns.start, columns.stop) - self.core_x[k]
        cosine, sine = np.cos(self.theta[k]), np.sin(self.theta[k])
        along, across = cosine * dx + sine * dy, cosine * dy - sine * dx
        # the ellipse of the core's area
        square = along**2 * self.ratio[k] + across**2 / self.ratio[k]
        scaled = square / (self.core_fwhm[k] / 2) ** 2
        return np.asarray(self.peak[k] * moffat(scaled, CORE_BETA, moffat_scale(CORE_BETA)))

    def alone(self) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray, np.ndarray]]:
        """Give (k, window, its original pixels, its denoised pixels) of each source alone."""
        for k in range(len(self)):
            window = self.window(k)
            light = self.frame.denoised[window]
            part = self.profile(k) / self.total[window]
            noise = self.frame.signal[window] - light
            if self.fit is None:
                share = light * part
            else:
                own = self.fit.of_source(k, window)
                share = own + (light - self.fit.fitted.model[window]) * part
                noise = noise - self.fit.level[window] - self.fit.shared[window] * part
            yield k, window, noise + share, share
