"""Light as Hubble's WFC3/UVIS gathers it: its point-spread function, stars and extended sources."""

import numpy as np
from scipy import fft, signal

from bgrem.frame.stamps import add_stamp
from bgrem.simulate.optical import STAMP_PX, STAR_SUBPIXEL, WIDE_STAMP_PX
from bgrem.simulate.presets import PRESETS

WFC3 = PRESETS["wfc3-uvis"]  # preset of the camera
WFC3_SATURATION = WFC3.saturation  # electrons; WFC3 Instrument Handbook, Sect. 5.4.5
MIRROR_DIAMETER = 2.4  # m
MIRROR_OBSCURATION = 0.33  # share of the diameter
STRUT_WIDTHS = (0.01, 0.022)  # share of the diameter; the four vanes, drawn broad
WAVELENGTH_RANGE = (531e-9, 606e-9)  # m; about the pivots of F555W and F606W
# parts of the pivot wavelength: a wide filter smears the rings
BAND_PARTS = np.linspace(0.88, 1.12, 9)
PUPIL_GRID = 1024  # samples of the pupil, and of the profile at half pixels: it ends after 256 px
HUBBLE_MARGIN_PX = 64  # px around the field from which light reaches in
PROFILE_CUT_SIGMA = 0.05  # sigma; where a star's profile may be cut
HUBBLE_COLUMNS = ("x", "y", "flux", "kind", "half_light_radius")  # of the list of sources


class HubblePointSpread:
    """The diffraction of a pupil with obscuration and struts, with jitter, within pixels.

    Attributes
    ----------
    wide : array, shape (1024, 1024)
        Share of the light that falls on a pixel whose centre lies at this half pixel from the star.
    fine : array
        The inner part at steps of 1/8 px.
    fwhm : float
        Pixels.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        from galsim.zernike import Zernike

        pivot, strut = rng.uniform(*WAVELENGTH_RANGE), rng.uniform(*STRUT_WIDTHS)
        angle = rng.uniform(0, np.pi / 2)
        # nm of defocus, two of astigmatism, two of coma: what breathing leaves on a good day
        waves = rng.normal(0, (18, 9, 9, 9, 9)) * 1e-9
        jitter = rng.uniform(0.3, 0.65)  # px, with the charge that spreads: FWHM 1.5 to 2 px
        zernike = Zernike(
            [0, 0, 0, 0, *waves], MIRROR_DIAMETER / 2, MIRROR_OBSCURATION * MIRROR_DIAMETER / 2
        )
        step = np.radians(WFC3.pixel_scale / 2 / 3600)
        total = np.zeros((PUPIL_GRID, PUPIL_GRID))
        for wavelength in pivot * BAND_PARTS:
            # metres in the pupil; the transform of this grid has steps of half a pixel
            axis = (np.arange(PUPIL_GRID) - PUPIL_GRID // 2) * wavelength / step / PUPIL_GRID
            axis = axis[abs(axis) < MIRROR_DIAMETER / 2]
            u, v = axis, axis[:, None]
            radius = np.hypot(u, v) / (MIRROR_DIAMETER / 2)
            vanes = [np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u]
            lit = (radius < 1) & (radius > MIRROR_OBSCURATION)
            lit &= np.minimum(*np.abs(vanes)) > strut * MIRROR_DIAMETER / 2
            path = zernike(*np.broadcast_arrays(u, v))
            field = (lit * np.exp(2j * np.pi * path / wavelength)).astype(np.complex64)
            total += abs(fft.fft2(field, (PUPIL_GRID, PUPIL_GRID))) ** 2
        frequency = fft.fftfreq(PUPIL_GRID, 0.5)  # cycles per pixel
        blur = np.sinc(frequency) * np.exp(-2 * (np.pi * jitter * frequency) ** 2)
        blurred = fft.ifft2(fft.fft2(total) * blur * blur[:, None]).real
        self.wide = fft.fftshift(np.maximum(blurred, 0)) * (4 / blurred.sum())
        half = WIDE_STAMP_PX + 3  # half pixels; the border serves the stars between pixels
        middle = self.wide[
            PUPIL_GRID // 2 - half : PUPIL_GRID // 2 + half,
            PUPIL_GRID // 2 - half : PUPIL_GRID // 2 + half,
        ]
        fine = 2 * half * STAR_SUBPIXEL // 2
        fine_rows = signal.resample(middle, fine, axis=0)
        self.fine = np.maximum(signal.resample(fine_rows, fine, axis=1), 0)
        above_half = (self.fine > self.fine.max() / 2).sum()
        self.fwhm = float(2 * np.sqrt(above_half / np.pi) / STAR_SUBPIXEL)
        self.edges = {size: self.stamp(0, 0, size).max(0)[0] for size in (STAMP_PX, WIDE_STAMP_PX)}

    def stamp(self, dx: int, dy: int, size: int) -> np.ndarray:
        """Return a star of unit flux, dx and dy eighths of a pixel off the centre, (size, size)."""
        centre, reach = self.fine.shape[0] // 2, size // 2 * STAR_SUBPIXEL
        rows, columns = (
            slice(centre - reach - d, centre + reach - d + 1, STAR_SUBPIXEL) for d in (dy, dx)
        )
        return self.fine[rows, columns]


class Scene:
    """Stars and extended light in electrons, gathered and rendered; positions are the field's.

    Attributes
    ----------
    sigma, unit : float
        Noise of the sky, and a star's flux at a signal-to-noise ratio of 1, in electrons.
    diffuse : array
        Extended light per half pixel, of the field and the margin around it.
    """

    def __init__(self, shape: tuple[int, int], psf: HubblePointSpread, sigma: float) -> None:
        self.shape, self.psf, self.sigma = shape, psf, sigma
        self.unit = sigma / np.sqrt((psf.stamp(0, 0, STAMP_PX) ** 2).sum())
        self.brightest = 30 * WFC3_SATURATION / psf.fine.max()
        self.diffuse = np.zeros([2 * (n + 2 * HUBBLE_MARGIN_PX) for n in shape])
        self.megapixels = self.diffuse.size / 4e6
        self.stars: list[tuple[float, float, float]] = []
        self.galaxies: list[tuple[float, float, float, float]] = []

    def draw_places(self, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of sources anywhere in the field and its margin."""
        high = np.array(self.shape[::-1]) + HUBBLE_MARGIN_PX - 1
        x, y = rng.uniform(-HUBBLE_MARGIN_PX, high, (number, 2)).T
        return x, y

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return which places lie in the field or its margin."""
        height, width = (n + HUBBLE_MARGIN_PX - 1 for n in self.shape)
        return (x > -HUBBLE_MARGIN_PX) & (x < width) & (y > -HUBBLE_MARGIN_PX) & (y < height)

    def offsets(self, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        """Return how far the half pixels of `diffuse` lie off a place, in px: (W,) and (H, 1)."""
        v, u = (np.arange(n) / 2 - HUBBLE_MARGIN_PX for n in self.diffuse.shape)
        return u - x, v[:, None] - y

    def add_stars(self, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> None:
        """Gather stars; the very bright ones lie on half pixels, all others on eighths."""
        steps = np.where(
            flux * self.psf.edges[WIDE_STAMP_PX] > PROFILE_CUT_SIGMA * self.sigma, 2, STAR_SUBPIXEL
        )
        places = [np.rint(place * steps) / steps for place in (x, y)]
        self.stars.extend(zip(*places, flux, strict=True))

    def add_galaxy(self, x: float, y: float, flux: float, radius: float, *shape: float) -> None:
        """Gather a galaxy that ends at six half-light radii; `shape` as of `sersic_profile`."""
        half = int(2 * (min(6 * radius, 200) + 2))
        column, row = (round(2 * (place + HUBBLE_MARGIN_PX)) for place in (x, y))
        v, u = (
            np.arange(-half, half + 1) + k - 2 * (place + HUBBLE_MARGIN_PX)
            for k, place in ((row, y), (column, x))
        )
        profile = sersic_profile(u / 2, v[:, None] / 2, radius, *shape)
        add_stamp(self.diffuse, row - half, column - half, flux * profile / profile.sum())
        self.galaxies.append((x, y, flux, radius))

    def render(self) -> np.ndarray:
        """Return the light that falls on each pixel, shape (H, W)."""
        rows, columns = (slice(HUBBLE_MARGIN_PX, HUBBLE_MARGIN_PX + n) for n in self.shape)
        canvas = np.zeros([n + 2 * HUBBLE_MARGIN_PX for n in self.shape])
        points = self.diffuse.copy()
        for x, y, flux in self.stars:
            edge = PROFILE_CUT_SIGMA * self.sigma / flux
            if edge < self.psf.edges[WIDE_STAMP_PX]:
                points[int(2 * (y + HUBBLE_MARGIN_PX)), int(2 * (x + HUBBLE_MARGIN_PX))] += flux
                continue
            size = STAMP_PX if edge > self.psf.edges[STAMP_PX] else WIDE_STAMP_PX
            column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            dx, dy = round((x - column) * STAR_SUBPIXEL), round((y - row) * STAR_SUBPIXEL)
            stamp = flux * self.psf.stamp(dx, dy, size)
            add_stamp(
                canvas,
                row + HUBBLE_MARGIN_PX - size // 2,
                column + HUBBLE_MARGIN_PX - size // 2,
                stamp,
            )
        whole = signal.fftconvolve(points, self.psf.wide)[PUPIL_GRID // 2 :, PUPIL_GRID // 2 :]
        canvas += whole[::2, ::2][: canvas.shape[0], : canvas.shape[1]]
        return np.maximum(canvas[rows, columns], 0)  # a Fourier transform leaves -1e-12

    def catalogue(self) -> dict[str, np.ndarray]:
        """Return `HUBBLE_COLUMNS` of the sources within the field, fluxes in electrons."""
        stars = np.array(self.stars).reshape(-1, 3)
        galaxies = np.array(self.galaxies).reshape(-1, 4)
        x, y, flux = np.concatenate([stars, galaxies[:, :3]]).T
        kinds = np.repeat(["star", "galaxy"], [len(stars), len(galaxies)])
        radius = np.concatenate([np.zeros(len(stars)), galaxies[:, 3]])
        inside = (abs(x / self.shape[1] - 0.5 + 0.5 / self.shape[1]) < 0.5) & (
            abs(y / self.shape[0] - 0.5 + 0.5 / self.shape[0]) < 0.5
        )
        columns = zip(HUBBLE_COLUMNS, (x, y, flux, kinds, radius), strict=True)
        return {name: column[inside] for name, column in columns}


def sersic_profile(u, v, radius, sersic, axis_ratio, angle) -> np.ndarray:
    """Return Sersic's profile, 1 at the half-light radius, at places u, v pixels off its centre."""
    along = np.cos(angle) * u + np.sin(angle) * v
    across = np.cos(angle) * v - np.sin(angle) * u
    # 0.2 px: the cusp's mean over the cell rather than its peak
    distance = np.sqrt(along**2 * axis_ratio + across**2 / axis_ratio + 0.04) / radius
    b = 2 * sersic - 1 / 3 + 0.0099 / sersic  # Ciotti & Bertin (1999)
    return np.asarray(np.exp(-b * (distance ** (1 / sersic) - 1)))
