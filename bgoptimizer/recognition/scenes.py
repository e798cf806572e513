"""Frames on cells, with their objects: what the recognition of objects is trained on.

Skies, objects and what a camera makes of them, in units of the noise of a pixel. All amplitudes and
scales are drawn over wide ranges, and any sky may lie under any object.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SHAPE = (128, 192)  # cells; a third of the frames is square
CELL_NOISE = 1.25  # of a pixel's noise x the cell's side: that of a median
NO_OBJECT_SHARE = 0.12  # of frames
COLOUR_SHARE = 0.35
LOW_COVERAGE = 0.5  # of all exposures; cells with less are not to be used
OBJECT_LIGHT = 0.3  # noise of a pixel; at this light a cell is an object for one half


@dataclass(frozen=True, eq=False)
class CellFrame:
    """One frame: cells and light of objects (h, w, C), `factor` pixels to the side of a cell."""

    cells: np.ndarray
    light: np.ndarray
    factor: float


def draw_frame(seed: int, shape: tuple[int, int] = SHAPE) -> CellFrame:
    """Return the frame of a seed; missing cells are NaN."""
    rng = np.random.default_rng([seed, 977])
    if rng.random() < 0.3:
        shape = (shape[0], shape[0])
    canvas = _Canvas(rng, shape)
    channels = 3 if rng.random() < COLOUR_SHARE else 1
    level = _log_uniform(rng, 20, 3000)
    first = canvas.objects()
    one_sky = canvas.sky(level) if channels == 3 and rng.random() < 0.5 else None
    second = canvas.objects() if channels == 3 and rng.random() < 0.4 else None
    skies, lights = [], []
    for _ in range(channels):
        sky = canvas.sky(level if one_sky is None else 0.0)
        if one_sky is not None:
            sky = one_sky * _log_uniform(rng, 0.5, 2) + sky * rng.uniform(0, 1)
        light = first * (_log_uniform(rng, 0.3, 1) if channels == 3 else 1)
        if second is not None:
            light = light * rng.uniform(0, 1) + second * rng.uniform(0, 1)
        skies.append(sky)
        lights.append(light)
    sky, light = np.stack(skies, -1), np.stack(lights, -1)
    factor = _log_uniform(rng, 3, 32)
    stars, halos = canvas.stars(first, CELL_NOISE / factor)
    total = sky + light + (stars + halos)[..., None]
    cover = canvas.coverage()
    noise = CELL_NOISE / factor * np.sqrt(
        np.maximum(total, 0.3 * level) / level / cover[..., None]
    )  # fmt: skip
    cells = total + noise * rng.standard_normal(total.shape)
    cells[~canvas.present()] = np.nan
    unusable = halos + np.where(cover < LOW_COVERAGE, 2 * OBJECT_LIGHT, 0)
    return CellFrame(cells, light + unusable[..., None], factor)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


class _Canvas:
    """A frame on which skies and objects are drawn; lengths are in heights of the frame."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int]) -> None:
        self.rng, self.shape = rng, shape
        self.y, self.x = (np.mgrid[: shape[0], : shape[1]] + 0.5) / shape[0]
        self.aspect = shape[1] / shape[0]

    def clouds(self, slope: float, largest: float = 1.0, smallest: float = 0.0) -> np.ndarray:
        """Return a Gaussian field of power k^-slope, mean 0 and standard deviation 1."""
        rows, columns = (2 * side for side in self.shape)  # no edge meets its opposite
        down = np.fft.fftfreq(rows)[:, None] * self.shape[0]
        k = np.hypot(down, np.fft.rfftfreq(columns)[None] * self.shape[0])
        power = np.maximum(k, 1 / largest) ** (-slope / 2)
        if smallest:
            power = power * np.exp(-0.5 * (k * smallest) ** 2)
        power[0, 0] = 0
        waves = np.fft.rfft2(self.rng.standard_normal((rows, columns))) * power
        found = np.fft.irfft2(waves, s=(rows, columns))[: self.shape[0], : self.shape[1]]
        return (found - found.mean()) / found.std()

    def away(self, y: float, x: float, ratio: float = 1.0, angle: float = 0.0) -> np.ndarray:
        """Return distances from a point, on ellipses."""
        along = np.cos(angle) * (self.x - x) + np.sin(angle) * (self.y - y)
        across = np.cos(angle) * (self.y - y) - np.sin(angle) * (self.x - x)
        return np.hypot(along, across / ratio)

    def inside(self, margin: float = 0.0) -> tuple[float, float]:
        """Return a point of the frame."""
        y, x = self.rng.uniform(margin, 1 - margin, 2)
        return float(y), float(x) * self.aspect

    def outside(self) -> tuple[float, float]:
        """Return a point near an edge, most of them beyond it."""
        part, far = self.rng.uniform(), self.rng.uniform(-0.05, 0.4)
        return ((-far, part * self.aspect), (1 + far, part * self.aspect), (part, -far),
                (part, self.aspect + far))[self.rng.integers(4)]  # fmt: skip

    def along(self) -> np.ndarray:
        """Return the way along a random direction, 0 to 1."""
        angle = self.rng.uniform(0, 2 * np.pi)
        way = np.cos(angle) * self.x + np.sin(angle) * self.y
        return (way - way.min()) / np.ptp(way)

    def sky(self, level: float) -> np.ndarray:
        """Return a level with gradients, glows, waves, vignette and errors of the flat field."""
        rng, sky = self.rng, np.full(self.shape, level)
        if rng.random() < 0.8:
            steep = rng.uniform(0.05, 3)
            sky += _log_uniform(rng, 1, 300) * np.expm1(steep * self.along()) / np.expm1(steep)
        if rng.random() < 0.12:  # sunset
            steep = _log_uniform(rng, 0.7, 8)
            sky += _log_uniform(rng, 100, 5000) * np.exp(steep * (self.along() - 1))
        if rng.random() < 0.5:
            for _ in range(rng.integers(1, 4)):
                sky += self._glow()
        if rng.random() < 0.4:
            sky += _log_uniform(rng, 0.5, 200) * self._polynomial()
        if rng.random() < 0.3:
            scale = rng.uniform(0.15, 0.6)
            sky += _log_uniform(rng, 0.3, 60) * self.clouds(4.5, 3 * scale, scale)
        if rng.random() < 0.6:
            y, x = rng.normal(0.5, 0.1), self.aspect * rng.normal(0.5, 0.1)
            sky = sky / (1 + _log_uniform(rng, 0.003, 0.3) * self.away(y, x) ** 2) ** 2
        if rng.random() < 0.25:
            scale = rng.uniform(0.08, 0.35)
            flat = self.clouds(rng.uniform(3.5, 5), 3 * scale, scale)
            sky = sky * (1 + _log_uniform(rng, 0.002, 0.05) * flat)
        if rng.random() < 0.05:  # reflected light: a soft ring
            ring = (self.away(*self.inside()) - rng.uniform(0.2, 0.6)) / rng.uniform(0.08, 0.2)
            sky = sky + _log_uniform(rng, 1, 50) * np.exp(-0.5 * ring**2)
        return sky

    def _glow(self) -> np.ndarray:
        rng = self.rng
        r, scale = self.away(*self.outside()), rng.uniform(0.05, 0.5)
        kind = rng.integers(3)
        glow = scale / (r + scale) if kind == 0 else 1 / (1 + (r / scale) ** 2)
        if kind == 2:
            glow = np.exp(-0.5 * (r / (scale + 0.1)) ** 2)
        return _log_uniform(rng, 2, 1500 if rng.random() < 0.3 else 200) * glow / glow.max()

    def _polynomial(self) -> np.ndarray:
        degree = int(self.rng.integers(2, 6))
        i, j = np.mgrid[: degree + 1, : degree + 1]
        terms = self.rng.standard_normal((degree + 1, degree + 1)) / (1 + i + j)
        terms = terms * (i + j <= degree)
        plane = np.polynomial.chebyshev.chebval2d(
            2 * self.y - 1, 2 * self.x / self.aspect - 1, terms
        )
        return (plane - plane.min()) / np.ptp(plane)

    def emission(self, share: float) -> np.ndarray:
        """Return filaments and dust over about a share of the frame, brightest about 1."""
        rng = self.rng
        cover = self.clouds(rng.uniform(2.8, 4), _log_uniform(rng, 0.2, 1.5))
        cover = np.clip(
            (cover - np.quantile(cover, 1 - share)) / _log_uniform(rng, 0.5, 2), 0, None
        )
        cover = cover ** rng.uniform(0.7, 1.6)
        ridges = np.abs(self.clouds(rng.uniform(2.4, 3.4), _log_uniform(rng, 0.15, 0.7)))
        light = cover * (rng.uniform(0.1, 1) + np.exp(-rng.uniform(1.5, 6) * ridges))
        dust = self.clouds(rng.uniform(2.3, 3.2), _log_uniform(rng, 0.1, 0.6))
        return _highest_one(light * np.exp(rng.uniform(0.1, 0.9) * dust))

    def cirrus(self) -> np.ndarray:
        """Return wisps."""
        rng = self.rng
        wisps = self.clouds(rng.uniform(2.5, 3.4), _log_uniform(rng, 0.4, 2))
        ridges = np.abs(self.clouds(3.0, _log_uniform(rng, 0.2, 0.8)))
        wisps = wisps + rng.uniform(0, 1) * np.exp(-rng.uniform(1, 5) * ridges)
        return _highest_one(np.clip(wisps - np.quantile(wisps, rng.uniform(0.1, 0.75)), 0, None))

    def galaxy(self, size: float) -> np.ndarray:
        """Return an inclined galaxy with or without arms; `size` is its scale length."""
        rng = self.rng
        ratio, angle = rng.uniform(0.2, 1), rng.uniform(0, np.pi)
        y, x = self.inside(0.1)
        r = self.away(y, x, ratio, angle)
        index = 1.0 if rng.random() < 0.6 else rng.uniform(0.6, 4)
        disk = np.exp(-((r / size) ** (1 / index)))
        if rng.random() < 0.7:
            along = np.cos(angle) * (self.x - x) + np.sin(angle) * (self.y - y)
            across = (np.cos(angle) * (self.y - y) - np.sin(angle) * (self.x - x)) / ratio
            turn = np.arctan2(across, along) - rng.uniform(1, 5) * np.log(r / size + 0.05)
            arms = np.cos(rng.integers(1, 5) * turn + rng.uniform(0, 6))
            disk = disk * (1 + rng.uniform(0.1, 0.9) * arms * np.clip(r / size, 0, 1))
            disk = disk * np.exp(rng.uniform(0, 0.5) * self.clouds(2.6, 0.3))
        bulge = rng.uniform(0, 2) * np.exp(-((r / (0.2 * size)) ** 0.7))
        return np.clip(_highest_one(disk), 0, 5) + bulge

    def blobs(self) -> np.ndarray:
        """Return reflection nebulae around some stars."""
        rng, light = self.rng, np.zeros(self.shape)
        for _ in range(rng.integers(1, 6)):
            r, scale = self.away(*self.inside()), _log_uniform(rng, 0.015, 0.15)
            light += _log_uniform(rng, 0.1, 1) / (1 + (r / scale) ** rng.uniform(1.5, 4))
        if rng.random() < 0.7:
            dust = self.clouds(rng.uniform(2.5, 3.4), _log_uniform(rng, 0.2, 0.7))
            light = light * np.exp(rng.uniform(0.2, 0.9) * dust)
        light = np.clip(light / light.max() - _log_uniform(rng, 1e-3, 3e-2), 0, None)
        return light / max(light.max(), 1e-9)

    def band(self) -> np.ndarray:
        """Return a part of the Milky Way with its dark clouds."""
        rng = self.rng
        across = (self.along() - rng.uniform(0.1, 0.9)) / rng.uniform(0.1, 0.4)
        grain = np.exp(rng.uniform(0.05, 0.3) * self.clouds(2.6, 0.3))
        return np.exp(-0.5 * across**2) * self.lanes(0.3, 3, rng.uniform(-0.3, 0.8)) * grain

    def lanes(self, least: float, most: float, start: float) -> np.ndarray:
        """Return what dark clouds let through."""
        rng = self.rng
        dust = self.clouds(rng.uniform(2.8, 3.6), _log_uniform(rng, 0.2, 1))
        return np.exp(-_log_uniform(rng, least, most) * np.clip(dust - start, 0, None))

    def comet(self) -> np.ndarray:
        """Return a coma and its tail."""
        rng = self.rng
        (y, x), angle = self.inside(0.15), rng.uniform(0, 2 * np.pi)
        along = np.cos(angle) * (self.x - x) + np.sin(angle) * (self.y - y)
        across = np.cos(angle) * (self.y - y) - np.sin(angle) * (self.x - x)
        r, core = self.away(y, x), _log_uniform(rng, 0.004, 0.03)
        coma = core / (r + core) * np.exp(-r / _log_uniform(rng, 0.1, 0.5))
        behind = np.clip(along, 0, None)
        width = core + rng.uniform(0.05, 0.3) * behind
        tail = np.where(along > 0, core / width * np.exp(-0.5 * (across / width) ** 2), 0)
        tail = tail * np.exp(-behind / _log_uniform(rng, 0.2, 1.2))
        light = coma + rng.uniform(0, 1) * tail
        return light / light.max()

    def cluster(self) -> np.ndarray:
        """Return the unresolved light of a star cluster."""
        r = self.away(*self.inside(0.1)) / _log_uniform(self.rng, 0.01, 0.08)
        return (1 + r**2) ** -self.rng.uniform(1, 2.5)

    def objects(self) -> np.ndarray:
        """Return the light of none, one or two objects."""
        rng, light = self.rng, np.zeros(self.shape)
        if rng.random() < NO_OBJECT_SHARE:
            return light
        # share, least and highest brightness in noise, and what is drawn
        kinds = (
            (0.30, 1, 300, lambda: self.emission(rng.uniform(0.05, 1))),
            (0.13, 0.5, 20, self.cirrus),
            (0.18, 1, 300, lambda: self.galaxy(_log_uniform(rng, 0.015, 0.3))),
            (0.10, 1, 300, self.blobs),
            (0.07, 1, 300, self.band),
            (0.05, 20, 3000, self.comet),
            (0.05, 5, 1000, self.cluster),
            (0.04, 1, 300, lambda: np.clip(
                self.clouds(rng.uniform(2.5, 3.5), _log_uniform(rng, 0.5, 1.5)), 0, None)),
            (0.08, 1, 300, lambda: self.emission(rng.uniform(0.4, 1))
             * self.lanes(0.5, 4, rng.uniform(0, 1))),
        )  # fmt: skip
        for _ in range(1 if rng.random() < 0.65 else 2):
            _, least, most, draw = kinds[rng.choice(len(kinds), p=[one[0] for one in kinds])]
            light += _log_uniform(rng, least, most) * draw()
        return light * self.lanes(0.5, 4, 0.8) if rng.random() < 0.15 else light

    def stars(self, light: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
        """Return what stars leave in medians of cells, and their halos."""
        rng = self.rng
        density = _log_uniform(rng, 0.003, 0.3) * np.exp(rng.uniform(0, 0.8) * self.clouds(3, 2.0))
        if rng.random() < 0.5 and light.max() > 0:  # clusters and galaxies have stars of their own
            density = density * (1 + rng.uniform(0, 1) * light / light.max())
        lifted = 3 * noise * rng.gamma(1.0, 1.0, self.shape) * density
        most = 0.25 if rng.random() < 0.2 else 0.04
        there = rng.random(self.shape) < _log_uniform(rng, 5e-4, most)
        bright = 5 * noise * (rng.random(self.shape) + 1e-4) ** (-1 / 0.9)
        bright = np.where(there, np.minimum(bright, 3000), 0)
        if rng.random() < 0.5:
            return lifted + bright, np.zeros(self.shape)
        halos = ndimage.gaussian_filter(bright, _log_uniform(rng, 0.5, 4)) * rng.uniform(0, 0.6)
        return lifted + bright, halos

    def coverage(self) -> np.ndarray:
        """Return the share of exposures that a cell has: less towards the edges of some frames."""
        rng, cover = self.rng, np.ones(self.shape)
        if rng.random() > 0.25:
            return cover
        across = self.x / self.aspect
        for away in (self.y, 1 - self.y, across, 1 - across):
            share = np.clip(away / rng.uniform(0.01, 0.12), 0.02, 1)
            frames = rng.integers(2, 9)
            if rng.random() < 0.7:
                share = np.maximum(np.ceil(share * frames) / frames, 0.05)
            cover = np.minimum(cover, share)
        return cover

    def present(self) -> np.ndarray:
        """Return which cells are measured: not a border, not a hole, of some frames."""
        rng, present = self.rng, np.ones(self.shape, bool)
        if rng.random() < 0.25:
            edge, across = rng.uniform(0, 0.08, 4), self.x / self.aspect
            present = (self.y > edge[0]) & (self.y < 1 - edge[1])
            present &= (across > edge[2]) & (across < 1 - edge[3])
        if rng.random() < 0.05:
            present &= self.away(*self.inside()) > rng.uniform(0.02, 0.2)
        return present


def _highest_one(light: np.ndarray) -> np.ndarray:
    """Return light whose brightest thousandth begins at 1."""
    return light / max(float(np.quantile(light, 0.999)), 1e-9)
