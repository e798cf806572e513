"""Stars of a staring frame: found with the frame's own streak and fitted together, robustly."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.noise_mapping.amplifiers import amplifier_edges, sky_and_bands
from bgrem.noise_mapping.distortions import unknown_distortions
from bgrem.noise_mapping.hiding import mask_peaks, point_light
from bgrem.noise_mapping.linear_fit import CORE_SHARE, Fit, fit_once, with_stars
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
    table : array, shape (N, 6)
        x, y (0-based px), flux in units of the frame's noise; how it is turned, stretched, widened.
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
    template = first_guess(streaks.angle, streaks.length)
    unknown = unknown_distortions(template, (flat.shape[0], flat.shape[1]))
    nothing = np.zeros(flat.shape)
    fit, sky = Fit(np.zeros((0, 6)), nothing, nothing, unknown, unknown), nothing
    saturated = find_saturated(np.where(missing, 0, flat))
    bad = missing | saturated
    variance = 1 + np.maximum(ndimage.gaussian_filter(flat, 1.0), 0)  # as if of photons
    variance = np.where(bad, np.inf, variance)
    for k in range(ROUNDS):
        new = search_stars(flat - sky - fit.light, variance + fit.error, template)
        if k < LEARNING_ROUNDS:
            new = new[~beside(template, new, fit.table).any(1)]
        elif not len(new):
            break
        fit = replace(fit, table=without_twins(with_stars(fit, new)))
        for _ in range(1 if k else FIRST_FITS):
            if not len(fit.table):
                break
            fit = fit_once(flat - sky, variance, template, fit)
            sky = sky + sky_of(flat - sky - fit.light, bad)
            left = flat - sky - fit.light
            variance = np.where(bad, np.inf, _photon_variance(left, fit.light))
            bright = _calibrators(template, fit.table, saturated)
            if len(bright) >= MIN_CALIBRATORS:
                template = update_template(template, left, variance, bright)
                template = with_length_of_light(template)
    for last in (False, True):
        for _ in range(LAST_FITS):
            fit = replace(fit, table=without_twins(fit.table))
            if len(fit.table):
                left = flat - sky - fit.light
                counted = _without_points(left, variance, fit, threshold) if last else variance
                fit = fit_once(flat - sky, counted, template, fit)
        if not last and len(fit.table):
            good = _are_stars(flat - sky - fit.light, variance, template, fit.table)
            fit = replace(fit, table=fit.table[good])
    sky = sky + sky_of(flat - sky - fit.light, bad)
    left = flat - sky - fit.light
    variance = _photon_variance(left, fit.light) + fit.error
    return Stars(template, fit.table, fit.light, variance, sky, with_rims(saturated, left))


def _without_points(
    left: np.ndarray, variance: np.ndarray, fit: Fit, threshold: float
) -> np.ndarray:
    """Return the variance (H, W), infinite where compact light stands out of what a fit leaves."""
    points = mask_peaks(point_light(left, variance + fit.error), threshold)
    return np.where(points, np.inf, variance)


def _photon_variance(left: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Return 1 + c light, the variance of sky and photons; all (H, W), in units of the noise.

    The median of a squared Gaussian is 0.455 of its variance, so c is the median of
    (left^2 / 0.455 - 1) / light on streaks.
    """
    bright = light > MIN_PHOTON_LIGHT
    slope = 0.0
    if bright.sum() >= MIN_PHOTON_PIXELS:
        slope = float(np.median((left[bright] ** 2 / MEDIAN_CHI_SQUARE - 1) / light[bright]))
    return 1 + max(slope, 0.0) * np.maximum(light, 0)


def _calibrators(template: Template, table: np.ndarray, saturated: np.ndarray) -> np.ndarray:
    """Return the brightest streaks that lie mostly in the frame and are not saturated: (N, 6)."""
    x, y, flux = table.T[:3]
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
    light = (table[:, 2:3] * mean[v, u]) ** 2 * counts[at]
    wrong = []
    for k in range(CHECK_SEGMENTS):
        excess, own, usual = (one[:, part == k].sum(1) for one in (power[at], light, noise[at]))
        bad = (excess > MAX_MISFIT**2 * own) & (excess > (MAX_CHI_SQUARE - 1) * usual)
        wrong.append(np.where(own > 0, bad, np.nan))
    with warnings.catch_warnings():  # a star all of whose pixels are missing or saturated
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(~(np.nanmean(wrong, 0) > MAX_WRONG_SEGMENTS))
