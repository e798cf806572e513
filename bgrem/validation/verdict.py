"""A verdict on the user's own frame: what is found of injected stars, and what in mere noise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.cataloguing.threshold import find_threshold
from bgrem.denoising.flow import Denoised
from bgrem.denoising.uncertainty import INTERVAL_LEVELS, Calibration, denoised_uncertainty
from bgrem.frame.detect import Detections
from bgrem.frame.noise import (
    MAX_CORRELATION,
    neighbour_correlation,
    pixel_noise,
    smoothed_noise,
)
from bgrem.frame.sources import Frame
from bgrem.frame.stars import PointSpread, measure_point_spread
from bgrem.validation import metrics
from bgrem.validation.checks.sweeps import SEXTRACTOR_THRESHOLD, default_finder, denoised_finder
from bgrem.validation.frames import Planes, own_noise
from bgrem.validation.injection import inject_sources
from common.image import AstroImage, Card, missing_of
from common.robust import ROUNDED_FWHM_PER_SIGMA

VERDICT_SNRS = (5.0, 10.0)  # S/N of a matched filter; of the injected stars, by turns
BRIGHT_SNR = VERDICT_SNRS[-1]  # S/N; such a star in an empty place is hardly ever missed
PIXELS_PER_STAR = 1600  # px for each injected star: they are far from each other
WINDOW_PX = 384  # px; side of the parts of a large frame that are tried
WINDOWS = 4  # parts of a large frame
MAX_STARS_FOR_VERDICT = 16  # stars fitted for the point-spread function
MIN_STARS_FOR_VERDICT = 20  # injected stars; with fewer nothing is said of them
MIN_BRIGHT_FOUND = 0.9  # of the stars of BRIGHT_SNR in empty places
MAX_FALSE_PER_MEGAPIXEL = 20.0  # false detections; the advised threshold gives a few
SIGNIFICANCE = 2.0  # standard errors from which a difference counts
COVERAGE_MARGIN = 0.05  # of the errors; half-widths that hold so many fewer grow
MIN_LIGHT = 0.1  # noise; where injected light is weaker it does not change what a half-width is

Denoiser = Callable[[np.ndarray], Denoised]


@dataclass(frozen=True)
class Verdict:
    """What was found of injected stars, and what in the frame's own noise.

    Attributes
    ----------
    stars : int
        Injected at S/N 5 and 10, by turns.
    found, found_sextractor : float
        Part of them that is found, on the denoised frame at the threshold of `bgrem catalog`, and
        by SExtractor's default on the frame itself. NaN without stars.
    bright_found : float
        Part of those of S/N 10.
    false, false_sextractor : float
        Detections per megapixel in the frame's own noise with its sign flipped; for counts in noise
        drawn anew.
    problems : tuple of str
        Why the result should not be trusted; empty if nothing speaks against it.
    widening : float or None
        By how much the half-widths of a calibration must grow where less than 68 - 5 % of the
        errors lie within SIGMA68, from injected stars and noise alone. At least 1; None without a
        calibration.
    """

    stars: int
    found: float
    found_sextractor: float
    bright_found: float
    false: float
    false_sextractor: float
    problems: tuple[str, ...]
    widening: float | None = None

    def cards(self) -> list[Card]:
        """Return BGFALSE and, where stars could be injected, BGFOUND and BGFOUNDS."""
        cards: list[Card] = [
            ("BGFALSE", round(self.false, 1), "false detections per Mpx, own noise")
        ]
        if np.isfinite(self.found):
            words = "found of injected stars of S/N 5 and 10"
            cards.append(("BGFOUND", round(self.found, 3), words))
            cards.append(("BGFOUNDS", round(self.found_sextractor, 3), "the same, SExtractor"))
        return cards

    def facts(self) -> dict[str, Any]:
        """Return the figures for JSON, null where one is unknown."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: None if isinstance(value, float) and not np.isfinite(value) else value
                for name, value in values.items()}  # fmt: skip


def judge_frame(
    image: AstroImage,
    done: Denoised,
    denoiser: Denoiser,
    *,
    gain: float | None = None,
    saturate: float | None = None,
    counts: bool = False,
    calibration: Calibration | None = None,
    seed: int = 0,
) -> Verdict | None:
    """Return a verdict on a denoised frame: two more runs of the network on at most 0.6 megapixels.

    Stars of S/N 5 and 10 are put into empty places of the frame, and the noise of its empty places
    is denoised with its sign flipped. Detections are those of `bgrem catalog`; beside them stand
    those of SExtractor's default settings on the frame itself.

    Parameters
    ----------
    image : AstroImage
        As the network saw it. Of a colour image the middle channel is judged.
    done : Denoised
        Its result, at full strength.
    denoiser : callable
        Denoises pixels of any shape (h, w) in the same way.
    gain : float, optional
        Electrons per unit: the photon noise of the injected stars.
    saturate : float, optional
        Pixel value from which stars are full.
    counts : bool
        Whether pixels are counts, whose noise has no sign: it is drawn anew.
    calibration : Calibration, optional
        Whose half-widths are compared with the errors; `denoiser` then makes the twin, too.
    seed : int
        Of places and noise.

    Returns
    -------
    Verdict or None
        None where all parts that are tried have one value alone.

    Raises
    ------
    ValueError
        As `denoiser`, where it cannot take a part alone.
    """
    channel = image.shape[-1] // 2
    pixels = image.pixels[..., channel]
    windows = [_planes(pixels, done, channel, one) for one in _windows(missing_of(pixels))]
    spread = _point_spread(windows, saturate)
    rng = np.random.default_rng([seed, 14])
    windows = [one for one in windows if np.nanmin(one.pixels) < np.nanmax(one.pixels)]
    if not windows:
        return None
    return _verdict(
        [_try_window(one, denoiser, spread, gain, counts, calibration, rng) for one in windows]
    )


def judged_pixels(shape: tuple[int, ...]) -> int:
    """Return how many pixels of a frame (H, W, ...) the network sees again for a verdict."""
    size = shape[0] * shape[1]
    return 2 * min(size, WINDOWS * WINDOW_PX**2)  # with stars, and noise alone


@dataclass(frozen=True, eq=False)
class _Tried:
    """One window: its area in megapixels, false detections, and which stars were found.

    `misses`: of pixels of noise alone, and of injected stars: error / half-width. `lit`: part of
    the window's pixels that show light.
    """

    area: float
    false: int
    false_sextractor: int
    snr: np.ndarray
    found: np.ndarray
    found_sextractor: np.ndarray
    misses: tuple[np.ndarray, np.ndarray]
    lit: float


def _planes(
    pixels: np.ndarray, done: Denoised, channel: int = 0,
    window: tuple[slice, slice] = np.s_[:, :],
) -> Planes:  # fmt: skip
    """Return a window of a frame and of its result."""

    def cut(plane: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(plane[window], np.float64)

    result, background, sigma = (
        cut(one[..., channel]) for one in (done.result.pixels, done.background.pixels, done.sigma)
    )
    return Planes(cut(pixels), result, background, sigma)


def _point_spread(windows: list[Planes], saturate: float | None) -> PointSpread | None:
    """Return the point-spread function that rests on most stars; None if there are too few."""
    found = []
    for planes in windows:
        full = None if saturate is None else np.nan_to_num(planes.pixels) >= saturate
        spread = measure_point_spread(
            planes.scaled, planes.missing, full, most=MAX_STARS_FOR_VERDICT
        )
        if spread is not None and spread.fwhm < min(planes.missing.shape) / 8:
            found.append(spread)
    return max(found, key=lambda one: one.stars, default=None)


def _windows(missing: np.ndarray) -> list[tuple[slice, slice]]:
    """Return the whole frame; of a large one the outer part of each quarter that is measured."""
    if missing.size <= WINDOWS * WINDOW_PX**2:
        return [np.s_[:, :]]
    sides = [min(WINDOW_PX, length) for length in missing.shape]
    starts = []  # axis, half, from the border inwards
    for length, side in zip(missing.shape, sides, strict=True):
        inwards = np.linspace(0, max(0, length // 2 - side), 3).astype(int)
        starts.append((inwards, length - side - inwards))
    windows = []
    for rows in starts[0]:
        for columns in starts[1]:
            tried = [np.s_[y : y + sides[0], x : x + sides[1]] for y in rows for x in columns]
            windows.append(min(tried, key=lambda one: float(missing[one].mean())))
    return [one for one in windows if not missing[one].all()]


def _try_window(
    planes: Planes, denoiser: Denoiser, spread: PointSpread | None,
    gain: float | None, counts: bool, calibration: Calibration | None, rng: np.random.Generator,
) -> _Tried:  # fmt: skip
    """Denoise a window's own noise and the window with injected stars; count what is found."""
    threshold = find_threshold(
        Frame.of(planes.pixels - planes.background, planes.result, planes.sigma, gain)
    ).median
    if counts:
        noise = rng.poisson(np.maximum(planes.background, 0)).astype(float)
    else:
        # The result is never negative: what it leaves has all of the noise's negative peaks, and no
        # faint sources, which would become pits
        left = replace(planes, pixels=planes.pixels - planes.clean)
        noise = planes.background - planes.sigma * own_noise(left, rng)
    noise = np.where(planes.missing, np.nan, noise)
    done = denoiser(noise)
    empty = _planes(noise, done)
    in_noise = _misses(done, calibration, 0.0, ~planes.missing)
    area = float((~planes.missing).mean() * planes.missing.size / 1e6)
    lit = float((planes.clean > MIN_LIGHT * planes.sigma)[~planes.missing].mean())
    false = len(denoised_finder(empty, spread)(threshold))
    false_sextractor = len(default_finder(empty)(SEXTRACTOR_THRESHOLD))
    if spread is None:
        nothing = np.zeros(0)
        return _Tried(
            area, false, false_sextractor, nothing, nothing > 0, nothing > 0, (in_noise, nothing),
            lit,
        )  # fmt: skip
    injection = inject_sources(
        planes.pixels, planes.sigma, spread, number=max(1, planes.missing.size // PIXELS_PER_STAR),
        gain=gain, inflation=1.0 if counts else _inflation(planes, spread), rng=rng,
        snrs=VERDICT_SNRS,
        usable=_empty_places(planes, spread),
    )  # fmt: skip
    done = denoiser(injection.pixels)
    after = _planes(injection.pixels, done)
    bright = ~planes.missing & (injection.light > MIN_LIGHT * planes.sigma)
    truth, number = injection.truth, len(injection.truth["x"])

    def found(before: Detections, now: Detections) -> np.ndarray:
        has = [metrics.score(one, truth, spread.fwhm).partner for one in (before, now)]
        new = np.setdiff1d(has[1][has[1] >= 0], has[0][has[0] >= 0])
        return np.isin(np.arange(number), new)

    return _Tried(
        area, false, false_sextractor, truth["snr"],
        found(*(denoised_finder(one, spread)(threshold) for one in (planes, after))),
        found(*(default_finder(one)(SEXTRACTOR_THRESHOLD) for one in (planes, after))),
        (in_noise, _misses(done, calibration, injection.light, bright)), lit,
    )  # fmt: skip


def _misses(
    done: Denoised, calibration: Calibration | None, light: np.ndarray | float, where: np.ndarray
) -> np.ndarray:
    """Return |result - light| / half-width of some pixels; none without a calibration."""
    if calibration is None:
        return np.zeros(0)
    width = denoised_uncertainty(done, calibration)[0, ..., 0]
    return np.asarray((np.abs(done.result.pixels[..., 0] - light) / width)[where])


def _inflation(planes: Planes, spread: PointSpread) -> float:
    """Return the noise of a matched filter over that of white noise of the measured sigma.

    From differences of neighbours and their correlation. Waves of the sky that the background has
    missed raise sigma, but not this noise.
    """
    correlation = neighbour_correlation(planes.scaled, planes.missing)
    correlation = float(np.clip(np.nan_to_num(correlation), 0, MAX_CORRELATION))
    width = spread.fwhm / ROUNDED_FWHM_PER_SIGMA
    noise = pixel_noise(planes.scaled, planes.missing, planes.pixels) / np.sqrt(1 - correlation)
    return float(noise * smoothed_noise(width, correlation) / smoothed_noise(width))


def _empty_places(planes: Planes, spread: PointSpread) -> np.ndarray:
    """Return where a star is alone; all measured places if there are none."""
    reach = round(spread.fwhm)
    empty = ndimage.binary_erosion(planes.empty, iterations=max(1, reach))
    return empty if empty.any() else ~planes.missing


def _verdict(parts: list[_Tried]) -> Verdict:
    area = sum(one.area for one in parts)
    false, theirs = (sum(getattr(one, name) for one in parts)
                     for name in ("false", "false_sextractor"))  # fmt: skip
    snr, found, known = (np.concatenate([getattr(one, name) for one in parts])
                         for name in ("snr", "found", "found_sextractor"))  # fmt: skip
    bright = found[snr == BRIGHT_SNR]
    verdict = Verdict(
        len(snr), _share(found), _share(known), _share(bright), false / area, theirs / area, (),
        _widening(parts),
    )  # fmt: skip
    return replace(verdict, problems=tuple(_problems(verdict, area, bright, found, known)))


def _widening(parts: list[_Tried]) -> float | None:
    """Return the factor from noise and stars, in the frame's own mixture of dark and lit pixels."""
    noise, stars = (np.concatenate(one) for one in zip(*(p.misses for p in parts), strict=True))
    if not noise.size:
        return None
    lit = float(np.mean([part.lit for part in parts])) if stars.size else 0.0
    ratios, level = np.concatenate([noise, stars]), INTERVAL_LEVELS[0]
    parts_of_one = (1 - lit) / noise.size, lit / max(stars.size, 1)
    weights = np.repeat(parts_of_one, [noise.size, stars.size])
    order = np.argsort(ratios)
    share = np.cumsum(weights[order])
    if weights[ratios <= 1].sum() >= level - COVERAGE_MARGIN:
        return 1.0
    return float(ratios[order][np.searchsorted(share, level * share[-1])])


def _share(found: np.ndarray) -> float:
    return float(found.mean()) if len(found) else float("nan")


def _problems(
    verdict: Verdict, area: float, bright: np.ndarray, found: np.ndarray, known: np.ndarray
) -> list[str]:
    """Return what is worse than it should be by more than chance."""
    problems = []
    error = np.sqrt(max(verdict.false, 1 / area) / area)
    if verdict.false - SIGNIFICANCE * error > MAX_FALSE_PER_MEGAPIXEL:
        problems.append(
            f"{verdict.false:.0f} false detections per megapixel in the frame's own noise, "
            f"SExtractor has {verdict.false_sextractor:.0f}"
        )
    if len(found) < MIN_STARS_FOR_VERDICT:
        return problems
    expected = MIN_BRIGHT_FOUND * len(bright)
    scatter = np.sqrt(expected * (1 - MIN_BRIGHT_FOUND))
    if bright.sum() < expected - SIGNIFICANCE * scatter:
        problems.append(
            f"{100 * verdict.bright_found:.0f} % of injected stars of S/N {BRIGHT_SNR:g} are "
            f"found, {100 * MIN_BRIGHT_FOUND:.0f} % should be"
        )
    lost, gained = int((known & ~found).sum()), int((found & ~known).sum())
    clean = verdict.false_sextractor <= max(MAX_FALSE_PER_MEGAPIXEL, verdict.false)
    if clean and lost - gained > SIGNIFICANCE * np.sqrt(lost + gained):
        problems.append(
            f"{100 * verdict.found:.0f} % of injected stars are found, by SExtractor "
            f"{100 * verdict.found_sextractor:.0f} %"
        )
    return problems
