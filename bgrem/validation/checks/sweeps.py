"""Detections of all methods against their threshold: the curves behind the checks of detection."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np
from scipy.spatial import cKDTree

from bgrem.frame import detect
from bgrem.frame.background import sep_mesh
from bgrem.frame.blends import Sharpened, find_sources
from bgrem.frame.stars import PointSpread
from bgrem.validation import metrics
from bgrem.validation.checks.result import (
    MATCHED_FILTER_LABEL,
    OURS_LABEL,
    SEXTRACTOR_DEFAULT_LABEL,
    SEXTRACTOR_TUNED_LABEL,
)
from bgrem.validation.frames import Examination, Planes

Finder = Callable[[float], detect.Detections]
SEXTRACTOR_MESH_PX = 64  # px; BACK_SIZE of SExtractor
# DETECT_THRESH of SExtractor, in sigma of the unfiltered frame
SEXTRACTOR_THRESHOLD = float(
    1.5 * detect.SEXTRACTOR_KERNEL.sum() / np.sqrt((detect.SEXTRACTOR_KERNEL**2).sum())
)
# tuned, beside the default; widths of the filter in FWHM
TUNED_MESHES_PX = (32, SEXTRACTOR_MESH_PX, 128)  # px; tried beside the default
TUNED_FILTER_FWHM = (0.7, 1.0, 1.3)  # FWHM of stars; widths of the filter that are tried
SWEEP_START_SIGMA = 20.0  # sigma; brighter sources are found by every method
SWEEP_END_SIGMA = 1.2  # sigma; on a frame with its noise
SWEEP_END_DENOISED_SIGMA = 0.02  # sigma of the original; a denoised frame has little noise
SWEEP_STEP_RATIO = 1.25  # of neighbouring thresholds
FALSE_RATES = (5.0, 20.0, 50.0)  # false detections per megapixel; the second is the headline
HEADLINE_FALSE_RATE = FALSE_RATES[1]  # false detections per megapixel
BOOTSTRAP_CELLS_PER_AXIS = 4  # parts of the frame: the units of the bootstrap
BOOTSTRAP_DRAWS = 300  # draws of the bootstrap
SWEEP_BISECTIONS = 3  # of a step of the sweep, at the rates that are reported
INJECTION_RADIUS_FWHM = 3.0  # FWHM; new detections nearer to an injected source come from it


def sep_finder(planes: Planes, mesh: int, kernel: np.ndarray) -> Finder:
    """Return the finder of SExtractor's own background, noise and filter on the frame itself."""
    pixels = np.where(planes.missing, np.median(planes.background), planes.pixels)
    grid = sep_mesh(pixels, mesh, planes.missing)
    flat = np.where(planes.missing, 0, pixels - grid.back())
    # thresholds in sigma of the filtered frame: the same sweep fits all filters
    noise = grid.rms() * np.sqrt((kernel**2).sum()) / kernel.sum()
    return lambda t: detect.detect_with_sep(flat, t, noise=noise, kernel=kernel)


def default_finder(planes: Planes) -> Finder:
    """Return SExtractor's finder with its default mesh and filter."""
    return sep_finder(planes, SEXTRACTOR_MESH_PX, detect.SEXTRACTOR_KERNEL)


def denoised_finder(planes: Planes, spread: PointSpread | None = None) -> Finder:
    """Return the finder on the denoised frame, thresholds in the frame's own noise.

    With the stars' point-spread function blends are separated as `bgrem catalog` does it.
    """
    light = planes.clean / planes.sigma
    sharpened = None if spread is None else Sharpened(light, spread)
    return lambda t: find_sources(light, t, sharpened).places


def significance(planes: Planes, exam: Examination) -> np.ndarray:
    """Return the signal-to-noise ratio of a point source at each pixel, in the frame's noise."""
    pixels = np.where(planes.missing, planes.background, planes.pixels)
    found = detect.matched_filter(pixels, planes.background, planes.sigma, exam.spread.stamp())
    return found / exam.inflation


@dataclass(frozen=True, eq=False)
class Method:
    """One way to detect, ready for all frames of an examination."""

    name: str
    plain: Finder
    noise: Finder
    injected: list[Finder]
    lowest: float = SWEEP_END_SIGMA


def make_method(
    exam: Examination,
    name: str,
    prepare: Callable[[Planes], Finder],
    lowest: float = SWEEP_END_SIGMA,
) -> Method:
    """Return a method whose finder is prepared on each frame."""
    return Method(
        name,
        cache(prepare(exam.planes)),
        cache(prepare(exam.noise[0])),
        [cache(prepare(planes)) for _, planes in exam.injected], lowest,
    )  # fmt: skip


class Sweep:
    """True and false detections of a method against its threshold.

    A source is found where a detection lies on it that the frame as it is does not have. False
    are detections in the flipped noise, once for each repeat, and new ones around an injected
    source that are not the source (pieces of it).
    """

    def __init__(self, exam: Examination, method: Method) -> None:
        self.exam, self.method = exam, method
        self.listed, self.area = self.list_and_area()
        ends = (SWEEP_START_SIGMA, method.lowest)
        rows = metrics.sweep(self.count, ends, SWEEP_STEP_RATIO, FALSE_RATES[-1] * self.area)
        self.thresholds = np.array([row[0] for row in rows])
        self.true = np.array([row[1] for row in rows])
        self.false = np.array([row[2] for row in rows])

    def list_and_area(self) -> tuple[int, float]:
        """Return the number of sources that count, and the area (megapixels) they are on."""
        listed = sum(metrics.listed_number(one.truth) for one, _ in self.exam.injected)
        return listed, self.exam.megapixels * len(self.exam.injected)

    def _cells(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the number of detections in each cell of the frame."""
        height, width = self.exam.planes.pixels.shape
        row = np.clip(
            (y * BOOTSTRAP_CELLS_PER_AXIS / height).astype(int), 0, BOOTSTRAP_CELLS_PER_AXIS - 1
        )
        column = np.clip(
            (x * BOOTSTRAP_CELLS_PER_AXIS / width).astype(int), 0, BOOTSTRAP_CELLS_PER_AXIS - 1
        )
        return np.bincount(
            row * BOOTSTRAP_CELLS_PER_AXIS + column, minlength=BOOTSTRAP_CELLS_PER_AXIS**2
        )

    def count(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers of true and false detections, each of shape (cells,)."""
        noise = self.method.noise(threshold)
        true = np.zeros(BOOTSTRAP_CELLS_PER_AXIS**2)
        false = len(self.exam.injected) * self._cells(noise.x, noise.y).astype(float)
        for k in range(len(self.exam.injected)):
            truth = self.exam.injected[k][0].truth
            found, pieces = self.matches(threshold, k)
            true += self._cells(truth["x"][found], truth["y"][found])
            false += self._cells(*pieces)
        return true, false

    def matches(self, threshold: float, k: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Return which sources of repeat k are found (indices), and where pieces of them are."""
        truth, fwhm = self.exam.injected[k][0].truth, self.exam.spread.fwhm
        plain, found = self.method.plain(threshold), self.method.injected[k](threshold)
        before, after = (metrics.score(one, truth, fwhm).partner for one in (plain, found))
        new = np.setdiff1d(after[after >= 0], before[before >= 0])
        if not len(found):
            return new, (found.x, found.y)
        places = np.column_stack([found.x, found.y])
        radius = max(metrics.MATCH_RADIUS_FWHM * fwhm, 2.0)
        known = np.zeros(len(found), bool)
        if len(plain):
            known = cKDTree(np.column_stack([plain.x, plain.y])).query(places)[0] < radius
        distance, nearest = cKDTree(np.column_stack([truth["x"], truth["y"]])).query(places)
        reach = INJECTION_RADIUS_FWHM * (fwhm + truth["half_light_radius"][nearest])
        # faint ones are there: finding one is neither true nor false
        faint = (truth["snr"][nearest] < metrics.MIN_LISTED_SNR) & (distance < radius)
        pieces = (after < 0) & ~known & ~faint & (distance < reach)
        return new, (found.x[pieces], found.y[pieces])

    @property
    def curve(self) -> np.ndarray:
        """Rows (threshold, true, false) of the whole frame."""
        return np.column_stack([self.thresholds, self.true.sum(1), self.false.sum(1)])

    def share_at(self, rate: float) -> float:
        """Return the part of the listed sources found at a false rate (per megapixel)."""
        return metrics.true_at_false(self.curve, rate * self.area) / max(self.listed, 1)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Curves of bootstrapped cells, shape (draws, thresholds, 3): the same for all methods."""
        index = np.random.default_rng(0).integers(
            0, BOOTSTRAP_CELLS_PER_AXIS**2, (BOOTSTRAP_DRAWS, BOOTSTRAP_CELLS_PER_AXIS**2)
        )
        true, false = (part[:, index].sum(2).T for part in (self.true, self.false))
        return np.stack([np.broadcast_to(self.thresholds, true.shape), true, false], -1)

    def drawn_at(self, rate: float) -> np.ndarray:
        """Return `share_at` of the bootstrapped cells, shape (draws,)."""
        found = [metrics.true_at_false(curve, rate * self.area) for curve in self.drawn]
        return np.array(found) / max(self.listed, 1)

    def threshold_at(self, rate: float) -> float:
        """Return the threshold where the false rate (per megapixel) is reached."""
        return metrics.threshold_at_false(self.curve, rate * self.area)

    def threshold_for(self, true: float) -> float:
        """Return the highest threshold at which so many sources are found, to some per cent.

        NaN where the sweep never finds so many.
        """
        enough = np.flatnonzero(self.true.sum(1) >= true)
        if not enough.size:
            return float("nan")
        low = float(self.thresholds[enough[0]])
        high = float(self.thresholds[max(enough[0] - 1, 0)])
        for _ in range(SWEEP_BISECTIONS):
            middle = float(np.sqrt(low * high))
            low, high = (middle, high) if self.count(middle)[0].sum() >= true else (low, middle)
        return low


class TruthSweep(Sweep):
    """The same on a simulated frame: its own sources are the list, all else is false."""

    def list_and_area(self) -> tuple[int, float]:
        """Return the number of the field's sources that count, and its megapixels."""
        truth = self.exam.truth
        return (metrics.listed_number(truth.catalogue) if truth else 0), self.exam.megapixels

    def count(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers of true and false detections, each of shape (cells,)."""
        found = self.method.plain(threshold)
        catalogue = self.exam.truth.catalogue if self.exam.truth else {}
        result = metrics.score(found, catalogue, self.exam.spread.fwhm)
        true = result.partner >= 0
        places = (found.x[true], found.y[true]), (found.x[result.wrong], found.y[result.wrong])
        return self._cells(*places[0]), self._cells(*places[1])


def all_methods(exam: Examination) -> list[Method]:
    """Return all methods, ready."""
    frames = [exam.planes, *exam.noise, *(planes for _, planes in exam.injected)]
    maps = {id(planes): significance(planes, exam) for planes in frames}
    return [
        make_method(
            exam,
            OURS_LABEL,
            partial(denoised_finder, spread=exam.spread),
            SWEEP_END_DENOISED_SIGMA,
        ),
        make_method(exam, SEXTRACTOR_DEFAULT_LABEL, default_finder),
        tuned_method(exam),
        make_method(
            exam, MATCHED_FILTER_LABEL, lambda p: lambda t: detect.detect_peaks(maps[id(p)], t)
        ),
    ]


def tuned_method(exam: Examination) -> Method:
    """Return SExtractor with the mesh and filter that find most on the first repeat.

    Chosen with the truth in hand, which no user has: the best that SExtractor can do here.
    """
    first = replace(exam, injected=exam.injected[:1])
    kernels = [detect.gaussian_kernel(width * exam.spread.fwhm) for width in TUNED_FILTER_FWHM]
    settings = [
        (SEXTRACTOR_MESH_PX, detect.SEXTRACTOR_KERNEL),
        *itertools.product(TUNED_MESHES_PX, kernels),
    ]

    def with_settings(mesh: int, kernel: np.ndarray) -> Callable[[Planes], Finder]:
        return lambda planes: sep_finder(planes, mesh, kernel)

    def share(setting: tuple[int, np.ndarray]) -> float:
        tried = make_method(first, SEXTRACTOR_TUNED_LABEL, with_settings(*setting))
        return Sweep(first, tried).share_at(HEADLINE_FALSE_RATE)

    return make_method(exam, SEXTRACTOR_TUNED_LABEL, with_settings(*max(settings, key=share)))
