"""Is a gradient light that was added, or light that was lost? The stars of the frame decide."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from bgoptimizer.model import BackgroundModel
from common.image import AstroImage
from common.robust import difference_noise, neighbour_differences

TILES_PER_HEIGHT = 12  # tiles in which stars are counted, down the frame
DETECTION_SIGMA = 3.0  # noise of the noisiest part; of the smoothed pixels of a star
FLUX_QUANTILE = 0.3  # of the stars found everywhere; fainter ones may be missed where it is bright
BRIGHT_RATIO = 30.0  # times the faintest flux; brighter stars saturate
APERTURE_PX = 3.0  # px; radius in which a star's light is summed
MIN_STARS = 60  # stars; with fewer nothing is said
FITS_SIGMA = 2.0  # errors; an answer that is nearer fits
FAILS_SIGMA = 3.0  # errors; an answer that is farther does not: dust and clusters are no chance
FIT_ROUNDS = 25  # of Newton's method; it has converged after ten


@dataclass(frozen=True)
class Operation:
    """What a gradient is.

    Attributes
    ----------
    kind : {"subtract", "divide", "both", "unknown"}
    exponent, error : float
        The stars' fluxes go as the background to this power: 0 where light was added, 1 where the
        gradient is a vignette. NaN if it could not be measured.
    stars : int
        Stars that were counted.
    """

    kind: str
    exponent: float
    error: float
    stars: int

    @property
    def choice(self) -> str:
        """What to do: "divide" where the stars demand it, else "subtract"."""
        return "divide" if self.kind == "divide" else "subtract"

    @property
    def note(self) -> str:
        """One line for the user."""
        words = {
            "subtract": "the gradient is added light: subtracted",
            "divide": "the gradient is lost light, as of a vignette: divided",
            "both": "the gradient is partly added and partly lost light: subtracted",
            "unknown": "the stars cannot say whether the gradient is added or lost light: "
                       "subtracted",
        }  # fmt: skip
        if not np.isfinite(self.exponent):
            return f"{words[self.kind]} ({self.stars} stars)"
        return f"{words[self.kind]} (exponent {self.exponent:.2f} ± {self.error:.2f})"


def measure_operation(image: AstroImage, model: BackgroundModel) -> Operation:
    """Return whether a background was added to the stars' light or multiplies it.

    Stars brighter than a fixed flux are counted in tiles. Where a vignette takes light, fewer of
    them are that bright: for cumulative counts of flux^-α their density goes as the background to
    the power α. A tilt of the density itself is fitted beside it, as the Milky Way has one.

    Parameters
    ----------
    image : AstroImage
    model : BackgroundModel
        Of the image.
    """
    pixels = image.pixels.mean(-1, dtype=np.float64)
    background = model.evaluate().mean(-1, dtype=np.float64)
    x, y, flux = _find_stars(pixels - background)
    if len(flux) < 2 * MIN_STARS:
        return Operation("unknown", np.nan, np.nan, len(flux))
    least = np.quantile(flux, FLUX_QUANTILE)
    chosen = (flux > least) & (flux < BRIGHT_RATIO * least)
    if chosen.sum() < MIN_STARS:
        return Operation("unknown", np.nan, np.nan, int(chosen.sum()))
    slope = _slope_of_counts(np.log(flux[chosen] / least))
    side = max(8, min(pixels.shape) // TILES_PER_HEIGHT)
    rows, columns = -(-pixels.shape[0] // side), -(-pixels.shape[1] // side)
    tile = (y[chosen] // side).astype(int) * columns + (x[chosen] // side).astype(int)
    counts = np.bincount(tile, minlength=rows * columns)
    seen, level, v, u = _tiles(np.isfinite(pixels), background, side)
    use = (seen > 0.2 * side**2) & (level > 0)
    if use.sum() < 12:
        return Operation("unknown", np.nan, np.nan, int(chosen.sum()))
    terms = np.stack([np.ones_like(level), u, v, np.log(np.where(level > 0, level, 1))], -1)[use]
    terms[:, 3] -= terms[:, 3].mean()
    power, error = _poisson_slope(terms, counts[use], seen[use] / side**2)
    exponent, error = power / slope, float(np.hypot(error, power / np.sqrt(chosen.sum())) / slope)
    return Operation(_decide(exponent, error), exponent, error, int(chosen.sum()))


def _decide(exponent: float, error: float) -> str:
    added, lost = abs(exponent) / error, abs(exponent - 1) / error
    if min(added, lost) > FAILS_SIGMA:
        return "both"
    if added < FITS_SIGMA and lost > FAILS_SIGMA:
        return "subtract"
    if lost < FITS_SIGMA and added > FAILS_SIGMA:
        return "divide"
    return "unknown"


def _slope_of_counts(logarithms: np.ndarray) -> float:
    """Return α of counts of flux^-α, from logarithms of fluxes between 0 and `BRIGHT_RATIO`.

    The maximum likelihood of an exponential distribution that is cut off (Hill 1975; Aban et al.
    2006, J. Am. Stat. Assoc. 101, 270).
    """
    most, mean = np.log(BRIGHT_RATIO), float(logarithms.mean())

    def excess(slope: float) -> float:
        return 1 / slope - most / np.expm1(slope * most) - mean

    low, high = 0.05, 20.0
    if not excess(high) < 0 < excess(low):
        return 1 / mean
    return float(optimize.brentq(excess, low, high))


def _find_stars(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and flux of stars, found with one threshold all over the frame."""
    import sep

    missing = ~np.isfinite(flat)
    known = ~missing
    noises = []
    for half in np.array_split(np.arange(flat.shape[0]), 2):
        for part in np.array_split(np.arange(flat.shape[1]), 2):
            box = np.s_[half[0] : half[-1] + 1, part[0] : part[-1] + 1]
            found = neighbour_differences(flat[box], known[box])
            noises.append(difference_noise(found) if found.size else 0.0)
    threshold = DETECTION_SIGMA * max(noises)
    if not threshold > 0:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    filled = np.ascontiguousarray(np.where(missing, 0, flat))
    sep.set_extract_pixstack(max(1_000_000, flat.size // 4))
    stars = sep.extract(filled, threshold, mask=missing, minarea=3)
    # extended light and what touches the edge are no stars
    round_ones = (stars["flag"] & 8 == 0) & (stars["npix"] < 2500) & (stars["b"] > 0.5 * stars["a"])
    kept = stars[round_ones]
    # a fixed aperture: what lies above a threshold depends on the sky's noise
    flux, _, _ = sep.sum_circle(filled, kept["x"], kept["y"], APERTURE_PX, mask=missing, subpix=3)
    return kept["x"][flux > 0], kept["y"][flux > 0], flux[flux > 0]


def _tiles(known: np.ndarray, background: np.ndarray, side: int) -> tuple[np.ndarray, ...]:
    """Return number of measured pixels, mean background and places (-1 to 1) of all tiles."""
    from common.blocks import cut_blocks

    seen = cut_blocks(known.astype(np.float64), side, 0.0).sum((1, 3))
    total = cut_blocks(np.where(known, background, 0.0), side, 0.0).sum((1, 3))
    v, u = np.meshgrid(*(np.linspace(-1, 1, count) for count in seen.shape), indexing="ij")
    return seen.ravel(), (total / np.maximum(seen, 1)).ravel(), v.ravel(), u.ravel()


def _poisson_slope(terms: np.ndarray, counts: np.ndarray, area: np.ndarray) -> tuple[float, float]:
    """Return the last coefficient of a Poisson regression and its error.

    The error grows where counts scatter more than by chance: stars cluster.
    """
    solution = np.zeros(terms.shape[1])
    solution[0] = np.log(max(counts.sum(), 1) / area.sum())
    for _ in range(FIT_ROUNDS):
        expected = area * np.exp(np.clip(terms @ solution, -30, 30))
        matrix = terms.T @ (terms * expected[:, None]) + 1e-9 * np.eye(terms.shape[1])
        step = np.linalg.solve(matrix, terms.T @ (counts - expected))
        solution = solution + np.clip(step, -2, 2)
    scatter = ((counts - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    scatter /= max(len(counts) - terms.shape[1], 1)
    error = np.sqrt(np.linalg.inv(matrix)[-1, -1] * max(1.0, scatter))
    return float(solution[-1]), float(error)
