"""Fields of kinds that the project's own simulator does not draw, with their truth: GalSim alone.

Nothing of `bgrem.simulate` is imported. Point-spread functions, skies and detector effects are
written here anew, so that a benchmark on them says something of frames of other origin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import galsim
import numpy as np
from scipy import ndimage

DEGREE = np.pi / 180
STAMP_PX = 65  # px; side of the drawn point-spread function, odd: its centre is a pixel
STAR_SLOPE = 0.9  # d ln N / d ln flux of stars, cumulative: between a disc's and a halo's counts
FAINTEST_SNR = 1.5  # sources are drawn from here, the truth list begins at 3
BRIGHTEST_SNR = 3000.0  # S/N of the brightest stars
CUT_PX = 8.0  # px beside a strip without light; stars there are cut off, and not judged
GALAXY_SLOPE = 1.5  # the same of galaxies, near that of an Euclidean universe


@dataclass(frozen=True, kw_only=True, eq=False)
class OutsideField:
    """A frame with truth, in ADU; images of shape (H, W).

    Attributes
    ----------
    observed : array
    sources : array
        Their light without noise.
    background : array
        Sky with all that is no source.
    variance : array
        Of the noise without the sources' own photons.
    point_spread : array
        Kernel of sum 1.
    catalogue : dict of array
        x, y (px, from 0), snr (matched filter, isolated), half_light_radius (px, 0 for stars),
        flux (ADU), drawn (ADU; without what lies beyond a star's stamp).
    fwhm : float
        Of the point-spread function, in px.
    gain : float
        Electrons per ADU.
    artefacts : bool array
        Where there is light of the detector or of cosmic rays.
    seen : galsim.GSObject
        The profile as the pixels of the frame see it, resampling included; flux 1.
    unjudged : tuple of float
        First and last column, in px, between which detections are neither true nor false.
    marked : bool array or None
        Places where no detection counts, of any method: those of marked tracks.
    """

    observed: np.ndarray
    sources: np.ndarray
    background: np.ndarray
    variance: np.ndarray
    point_spread: np.ndarray
    catalogue: dict[str, np.ndarray]
    fwhm: float
    gain: float
    artefacts: np.ndarray
    seen: Any
    unjudged: tuple[float, float] = (0.0, 0.0)
    marked: np.ndarray | None = None

    def judged(self, found: Any) -> Any:
        """Return the detections (x, y, flux) that count."""
        first, last = self.unjudged
        kept = (found.x < first) | (found.x >= last)
        if self.marked is not None:
            x, y = (np.rint(np.asarray(place)).astype(int) for place in (found.x, found.y))
            height, width = self.marked.shape
            kept &= ~self.marked[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
        return type(found)(found.x[kept], found.y[kept], found.flux[kept])


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How a field is drawn: optics, density, sky, detector."""

    optics: Callable[[], Any]
    stars: float = 2000.0  # per megapixel, above S/N 3
    galaxies: float = 200.0  # the same
    sky: float = 400.0  # electrons per pixel
    gain: float = 1.0  # electrons per ADU
    read_noise: float = 5.0  # electrons
    integers: bool = False
    sky_shape: Callable[[tuple[int, int], float, np.random.Generator], np.ndarray] | None = None
    detector: Callable[[np.ndarray, float, np.random.Generator], np.ndarray] | None = None
    blank: tuple[int, int] = (0, 0)  # columns of an overscan strip, which have no light
    zoom: float = 1.0  # pixels of the resampled frame per pixel of the detector


def moffat(fwhm: float, beta: float = 3.0, axis_ratio: float = 1.0, angle: float = 30.0) -> Any:
    """Return a Moffat profile of this FWHM (px) along its minor axis."""
    profile = galsim.Moffat(beta=beta, fwhm=fwhm)
    return profile.shear(q=axis_ratio, beta=angle * galsim.degrees) if axis_ratio < 1 else profile


def diffraction(fwhm: float, obscuration: float = 0.3, struts: int = 4) -> Any:
    """Return the profile of a telescope without air: rings, and spikes of the struts."""
    return galsim.OpticalPSF(
        lam_over_diam=fwhm / 1.03, obscuration=obscuration, nstruts=struts, strut_thick=0.02,
        strut_angle=12 * galsim.degrees, oversampling=2.0, pad_factor=2.0,
    )  # fmt: skip


def wandering_sky(shape: tuple[int, int], noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return a sky that varies by ±20 noise over 150 to 400 px (electrons)."""
    scale = rng.uniform(150, 400) / 4  # a crest and a trough are four of these apart
    field = ndimage.gaussian_filter(rng.normal(size=shape), scale, mode="wrap")
    return 20 * noise * field / np.abs(field).max()


def steep_wave(shape: tuple[int, int], noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return a gradient of 45 % of 9000 electrons with a wave of 4 noise over 500 px."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle, phase = rng.uniform(0, 2 * np.pi, 2)
    along = (x * np.cos(angle) + y * np.sin(angle)) / max(shape)
    wave = np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / 500 + phase)
    return 0.45 * 9000 * (along - along.mean()) + 4 * noise * wave


def glow(light: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return the light of an amplifier: 250 noise at the left edge, falling over 25 px."""
    y, x = np.indices(light.shape)
    along = np.exp(-(((y - light.shape[0] / 2) / (light.shape[0] / 6)) ** 2))
    return 250 * noise * np.exp(-x / 25) * along


def cosmic_rays(light: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return straight tracks of 1 to 40 px, 20 to 400 noise per pixel, 150 per megapixel."""
    tracks = np.zeros(light.shape)
    for _ in range(round(150 * light.size / 1e6)):
        length, angle = rng.exponential(8) + 1, rng.uniform(0, np.pi)
        steps = np.arange(0, min(length, 40), 0.5)
        y = rng.uniform(0, light.shape[0]) + steps * np.sin(angle)
        x = rng.uniform(0, light.shape[1]) + steps * np.cos(angle)
        inside = (y < light.shape[0] - 1) & (x < light.shape[1] - 1) & (x >= 0)
        rows, columns = np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)
        tracks[rows, columns] = noise * rng.uniform(20, 400)
    return tracks


KINDS: dict[str, Conditions] = {
    "trailed": Conditions(optics=lambda: moffat(2.8, axis_ratio=0.65)),
    "gain 6": Conditions(optics=lambda: moffat(3.2), gain=6.0, sky=150.0, integers=True),
    "drizzled": Conditions(optics=lambda: moffat(2.6), zoom=1.35),
    "bright sky": Conditions(optics=lambda: moffat(3.0), sky=9000.0, sky_shape=wandering_sky),
    "steep sky": Conditions(optics=lambda: moffat(3.0), sky=9000.0, sky_shape=steep_wave),
    "diffraction": Conditions(optics=lambda: diffraction(1.4)),
    "kolmogorov": Conditions(optics=lambda: galsim.Kolmogorov(fwhm=3.4), stars=4000.0),
    "wide": Conditions(optics=lambda: moffat(7.0, beta=2.5), stars=600.0),
    "glow": Conditions(optics=lambda: moffat(3.0), detector=glow),
    "overscan": Conditions(optics=lambda: moffat(3.0), blank=(0, 48)),
    "cosmic rays": Conditions(optics=lambda: moffat(3.0), detector=cosmic_rays),
}
# Dense fields, of which the catalogue is judged; densities per megapixel are those above S/N 5
DENSE_KINDS: dict[str, Conditions] = {
    f"{density} stars": Conditions(
        optics=lambda: moffat(3.0), stars=density * (5 / 3) ** STAR_SLOPE, galaxies=0.0
    )
    for density in (2000, 9000, 20000)
}


def draw_field(kind: str, shape: tuple[int, int], seed: int) -> OutsideField:
    """Return a field of `KINDS` or `DENSE_KINDS`; the same seed gives the same pixels."""
    kinds = KINDS | DENSE_KINDS
    conditions, rng = kinds[kind], np.random.default_rng([seed, list(kinds).index(kind)])
    native = tuple(round(side / conditions.zoom) for side in shape)
    profile = conditions.optics()
    kernel = stamp(profile)
    noise = float(np.hypot(np.sqrt(conditions.sky), conditions.read_noise))
    light = np.zeros(native)
    catalogue = draw_sources(light, profile, kernel, conditions, noise, rng)
    sky = np.full(native, conditions.sky)
    if conditions.sky_shape:
        sky += conditions.sky_shape(native, noise, rng)
    extra = np.zeros(native)
    if conditions.detector:
        extra = conditions.detector(light, noise, rng)
    glow_like = extra if conditions.detector is glow else np.zeros(native)
    background = np.maximum(sky + glow_like, 1.0)
    variance = background + conditions.read_noise**2
    electrons = rng.poisson(np.maximum(light + background, 0)) + rng.normal(
        0, conditions.read_noise, native
    )
    electrons += extra - glow_like
    (start, end), cut = conditions.blank, (0.0, 0.0)
    if end:  # no light reaches these columns: the level is lower, the noise is that of reading
        electrons[:, start:end] = rng.normal(
            conditions.sky - 30 * noise, conditions.read_noise, (native[0], end - start)
        )
        background[:, start:end] = conditions.sky - 30 * noise
        variance[:, start:end] = conditions.read_noise**2
        cut = max(0, start - CUT_PX), end + CUT_PX
        outside = (catalogue["x"] >= cut[1]) | (catalogue["x"] < cut[0])
        catalogue = {name: column[outside] for name, column in catalogue.items()}
    artefacts = extra > 3 * noise
    observed = electrons / conditions.gain + 100.0
    background, variance = background / conditions.gain + 100.0, variance / conditions.gain**2
    if conditions.integers:
        observed = np.rint(observed)
        variance = variance + 1 / 12
    if conditions.zoom != 1:
        return _resampled(
            observed, light / conditions.gain, background, kernel, catalogue, profile, conditions,
            shape, artefacts,
        )  # fmt: skip
    return OutsideField(
        observed=observed.astype(np.float32), sources=light / conditions.gain,
        background=background, variance=variance,
        point_spread=kernel, catalogue=catalogue, fwhm=_fwhm(kernel), gain=conditions.gain,
        artefacts=artefacts, unjudged=cut, seen=galsim.Convolve(profile, galsim.Pixel(1.0)),
    )  # fmt: skip


def stamp(profile: Any) -> np.ndarray:
    """Return the profile on pixels, sum 1."""
    image = profile.drawImage(nx=STAMP_PX, ny=STAMP_PX, scale=1.0)
    return np.asarray(image.array, float) / image.array.sum()


def _fwhm(kernel: np.ndarray) -> float:
    """Return the FWHM by the area above half of the peak."""
    fine = ndimage.zoom(kernel, 5, order=3)
    return float(2 * np.sqrt((fine > fine.max() / 2).sum() / np.pi) / 5)


def draw_sources(
    light: np.ndarray, profile: Any, kernel: np.ndarray, conditions: Conditions, noise: float,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Add stars and galaxies to `light` (electrons); return their truth."""
    megapixels = light.size / 1e6
    depth = np.sqrt((kernel**2).sum()) / noise  # S/N of one electron of a star
    rows: list[tuple[float, ...]] = []
    image = galsim.Image(light.shape[1], light.shape[0], dtype=float, xmin=0, ymin=0)
    numbers = [
        round(one * megapixels * (FAINTEST_SNR / 3) ** -slope)
        for one, slope in ((conditions.stars, STAR_SLOPE), (conditions.galaxies, GALAXY_SLOPE))
    ]
    for k in range(sum(numbers)):
        star = k < numbers[0]
        slope = STAR_SLOPE if star else GALAXY_SLOPE
        low, high = FAINTEST_SNR**-slope, BRIGHTEST_SNR**-slope
        snr = (low - rng.random() * (low - high)) ** (-1 / slope)
        x, y = rng.uniform(0, light.shape[1] - 1), rng.uniform(0, light.shape[0] - 1)
        shape, radius = profile, 0.0
        if not star:
            radius = rng.lognormal(np.log(2.5), 0.5)
            galaxy = galsim.Sersic(n=rng.choice([1.0, 1.5, 2.5]), half_light_radius=radius)
            galaxy = galaxy.shear(q=rng.uniform(0.4, 1), beta=rng.uniform(0, 180) * galsim.degrees)
            shape = galsim.Convolve(galaxy, profile)
        flux = snr / depth
        side = int(np.clip(8 + 6 * np.sqrt(snr), 24, 512)) | 1
        stamp = galsim.Image(side, side, dtype=float)
        stamp.setCenter(round(x), round(y))
        (shape * flux).drawImage(stamp, scale=1.0, center=galsim.PositionD(x, y), method="auto")
        if not star:
            snr = float(np.sqrt((stamp.array**2).sum()) / noise)
        common = stamp.bounds & image.bounds
        if common.isDefined():
            image[common] += stamp[common]
        drawn = float(stamp.array.sum())
        rows.append((x, y, snr, radius, flux / conditions.gain, drawn / conditions.gain))
    light += image.array
    columns = np.array(rows).T
    names = ("x", "y", "snr", "half_light_radius", "flux", "drawn")
    return dict(zip(names, columns, strict=True))


def _resampled(
    observed: np.ndarray, light: np.ndarray, background: np.ndarray, kernel: np.ndarray,
    catalogue: dict[str, np.ndarray], profile: Any, conditions: Conditions,
    shape: tuple[int, int], artefacts: np.ndarray,
) -> OutsideField:  # fmt: skip
    """Return the field on a finer grid, linear between its pixels: the noise is correlated."""
    zoom = conditions.zoom
    rows, columns = (np.arange(side) / zoom for side in shape)
    grid = np.meshgrid(rows, columns, indexing="ij")

    def onto(image: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(image, grid, order=1, mode="nearest")

    finer, sky = onto(observed), onto(background)
    noise = float(np.std(onto(np.random.default_rng(0).normal(size=observed.shape))))
    per_pixel = np.sqrt(conditions.sky + conditions.read_noise**2) / conditions.gain
    spread = stamp(profile.dilate(zoom))
    moved = {**catalogue, "x": catalogue["x"] * zoom, "y": catalogue["y"] * zoom,
             "half_light_radius": catalogue["half_light_radius"] * zoom,
             "flux": catalogue["flux"] * zoom**2,
             "drawn": catalogue["drawn"] * zoom**2}  # fmt: skip
    # the detector's pixels, and the triangle of linear interpolation, which is two of them
    seen = galsim.Convolve(profile.dilate(zoom), *(galsim.Pixel(zoom) for _ in range(3)))
    return OutsideField(
        observed=finer.astype(np.float32), sources=onto(light), background=sky,
        variance=np.full(shape, (noise * per_pixel) ** 2), point_spread=spread, catalogue=moved,
        fwhm=_fwhm(spread), gain=conditions.gain, artefacts=onto(artefacts.astype(float)) > 0.5,
        seen=seen,
    )  # fmt: skip
