"""Optical fields with truth: GalSim's sources, a sky that varies, and a detector's noise."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from bgrem.config import SimulateConfig
from bgrem.frame.stamps import add_stamp
from bgrem.simulate.detector import expose
from bgrem.simulate.presets import PRESETS, Instrument
from common.robust import ROUNDED_FWHM_PER_SIGMA

AIRY_FWHM = 1.03  # wavelength / diameter; of a pupil without obscuration
STAR_SUBPIXEL = 8  # stars lie on a grid of 1/8 px: one bank of stamps serves all of them
PSF_ZONES = 3  # per axis; the point-spread function is drawn at 3x3 places and interpolated
STAMP_PX = 65  # px; where a star's profile is cut, unless it is bright
WIDE_STAMP_PX = 257  # px; of bright stars
MAX_ELLIPTICITY = 0.5  # where the shape varies over the field
MIN_STAR_SNR = 0.7  # S/N below which a star is not drawn
# of the list of sources
OPTICAL_COLUMNS = (
    "x",
    "y",
    "flux",
    "snr",
    "kind",
    "half_light_radius",
    "sersic",
    "axis_ratio",
    "angle",
)


@dataclass(frozen=True, eq=False)
class SimulatedField:
    """One field and its truth, all in ADU: observed = sources + background + noise.

    Attributes
    ----------
    observed, sources, background, noise : array, shape (H, W), float32
        `noise` holds what the detector adds: shot noise, read noise, artefacts, and what
        saturation cuts off. The bias is part of `background`.
    catalogue : dict of array
        `OPTICAL_COLUMNS`: 0-based pixel position, flux in ADU, signal-to-noise ratio of a matched
        filter on an isolated source over the sky, kind ("star", "galaxy", "structure"), shape.
    fwhm : float
        Of the point-spread function in the field's centre, in pixels.
    point_spread : array, shape (65, 65)
        The point-spread function in the field's centre, integrated over pixels, sum 1.
    instrument, config
        What it was made from.
    """

    observed: np.ndarray
    sources: np.ndarray
    background: np.ndarray
    noise: np.ndarray
    catalogue: dict[str, np.ndarray]
    fwhm: float
    point_spread: np.ndarray
    instrument: Instrument
    config: SimulateConfig


def simulate_field(
    config: SimulateConfig | None = None, *, instrument: Instrument | None = None, **changes: Any
) -> SimulatedField:
    """Return a simulated exposure with its truth.

    Parameters
    ----------
    config : SimulateConfig, optional
        Default: a MeerLICHT field. `changes` are its fields: ``simulate_field(seed=3)``.
    instrument : Instrument, optional
        In place of the preset's.

    Examples
    --------
    >>> import numpy as np
    >>> from bgrem import simulate_field
    >>> field = simulate_field(preset="ztf", shape=(64, 64), seed=3)
    >>> total = field.sources + field.background + field.noise
    >>> bool(np.allclose(total, field.observed, rtol=1e-5))
    True
    """
    values = {} if config is None else {f.name: getattr(config, f.name) for f in fields(config)}
    config = SimulateConfig(**(values | changes))
    instrument = instrument or PRESETS[config.preset]
    rng = np.random.default_rng([config.seed, 7])
    shape = tuple(config.shape or instrument.shape)
    sky = sky_level(instrument) if config.sky is None else config.sky
    dark = instrument.dark_current * instrument.exposure
    sigma = np.sqrt(sky + dark + instrument.read_noise**2)
    psf = PointSpread(config, instrument, rng)
    catalogue = _draw_catalogue(config, instrument, psf, sigma, shape, rng)
    sources = _render(catalogue, psf, shape)
    sky_map = draw_sky(config, sky, shape, rng)
    observed = expose(sources, sky_map, instrument, rng, artefacts=config.artefacts)
    catalogue["flux"] = catalogue["flux"] / instrument.gain
    background = (sky_map + dark) / instrument.gain + instrument.bias
    sources = sources / instrument.gain
    observed = np.asarray(observed, np.float32)
    sources = np.asarray(sources, np.float32)
    background = np.asarray(background, np.float32)
    noise = np.asarray(observed.astype(np.float64) - sources - background, np.float32)
    centre = psf.stamp(shape[1] / 2, shape[0] / 2, shape, STAMP_PX)[2]
    return SimulatedField(
        observed, sources, background, noise, catalogue, psf.fwhm, centre, instrument, config
    )


def sky_level(instrument: Instrument) -> float:
    """Return the sky in electrons per pixel."""
    flux = 10 ** (-0.4 * (instrument.sky_magnitude - instrument.zero_point))
    return flux * instrument.pixel_scale**2 * instrument.exposure


class PointSpread:
    """A profile whose width and shape vary over the field.

    Parameters
    ----------
    config, instrument
        Profile, width, exponent, ellipticity.
    rng : numpy.random.Generator
        Draws how they vary: width by up to 8 % from centre to corner, shape by some percent; and
        the pupil of an Airy profile: obscuration 0 to 0.4 of the diameter, no struts, 3 or 4.
    """

    def __init__(self, config: SimulateConfig, instrument: Instrument, rng: Any) -> None:
        import galsim

        self.fwhm = config.fwhm or instrument.fwhm / instrument.pixel_scale
        places = np.linspace(-1, 1, PSF_ZONES)
        growth = rng.uniform(0, 0.08)
        tilt = rng.normal(0, 0.01, 2)
        ellipticity, beta = config.ellipticity, config.beta or instrument.beta
        if ellipticity is None:
            ellipticity = instrument.ellipticity
        base = ellipticity * np.exp(2j * np.pi * rng.uniform())
        slopes = 0.02 * (rng.normal(size=2) + 1j * rng.normal(size=2))
        pupil: dict[str, Any] = {}
        if config.profile == "airy":
            pupil = {
                "obscuration": rng.uniform(0, 0.4), "nstruts": int(rng.choice([0, 3, 4])),
                "strut_thick": rng.uniform(0.01, 0.04),
                "strut_angle": rng.uniform(0, 90) * galsim.degrees,
            }  # fmt: skip
        self.profiles: list[list[Any]] = []
        for v in places:
            row = []
            for u in places:
                width = self.fwhm * (1 + growth * (u * u + v * v) / 2 + tilt @ (u, v))
                shape = base + slopes @ (u, v)
                shape *= min(1.0, MAX_ELLIPTICITY / max(abs(shape), 1e-9))
                profile: Any = galsim.Moffat(beta=beta, fwhm=width)
                if config.profile == "kolmogorov":
                    profile = galsim.Kolmogorov(fwhm=width)
                elif config.profile == "airy":
                    profile = galsim.OpticalPSF(lam_over_diam=width / AIRY_FWHM, **pupil)
                row.append(profile.shear(g1=shape.real / 2, g2=shape.imag / 2))
            self.profiles.append(row)
        self._bank: dict[tuple[int, int, int, int, int], np.ndarray] = {}

    def _zones(self, x: float, y: float, shape: tuple[int, ...]) -> list[tuple[int, int, float]]:
        """Give the places around (x, y) with their weights."""
        u, v = (PSF_ZONES - 1) * x / shape[1], (PSF_ZONES - 1) * y / shape[0]
        i, j = min(max(int(v), 0), PSF_ZONES - 2), min(max(int(u), 0), PSF_ZONES - 2)
        a, b = min(max(v - i, 0.0), 1.0), min(max(u - j, 0.0), 1.0)
        corners = [
            (0, 0, (1 - a) * (1 - b)),
            (0, 1, (1 - a) * b),
            (1, 0, a * (1 - b)),
            (1, 1, a * b),
        ]
        return [(i + di, j + dj, weight) for di, dj, weight in corners if weight > 1e-3]

    def _stamp(self, i: int, j: int, dx: int, dy: int, size: int) -> np.ndarray:
        key = (i, j, dx, dy, size)
        if key not in self._bank:
            image = self.profiles[i][j].drawImage(
                nx=size, ny=size, scale=1.0, offset=(dx / STAR_SUBPIXEL, dy / STAR_SUBPIXEL)
            )
            self._bank[key] = image.array.astype(np.float64)
        return self._bank[key]

    def stamp(
        self, x: float, y: float, shape: tuple[int, ...], size: int
    ) -> tuple[int, int, np.ndarray]:
        """Return (row, column) of the lower corner and the profile (size, size) of unit flux."""
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        dx, dy = round((x - column) * STAR_SUBPIXEL), round((y - row) * STAR_SUBPIXEL)
        zones = self._zones(x, y, shape)
        total = sum(weight for *_, weight in zones)
        stamp = sum(weight / total * self._stamp(i, j, dx, dy, size) for i, j, weight in zones)
        return row - size // 2, column - size // 2, np.asarray(stamp)

    def profile(self, x: float, y: float, shape: tuple[int, ...]) -> Any:
        """Return GalSim's profile of the nearest place."""
        i, j, _ = max(self._zones(x, y, shape), key=lambda zone: zone[2])
        return self.profiles[i][j]


def _draw_catalogue(config, instrument, psf, sigma, shape, rng) -> dict[str, np.ndarray]:
    """Draw positions, fluxes (electrons) and shapes of all sources."""
    area = shape[0] * shape[1]
    arcmin2 = area * instrument.pixel_scale**2 / 3600
    # noise of a matched filter: sigma over the root of the summed squared profile
    compact = psf.stamp(shape[1] / 2, shape[0] / 2, shape, STAMP_PX)[2]
    unit = sigma / np.sqrt((compact**2).sum())
    at_20 = instrument.exposure * 10 ** (-0.4 * (20 - instrument.zero_point))
    stars = config.stars
    if stars is None:  # from magnitude 20 to five sigma along the power law
        stars = instrument.stars * arcmin2 / area * 1e6
        stars *= (at_20 / (5 * unit)) ** (2.5 * config.star_slope)
    galaxies = config.galaxies
    if galaxies is None:
        galaxies = instrument.galaxies * arcmin2 / area * 1e6 * (at_20 / (8 * unit)) ** 1.0
    index = 2.5 * config.star_slope
    saturated = 20 * instrument.saturation * psf.fwhm**2
    rows: list[tuple[Any, ...]] = []
    for flux in power_law(rng, stars * area / 1e6, 5 * unit, MIN_STAR_SNR * unit, saturated, index):
        x, y = (
            rng.integers(0, (shape[1] * STAR_SUBPIXEL, shape[0] * STAR_SUBPIXEL)) / STAR_SUBPIXEL
            - 0.5
        )
        rows.append((x, y, flux, flux / unit, "star", 0.0, 0.0, 1.0, 0.0))
    for flux in power_law(rng, galaxies * area / 1e6, 5 * unit, 2 * unit, saturated, 1.0):
        # brighter galaxies are larger: half-light radius about flux^0.3
        radius = 0.45 * psf.fwhm * (flux / (10 * unit)) ** 0.3 * np.exp(rng.normal(0, 0.4))
        rows.append(_galaxy(rng, shape, flux, min(radius, 60.0), rng.uniform(0.6, 4.0), "galaxy"))
    for _ in range(rng.poisson(config.faint_structures * area / 1e6)):
        radius = rng.uniform(8, 40)
        brightness = sigma * rng.uniform(0.1, 0.8)  # mean within the half-light radius
        flux = brightness * 2 * np.pi * radius**2
        rows.append(_galaxy(rng, shape, flux, radius, rng.uniform(0.5, 1.2), "structure"))
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [[] for _ in OPTICAL_COLUMNS]
    catalogue = {
        name: np.asarray(column) for name, column in zip(OPTICAL_COLUMNS, columns, strict=True)
    }
    catalogue["kind"] = catalogue["kind"].astype("U9")
    extended = catalogue["kind"] != "star"
    # matched filter of the source as it appears: a Gaussian of its width and the seeing's
    width = np.hypot(
        psf.fwhm / ROUNDED_FWHM_PER_SIGMA, catalogue["half_light_radius"][extended] / 1.18
    )
    area_ = 4 * np.pi * width**2 * np.maximum(catalogue["axis_ratio"][extended], 0.3)
    catalogue["snr"] = catalogue["snr"].astype(float)
    catalogue["snr"][extended] = catalogue["flux"][extended] / sigma / np.sqrt(area_)
    return catalogue


def _galaxy(rng, shape, flux, radius, sersic, kind) -> tuple[Any, ...]:
    x, y = rng.uniform(-0.5, (shape[1] - 0.5, shape[0] - 0.5))
    return x, y, flux, 0.0, kind, radius, sersic, rng.uniform(0.3, 1.0), rng.uniform(0, np.pi)


def power_law(rng, count, pivot, faintest, brightest, index) -> np.ndarray:
    """Draw fluxes with N(>f) = count (f / pivot)^-index between the two ends."""
    number = rng.poisson(count * (faintest / pivot) ** -index)
    share = rng.uniform((brightest / faintest) ** -index, 1, number)
    return faintest * share ** (-1 / index)


def _render(catalogue: dict[str, np.ndarray], psf: PointSpread, shape) -> np.ndarray:
    """Draw all sources in electrons, shape (H, W)."""
    import galsim

    canvas = np.zeros(shape)
    bright = np.quantile(catalogue["snr"], 0.995) if len(catalogue["snr"]) else 0
    for k, (x, y, flux) in enumerate(zip(*(catalogue[n] for n in ("x", "y", "flux")), strict=True)):
        if catalogue["kind"][k] == "star":
            size = WIDE_STAMP_PX if catalogue["snr"][k] > max(bright, 200) else STAMP_PX
            row, column, stamp = psf.stamp(x, y, shape, size)
            add_stamp(canvas, row, column, flux * stamp)
            continue
        radius, sersic = catalogue["half_light_radius"][k], round(catalogue["sersic"][k], 1)
        galaxy = galsim.Sersic(sersic, half_light_radius=radius, flux=flux, trunc=5 * radius)
        galaxy = galaxy.shear(
            q=catalogue["axis_ratio"][k], beta=catalogue["angle"][k] * galsim.radians
        )
        size = int(min(2 * np.ceil(5 * radius + 3 * psf.fwhm) + 1, 513))
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        image = galsim.Convolve(galaxy, psf.profile(x, y, shape)).drawImage(
            nx=size, ny=size, scale=1.0, offset=(x - column, y - row)
        )
        add_stamp(canvas, row - size // 2, column - size // 2, image.array)
    return canvas


def draw_sky(config: SimulateConfig, sky: float, shape, rng) -> np.ndarray:
    """Return the sky in electrons: a level, a tilt in any direction, a few smooth waves."""
    v, u = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in shape), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * u + np.sin(angle) * v
    relative = 1 + config.gradient * along / np.ptp(along)
    wave = np.zeros(shape)
    for _ in range(4):
        kx, ky = rng.uniform(-1.5, 1.5, 2)
        wave += rng.normal() * np.cos(2 * np.pi * (kx * u + ky * v + rng.uniform()))
    spread = wave.std()
    return sky * (relative + config.waves * (wave - wave.mean()) / (spread or 1.0))
