"""One step of the linear fit of a frame's streak to all its stars: flux, place and distortions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from bgrem.noise_mapping.distortions import PLACE_ERROR_PX, Distortions, measure_distortions
from bgrem.noise_mapping.template import (
    DISTORTIONS,
    MEDIAN_CHI_SQUARE,
    Template,
    distorted,
    taps,
)

MIN_KEPT = 3.0  # errors of its flux; a fainter star of the fit is none
HUBER_SIGMA = 2.0  # noise; from here on a pixel counts less
CORE_SHARE = 0.1  # of the template's brightest pixel; fainter pixels say little about a star
FAINT_LIGHT = 0.03  # noise; a star's light under this is left out
FAINT_SHARE = 0.05  # of its brightest pixel; light above this is taken even then


@dataclass(frozen=True, eq=False)
class Fit:
    """Stars of a frame, and what the fit knows of them.

    Attributes
    ----------
    table : array, shape (N, 6)
        x, y, flux, turned, stretched, widened.
    light : array, shape (H, W)
        Of all stars.
    error : array, shape (H, W)
        Variance of the light: the template's error, and that of stars which it does not fit.
    unknown, distortions : Distortions
        Before and after the fit.
    """

    table: np.ndarray
    light: np.ndarray
    error: np.ndarray
    unknown: Distortions
    distortions: Distortions


def with_stars(fit: Fit, found: np.ndarray) -> np.ndarray:
    """Return the table of a fit with what was found (M, 3): x, y, flux."""
    return np.concatenate([fit.table, np.concatenate([found, fit.distortions.at(found)], 1)])


def fit_once(flat: np.ndarray, variance: np.ndarray, template: Template, fit: Fit) -> Fit:
    """Return the fit after one step of a robust linear fit to a frame.

    Unknown are flux f and shift (dx, dy) of all stars together, and the change of the distortions
    d of those that are bright enough to tell it. Linear in them,

        light = sum f (T + d D) + f0 (dx dT/dx + dy dT/dy + change of d D)

    with Huber's weights. Stars under `MIN_KEPT` times their error are dropped.

    Parameters
    ----------
    flat, variance : array, shape (H, W)
        Frame without sky; its variance, infinite where a pixel does not count.
    template : Template
    fit : Fit
        Its stars and distortions are improved.
    """
    table, number = fit.table, len(fit.table)
    weight = 1 / (variance + fit.error).ravel()
    scatter = fit.distortions.scatter
    pixels, stars, values = [], [], []
    told = np.zeros((number, DISTORTIONS))  # information on distortions
    last = 3 * number
    columns = np.full((number, DISTORTIONS), -1)
    for k, pixel, _, shapes in _stamps(template, table, flat.shape):
        flux = table[k, 2]
        parts = [shapes[0] + table[k, 3:] @ shapes[3:], flux * shapes[1], flux * shapes[2]]
        unknown = [k, k + number, k + 2 * number]
        told[k] = flux**2 * (shapes[3:] ** 2 @ weight[pixel])
        for n in np.flatnonzero(told[k] * fit.unknown.scatter**2 > 1):
            parts.append(flux * shapes[3 + n])
            unknown.append(last)
            columns[k, n] = last
            last += 1
        pixels.append(np.tile(pixel, len(parts)))
        stars.append(np.repeat(unknown, len(pixel)))
        values.append(np.concatenate(parts))
    matrix = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(pixels), np.concatenate(stars))),
        shape=(flat.size, last),
    )
    used = np.flatnonzero(np.diff(matrix.indptr))
    matrix, weight, data = matrix[used], weight[used], flat.ravel()[used]
    norm = matrix[:, :number].power(2).T @ weight
    single = columns >= 0
    mode = np.nonzero(single)[1]
    prior = np.concatenate(
        [1e-6 * norm + 1e-12, np.full(2 * number, PLACE_ERROR_PX**-2), scatter[mode] ** -2]
    )
    pull = np.zeros(last)
    pull[3 * number :] = (fit.distortions.at(table) - table[:, 3:])[single] * prior[3 * number :]
    solution = np.concatenate([table[:, 2], np.zeros(last - number)])
    off = np.abs(data - matrix @ solution) * np.sqrt(weight)
    robust = weight * HUBER_SIGMA / np.maximum(off, HUBER_SIGMA)
    normal = matrix.T @ sparse.diags(robust) @ matrix + sparse.diags(prior)
    solution = splu(normal.tocsc()).solve(matrix.T @ (robust * data) + pull)
    flux, (dx, dy) = solution[:number], np.clip(solution[number : 3 * number].reshape(2, -1), -1, 1)
    table = np.concatenate([table[:, :2] + np.stack([dx, dy], 1), flux[:, None], table[:, 3:]], 1)
    distortions = _learn_distortions(fit, table, columns, solution, told)
    kept = flux * np.sqrt(norm) > MIN_KEPT
    fit = replace(fit, table=table[kept], distortions=distortions)
    return _with_light(flat, variance, template, fit)


def _learn_distortions(
    fit: Fit, table: np.ndarray, columns: np.ndarray, solution: np.ndarray, told: np.ndarray
) -> Distortions:
    """Return the distortions of the frame; writes those of the stars into their table.

    What a star alone says is its value in the fit without the pull of what was expected.
    """
    single, expected = columns >= 0, fit.distortions.at(table)
    value = np.where(single, table[:, 3:] + solution[columns], expected)
    prior = fit.distortions.scatter**-2
    alone = value + (value - expected) * prior / np.maximum(told, 1e-30)
    errors = np.where(single, 1 / np.sqrt(np.maximum(told, 1e-30)), np.inf)
    found, common = measure_distortions(fit.unknown, table, alone, errors)
    table[:, 3:] = np.where(single, value - common, found.at(table))
    return found


def _with_light(flat: np.ndarray, variance: np.ndarray, template: Template, fit: Fit) -> Fit:
    """Return the fit with light and error of its stars.

    A star f T has the error f e of the template e, and m f T if what is left of it has more than
    its noise v: m^2 is the median of (left^2 / 0.455 - v) over the mean of (f T)^2, or 0.
    """
    light, error = np.zeros(flat.shape), np.zeros(flat.shape)
    own = []
    for k, pixel, chosen, shapes in _stamps(template, fit.table, flat.shape):
        flux = fit.table[k, 2]
        own.append((pixel, flux * (shapes[0] + fit.table[k, 3:] @ shapes[3:])))
        light.ravel()[pixel] += own[-1][1]
        error.ravel()[pixel] += (flux * template.error.ravel()[chosen]) ** 2
    excess = np.square(flat - light) / MEDIAN_CHI_SQUARE - variance - error
    excess = np.where(np.isfinite(variance), excess, np.nan).ravel()
    core = CORE_SHARE * template.light.max()
    for (pixel, one), flux in zip(own, fit.table[:, 2], strict=True):
        bright = (one > core * flux) & np.isfinite(excess[pixel])
        if bright.any():
            misfit = np.median(excess[pixel][bright]) / np.mean(one[bright] ** 2)
            error.ravel()[pixel] += max(misfit, 0) * one**2
    return replace(fit, light=light, error=error)


def _stamps(
    template: Template, table: np.ndarray, shape: tuple[int, ...]
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Give each star's number, pixels of the frame (K,), of the template (K,), `distorted` (6, K).

    Light that does not count is left out.
    """
    half = template.half
    order = np.argsort(-template.light, axis=None)
    strength = template.light.ravel()[order]
    v, u = np.divmod(order, template.light.shape[1])
    x, y, flux = table.T[:3]
    spline = template.spline()
    share = np.searchsorted(-strength, -FAINT_SHARE * strength[0])
    counts = np.searchsorted(-strength, -FAINT_LIGHT / np.maximum(flux, 1e-9))
    column, row = np.round(x).astype(int), np.round(y).astype(int)
    across, down = (np.stack(taps(one), 1) for one in (x - column, y - row))
    for k, count in enumerate(np.maximum(counts, share)):
        here_x, here_y = u[:count] + column[k] - half, v[:count] + row[k] - half
        inside = (here_x >= 0) & (here_y >= 0) & (here_x < shape[1]) & (here_y < shape[0])
        chosen = order[:count][inside]
        shapes = distorted(template, spline, across[k], down[k]).reshape(3 + DISTORTIONS, -1)
        yield k, here_y[inside] * shape[1] + here_x[inside], chosen, shapes[:, chosen]
