"""One step of the linear fit of a frame's streak to all its stars: flux, place and distortion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from bgrem.noise_mapping.template import (
    DISTORTIONS,
    HUBER_SIGMA,
    MEDIAN_CHI_SQUARE,
    START_WIDTH_PX,
    Template,
    distorted,
    taps,
)

MIN_KEPT = 3.0  # errors of its flux; a fainter star of the fit is none
PLACE_ERROR_PX = 0.5  # px; prior of a change of place, of a streak or of its ends and rims
CORE_SHARE = 0.1  # of the template's brightest pixel; fainter pixels say little about a star
FAINT_LIGHT = 0.03  # noise; a star's light under this is left out
FAINT_SHARE = 0.05  # of its brightest pixel; light above this is taken even then


@dataclass(frozen=True, eq=False)
class Fit:
    """Stars of a frame, and what the fit knows of them.

    Attributes
    ----------
    table : array, shape (N, 3)
        x, y, flux.
    slopes : array, shape (2, 3)
        By how much streaks are turned (radians), stretched and widened (shares) at the frame's
        right edge and at its upper one, where those in its middle are not.
    light : array, shape (H, W)
        Of all stars.
    error : array, shape (H, W)
        Variance of the light: the template's error, and that of stars which it does not fit.
    """

    table: np.ndarray
    slopes: np.ndarray
    light: np.ndarray
    error: np.ndarray


def no_stars(shape: tuple[int, ...]) -> Fit:
    """Return the fit of a frame of which nothing is known."""
    return Fit(np.zeros((0, 3)), np.zeros((2, DISTORTIONS)), np.zeros(shape), np.zeros(shape))


def fit_once(flat: np.ndarray, variance: np.ndarray, template: Template, fit: Fit) -> Fit:
    """Return the fit after one step of a robust linear fit to a frame.

    Unknown are flux f and shift (a, b), along and across, of all stars together, and the slopes s
    of the distortion over the frame. With a star's place (u, v) from -1 to 1, its distortion is
    d = (u, v) s, and

        light = sum f (T + d D) + f0 (a dT/da + b dT/db + (u, v) ds D)

    with Huber's weights. Stars under `MIN_KEPT` times their error are dropped.

    Parameters
    ----------
    flat, variance : array, shape (H, W)
        Frame without sky; its variance, infinite where a pixel does not count.
    template : Template
    fit : Fit
        Its stars and slopes are improved.
    """
    table, number = fit.table, len(fit.table)
    matrix, used = _equations(template, fit, flat.shape)
    weight = (1 / (variance + fit.error)).ravel()[used]
    data = flat.ravel()[used]
    norm = matrix[:, :number].power(2).T @ weight
    # a distortion moves no end and no rim by more than a place's error
    reach = np.array([template.length / 2, template.length / 2, START_WIDTH_PX])
    prior = np.concatenate([
        1e-6 * norm + 1e-12,
        np.full(2 * number, PLACE_ERROR_PX**-2),
        np.tile((reach / PLACE_ERROR_PX) ** 2, 2),
    ])  # fmt: skip
    solution = np.concatenate([table[:, 2], np.zeros(2 * number + fit.slopes.size)])
    off = np.abs(data - matrix @ solution) * np.sqrt(weight)
    robust = weight * HUBER_SIGMA / np.maximum(off, HUBER_SIGMA)
    normal = matrix.T @ sparse.diags(robust) @ matrix + sparse.diags(prior)
    pull = np.concatenate([np.zeros(3 * number), -fit.slopes.ravel() * prior[3 * number :]])
    solution = splu(normal.tocsc()).solve(matrix.T @ (robust * data) + pull)
    flux = solution[:number]
    along, across = np.clip(solution[number : 3 * number], -1, 1).reshape(2, -1)
    cos, sin = np.cos(template.angle), np.sin(template.angle)
    x = table[:, 0] + along * cos - across * sin
    y = table[:, 1] + along * sin + across * cos
    table = np.stack([x, y, flux], 1)
    slopes = fit.slopes + solution[3 * number :].reshape(fit.slopes.shape)
    fit = replace(fit, table=table[flux * np.sqrt(norm) > MIN_KEPT], slopes=slopes)
    return _with_light(flat, variance, template, fit)


def _equations(
    template: Template, fit: Fit, shape: tuple[int, ...]
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return the light of each unknown of `fit_once`, (K, 3 N + 6), and its pixels (K,).

    The columns are those of all fluxes, shifts along, shifts across, then of the slopes.
    """
    number, places = len(fit.table), _places(fit.table, shape)
    pixels, unknowns, values = [], [], []
    common = np.zeros((*fit.slopes.shape, int(np.prod(shape))))
    for k, pixel, _, shapes in _stamps(template, fit.table, shape):
        flux = fit.table[k, 2]
        values += [shapes[0] + places[k] @ fit.slopes @ shapes[3:], *(flux * shapes[1:3])]
        pixels += [pixel] * 3
        unknowns.append(np.repeat([k, k + number, k + 2 * number], len(pixel)))
        common[..., pixel] += flux * places[k][:, None, None] * shapes[3:]
    single = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(pixels), np.concatenate(unknowns))),
        shape=(common.shape[-1], 3 * number),
    )
    used = np.flatnonzero(np.diff(single.indptr))
    slopes = sparse.csr_matrix(common[..., used].reshape(fit.slopes.size, -1).T)
    return sparse.hstack([single[used], slopes], "csr"), used


def _places(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the places of stars from -1 to 1 in the frame: (N, 2)."""
    return table[:, :2] * (2 / np.array(shape[::-1])) - 1


def _with_light(flat: np.ndarray, variance: np.ndarray, template: Template, fit: Fit) -> Fit:
    """Return the fit with light and error of its stars.

    A star f T has the error f e of the template e, and m f T if what is left of it has more than
    its noise v: m^2 is the median of (left^2 / 0.455 - v) over the mean of (f T)^2, or 0.
    """
    light, error = np.zeros(flat.shape), np.zeros(flat.shape)
    own, distortions = [], _places(fit.table, flat.shape) @ fit.slopes
    for k, pixel, chosen, shapes in _stamps(template, fit.table, flat.shape):
        flux = fit.table[k, 2]
        own.append((pixel, flux * (shapes[0] + distortions[k] @ shapes[3:])))
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
    x, y, flux = table.T
    splines = template.splines()
    share = np.searchsorted(-strength, -FAINT_SHARE * strength[0])
    counts = np.searchsorted(-strength, -FAINT_LIGHT / np.maximum(flux, 1e-9))
    column, row = np.round(x).astype(int), np.round(y).astype(int)
    across, down = (np.stack(taps(one), 1) for one in (x - column, y - row))
    for k, count in enumerate(np.maximum(counts, share)):
        here_x, here_y = u[:count] + column[k] - half, v[:count] + row[k] - half
        inside = (here_x >= 0) & (here_y >= 0) & (here_x < shape[1]) & (here_y < shape[0])
        chosen = order[:count][inside]
        shapes = distorted(template, splines, across[k], down[k]).reshape(3 + DISTORTIONS, -1)
        yield k, here_y[inside] * shape[1] + here_x[inside], chosen, shapes[:, chosen]
