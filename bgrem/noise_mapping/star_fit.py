"""Stars of a staring frame: found with the frame's own streak and fitted together, robustly."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.amplifiers import amplifier_edges, sky_and_bands
from bgrem.noise_mapping.hiding import mask_peaks, point_light
from bgrem.noise_mapping.linear_fit import CORE_SHARE, Fit, fit_once, no_stars
from bgrem.noise_mapping.saturation import find_saturated, with_rims
from bgrem.noise_mapping.star_search import beside, search_stars, segments, without_twins
from bgrem.noise_mapping.streaks import Streaks, find_streaks
from bgrem.noise_mapping.template import (
    MEDIAN_CHI_SQUARE,
    Template,
    first_guess,
    update_template,
    with_length_of_light,
)

ROUNDS = 8  # searches at most; each finds what brighter streaks have hidden
LEARNING_ROUNDS = 3  # what is found beside known streaks meanwhile is the template's error
CHECK_SEGMENTS = 8  # of a streak; in more than half of them a star fits its template
MAX_CHI_SQUARE = 1.6  # of a segment; less is noise
MAX_MISFIT = 0.2  # rms of what is left of a segment / its light; more is no star
MAX_WRONG_SEGMENTS = 0.5  # of all segments; a satellite spoils one or two of eight
LENGTHS = 3  # first rounds at most; each begins with the length that the one before has found
SAME_LENGTH_PX = 1.5  # px; such a change of the length is none
FIRST_FITS = 3  # of the first round: the first guess is only a line
LAST_FITS = 2  # without points: for the places of the last stars; after wrong ones are dropped
MIN_PHOTON_LIGHT = 3.0  # noise; on fainter light the noise is that of the sky
MIN_PHOTON_PIXELS = 100  # fewer pixels do not tell the noise of photons
CALIBRATORS = 40  # brightest streaks that give the template: more make it no better
MIN_CALIBRATORS = 3  # fewer cannot outvote a satellite
MIN_INSIDE = 0.6  # of the length of a streak that gives the template


@dataclass(frozen=True, eq=False)
class Stars:
    """All stars of a frame.

    Attributes
    ----------
    template : Template
    table : array, shape (N, 3)
        x, y (0-based px), flux in units of the frame's noise.
    slopes : array, shape (2, 3)
        How the template changes over the frame: `linear_fit.Fit`.
    light : array, shape (H, W)
        Of all of them, in units of the noise.
    variance : array, shape (H, W)
        Of sky and light: photons, and the template's error.
    sky : array, shape (H, W)
        What was left of sky and bands once the stars were known, in units of the noise.
    saturated : bool array, shape (H, W)
        Where the frame is cut at the full well.
    """

    template: Template
    table: np.ndarray
    slopes: np.ndarray
    light: np.ndarray
    variance: np.ndarray
    sky: np.ndarray
    saturated: np.ndarray


def find_stars(
    flat: np.ndarray,
    missing: np.ndarray,
    background: np.ndarray,
    header: Any = None,
    *,
    threshold: float = 3.0,
) -> Stars | None:
    """Return the stars of a frame; None where they are no streaks.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    missing : bool array, shape (H, W)
    background : array, shape (H, W)
        Smooth background and bands, with the steps between amplifiers, in any unit.
    header : mapping, optional
        Its sections of amplifiers.
    threshold : float
        Noise; points that stand out by it are left out of the fit.
    """
    streaks = find_streaks(flat)
    if streaks is None:
        return None
    edges = amplifier_edges(background, missing, header)

    def sky_of(left: np.ndarray, bad: np.ndarray) -> np.ndarray:
        return sky_and_bands(left, bad, edges)

    return fit_stars(flat, missing, streaks, sky_of, threshold)


def fit_stars(
    flat: np.ndarray,
    missing: np.ndarray,
    streaks: Streaks,
    sky_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    threshold: float,
) -> Stars:
    """Return the stars of a frame.

    Bright streaks are found first; they give the template, and what they hide is found next. In the
    last fits compact light that is left does not count: satellites.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    missing : bool array, shape (H, W)
    streaks : Streaks
        Their direction and length.
    sky_of : callable
        Takes a frame without stars and its missing pixels, returns its sky and bands, all (H, W).
    threshold : float
        As in `find_stars`.
    """
    saturated = find_saturated(np.where(missing, 0, flat))
    frame = _Frame(flat, missing | saturated, saturated, sky_of)
    start = frame.first_state(streaks.angle, streaks.length)
    for _ in range(LENGTHS):  # crowded streaks correlate over less than their length
        state = frame.with_new_stars(start, learning=True)
        length = state.template.length
        if abs(length - start.template.length) < SAME_LENGTH_PX:
            break
        start = frame.first_state(streaks.angle, length)
    for k in range(1, ROUNDS):
        before, state = state, frame.with_new_stars(state, learning=k < LEARNING_ROUNDS)
        if state is before:
            break
    state = frame.fitted_again(state)
    if len(state.fit.table):
        good = _are_stars(frame.left(state), state.variance, state.template, state.fit.table)
        state = replace(state, fit=replace(state.fit, table=state.fit.table[good]))
    state = frame.fitted_again(state, threshold)
    state = replace(state, sky=state.sky + sky_of(frame.left(state), frame.bad))
    left, fit = frame.left(state), state.fit
    variance = _photon_variance(left, fit.light, frame.bad) + fit.error
    rims = with_rims(saturated, left)
    return Stars(state.template, fit.table, fit.slopes, fit.light, variance, state.sky, rims)


@dataclass(frozen=True, eq=False)
class _State:
    """What is known of a frame: the template, its stars, the rest of the sky, the variance."""

    template: Template
    fit: Fit
    sky: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame and the steps that improve what is known of it; arrays (H, W) as in `fit_stars`."""

    flat: np.ndarray
    bad: np.ndarray
    saturated: np.ndarray
    sky_of: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def first_state(self, angle: float, length: float) -> _State:
        """Return a straight line as the template, and no stars."""
        template, nothing = first_guess(angle, length), np.zeros(self.flat.shape)
        variance = 1 + np.maximum(ndimage.gaussian_filter(self.flat, 1.0), 0)  # as if of photons
        variance = np.where(self.bad, np.inf, variance)
        return _State(template, no_stars(nothing.shape), nothing, variance)

    def left(self, state: _State) -> np.ndarray:
        """Return the frame without sky and stars."""
        return self.flat - state.sky - state.fit.light

    def with_new_stars(self, state: _State, *, learning: bool) -> _State:
        """Return the state after a search, and a fit of all stars that are known then."""
        fit, template = state.fit, state.template
        new = search_stars(self.left(state), state.variance + fit.error, template)
        if learning:
            new = new[~beside(template, new, fit.table).any(1)]
        elif not len(new):
            return state
        first = not len(fit.table)
        state = replace(
            state, fit=replace(fit, table=without_twins(np.concatenate([fit.table, new])))
        )
        for _ in range(FIRST_FITS if first else 1):
            if len(state.fit.table):
                state = self._improved(state)
        return state

    def _improved(self, state: _State) -> _State:
        """Return the state after one fit, with new sky, variance and template."""
        fit = fit_once(self.flat - state.sky, state.variance, state.template, state.fit)
        sky = state.sky + self.sky_of(self.flat - state.sky - fit.light, self.bad)
        left, template = self.flat - sky - fit.light, state.template
        variance = _photon_variance(left, fit.light, self.bad)
        bright = _calibrators(template, fit.table, self.saturated)
        if len(bright) >= MIN_CALIBRATORS:
            template = with_length_of_light(update_template(template, left, variance, bright))
        return _State(template, fit, sky, variance)

    def fitted_again(self, state: _State, threshold: float = 0.0) -> _State:
        """Return the state after fits with this template; without points above a threshold."""
        for _ in range(LAST_FITS):
            fit = replace(state.fit, table=without_twins(state.fit.table))
            if len(fit.table):
                variance = state.variance
                if threshold:
                    variance = _without_points(self.left(state), variance, fit, threshold)
                fit = fit_once(self.flat - state.sky, variance, state.template, fit)
            state = replace(state, fit=fit)
        return state


def _without_points(
    left: np.ndarray, variance: np.ndarray, fit: Fit, threshold: float
) -> np.ndarray:
    """Return the variance (H, W), infinite where compact light stands out of what a fit leaves."""
    points = mask_peaks(point_light(left, variance + fit.error), threshold)
    return np.where(points, np.inf, variance)


def _photon_variance(left: np.ndarray, light: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Return s + c light, the variance of sky and photons; all (H, W), in units of the noise.

    The median of a squared Gaussian is 0.455 of its variance v, so s is the median of v = left^2 /
    0.455 off streaks, and c that of (v - s) / light on them. It is infinite on bad pixels.
    """
    bright = light > MIN_PHOTON_LIGHT
    known, slope = ~bad, 0.0
    sky = float(np.median(left[known & ~bright] ** 2)) / MEDIAN_CHI_SQUARE
    bright &= known
    if bright.sum() >= MIN_PHOTON_PIXELS:
        slope = float(np.median((left[bright] ** 2 / MEDIAN_CHI_SQUARE - sky) / light[bright]))
    return np.where(bad, np.inf, sky + max(slope, 0.0) * np.maximum(light, 0))


def _calibrators(template: Template, table: np.ndarray, saturated: np.ndarray) -> np.ndarray:
    """Return the brightest streaks that lie mostly in the frame and are not saturated: (N, 3)."""
    x, y, flux = table.T
    share = np.linspace(-0.5, 0.5, 21)[:, None] * template.length
    columns = np.round(x + share * np.cos(template.angle)).astype(int)
    rows = np.round(y + share * np.sin(template.angle)).astype(int)
    height, width = saturated.shape
    inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    near = ndimage.binary_dilation(saturated, np.ones((3, 3)), iterations=2)
    cut = near[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)] & inside
    usable = (inside.mean(0) > MIN_INSIDE) & ~cut.any(0)
    order = np.argsort(-flux)
    return table[order[usable[order]][:CALIBRATORS]]


def _are_stars(
    left: np.ndarray, variance: np.ndarray, template: Template, table: np.ndarray
) -> np.ndarray:
    """Return which stars look like the template: bool array, (N,).

    Most segments of a star leave nothing but noise, or a small part of their light. A satellite
    spoils one or two segments, a trail that is longer or narrower than the streaks spoils most.
    """
    half, mean = template.half, template.light
    v, u = np.nonzero(mean > CORE_SHARE * mean.max())
    part = segments(template, CHECK_SEGMENTS)[v, u]
    pad = ((2 * half + 1,) * 2,) * 2
    counts = np.pad(np.isfinite(variance), pad)
    power = np.pad(np.where(np.isfinite(variance), left**2 - variance, 0), pad)
    noise = np.pad(np.where(np.isfinite(variance), variance, 0), pad)
    x, y = (np.round(table[:, k]).astype(int)[:, None] + half + 1 for k in (0, 1))
    at = (y + v, x + u)
    light = (table[:, 2:] * mean[v, u]) ** 2 * counts[at]
    wrong = []
    for k in range(CHECK_SEGMENTS):
        excess, own, usual = (one[:, part == k].sum(1) for one in (power[at], light, noise[at]))
        bad = (excess > MAX_MISFIT**2 * own) & (excess > (MAX_CHI_SQUARE - 1) * usual)
        wrong.append(np.where(own > 0, bad, np.nan))
    with warnings.catch_warnings():  # a star all of whose pixels are missing or saturated
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(~(np.nanmean(wrong, 0) > MAX_WRONG_SEGMENTS))
