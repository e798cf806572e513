"""Sources of known light, put into a frame of the user's: stars, Sérsic galaxies, halos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from bgrem.frame.stamps import add_stamp
from bgrem.frame.stars import PointSpread

INJECTED_GALAXY_SHARE = 0.2  # of the injected sources
MIN_INJECTED_SNR = 1.5  # S/N of a matched filter; drawn log-uniform
MAX_INJECTED_SNR = 100.0  # S/N of a matched filter; drawn log-uniform
INJECTED_SERSIC_INDICES = (1.0, 2.5)  # discs, and steeper profiles
INJECTED_RADII_FWHM = (0.4, 1.5)  # FWHM; half-light radii before seeing
INJECTED_DISTANCE_FWHM = 4.0  # FWHM between injected sources: they crowd the frame, not each other
INJECTED_MARGIN_FWHM = 2.0  # FWHM; nothing is injected nearer to the border
MAX_POISSON_MEAN = 1e12  # electrons; beyond it photon noise is drawn as normal
INJECTED_PLACE_TRIALS = 20  # for each place that keeps its distance


@dataclass(frozen=True, eq=False)
class Injection:
    """A frame with injected sources, shape (H, W), and what was put in.

    Attributes
    ----------
    pixels : array
        The frame and the injected light, its photon noise included where the gain is known.
    light : array
        The injected light alone, without noise.
    truth : dict of array
        x, y (0-based), flux, snr (matched filter, isolated, in the frame's own noise), kind
        ("star", "galaxy"), half_light_radius; each of shape (N,).
    """

    pixels: np.ndarray
    light: np.ndarray
    truth: dict[str, np.ndarray]


def inject_sources(
    pixels: np.ndarray,
    sigma: np.ndarray,
    spread: PointSpread,
    *,
    number: int,
    gain: float | None,
    inflation: float,
    rng: np.random.Generator,
    snrs: Sequence[float] = (),
    usable: np.ndarray | None = None,
) -> Injection:
    """Return a frame of shape (H, W) with stars and galaxies at random places.

    Parameters
    ----------
    pixels, sigma : array, shape (H, W)
        The frame (NaN: missing) and the standard deviation of its noise.
    spread : PointSpread
    number : int
        Of sources, at most: each keeps `INJECTED_DISTANCE_FWHM` from the others.
    gain : float or None
        Electrons per unit; None: no photon noise of the sources.
    inflation : float
        The noise of a matched filter over that of white noise: 1 for independent pixels.
    snrs : sequence of float, optional
        Signal-to-noise ratios by turns; all sources are stars then.
    usable : bool array, shape (H, W), optional
        Where sources may lie. Default: what is measured.
    """
    usable = np.isfinite(pixels) if usable is None else usable
    x, y = _places(usable, spread.fwhm, number, rng)
    light = np.zeros(pixels.shape)
    names = ("flux", "snr", "half_light_radius")
    truth = {"x": x, "y": y, "kind": np.full(len(x), "star", "U6")}
    truth |= {name: np.zeros(len(x)) for name in names}
    for k in range(len(x)):
        galaxy = not snrs and rng.uniform() < INJECTED_GALAXY_SHARE
        radius = spread.fwhm * np.exp(rng.uniform(*np.log(INJECTED_RADII_FWHM))) if galaxy else 0.0
        row, column = round(y[k]), round(x[k])
        stamp = _stamp(spread, radius, x[k] - column, y[k] - row, rng)
        drawn = np.exp(rng.uniform(np.log(MIN_INJECTED_SNR), np.log(MAX_INJECTED_SNR)))
        snr = snrs[k % len(snrs)] if snrs else drawn
        flux = snr * sigma[row, column] * inflation / np.sqrt((stamp**2).sum())
        half = stamp.shape[0] // 2
        add_stamp(light, row - half, column - half, flux * stamp)
        truth["kind"][k] = "galaxy" if galaxy else "star"
        for name, value in zip(names, (flux, snr, radius), strict=True):
            truth[name][k] = value
    return Injection(pixels + with_photon_noise(light, gain, rng), light, truth)


def with_photon_noise(
    light: np.ndarray, gain: float | None, rng: np.random.Generator
) -> np.ndarray:
    """Return light with the noise of its own photons, as it is where the gain is unknown."""
    if gain is None:
        return light
    mean = np.maximum(light, 0) * gain
    if mean.max(initial=0) > MAX_POISSON_MEAN:
        return (mean + np.sqrt(mean) * rng.normal(size=mean.shape)) / gain
    return rng.poisson(mean) / gain


def _places(
    usable: np.ndarray, fwhm: float, number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions on usable pixels that keep their distance from border and each other."""
    margin = INJECTED_MARGIN_FWHM * fwhm
    high = np.array(usable.shape) - 1 - margin
    drawn = rng.uniform(margin, np.maximum(high, margin + 1), (INJECTED_PLACE_TRIALS * number, 2))
    inside = np.minimum(drawn.round().astype(int), np.array(usable.shape) - 1)
    drawn = drawn[usable[inside[:, 0], inside[:, 1]]]
    near = (
        cKDTree(drawn).query_ball_point(drawn, INJECTED_DISTANCE_FWHM * fwhm) if len(drawn) else []
    )
    free = np.ones(len(drawn), bool)
    chosen: list[int] = []
    for k in range(len(drawn)):
        if free[k] and len(chosen) < number:
            chosen.append(k)
            free[near[k]] = False
    return drawn[chosen, 1], drawn[chosen, 0]


def _stamp(
    spread: PointSpread, radius: float, dx: float, dy: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the picture of unit flux: a star for radius 0, else a galaxy."""
    import galsim

    profile, side = spread.profile, 2 * int(np.ceil(5 * spread.fwhm)) + 1
    if radius:
        galaxy = galsim.Sersic(float(rng.choice(INJECTED_SERSIC_INDICES)), half_light_radius=radius,
                               trunc=5 * radius)  # fmt: skip
        shape = galsim.Shear(q=rng.uniform(0.3, 1), beta=rng.uniform(0, np.pi) * galsim.radians)
        profile = galsim.Convolve(galaxy.shear(shape), profile)
        side += 2 * int(np.ceil(5 * radius))
    drawn = profile.drawImage(nx=side, ny=side, scale=1.0, offset=(dx, dy))
    return drawn.array.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Halo:
    """A round exponential disc: centre, scale length in px, central brightness, cut radius."""

    x: float
    y: float
    scale: float
    peak: float
    reach: float

    def light(self, shape: tuple[int, int]) -> np.ndarray:
        """Return its light in an image of a shape."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        radius = np.hypot(x - self.x, y - self.y)
        disc: np.ndarray = self.peak * np.exp(-radius / self.scale) * (radius <= self.reach)
        return disc
