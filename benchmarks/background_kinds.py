"""Scenes with truth of kinds that `bgoptimizer.make_scene` does not draw, and nothing of its code.

All is drawn in units of the noise of a sky pixel. `KINDS` has one function for each kind: from the
random generator to sky, objects and what the camera makes of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import ndimage

SHAPE = (1000, 1500)
FULL_SCALE = 2e-4  # of the result, per noise: sky noise of a usual stack
OBJECT_EDGE = 0.25  # noise; light above it is an object


@dataclass(frozen=True, eq=False)
class KindScene:
    """One frame with its truth; arrays (H, W, C), `valid` (H, W), linear, full well 1.

    Attributes
    ----------
    observed, background, objects, valid
    noise : float
        Standard deviation of a sky pixel.
    """

    name: str
    observed: np.ndarray
    background: np.ndarray
    objects: np.ndarray
    valid: np.ndarray
    noise: float


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a kind draws, in noise: sky and objects (H, W, C), and the camera's doings."""

    sky: np.ndarray
    objects: np.ndarray
    step: float = 0.0  # of integers
    full: float = np.inf  # beyond it pixels are saturated
    fwhm: float = 3.0  # px, of the stars
    stars: float = 800.0  # per megapixel
    halos: float = 0.0  # share of a star's light that lies in a wide halo
    coverage: np.ndarray = field(default_factory=lambda: np.ones(1))  # share of all exposures


class _Canvas:
    """Coordinates in heights, and layers drawn on them."""

    def __init__(self, shape: tuple[int, int], rng: np.random.Generator) -> None:
        self.shape, self.rng = shape, rng
        self.y, self.x = np.mgrid[: shape[0], : shape[1]] / shape[0]
        self.aspect = shape[1] / shape[0]

    def clouds(self, slope: float, largest: float = 1.0, smallest: float = 0.0) -> np.ndarray:
        """Return a Gaussian field of power k^-slope, mean 0, standard deviation 1.

        Waves longer than `largest` heights and shorter than `smallest` are left out.
        """
        rows, columns = (2 * side for side in self.shape)  # no edge meets its opposite
        frequency = np.hypot(
            np.fft.fftfreq(rows)[:, None] * self.shape[0],
            np.fft.rfftfreq(columns)[None] * self.shape[0],
        )
        power = np.maximum(frequency, 1 / largest) ** (-slope / 2)
        if smallest:
            power = power * np.exp(-0.5 * (frequency * smallest) ** 2)
        waves = np.fft.rfft2(self.rng.standard_normal((rows, columns))) * power
        found = np.fft.irfft2(waves, s=(rows, columns))[: self.shape[0], : self.shape[1]]
        return (found - found.mean()) / found.std()

    def place(self) -> tuple[float, float]:
        """Return a point of the frame's inner half."""
        return self.rng.uniform(0.3, 0.7), self.rng.uniform(0.3, 0.7) * self.aspect

    def radius(self, y: float, x: float, ratio: float = 1.0, angle: float = 0.0) -> np.ndarray:
        """Return the distance from a point in heights, on ellipses."""
        along = np.cos(angle) * (self.x - x) + np.sin(angle) * (self.y - y)
        across = -np.sin(angle) * (self.x - x) + np.cos(angle) * (self.y - y)
        return np.hypot(along, across / ratio)

    def tilt(self, strength: float) -> np.ndarray:
        """Return light that grows exponentially along a direction, from 0 to `strength`."""
        angle, steep = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.1, 1.5)
        along = np.cos(angle) * self.x + np.sin(angle) * self.y
        along = (along - along.min()) / np.ptp(along)
        return strength * np.expm1(steep * along) / np.expm1(steep)

    def vignette(self) -> np.ndarray:
        """Return what is left of a lens's fall-off: the fourth power of a cosine, about 1."""
        y, x = 0.5 + self.rng.normal(0, 0.05), self.aspect * (0.5 + self.rng.normal(0, 0.05))
        return 1 / (1 + self.rng.uniform(0.005, 0.05) * self.radius(y, x) ** 2) ** 2

    def dome(self, strength: float) -> np.ndarray:
        """Return the light of a town beyond a corner, falling as 1 / distance."""
        corner = self.rng.integers(2), self.rng.integers(2) * self.aspect
        away = self.rng.uniform(0.05, 0.3)
        return strength * away / (self.radius(*corner) + away)

    def emission(self, share: float) -> np.ndarray:
        """Return filaments and dust over about a share of the frame, highest 1."""
        cover = self.clouds(3.4)
        cover = np.clip((cover - np.quantile(cover, 1 - share)) / 1.5, 0, None)
        ridges = np.exp(-np.abs(self.clouds(3.0, 0.4)) * 3)
        light = cover * (0.35 + ridges) * np.exp(0.5 * self.clouds(2.8, 0.3))
        return light / np.quantile(light, 0.999)

    def spiral(self, size: float) -> np.ndarray:
        """Return an inclined disk with arms and a bulge, brightest 1, scale length in heights."""
        ratio, angle = self.rng.uniform(0.35, 0.9), self.rng.uniform(0, np.pi)
        y, x = self.place()
        r = self.radius(y, x, ratio, angle)
        along = np.cos(angle) * (self.x - x) + np.sin(angle) * (self.y - y)
        across = (-np.sin(angle) * (self.x - x) + np.cos(angle) * (self.y - y)) / ratio
        turn = np.arctan2(across, along)
        arms = np.cos(2 * (turn - 3.0 * np.log(r / size + 0.05)) + self.rng.uniform(0, 6))
        disk = np.exp(-r / size) * (1 + 0.6 * arms * np.clip(r / size, 0, 1))
        disk *= np.exp(0.3 * self.clouds(2.5, 0.2))
        bulge = np.exp(-3 * (r / (0.3 * size)) ** 0.5)
        return np.clip(disk / np.quantile(disk, 0.9995), 0, 3) + bulge

    def colours(self, plane: np.ndarray, spread: float, channels: int = 3) -> np.ndarray:
        """Return a plane in several channels of different strength."""
        tint = np.exp(self.rng.normal(0, spread, channels))
        return plane[..., None] * (tint / tint.max())


def _plain(canvas: _Canvas, level: float = 300.0) -> np.ndarray:
    rng = canvas.rng
    sky = level * canvas.vignette() + canvas.tilt(rng.uniform(20, 120))
    return sky + canvas.dome(rng.uniform(10, 80)) if rng.random() < 0.6 else sky


def _one(plane: np.ndarray) -> np.ndarray:
    return plane[..., None]


def _integers(canvas: _Canvas) -> _Parts:
    light = canvas.emission(0.25) * canvas.rng.uniform(20, 100)
    return _Parts(_one(_plain(canvas)), _one(light), step=canvas.rng.uniform(1.5, 4))


def _flat_error(canvas: _Canvas) -> _Parts:
    scale = canvas.rng.uniform(0.1, 0.3)
    error = 1 + canvas.rng.uniform(0.01, 0.04) * canvas.clouds(4.0, 3 * scale, scale)
    light = canvas.spiral(0.05) * canvas.rng.uniform(20, 200)
    return _Parts(_one(_plain(canvas) * error), _one(light))


def _sunset(canvas: _Canvas) -> _Parts:
    angle = canvas.rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * canvas.x + np.sin(angle) * canvas.y
    along = (along - along.min()) / np.ptp(along)
    steep = canvas.rng.uniform(500, 3000) * np.exp(canvas.rng.uniform(1, 4) * (along - 1))
    light = canvas.emission(0.2) * canvas.rng.uniform(10, 60)
    return _Parts(_one(_plain(canvas) + steep), _one(light))


def _undersampled(canvas: _Canvas) -> _Parts:
    light = canvas.spiral(0.04) * canvas.rng.uniform(20, 100)
    return _Parts(_one(_plain(canvas)), _one(light), fwhm=1.2, stars=6000.0)


def _narrowband(canvas: _Canvas) -> _Parts:
    light = canvas.emission(0.8) * canvas.rng.uniform(20, 150)
    return _Parts(_one(_plain(canvas, 100.0)), _one(light))


def _three_filters(canvas: _Canvas) -> _Parts:
    lines = [canvas.emission(canvas.rng.uniform(0.3, 0.7)) * canvas.rng.uniform(10, 100)
             for _ in range(2)]  # fmt: skip
    light = np.stack([lines[0], lines[1], 0.6 * lines[1] + 0.2 * lines[0]], -1)
    sky = np.stack([_plain(canvas, 100.0) for _ in range(3)], -1)
    return _Parts(sky, light)


def _cirrus_light(canvas: _Canvas) -> np.ndarray:
    wisps = canvas.clouds(2.9) + 0.7 * np.exp(-3 * np.abs(canvas.clouds(3.0, 0.5)))
    wisps = np.clip(wisps - np.quantile(wisps, canvas.rng.uniform(0.3, 0.6)), 0, None)
    return wisps / np.quantile(wisps, 0.999)


def _cirrus(canvas: _Canvas) -> _Parts:
    light = _cirrus_light(canvas) * canvas.rng.uniform(1.5, 6)
    return _Parts(_one(_plain(canvas)), _one(light))


def _cirrus_and_galaxy(canvas: _Canvas) -> _Parts:
    light = _cirrus_light(canvas) * canvas.rng.uniform(1.5, 6)
    light = light + canvas.spiral(0.08) * canvas.rng.uniform(30, 200)
    return _Parts(_one(_plain(canvas)), _one(light))


def _large_galaxy(canvas: _Canvas) -> _Parts:
    disk = canvas.spiral(canvas.rng.uniform(0.14, 0.22)) * canvas.rng.uniform(30, 150)
    sky = np.stack([_plain(canvas) for _ in range(3)], -1)
    return _Parts(sky, canvas.colours(disk, 0.4))


def _low_coverage(canvas: _Canvas) -> _Parts:
    rng = canvas.rng
    cover = np.ones(canvas.shape)
    for axis, length in ((canvas.y, 1.0), (canvas.x, canvas.aspect)):
        for side in (axis, length - axis):
            width = rng.uniform(0.02, 0.08)
            steps = np.ceil(np.clip(side / width, 0, 1) * 6) / 6
            cover = np.minimum(cover, np.where(side < rng.uniform(0.004, 0.015), 0, steps))
    light = canvas.spiral(0.06) * rng.uniform(20, 150)
    return _Parts(_one(_plain(canvas)), _one(light), coverage=cover)


def _dome_over_nebula(canvas: _Canvas) -> _Parts:
    sky = _plain(canvas) + canvas.dome(canvas.rng.uniform(200, 1500))
    light = canvas.emission(canvas.rng.uniform(0.2, 0.5)) * canvas.rng.uniform(10, 80)
    return _Parts(_one(sky), _one(light))


def _saturated(canvas: _Canvas) -> _Parts:
    light = canvas.emission(0.2) * canvas.rng.uniform(20, 80)
    return _Parts(
        _one(_plain(canvas, 800.0)), _one(light), step=0.3, full=4000.0, halos=0.06, stars=1500.0
    )


def _milky_way(canvas: _Canvas) -> _Parts:
    rng, angle = canvas.rng, canvas.rng.uniform(0, np.pi)
    away = np.cos(angle) * (canvas.y - 0.5) + np.sin(angle) * (canvas.x - canvas.aspect / 2)
    band = rng.uniform(40, 250) * np.exp(-0.5 * (away / rng.uniform(0.2, 0.4)) ** 2)
    dust = np.exp(-rng.uniform(0.5, 2) * np.clip(canvas.clouds(3.2, 0.6) - 0.5, 0, None))
    light = band * dust * np.exp(0.15 * canvas.clouds(2.5, 0.2))
    return _Parts(_one(_plain(canvas)), _one(light), stars=8000.0)


def _reflection(canvas: _Canvas) -> _Parts:
    light = np.zeros(canvas.shape)
    for _ in range(canvas.rng.integers(1, 4)):
        r = canvas.radius(*canvas.place())
        light = light + canvas.rng.uniform(0.3, 1) / (1 + (r / 0.04) ** 1.8)
    light *= np.exp(0.6 * canvas.clouds(2.9, 0.5))
    light = np.clip(light / light.max() - 0.004, 0, None) * canvas.rng.uniform(40, 200)
    sky = np.stack([_plain(canvas) for _ in range(3)], -1)
    return _Parts(sky, canvas.colours(light, 0.5))


def _comet(canvas: _Canvas) -> _Parts:
    y, x = canvas.place()
    angle = canvas.rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (canvas.x - x) + np.sin(angle) * (canvas.y - y)
    across = -np.sin(angle) * (canvas.x - x) + np.cos(angle) * (canvas.y - y)
    coma = 0.01 / (canvas.radius(y, x) + 0.01) * np.exp(-canvas.radius(y, x) / 0.3)
    width = 0.01 + 0.12 * np.clip(along, 0, None)
    tail = np.where(along > 0, 0.01 / width * np.exp(-0.5 * (across / width) ** 2), 0)
    tail *= np.exp(-along / canvas.rng.uniform(0.3, 0.8))
    light = (coma + 0.5 * tail) * canvas.rng.uniform(300, 1500)
    return _Parts(_one(_plain(canvas)), _one(light))


def _dark_nebula(canvas: _Canvas) -> _Parts:
    glow = canvas.emission(0.7) * canvas.rng.uniform(20, 100)
    shade = np.exp(-3 * np.clip(canvas.clouds(3.2, 0.4) - 0.8, 0, None))
    return _Parts(_one(_plain(canvas)), _one(glow * shade))


def _filled(canvas: _Canvas) -> _Parts:
    light = canvas.emission(0.95) * canvas.rng.uniform(10, 80)
    light += canvas.spiral(0.1) * canvas.rng.uniform(10, 80)
    return _Parts(_one(_plain(canvas)), _one(light))


def _empty(canvas: _Canvas) -> _Parts:
    sky = _plain(canvas) + canvas.dome(canvas.rng.uniform(0, 200))
    return _Parts(_one(sky), np.zeros((*canvas.shape, 1)))


KINDS: dict[str, Callable[[_Canvas], _Parts]] = {
    "integers": _integers, "flat error": _flat_error, "sunset": _sunset,
    "undersampled": _undersampled, "narrowband": _narrowband, "three filters": _three_filters,
    "cirrus": _cirrus, "cirrus, galaxy": _cirrus_and_galaxy, "large galaxy": _large_galaxy,
    "low coverage": _low_coverage, "dome": _dome_over_nebula, "saturated": _saturated,
    "Milky Way": _milky_way, "reflection": _reflection, "comet": _comet,
    "dark nebula": _dark_nebula, "filled": _filled, "no object": _empty,
}  # fmt: skip


def draw_kind(kind: str, seed: int, shape: tuple[int, int] = SHAPE) -> KindScene:
    """Return a scene of one of `KINDS`; the same seed gives the same pixels."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), 71])
    canvas = _Canvas(shape, rng)
    parts = KINDS[kind](canvas)
    parts = replace(parts, objects=np.where(parts.objects > OBJECT_EDGE / 5, parts.objects, 0))
    total = parts.sky + parts.objects + _stars(canvas, parts)
    cover = np.broadcast_to(np.atleast_2d(parts.coverage)[..., None], total.shape)
    level = float(np.median(parts.sky))
    sigma = np.sqrt(np.maximum(total, 1) / level / np.maximum(cover, 1e-3))
    observed = total + sigma * rng.standard_normal(total.shape)
    observed = np.minimum(observed, parts.full)
    if parts.step:
        observed = np.round(observed / parts.step) * parts.step
    valid = cover[..., 0] > 0
    observed[~valid] = 0
    return KindScene(
        f"{kind} {seed}", (FULL_SCALE * observed).astype(np.float32),
        (FULL_SCALE * parts.sky).astype(np.float32),
        (FULL_SCALE * parts.objects).astype(np.float32),
        valid, FULL_SCALE,
    )  # fmt: skip


def _stars(canvas: _Canvas, parts: _Parts) -> np.ndarray:
    """Return stars of a power law, Moffat profiles with a halo on request, in all channels."""
    rng, (height, width) = canvas.rng, canvas.shape
    channels = parts.sky.shape[-1]
    number = rng.poisson(parts.stars * height * width / 1e6)
    peaks = np.minimum(5 * rng.random(number) ** (-1 / 0.9), 2e4)
    points = np.zeros((height, width, channels))
    rows, columns = rng.uniform(0, height - 1, number), rng.uniform(0, width - 1, number)
    tints = np.exp(rng.normal(0, 0.3 if channels > 1 else 0, (number, channels)))
    beta = rng.uniform(2.5, 4)
    scale = parts.fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    for y, x, peak, tint in zip(rows, columns, peaks, tints, strict=True):
        reach = int(np.clip(scale * (peak / 0.05) ** (0.5 / beta), 6, 200))
        area = (slice(max(0, int(y) - reach), int(y) + reach + 1),
                slice(max(0, int(x) - reach), int(x) + reach + 1))  # fmt: skip
        v, u = np.ogrid[area[0].start : min(area[0].stop, height),
                        area[1].start : min(area[1].stop, width)]  # fmt: skip
        profile = peak * (1 + ((v - y) ** 2 + (u - x) ** 2) / scale**2) ** -beta
        points[area] += profile[..., None] * tint
    if parts.halos:
        points += parts.halos * ndimage.gaussian_filter(points, (25, 25, 0))
    return points


def scenes(seeds: Any, kinds: list[str], shape: tuple[int, int] = SHAPE) -> Any:
    """Give each kind with each seed."""
    for kind in kinds:
        for seed in seeds:
            yield draw_kind(kind, seed, shape)
