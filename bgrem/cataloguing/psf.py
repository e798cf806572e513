"""Fluxes and places of all sources by the frame's point-spread function, all fitted together.

The model of the pixels is a sum of profiles; it is linear in the fluxes and, near the starting
places, in small shifts. All sources of a block are solved at once, on the original pixels and their
noise: a blend is what it is, whoever was found first (Stetson 1987; Schlafly et al. 2018).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial import cKDTree

from bgrem.cataloguing.block import LEFT, Block
from bgrem.cataloguing.profile import Profile, reach_px
from bgrem.cataloguing.scatter import error_growth
from bgrem.cataloguing.varying import Profiles, own_profiles
from bgrem.frame.sources import Frame
from bgrem.frame.stars import PointSpread, Stars, find_stars
from common.scratch import map_rows, release

APERTURE_FWHM = 1.5  # FWHM; radius of an aperture that has most of a star's light, and few others
MIN_APERTURE_PX = 5.0  # px; the same of narrow stars, with their first rings
TABLE_STEP_PX = 0.5  # px; grid of what the frame's stars have beside the analytic profile
TABLE_SNR = 30.0  # signal-to-noise ratio from which a star adds to that table
MIN_TABLE_STARS = 20  # stars; with fewer the analytic profile stays
ANNULUS = 1.5  # outer radius of the annulus around that aperture / its radius
APERTURE_STARS = 60  # brightest clear stars behind the aperture correction
ROUNDS = 3  # of solving and moving
SEED = 1  # of the noise whose answer is compared with what the fit leaves
BLOCK_PX = 384  # px; side of the blocks that are solved at once, with one profile
MARGIN_FWHM = 4.0  # FWHM around a block; sources there are fitted too, and not kept


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was fitted.

    Attributes
    ----------
    x, y : array, shape (N,)
        Places, 0-based.
    flux, error : array, shape (N,)
        In the units of the pixels; NaN where a source has no pixel.
    chi2 : array, shape (N,)
        Reduced chi-square in the core.
    spread : array, shape (N,)
        SPREAD_MODEL (Desai et al. 2012): 0 for a star, above 0 for what is wider.
    model : array, shape (H, W)
        The light of all sources.
    alone : array, shape (N,)
        The error that each flux would have without neighbours, in independent noise.
    scale : float
        All light of a star / the light of its profile, which the model has.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    chi2: np.ndarray
    spread: np.ndarray
    model: np.ndarray = field(repr=False)
    alone: np.ndarray = field(repr=False)
    scale: float = 1.0


def fit_profiles(
    frame: Frame, x: np.ndarray, y: np.ndarray, spread: PointSpread | None,
    saturated: np.ndarray | None = None, given: Profiles | None = None,
) -> tuple[Fitted, Profiles]:  # fmt: skip
    """Return all sources, and the profiles that were fitted: the stars', mended by them.

    Parameters
    ----------
    frame : Frame
    x, y : array, shape (N,)
        Starting places, 0-based.
    spread : PointSpread or None
        Of the frame's stars; not needed where profiles are given.
    saturated : bool array, shape (H, W), optional
        Full pixels, which are left out.
    given : Profiles, optional
        In place of the frame's own.
    """
    use = ~frame.missing if saturated is None else ~(frame.missing | saturated)
    scaled = map_rows(np.divide, frame.signal, frame.sigma)
    if given is not None:
        profiles = given
    elif spread is not None:
        profiles = own_profiles(scaled, frame.missing, saturated, spread)
    else:
        raise ValueError("expected a point-spread function, or profiles.")
    first = fit_block_by_block(frame, use, x, y, profiles, rounds=2)
    stars = find_stars(scaled, frame.missing, saturated)
    rest = _rest(frame, use, first, profiles, stars)
    if rest is not None:
        profiles = profiles.with_rest(rest, TABLE_STEP_PX)
    found = fit_block_by_block(frame, use, x, y, profiles, rounds=ROUNDS, first=first)
    clear = _clear(first, stars)  # by errors that do not know the profile's faults yet
    scale = _aperture_correction(frame, use, found, profiles, clear)
    return replace(
        found, flux=scale * found.flux, error=scale * found.error, alone=scale * found.alone,
        scale=scale,
    ), profiles  # fmt: skip


def _clear(found: Fitted, stars: Stars) -> np.ndarray:
    """Return which sources are clear stars, brightest first: indices."""
    if len(stars) < MIN_TABLE_STARS or not len(found.x):
        return np.zeros(0, int)
    tree = cKDTree(np.column_stack([found.x, found.y]))
    distance, partner = tree.query(np.column_stack([stars.x, stars.y]))
    clear = np.unique(partner[distance < 1])
    clear = clear[found.flux[clear] > TABLE_SNR * found.error[clear]]
    return clear[np.argsort(-found.flux[clear])]


def _aperture_correction(
    frame: Frame, use: np.ndarray, found: Fitted, profiles: Profiles, clear: np.ndarray
) -> float:
    """Return all light of clear stars over their fitted flux.

    Light in an aperture, and beyond it what the analytic profile has; the brightest stars count
    most, since undetected neighbours change them least.
    """
    analytic = (profiles.analytic or profiles).middle
    reach = reach_px(analytic.fwhm, APERTURE_FWHM, MIN_APERTURE_PX)
    left = _left(frame, use, found)
    outer = int(np.ceil(ANNULUS * reach))
    steps = np.arange(-outer, outer + 1)
    dy, dx = np.meshgrid(steps.astype(float), steps.astype(float), indexing="ij")
    beyond = max(0.0, 1 - float(analytic.at(dy, dx)[dy**2 + dx**2 <= reach**2].sum()))
    ratios, weights = [], []
    for k in clear[:APERTURE_STARS]:
        row, column = round(found.y[k]), round(found.x[k])
        area = np.s_[row - outer : row + outer + 1, column - outer : column + outer + 1]
        if min(row, column) < outer or left[area].shape != 2 * steps.shape or not use[area].all():
            continue
        dy, dx = np.meshgrid(row + steps - found.y[k], column + steps - found.x[k], indexing="ij")
        square = dy**2 + dx**2
        inside, around = square <= reach**2, (square > reach**2) & (square <= outer**2)
        rest = left[area] - left[area][around].mean()  # undetected neighbours are everywhere
        profile = profiles.near(row, column)
        ratios.append((profile.at(dy, dx) + rest / found.flux[k])[inside].sum())
        weights.append(found.flux[k])
    if len(ratios) < MIN_TABLE_STARS / 2:
        return 1.0
    order = np.argsort(ratios)
    share = np.cumsum(np.array(weights)[order])
    return float(np.array(ratios)[order][np.searchsorted(share, share[-1] / 2)]) + beyond


def _left(frame: Frame, use: np.ndarray, found: Fitted) -> np.ndarray:
    """Return what the fit leaves of the pixels (H, W), 0 where they are not used."""
    return map_rows(
        lambda signal, model, good: np.where(good, signal - model, 0),
        frame.signal, found.model, use,
    )  # fmt: skip


def fit_block_by_block(
    frame: Frame, use: np.ndarray, x: np.ndarray, y: np.ndarray, profiles: Profiles, rounds: int,
    first: Fitted | None = None,
) -> Fitted:  # fmt: skip
    """Fit block by block; what lies in a block's margin is fitted with it and not kept.

    After a first fit the light of unlisted sources is known, which is taken from each block, and
    the errors grow by what the fit leaves (`bgrem.cataloguing.scatter`).
    """
    height, width = use.shape
    middle = profiles.middle
    margin = int(np.ceil(MARGIN_FWHM * middle.fwhm)) + middle.radius
    names = ("x", "y", "flux", "error", "chi2", "spread")
    columns = {name: np.full(len(x), np.nan) for name in (*names, *LEFT)}
    reach = reach_px(middle.fwhm, APERTURE_FWHM, MIN_APERTURE_PX)
    model = map_rows(lambda rows: np.zeros(rows.shape), use)
    for top in range(0, height, BLOCK_PX):
        for left in range(0, width, BLOCK_PX):
            near = (y >= top - margin) & (y < top + BLOCK_PX + margin)
            near &= (x >= left - margin) & (x < left + BLOCK_PX + margin)
            own = (y >= top) & (y < top + BLOCK_PX) & (x >= left) & (x < left + BLOCK_PX)
            own |= near & (
                ((top == 0) & (y < 0)) | ((left == 0) & (x < 0))
                | ((top + BLOCK_PX >= height) & (y >= height))
                | ((left + BLOCK_PX >= width) & (x >= width))
            )  # fmt: skip
            if not own.any():
                continue
            index = np.flatnonzero(near)
            profile = profiles.near(top + BLOCK_PX / 2, left + BLOCK_PX / 2)
            block = Block(frame, use, x[index], y[index], profile)
            if first is not None:
                block.level = _unlisted_level(frame, use, first, index, profile, (top, left))
            found = block.solve(rounds)
            if first is not None:
                found |= block.left_around(reach, SEED)
            keep = own[index]
            for name, values in found.items():
                columns[name][index[keep]] = values[keep]
            window = np.s_[top : min(top + BLOCK_PX, height), left : min(left + BLOCK_PX, width)]
            model[window] = block.model(window)
        frame.release()
        release(model, use)
    left_by_fit = {name: columns.pop(name) for name in LEFT}
    if first is not None:
        columns["error"] = columns["error"] * error_growth(columns, left_by_fit)
    return Fitted(**columns, model=model, alone=left_by_fit["alone"], scale=1.0)


def _unlisted_level(
    frame: Frame, use: np.ndarray, first: Fitted, index: np.ndarray, profile: Profile,
    corner: tuple[int, int],
) -> float:  # fmt: skip
    """Return the light per pixel of unlisted sources in a block, as probes between them see it.

    The probes lie in a square lattice `MARGIN_FWHM` apart, each moved at random within its cell.
    """
    known = index[np.isfinite(first.error[index])]
    step = MARGIN_FWHM * profile.fwhm
    ends = [min(start + BLOCK_PX, side) for start, side in zip(corner, use.shape, strict=True)]
    lattice = [np.arange(start, end, step) for start, end in zip(corner, ends, strict=True)]
    rng = np.random.default_rng([SEED, *corner])
    y, x = (one.ravel() + rng.uniform(0, step, one.size)
            for one in np.meshgrid(*lattice, indexing="ij"))  # fmt: skip
    inside = (y < ends[0]) & (x < ends[1])
    y, x = y[inside], x[inside]
    both = Block(
        frame, use, np.append(first.x[known], x), np.append(first.y[known], y), profile
    )  # fmt: skip
    return both.level_at(np.arange(len(known) + len(x)) >= len(known))


def _rest(
    frame: Frame, use: np.ndarray, found: Fitted, profiles: Profiles, stars: Stars
) -> np.ndarray | None:
    """Return what clear stars have beside their profiles, in `TABLE_STEP_PX`; None of too few."""
    clear = _clear(found, stars)
    if len(clear) < MIN_TABLE_STARS:
        return None
    reach = profiles.middle.radius
    side = 2 * round(reach / TABLE_STEP_PX) + 1
    total, weights = np.zeros(side * side), np.zeros(side * side)
    left = _left(frame, use, found)
    height, width = use.shape
    steps = np.arange(-reach, reach + 1)
    for k in clear:
        rows, columns = round(found.y[k]) + steps, round(found.x[k]) + steps
        rows, columns = (one[(one >= 0) & (one < most)]
                         for one, most in ((rows, height), (columns, width)))  # fmt: skip
        area = np.ix_(rows, columns)
        v, u = np.meshgrid(rows - found.y[k], columns - found.x[k], indexing="ij")
        place = [np.round(one / TABLE_STEP_PX).astype(int) + side // 2 for one in (v, u)]
        ok = use[area] & (np.minimum(*place) >= 0) & (np.maximum(*place) < side)
        flat = (place[0] * side + place[1])[ok]
        # each star's rest in units of its flux; its noise, and 3 % of the model that may vary
        own = profiles.near(found.y[k], found.x[k]).at(v, u)[ok]
        variance = frame.variance[area][ok] / found.flux[k] ** 2 + (0.03 * own) ** 2
        np.add.at(total, flat, left[area][ok] / found.flux[k] / variance)
        np.add.at(weights, flat, 1 / variance)
    rest = np.divide(total, weights, out=np.zeros_like(total), where=weights > 0)
    return rest.reshape(side, side)
