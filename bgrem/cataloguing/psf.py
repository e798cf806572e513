"""Fluxes and places of all sources by the frame's point-spread function, all fitted together.

The model of the pixels is a sum of profiles; it is linear in the fluxes and, near the starting
places, in small shifts. All sources of a block are solved at once, on the original pixels and their
noise: a blend is what it is, whoever was found first (Stetson 1987; Schlafly et al. 2018).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from bgrem.cataloguing.profile import Profile, reach_px, with_disk
from bgrem.cataloguing.scatter import error_inflation
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
MAX_SHIFT_FWHM = 0.25  # FWHM; a place that moves further has left its source
SHIFT_PRIOR_FWHM = 0.15  # FWHM; standard deviation of the starting places of faint sources
BLOCK_PX = 384  # px; side of the blocks that are solved at once, with one profile
MARGIN_FWHM = 4.0  # FWHM around a block; sources there are fitted too, and not kept
MIN_SHARED = 0.02  # of the light of two profiles; neighbours that share less do not count
TOLERANCE = 1e-6  # relative; of the conjugate gradients
MAX_STEPS = 400  # of the conjugate gradients


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
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    chi2: np.ndarray
    spread: np.ndarray
    model: np.ndarray = field(repr=False)


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
    first = _fit(frame, use, x, y, profiles, rounds=2)
    stars = find_stars(scaled, frame.missing, saturated)
    rest = _rest(frame, use, first, profiles, stars)
    if rest is not None:
        profiles = profiles.with_rest(rest, TABLE_STEP_PX)
    found = _fit(frame, use, x, y, profiles, rounds=ROUNDS)
    scale = _aperture_correction(frame, use, found, profiles, stars)
    error = (
        scale
        * found.error
        * error_inflation(
            _left(frame, use, found), frame.variance, use, (found.y, found.x), profiles.middle
        )
    )
    return replace(found, flux=scale * found.flux, error=error), profiles


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
    frame: Frame, use: np.ndarray, found: Fitted, profiles: Profiles, stars: Stars
) -> float:
    """Return all light of clear stars over their fitted flux.

    Light in an aperture, and beyond it what the analytic profile has; the brightest stars count
    most, since undetected neighbours change them least.
    """
    clear = _clear(found, stars)[:APERTURE_STARS]
    analytic = (profiles.analytic or profiles).middle
    reach = reach_px(analytic.fwhm, APERTURE_FWHM, MIN_APERTURE_PX)
    left = _left(frame, use, found)
    outer = int(np.ceil(ANNULUS * reach))
    steps = np.arange(-outer, outer + 1)
    dy, dx = np.meshgrid(steps.astype(float), steps.astype(float), indexing="ij")
    beyond = max(0.0, 1 - float(analytic.at(dy, dx)[dy**2 + dx**2 <= reach**2].sum()))
    ratios, weights = [], []
    for k in clear:
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


def _fit(
    frame: Frame, use: np.ndarray, x: np.ndarray, y: np.ndarray, profiles: Profiles, rounds: int
) -> Fitted:
    """Fit block by block; what lies in a block's margin is fitted with it and not kept."""
    height, width = use.shape
    middle = profiles.middle
    margin = int(np.ceil(MARGIN_FWHM * middle.fwhm)) + middle.radius
    columns = {name: np.full(len(x), np.nan) for name in ("x", "y", "flux", "error")}
    columns |= {"chi2": np.full(len(x), np.nan), "spread": np.full(len(x), np.nan)}
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
            block = _Block(frame, use, x[index], y[index], profile)
            found = block.solve(rounds)
            keep = own[index]
            for name, values in found.items():
                columns[name][index[keep]] = values[keep]
            window = np.s_[top : min(top + BLOCK_PX, height), left : min(left + BLOCK_PX, width)]
            model[window] = block.model(window)
        frame.release()
        release(model, use)
    return Fitted(**columns, model=model)


class _Block:
    """Sources that are solved together."""

    def __init__(
        self, frame: Frame, use: np.ndarray, x: np.ndarray, y: np.ndarray, profile: Profile
    ) -> None:
        self.frame, self.profile = frame, profile
        self.start = np.stack([y, x])
        self.place = self.start.copy()
        reach = profile.radius
        rows, columns = (np.round(axis).astype(int) for axis in (y, x))
        steps = np.arange(-reach, reach + 1)
        down, across = (one.ravel() for one in np.meshgrid(steps, steps, indexing="ij"))
        inside = down**2 + across**2 <= reach**2
        self.row = rows[:, None] + down[inside]
        self.column = columns[:, None] + across[inside]
        height, width = use.shape
        self.ok = (self.row >= 0) & (self.row < height)
        self.ok &= (self.column >= 0) & (self.column < width)
        self.row = np.clip(self.row, 0, height - 1)
        self.column = np.clip(self.column, 0, width - 1)
        self.ok &= use[self.row, self.column]
        pixel = self.row * width + self.column
        self.pixels, inverse = np.unique(pixel[self.ok], return_inverse=True)
        self.number = np.zeros(pixel.shape, int)
        self.number[self.ok] = inverse
        self.weight = 1 / np.sqrt(frame.variance.ravel()[self.pixels])
        self.signal = frame.signal.ravel()[self.pixels]
        self.flux = np.zeros(len(x))

    def _profiles(self) -> np.ndarray:
        """Return the profile of each source in its pixels, (N, P), 0 where none may be used."""
        dy, dx = self.row - self.place[0][:, None], self.column - self.place[1][:, None]
        return np.where(self.ok, self.profile.at(dy, dx), 0)

    def _slopes(self, half: float = 0.05) -> list[np.ndarray]:
        """Return how the profiles change when a source moves down, and to the right."""
        dy, dx = self.row - self.place[0][:, None], self.column - self.place[1][:, None]
        at, ok = self.profile.at, self.ok
        return [np.where(ok, (at(dy - half, dx) - at(dy + half, dx)) / (2 * half), 0),
                np.where(ok, (at(dy, dx - half) - at(dy, dx + half)) / (2 * half), 0)]  # fmt: skip

    def _matrix(self, planes: list[np.ndarray]) -> sparse.csr_matrix:
        """Return the weighted design: pixels x (N for each plane)."""
        number = len(self.flux)
        data, rows, columns = [], [], []
        for k, plane in enumerate(planes):
            source = np.broadcast_to(np.arange(number)[:, None], plane.shape)[self.ok]
            data.append(plane[self.ok] * self.weight[self.number[self.ok]])
            rows.append(self.number[self.ok])
            columns.append(source + k * number)
        return sparse.csr_matrix(
            (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(self.pixels), number * len(planes)),
        )

    def _with_places(self) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Return the design for fluxes and shifts, and the weights of the starting places."""
        slopes = [np.maximum(self.flux, 0)[:, None] * one for one in self._slopes()]
        prior = np.zeros(3 * len(self.flux))
        prior[len(self.flux) :] = 1 / (SHIFT_PRIOR_FWHM * self.profile.fwhm) ** 2
        return self._matrix([self._profiles(), *slopes]), prior

    def solve(self, rounds: int) -> dict[str, np.ndarray]:
        """Return places, fluxes, errors, chi-square and SPREAD_MODEL."""
        number, light = len(self.flux), self.signal * self.weight
        self.flux = _solve(self._matrix([self._profiles()]), light, np.zeros(number))
        for _ in range(rounds - 1):
            matrix, prior = self._with_places()
            away = (self.place - self.start).ravel()
            rest = light - matrix[:, :number] @ self.flux
            pull = np.concatenate([np.zeros(number), -away * prior[number:]])
            found = _solve(matrix, rest, prior, pull)
            most = MAX_SHIFT_FWHM * self.profile.fwhm
            self.flux = self.flux + found[:number]
            shift = np.clip(away + found[number:], -most, most)
            self.place = self.start + shift.reshape(2, number)
        profiles = self._profiles()
        matrix = self._matrix([profiles])
        self.flux = _solve(matrix, light, np.zeros(number))
        self.rest = self.signal - (matrix @ self.flux) / self.weight
        return {
            "y": self.place[0], "x": self.place[1], "flux": self.flux,
            "error": self._errors(), "chi2": self._chi2(profiles),
            "spread": self._spread(profiles),
        }  # fmt: skip

    def _errors(self) -> np.ndarray:
        """Return the errors of the fluxes; NaN where there is no pixel.

        From the curvature at the solution of a source and the neighbours that share its light, all
        their fluxes and places free.
        """
        number = len(self.flux)
        matrix, prior = self._with_places()
        normal = sparse.csr_matrix(matrix.T @ matrix)
        diagonal = normal.diagonal()[:number]
        errors = np.full(number, np.nan)
        for k in np.flatnonzero(diagonal > 0):
            row = slice(normal.indptr[k], normal.indptr[k + 1])
            near, shared = normal.indices[row], np.abs(normal.data[row])
            near, shared = near[near < number], shared[near < number]
            near = near[shared > MIN_SHARED * np.sqrt(diagonal[k] * diagonal[near])]
            own = int(np.flatnonzero(near == k)[0])
            near = np.concatenate([near, near + number, near + 2 * number])
            part = normal[near][:, near].toarray() + np.diag(prior[near])
            unit = np.zeros(len(near))
            unit[own] = 1
            errors[k] = np.sqrt(max(np.linalg.solve(part, unit)[own], 1 / diagonal[k]))
        return errors

    def _chi2(self, profiles: np.ndarray) -> np.ndarray:
        """Return the mean square of what the model leaves in the core, in its noise."""
        left = (self.rest * self.weight)[self.number]
        core = self.ok & (profiles > 0.1 * profiles.max(1, keepdims=True))
        return np.asarray((core * left**2).sum(1) / np.maximum(core.sum(1), 1))

    def _spread(self, profiles: np.ndarray) -> np.ndarray:
        """Return SPREAD_MODEL (Desai et al. 2012) of each source without its neighbours."""
        wide = with_disk(self.profile)
        dy, dx = self.row - self.place[0][:, None], self.column - self.place[1][:, None]
        disks = np.where(self.ok, wide.at(dy, dx), 0)
        alone = self.rest[self.number] + self.flux[:, None] * profiles
        weight = np.where(self.ok, self.weight[self.number] ** 2, 0)
        star = (weight * profiles * alone).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(
                (weight * disks * alone).sum(1) / star
                - (weight * disks * profiles).sum(1) / (weight * profiles**2).sum(1)
            )

    def model(self, window: tuple[slice, slice]) -> np.ndarray:
        """Return the light of all sources in a window."""
        rows, columns = window
        plane = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        row, column = self.row - rows.start, self.column - columns.start
        inside = self.ok & (row >= 0) & (row < len(plane))
        inside &= (column >= 0) & (column < plane.shape[1])
        light = self.flux[:, None] * self._profiles()
        np.add.at(plane, (row[inside], column[inside]), light[inside])
        return plane


def _solve(
    matrix: sparse.csr_matrix, light: np.ndarray, prior: np.ndarray,
    pull: np.ndarray | float = 0.0,
) -> np.ndarray:  # fmt: skip
    """Return the least-squares solution by conjugate gradients, each unknown in its own unit."""
    from scipy.sparse.linalg import LinearOperator, cg

    normal = sparse.csr_matrix(matrix.T @ matrix)
    diagonal = normal.diagonal() + prior
    unit = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    operator = LinearOperator(
        normal.shape, matvec=lambda v: unit * (normal @ (unit * v) + prior * unit * v)
    )
    found, _ = cg(operator, unit * (matrix.T @ light + pull), rtol=TOLERANCE, maxiter=MAX_STEPS)
    return np.asarray(unit * found)


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
