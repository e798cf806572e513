"""Sources that are solved together: their fluxes, places and errors, and what the fit leaves."""

import numpy as np
from scipy import sparse
from scipy.signal import fftconvolve

from bgrem.cataloguing.profile import Profile, with_disk
from bgrem.frame.sources import Frame

MAX_SHIFT_FWHM = 0.25  # FWHM; a place that moves further has left its source
SHIFT_PRIOR_FWHM = 0.15  # FWHM; standard deviation of the starting places of faint sources
MIN_SHARED = 0.02  # of the light of two profiles; neighbours that share less do not count
TOLERANCE = 1e-6  # relative; of the conjugate gradients
MAX_STEPS = 400  # of the conjugate gradients
LEFT = ("left", "noise", "unlisted", "answer", "alone")  # of `Block.left_around`


class Block:
    """Sources that are solved together."""

    def __init__(
        self, frame: Frame, use: np.ndarray, x: np.ndarray, y: np.ndarray, profile: Profile
    ) -> None:
        self.frame, self.profile, self.use = frame, profile, use
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
        self.flux, self.level = np.zeros(len(x)), 0.0

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
        number, light = len(self.flux), (self.signal - self.level) * self.weight
        self.flux = solve_fluxes(self._matrix([self._profiles()]), light, np.zeros(number))
        for _ in range(rounds - 1):
            matrix, prior = self._with_places()
            away = (self.place - self.start).ravel()
            rest = light - matrix[:, :number] @ self.flux
            pull = np.concatenate([np.zeros(number), -away * prior[number:]])
            found = solve_fluxes(matrix, rest, prior, pull)
            most = MAX_SHIFT_FWHM * self.profile.fwhm
            self.flux = self.flux + found[:number]
            shift = np.clip(away + found[number:], -most, most)
            self.place = self.start + shift.reshape(2, number)
        profiles = self._profiles()
        matrix = self._matrix([profiles])
        self.flux = solve_fluxes(matrix, light, np.zeros(number))
        self.rest = self.signal - self.level - (matrix @ self.flux) / self.weight
        return {
            "y": self.place[0], "x": self.place[1], "flux": self.flux,
            "error": self._errors(free=rounds > 1), "chi2": self._chi2(profiles),
            "spread": self._spread(profiles),
        }  # fmt: skip

    def level_at(self, probes: np.ndarray) -> float:
        """Return the level of the pixels that leaves no light to the median of probes.

        Probes are sources at places where none is listed. As the fit
        is linear, a star at random is given as much light of unlisted ones as they are.

        Parameters
        ----------
        probes : bool array, shape (N,)
        """
        matrix, nothing = self._matrix([self._profiles()]), np.zeros(len(self.flux))
        flux, even = (solve_fluxes(matrix, plane * self.weight, nothing)[probes]
                      for plane in (self.signal, np.ones_like(self.signal)))  # fmt: skip
        usable = even > 0
        return float(np.median(flux[usable] / even[usable])) if usable.any() else 0.0

    def _errors(self, *, free: bool) -> np.ndarray:
        """Return the errors of the fluxes; NaN where there is no pixel.

        From the curvature at the solution of a source and the neighbours that share its light, all
        their fluxes free, and their places where these were fitted.
        """
        number = len(self.flux)
        matrix, prior = self._with_places()
        if not free:
            matrix, prior = self._matrix([self._profiles()]), np.zeros(number)
        normal = sparse.csr_matrix(matrix.T @ matrix)
        diagonal = normal.diagonal()[:number]
        errors = np.full(number, np.nan)
        for k in np.flatnonzero(diagonal > 0):
            row = slice(normal.indptr[k], normal.indptr[k + 1])
            near, shared = normal.indices[row], np.abs(normal.data[row])
            near, shared = near[near < number], shared[near < number]
            near = near[shared > MIN_SHARED * np.sqrt(diagonal[k] * diagonal[near])]
            own = int(np.flatnonzero(near == k)[0])
            if free:
                near = np.concatenate([near, near + number, near + 2 * number])
            part = normal[near][:, near].toarray() + np.diag(prior[near])
            unit = np.zeros(len(near))
            unit[own] = 1
            errors[k] = np.sqrt(max(np.linalg.solve(part, unit)[own], 1 / diagonal[k]))
        return errors

    def left_around(self, reach: int, seed: int) -> dict[str, np.ndarray]:
        """Return what the fit leaves around each source, and what it would leave of two planes.

        The planes are independent noise of the pixels, and light of unlisted stars, which is noise
        that the profile has spread. Both are drawn and fitted in the same places. "left", "noise"
        and "unlisted" are the mean squares of a matched filter within `reach` px around a source;
        "answer" is the flux that it takes from the unlisted light; "alone" is its error without
        neighbours. All of shape (N,).
        """
        if not len(self.pixels):
            return {name: np.zeros(len(self.flux)) for name in LEFT}
        frame, steps = self.frame, np.arange(-self.profile.radius, self.profile.radius + 1.0)
        row, column = np.divmod(self.pixels, self.use.shape[1])
        first = row.min(initial=len(self.use)), column.min(initial=self.use.shape[1])
        window = tuple(slice(int(low), int(axis.max(initial=low)) + 1)
                       for low, axis in zip(first, (row, column), strict=True))  # fmt: skip
        place = row - first[0], column - first[1]
        stamp = self.profile.at(*np.meshgrid(steps, steps, indexing="ij"))
        use = self.use[window]
        variance = np.where(use, frame.variance[window], 1)
        root = np.sqrt(variance)
        rng = np.random.default_rng([seed, *map(int, first)])
        unlisted = fftconvolve(rng.normal(size=root.shape), stamp, mode="same")
        unlisted *= np.median(root) / np.sqrt((stamp**2).sum())
        matrix = self._matrix([self._profiles()])
        weight = np.where(use, 1 / variance, 0)
        power = np.sqrt(np.maximum(fftconvolve(weight, stamp**2, mode="same"), 1e-300))
        steps = np.arange(-reach, reach + 1)
        disk = (steps[:, None] ** 2 + steps**2 <= reach**2) / (np.pi * reach**2)
        y, x = (np.clip(np.round(axis).astype(int) - low, 0, side - 1) for axis, low, side in
                zip(self.place, first, root.shape, strict=True))  # fmt: skip
        found = {"alone": 1 / np.sqrt(np.maximum((matrix.multiply(matrix)).sum(0).A1, 1e-300))}
        planes = {"left": frame.signal[window] - self.level,
                  "noise": root * rng.normal(size=root.shape), "unlisted": unlisted}  # fmt: skip
        for name, plane in planes.items():
            light = plane[place] * self.weight
            flux = self.flux
            if name != "left":
                flux = solve_fluxes(matrix, light, np.zeros(len(self.flux)))
            rest = np.array(plane)
            rest[place] = (light - matrix @ flux) / self.weight
            filtered = fftconvolve(rest * weight, stamp, mode="same") / power
            found[name] = np.maximum(fftconvolve(filtered**2, disk, mode="same")[y, x], 0)
        return found | {"answer": flux}

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


def solve_fluxes(
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
