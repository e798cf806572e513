"""γ-ray patches with truth: point sources over interstellar emission, counted photon by photon."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, signal

from common.robust import ROUNDED_FWHM_PER_SIGMA

PIXEL_DEGREES = 0.3  # degrees; 64 px are 19 degrees, the half width of the profile is 1.1 px
KING_TAIL = 2.2  # exponent of King's profile: 95 % of the light within 2.6 radii of 68 %
# degrees; radius of 68 % of a point source, front and back, 1-2 GeV
CONTAINMENT_DEGREES = (0.6, 0.8)
GAMMA_SUBPIXEL = 3  # sources lie on a grid of 1/3 px
GAMMA_MARGIN_PX = 24  # px around the patch where sources are drawn too: their wings reach into it
# counts in ten years, 3e-11 / cm2 / s; fainter sources are isotropic emission
MIN_GAMMA_COUNTS = 12.0
MAX_GAMMA_COUNTS = 5e4  # counts in ten years; Geminga. Vela alone is brighter
GAMMA_COLUMNS = ("x", "y", "flux", "snr", "kind", "half_light_radius")  # of the list of sources


@dataclass(frozen=True, eq=False)
class GammaPatch:
    """One patch and its truth, in counts: observed is drawn from Poisson(sources + emission).

    Attributes
    ----------
    observed, sources, emission : array, shape (H, W), float32
        `sources` and `emission` (interstellar and isotropic) are expected counts.
    catalogue : dict of array
        `GAMMA_COLUMNS`: 0-based pixel position, expected counts, signal-to-noise ratio of a matched
        filter on the isolated source over the true emission, kind ("agn", "pulsar"), and
        half_light_radius, which is 0.
    point_spread : array
        King's profile, integrated over pixels, sum 1.
    fwhm : float
        Of the point-spread function, in pixels.
    latitude : float
        Of the centre, in degrees.
    exposure : float
        In ten years.
    """

    observed: np.ndarray
    sources: np.ndarray
    emission: np.ndarray
    catalogue: dict[str, np.ndarray]
    point_spread: np.ndarray
    fwhm: float
    latitude: float
    exposure: float


def simulate_patch(
    seed: int,
    shape: tuple[int, int] = (64, 64),
    *,
    latitude: float | None = None,
    exposure: float | None = None,
    iem: np.ndarray | str | Path | None = None,
) -> GammaPatch:
    """Return a simulated patch of the sky at 1-2 GeV; the same seed gives the same pixels.

    Parameters
    ----------
    seed : int
    shape : tuple of int
        Rows and columns.
    latitude : float, optional
        Galactic latitude of the centre in degrees; default: drawn over the whole sky.
    exposure : float, optional
        In ten years; default: 0.7 to 1.5, as it varies over the sky.
    iem : array, str or Path, optional
        Interstellar emission in place of the simulated one, in counts per pixel and ten years:
        an array of two dimensions, or a FITS file (the first plane of its first image). It is
        stretched over the patch.

    Raises
    ------
    ValueError
        If `iem` has no plane, or holds negative or missing values.
    """
    rng = np.random.default_rng([seed, 13])
    drawn = float(np.degrees(np.arcsin(rng.uniform(-1, 1)))), float(rng.uniform(0.7, 1.5))
    latitude = drawn[0] if latitude is None else latitude
    exposure = drawn[1] if exposure is None else exposure
    angle = rng.uniform(0, 2 * np.pi)  # between the rows and the Galactic plane
    radius = rng.uniform(*CONTAINMENT_DEGREES) / PIXEL_DEGREES
    wide = (shape[0] + 2 * GAMMA_MARGIN_PX, shape[1] + 2 * GAMMA_MARGIN_PX)
    latitudes = _latitudes(wide, latitude, angle)
    activity = float(np.exp(rng.uniform(np.log(0.2), np.log(4))))  # outer to inner Galaxy
    emission = _emission(rng, latitudes, activity)
    if iem is not None:
        emission = ISOTROPIC_COUNTS + _stretch(_read_plane(iem), wide)
    inner = np.s_[GAMMA_MARGIN_PX:-GAMMA_MARGIN_PX, GAMMA_MARGIN_PX:-GAMMA_MARGIN_PX]
    profile = king_profile(radius)
    around = np.pad(emission, GAMMA_MARGIN_PX, mode="symmetric")
    emission = exposure * signal.fftconvolve(around, profile, mode="same")[inner]
    catalogue = _draw_catalogue(rng, latitudes, activity, exposure)
    sources = _render(catalogue, wide, radius)
    # a Fourier transform leaves -1e-12 where there is nothing
    emission, sources = (np.maximum(part[inner], 0) for part in (emission, sources))
    observed = rng.poisson(sources + emission)
    listed = _inside(catalogue, shape)
    row, column = (np.rint(listed[name]).astype(int) for name in ("y", "x"))
    listed["snr"] = listed["flux"] * np.sqrt((profile**2).sum() / emission[row, column])
    fwhm = 2 * radius * np.sqrt((2 ** (1 / KING_TAIL) - 1) / _containment_term(0.68))
    # a pixel is a box: its variance of 1/12 px² widens the profile
    fwhm = float(np.hypot(fwhm, ROUNDED_FWHM_PER_SIGMA / np.sqrt(12)))
    return GammaPatch(
        observed.astype(np.float32), sources.astype(np.float32), emission.astype(np.float32),
        listed, profile, fwhm, float(latitude), float(exposure),
    )  # fmt: skip


def _containment_term(share: float) -> float:
    """Return r² / (2 γ σ²) of King's profile within which `share` of the light lies."""
    return (1 - share) ** (1 / (1 - KING_TAIL)) - 1


def king_profile(radius: float, *, subpixel: int = 1) -> np.ndarray:
    """Return King's profile, shape (N, N) with N odd, sum 1 but for what its wings lose.

    Parameters
    ----------
    radius : float
        Of 68 % containment, in pixels.
    subpixel : int
        Samples of the result per pixel (odd). With 1, values are means over pixels.
    """
    fine = GAMMA_SUBPIXEL if subpixel == 1 else subpixel
    half = GAMMA_MARGIN_PX * fine + fine // 2
    axis = np.arange(-half, half + 1) / fine
    unit = _containment_term(0.68) / radius**2
    profile = (1 + (axis[:, None] ** 2 + axis**2) * unit) ** -KING_TAIL
    lost = (1 + GAMMA_MARGIN_PX**2 * unit) ** (1 - KING_TAIL)
    profile *= (1 - lost) / profile.sum()
    return _bin(profile, fine) if subpixel == 1 else profile


def _bin(fine: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = fine.shape[0] // factor, fine.shape[1] // factor
    return fine.reshape(rows, factor, columns, factor).sum((1, 3))


def _latitudes(shape: tuple[int, int], centre: float, angle: float) -> np.ndarray:
    """Return the latitude of each pixel in degrees, shape (H, W); past a pole it falls again."""
    y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    degrees = centre + PIXEL_DEGREES * (np.cos(angle) * y + np.sin(angle) * x)
    return np.degrees(np.arcsin(np.sin(np.radians(degrees))))


ISOTROPIC_COUNTS = 2.3  # counts per pixel in ten years: 2.1e-7 / cm2 / s / sr
# counts per pixel in ten years, of the local gas at the pole; grows as 1 / sin(b)
LOCAL_GAS_COUNTS = 1.6
HALO_COUNTS = 4.0  # counts per pixel in ten years, inverse Compton light; falls over 20 degrees
DISC_COUNTS = 70.0  # counts per pixel in ten years, thin disc; 14 to 280 with the Galaxy's activity


def _emission(rng: np.random.Generator, latitudes: np.ndarray, activity: float) -> np.ndarray:
    """Return interstellar and isotropic emission, counts per pixel in ten years."""
    height = np.abs(latitudes)
    local = LOCAL_GAS_COUNTS * rng.uniform(0.7, 1.4) / np.hypot(np.sin(np.radians(height)), 0.06)
    disc = DISC_COUNTS * activity * np.exp(-height / rng.uniform(0.8, 3.0))
    halo = HALO_COUNTS * activity**0.5 * np.exp(-height / 20)
    # clouds: column densities are lognormal, with a power spectrum of index 2.5 to 3.3
    index = rng.uniform(2.5, 3.3)
    clouds = [
        np.exp(rms * field - rms**2 / 2)
        for rms in rng.uniform((0.15, 0.2), (0.5, 0.7))
        for field in [random_field(rng, latitudes.shape, index)]
    ]
    return ISOTROPIC_COUNTS + halo + local * clouds[0] + disc * clouds[1]


def random_field(rng: np.random.Generator, shape: tuple[int, int], index: float) -> np.ndarray:
    """Return a Gaussian field of mean 0 and rms 1 whose power falls as k^-index."""
    side = 2 * max(shape)  # twice as large: the patch is not periodic
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    k[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((side, side)))
    field = np.fft.irfft2(white * k ** (-index / 2), s=(side, side))
    return field[: shape[0], : shape[1]] / field.std()


def _read_plane(iem: np.ndarray | str | Path) -> np.ndarray:
    """Return the plane (H, W) of an array or of a FITS file's first image."""
    name = "iem"
    if isinstance(iem, str | Path):
        from common.fits.parts import read_planes

        name = str(iem)
        images = list(read_planes(iem).values())
        if not images:
            raise ValueError(f"{name}: holds no image. Give a file with an emission map.")
        iem = images[0]
    plane = np.asarray(iem, float)
    while plane.ndim > 2:
        plane = plane[0]
    if plane.ndim != 2 or not np.isfinite(plane).all() or plane.min() < 0:
        raise ValueError(f"{name}: expected a plane without missing or negative values.")
    return plane


def _stretch(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    places = [np.linspace(0, n - 1, m) for n, m in zip(plane.shape, shape, strict=True)]
    return ndimage.map_coordinates(plane, np.meshgrid(*places, indexing="ij"), order=1)


# (counts in ten years, sources per square degree above it, slopes of N(>S) below and above it)
AGN_COUNTS = (160.0, 0.02, 0.9, 1.5)
PULSAR_COUNTS = (250.0, 0.1, 0.8, 1.0)  # as AGN_COUNTS, at latitude 0, falling over 3 degrees
PULSAR_LATITUDE_DEGREES = 3.0  # degrees over which the density of pulsars falls


def _draw_catalogue(
    rng: np.random.Generator, latitudes: np.ndarray, activity: float, exposure: float
) -> dict[str, np.ndarray]:
    """Draw sources on the patch with its margin; positions are those of the patch's pixels."""
    rows, columns = latitudes.shape
    area = latitudes.size * PIXEL_DEGREES**2
    parts = []
    for kind, (pivot, density, *slopes), factor in (
        ("agn", AGN_COUNTS, 1.0), ("pulsar", PULSAR_COUNTS, activity**0.5),
    ):  # fmt: skip
        flux = _power_law(rng, density * factor * area, pivot, *slopes)
        x, y = (rng.integers(0, n * GAMMA_SUBPIXEL, len(flux)) for n in (columns, rows))
        if kind == "pulsar":
            height = np.abs(latitudes[y // GAMMA_SUBPIXEL, x // GAMMA_SUBPIXEL])
            kept = rng.uniform(size=len(flux)) < np.exp(-height / PULSAR_LATITUDE_DEGREES)
            flux, x, y = flux[kept], x[kept], y[kept]
        centre = (GAMMA_SUBPIXEL - 1) / 2
        place = [(n - centre) / GAMMA_SUBPIXEL - GAMMA_MARGIN_PX for n in (x, y)]
        parts.append((*place, exposure * flux, np.full(len(flux), kind)))
    x, y, flux, kinds = (np.concatenate(column) for column in zip(*parts, strict=True))
    none = np.zeros(len(flux))
    return dict(zip(GAMMA_COLUMNS, (x, y, flux, none, kinds, none.copy()), strict=True))


def _power_law(
    rng: np.random.Generator, count: float, pivot: float, faint: float, bright: float
) -> np.ndarray:
    """Draw fluxes whose N(>S) is `count` at the pivot and has a slope on either side of it."""
    low = rng.poisson(count * ((pivot / MIN_GAMMA_COUNTS) ** faint - 1))
    high = rng.poisson(count)
    below = pivot * rng.uniform(1, (pivot / MIN_GAMMA_COUNTS) ** faint, low) ** (-1 / faint)
    above = pivot * rng.uniform((MAX_GAMMA_COUNTS / pivot) ** -bright, 1, high) ** (-1 / bright)
    return np.concatenate([below, above])


def _render(catalogue: dict[str, np.ndarray], shape: tuple[int, int], radius: float) -> np.ndarray:
    """Return expected counts of all sources, shape (H, W)."""
    fine = np.zeros([n * GAMMA_SUBPIXEL for n in shape])
    place = [
        np.rint(
            (catalogue[name] + GAMMA_MARGIN_PX) * GAMMA_SUBPIXEL + (GAMMA_SUBPIXEL - 1) / 2
        ).astype(int)
        for name in ("y", "x")
    ]
    np.add.at(fine, tuple(place), catalogue["flux"])
    profile = king_profile(radius, subpixel=GAMMA_SUBPIXEL)
    return _bin(signal.fftconvolve(fine, profile, mode="same"), GAMMA_SUBPIXEL)


def _inside(catalogue: dict[str, np.ndarray], shape: tuple[int, int]) -> dict[str, Any]:
    """Return the sources whose centre lies on a pixel of the patch."""
    x, y = catalogue["x"], catalogue["y"]
    kept = (x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5)
    return {name: column[kept] for name, column in catalogue.items()}
