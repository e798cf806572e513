"""Stars of a staring frame: found with the frame's own streak and fitted together, robustly."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft, ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from bgrem.noise_mapping.amplifiers import amplifier_edges, sky_and_bands
from bgrem.noise_mapping.streaks import (
    BRIGHT_STREAK_NOISE,
    STREAK_SMOOTHING_PX,
    Streaks,
    find_streaks,
)
from bgrem.noise_mapping.template import Template, first_guess, shifted, taps, update_template

MIN_SIGNIFICANCE = 4.0  # of the matched filter: fainter streaks are lost in the noise
MIN_KEPT = 3.0  # errors of its flux; a fainter star of the fit is none
ROUNDS = 8  # searches at most; each finds what brighter streaks have hidden
LEARNING_ROUNDS = 3  # what is found beside known streaks meanwhile is the template's error
BESIDE_PX = 4.0  # px across; nearer ones are searched for once the nearest are subtracted
TWINS_PX = 1.0  # px; nearer ones are one star
DYNAMIC_RANGE = 10.0  # of a search: what is fainter than the brightest / this waits for the next
SEARCH_SEGMENTS = 6  # of a streak; a satellite lies in one or two of them
MIN_SEGMENTS = 2  # of a streak that the frame's edge cuts; less looks like a satellite
SEGMENTS_AGREE = 0.2  # second least / median light of the segments
MIN_SEGMENT_WEIGHT = (
    0.003  # of a segment's usual weight: wings of a saturated star; less is outside
)
CHECK_SEGMENTS = 8  # of a streak; in more than half of them a star fits its template
MAX_CHI_SQUARE = 1.6  # of a segment; less is noise
MAX_MISFIT = 0.2  # rms of what is left of a segment / its light; more is no star
MAX_WRONG_SEGMENTS = 0.5  # of all segments; a satellite spoils one or two of eight
CORE_SHARE = 0.1  # of the template's brightest pixel; fainter pixels say little about it
FIRST_FITS = 3  # of the first round: the first guess is only a line
LAST_FITS = 2  # with Huber's weights, for the places of the last ones; with Cauchy's
FIT_ROUNDS = 2  # of reweighting in a fit
HUBER_SIGMA = 2.0  # noise; from here on a pixel counts less
PLACE_ERROR_PX = 0.5  # px; prior of a change of place
FAINT_LIGHT = 0.03  # noise; a star's light under this is left out
FAINT_SHARE = 0.05  # of its brightest pixel; light above this is taken even then
MEDIAN_CHI_SQUARE = 0.455  # of one degree of freedom
MIN_PHOTON_LIGHT = 3.0  # noise; on fainter light the noise is that of the sky
MIN_PHOTON_PIXELS = 100  # fewer pixels do not tell the noise of photons
CALIBRATORS = 40  # brightest streaks that give the template: more make it no better
MIN_CALIBRATORS = 3  # fewer cannot outvote a satellite
MIN_INSIDE = 0.6  # of the length of a streak that gives the template
PLATEAU_SHARE = 0.95  # least / largest pixel of 3 x 3 where a frame is cut
MIN_PLATEAU_NOISE = 50.0  # noise; fainter light may be even by chance


@dataclass(frozen=True, eq=False)
class Stars:
    """All stars of a frame.

    Attributes
    ----------
    template : Template
    table : array, shape (N, 3)
        x, y (0-based px), flux in units of the frame's noise.
    light : array, shape (H, W)
        Of all of them, in units of the noise.
    sky : array, shape (H, W)
        What was left of sky and bands once the stars were known, in units of the noise.
    saturated : bool array, shape (H, W)
        Where the frame is cut at the full well.
    """

    template: Template
    table: np.ndarray
    light: np.ndarray
    sky: np.ndarray
    saturated: np.ndarray


def find_stars(
    flat: np.ndarray, missing: np.ndarray, background: np.ndarray, header: Any = None
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
    """
    streaks = find_streaks(flat)
    if streaks is None:
        return None
    edges = amplifier_edges(background, missing, header)
    return fit_stars(flat, missing, streaks, lambda left, bad: sky_and_bands(left, bad, edges))


def fit_stars(
    flat: np.ndarray,
    missing: np.ndarray,
    streaks: Streaks,
    sky_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Stars:
    """Return the stars of a frame.

    Bright streaks are found first; they give the template, and what they hide is found next.

    Parameters
    ----------
    flat : array, shape (H, W)
        Frame without smooth background and bands, in units of its noise.
    missing : bool array, shape (H, W)
    streaks : Streaks
        Their direction and length.
    sky_of : callable
        Takes a frame without stars and its missing pixels, returns its sky and bands, all (H, W).
    """
    template = first_guess(streaks.angle, streaks.length, (flat.shape[0], flat.shape[1]))
    table, light, sky = np.zeros((0, 3)), np.zeros(flat.shape), np.zeros(flat.shape)
    saturated = find_saturated(np.where(missing, 0, flat))
    variance = 1 + np.maximum(ndimage.gaussian_filter(flat, 1.0), 0)  # as if of photons
    for k in range(ROUNDS):
        variance = np.where(missing | saturated, np.inf, variance)
        new = _search(flat - sky - light, variance, template)
        if k < LEARNING_ROUNDS:
            new = new[~_beside(template, new, table).any(1)]
        elif not len(new):
            break
        table = _without_twins(np.concatenate([table, new]))
        for _ in range(1 if k else FIRST_FITS):
            table, light = _fit(flat - sky, variance, template, table, redescending=False)
            sky = sky + sky_of(flat - sky - light, missing | saturated)
            left = flat - sky - light
            variance = _photon_variance(left, light)
            variance = np.where(missing | saturated, np.inf, variance)
            bright = _calibrators(template, table, saturated)
            if len(bright) >= MIN_CALIBRATORS:
                template = update_template(template, left, variance, bright)
    last = (False,) * LAST_FITS + (True,) * LAST_FITS
    table, light = _fit_again(flat - sky, variance, template, table, last)
    if len(table):
        table = table[_are_stars(flat - sky - light, variance, template, table)]
        # Cauchy's weights alone would leave a star dark that shared its light with a dropped one
        table, light = _fit_again(flat - sky, variance, template, table, (False, True))
        sky = sky + sky_of(flat - sky - light, missing | saturated)
    return Stars(template, table, light, sky, _with_rims(saturated, flat - sky - light))


def _search(left: np.ndarray, variance: np.ndarray, template: Template) -> np.ndarray:
    """Return x, y, flux of streaks that stand out of a frame without the known ones: (N, 3).

    A matched filter with each segment of the template along the streak. Their median is not changed
    by what lies in one or two of them, a satellite or a trail across.
    """
    part = _segments(template, SEARCH_SEGMENTS)
    size = [fft.next_fast_len(side + template.light.shape[1], True) for side in left.shape]
    weight = 1 / variance
    spectra = [fft.rfft2(one, size) for one in (np.where(weight > 0, left, 0) * weight, weight)]
    reach = template.half  # middles outside of the frame, too
    crop = tuple(np.s_[: side + 2 * reach] for side in left.shape)

    def correlate(spectrum: np.ndarray, stamp: np.ndarray) -> np.ndarray:
        return np.asarray(fft.irfft2(spectrum * fft.rfft2(stamp[::-1, ::-1], size), size)[crop])

    pieces = [np.where(part == k, template.light[0], 0) for k in range(SEARCH_SEGMENTS)]
    products = np.stack([correlate(spectra[0], one) for one in pieces])
    norms = np.maximum([correlate(spectra[1], one**2) for one in pieces], 1e-12)
    inside = norms > MIN_SEGMENT_WEIGHT * np.median(norms, (1, 2), keepdims=True)
    fluxes = np.where(inside, products / norms, np.nan)
    seen = inside.sum(0)
    with warnings.catch_warnings():  # a place of which no segment is inside
        warnings.simplefilter("ignore", RuntimeWarning)
        median = np.nan_to_num(np.nanmedian(fluxes, 0))
    least = np.sort(fluxes, 0)  # NaN comes last
    low = np.where(seen > MIN_SEGMENTS, least[1], least[0])
    root, total = np.sqrt(norms.sum(0)), products.sum(0) / norms.sum(0)
    good = (root * np.minimum(total, median) > MIN_SIGNIFICANCE) & (low > SEGMENTS_AGREE * median)
    significance = np.where(
        good & (seen >= MIN_SEGMENTS), root * np.minimum(total, 1.5 * median), 0
    )
    y, x = np.nonzero(
        (significance > 0) & (significance == ndimage.maximum_filter(significance, 5))
    )
    if not len(x):
        return np.zeros((0, 3))
    height = significance[y, x]
    order = np.argsort(-height)
    order = order[height[order] > height.max() / DYNAMIC_RANGE]
    flux = np.minimum(total, median)[y, x]
    found = np.stack([x - reach, y - reach, flux], 1)[order].astype(float)
    beside, taken = _beside(template, found, found), np.zeros(len(found), bool)
    for k in range(len(found)):
        taken[k] = not beside[k, :k][taken[:k]].any()
    return found[taken]


def _beside(template: Template, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return which streaks (N, 3) may be a part of which others (M, 3): bool array, (N, M)."""
    x, y = np.moveaxis(one[:, None, :2] - other[None, :, :2], -1, 0)
    cos, sin = np.cos(template.angle), np.sin(template.angle)
    along, across = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    return np.asarray((along < template.length / 2) & (across < BESIDE_PX))


def _without_twins(table: np.ndarray) -> np.ndarray:
    """Return the stars (N, 3) with those that are nearer than `TWINS_PX` as one, of all flux.

    The fit cannot tell their fluxes apart: one alone would keep a part of the light.
    """
    pairs = cKDTree(table[:, :2]).query_pairs(TWINS_PX, output_type="ndarray")
    if not len(pairs):
        return table
    links = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(table),) * 2)
    number, group = connected_components(links, directed=False)
    flux = np.bincount(group, table[:, 2], number)
    weight = np.maximum(table[:, 2], 1e-9)
    place = [np.bincount(group, weight * table[:, k], number) / np.bincount(group, weight, number)
             for k in (0, 1)]  # fmt: skip
    return np.stack([*place, flux], 1)


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


def find_saturated(flat: np.ndarray) -> np.ndarray:
    """Return where a frame is cut at the full well, with a margin of 1 px: bool array, (H, W).

    There the brightest light makes plateaus. A streak falls by more across, from pixel to pixel.
    """
    top = flat.max()
    low, high = ndimage.minimum_filter(flat, 3), ndimage.maximum_filter(flat, 3)
    plateau = (low > PLATEAU_SHARE * high) & (low > top / 2) & (low > MIN_PLATEAU_NOISE)
    if not plateau.any():
        return plateau
    cut = flat > PLATEAU_SHARE * np.median(flat[plateau])
    return np.asarray(ndimage.binary_dilation(cut, np.ones((3, 3))))


def _segments(template: Template, number: int) -> np.ndarray:
    """Return the segment, 0 to number - 1, of each pixel of the template along it: (S, S)."""
    along, _ = template.along_and_across()
    share = along / template.length + 0.5
    return np.clip(np.floor(number * share), 0, number - 1).astype(int)


def _are_stars(
    left: np.ndarray, variance: np.ndarray, template: Template, table: np.ndarray
) -> np.ndarray:
    """Return which stars look like the template: bool array, (N,).

    Most segments of a star leave nothing but noise, or a small part of their light. A satellite
    spoils one or two segments, a trail that is longer or narrower than the streaks spoils most.
    """
    half, mean = template.half, template.light[0]
    v, u = np.nonzero(mean > CORE_SHARE * mean.max())
    part = _segments(template, CHECK_SEGMENTS)[v, u]
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


def _with_rims(saturated: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return saturated pixels (H, W) and what the fit leaves of the same stars around them."""
    if not saturated.any():
        return saturated
    uneven = np.abs(ndimage.gaussian_filter(left, STREAK_SMOOTHING_PX)) > BRIGHT_STREAK_NOISE
    labels, _ = ndimage.label(uneven | saturated, np.ones((3, 3)))
    return np.asarray(np.isin(labels, np.unique(labels[saturated])))


def _fit_again(
    flat: np.ndarray, variance: np.ndarray, template: Template, table: np.ndarray,
    redescending: tuple[bool, ...],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the stars and their light after several fits, twins as one before each."""
    light = np.zeros(flat.shape)
    for one in redescending:
        if len(table):
            table = _without_twins(table)
            table, light = _fit(flat, variance, template, table, redescending=one)
    return table, light if len(table) else np.zeros(flat.shape)


def _fit(
    flat: np.ndarray,
    variance: np.ndarray,
    template: Template,
    table: np.ndarray,
    *,
    redescending: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the stars (M, 3) and their light (H, W) after one step of a robust linear fit.

    Unknown are flux f and shift (dx, dy) of all stars together. Linear in them,

        light = sum f T(x, y) + f0 (dx dT/dx + dy dT/dy)

    with Huber's weights, or Cauchy's, which fall to 0 far off: a satellite on a streak hardly
    counts. Stars under `MIN_KEPT` times their error are dropped.
    """
    number, size = len(table), flat.size
    pixel, star, values = _design(template, table, (flat.shape[0], flat.shape[1]))
    unknown = np.concatenate([star, star + number, star + 2 * number])
    matrix = sparse.csr_matrix(
        (values.ravel(), (np.tile(pixel, 3), unknown)), shape=(size, 3 * number)
    )
    used = np.flatnonzero(np.bincount(pixel, minlength=size))
    matrix = matrix[used]
    weight, data = (1 / variance).ravel()[used], flat.ravel()[used]
    norm = matrix[:, :number].power(2).T @ weight
    prior = np.concatenate([1e-6 * norm + 1e-12, np.full(2 * number, PLACE_ERROR_PX**-2)])
    solution = np.concatenate([table[:, 2], np.zeros(2 * number)])
    for _ in range(FIT_ROUNDS):
        off = np.abs(data - matrix @ solution) * np.sqrt(weight)
        far = off / HUBER_SIGMA
        robust = weight / (1 + far**2 if redescending else np.maximum(far, 1))
        normal = matrix.T @ sparse.diags(robust) @ matrix + sparse.diags(prior)
        solution = splu(normal.tocsc()).solve(matrix.T @ (robust * data))
    flux, (dx, dy) = solution[:number], np.clip(solution[number:].reshape(2, -1), -1, 1)
    table = np.stack([table[:, 0] + dx, table[:, 1] + dy, flux], 1)[flux * np.sqrt(norm) > MIN_KEPT]
    shape = (flat.shape[0], flat.shape[1])
    pixel, star, values = _design(template, table, shape, slopes=False)
    light = np.bincount(pixel, values[0] * table[star, 2], minlength=size)
    return table, light.reshape(flat.shape)


def _design(
    template: Template, table: np.ndarray, shape: tuple[int, int], *, slopes: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixel (K,), star (K,) and T, f dT/dx, f dT/dy (3, K) of all light that counts.

    Without slopes T alone, (1, K).
    """
    half, mean = template.half, template.light[0]
    order = np.argsort(-mean, axis=None)
    strength = mean.ravel()[order]
    v, u = np.divmod(order, mean.shape[1])
    x, y, flux = table.T
    weights, splines = template.terms(x, y), template.splines()
    share = np.searchsorted(-strength, -FAINT_SHARE * strength[0])
    counts = np.searchsorted(-strength, -FAINT_LIGHT / np.maximum(flux, 1e-9))
    column, row = np.round(x).astype(int), np.round(y).astype(int)
    (taps_x, slopes_x), (taps_y, slopes_y) = taps(x - column), taps(y - row)
    parts = []
    for k, count in enumerate(np.maximum(counts, share)):
        here_x, here_y = u[:count] + column[k] - half, v[:count] + row[k] - half
        inside = (here_x >= 0) & (here_y >= 0) & (here_x < shape[1]) & (here_y < shape[0])
        chosen = order[:count][inside]
        spline = np.tensordot(weights[k], splines, 1)
        found = [shifted(spline, taps_x[k], taps_y[k])]
        if slopes:
            found.append(flux[k] * shifted(spline, slopes_x[k], taps_y[k]))
            found.append(flux[k] * shifted(spline, taps_x[k], slopes_y[k]))
        values = np.stack([one.ravel()[chosen] for one in found])
        parts.append((here_y[inside] * shape[1] + here_x[inside], np.full(len(chosen), k), values))
    pixels, stars, light = zip(*parts, strict=True)
    return np.concatenate(pixels), np.concatenate(stars), np.concatenate(light, 1)
