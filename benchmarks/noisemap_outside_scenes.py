"""Staring frames drawn another way than for the training, of six kinds, and what is put into them.

Imports nothing of the product and of its simulator: stars are lines of dots that follow one path,
which all stars of a frame share, seen through a Moffat profile on a grid of a fifth of a pixel.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, special

FINE = 5  # grid points per px
MARGIN = 64  # px around the frame from which streaks reach into it
SIDE = 448  # px
PEAKS = (5.0, 8.0, 15.0)  # of satellites, in units of the sky's noise
SATELLITES = 12  # of each peak in a frame
SATELLITE_SIGMA = 0.5  # px
ON = 2.0  # noise; more streak light than that is on a streak, less than a quarter of it is off
APART, EDGE = 20, 16  # px between satellites, and from the frame's edge
TRAILS = 4  # across the streaks, in a frame
PARALLEL = 4  # along the streaks: two are long, two are narrow


@dataclass(frozen=True)
class Kind:
    """What is special about frames of a kind; lengths in px, light in units of the noise."""

    length: float = 35.0
    stars: int = 350
    brightest: float = 3000.0
    faintest: float = 0.7  # peak of the faintest star
    bend: float = 0.0  # sagitta
    wobble: float = 0.0  # rms across and along; the light along the streak varies too
    amplifiers: int = 1


KINDS = {
    "plain": Kind(),
    "curved streaks": Kind(bend=2.0),
    "seeing wobbles along the streak": Kind(wobble=0.6),
    "two amplifiers": Kind(amplifiers=2),
    "streaks of 12 px": Kind(length=12.0, stars=700),
    "long, faint, dense": Kind(length=90.0, stars=700, brightest=60.0, faintest=0.4),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame, and the same one with satellites, and with trails: arrays (H, W) in ADU.

    `structure` is the frame without noise, `sigma` the noise of each pixel, `streaks` the light of
    the stars in units of `noise`, the sky's. `satellites` is a list of (x, y, peak, place), with
    place "on", "off" or "between"; `trails` one of (start, end, width, kind) with kind "across",
    "long", "narrow".
    """

    pixels: np.ndarray
    structure: np.ndarray
    sigma: np.ndarray
    streaks: np.ndarray
    noise: float
    with_satellites: np.ndarray
    with_trails: np.ndarray
    satellites: list[tuple[float, float, float, str]]
    trails: list[tuple[np.ndarray, np.ndarray, float, str]]
    trail_light: list[np.ndarray]


def make_scene(name: str, seed: int) -> Scene:
    """Return a frame of a kind."""
    kind, rng = KINDS[name], np.random.default_rng([seed, list(KINDS).index(name)])
    shape = (SIDE, SIDE)
    sky, read, gain = rng.uniform(150, 900), rng.uniform(2, 5), rng.uniform(0.5, 1.5)
    noise = np.sqrt(sky + read**2)  # electrons
    full_well = 6e4
    width = rng.uniform(2.2, 3.4)  # FWHM, px
    angle = rng.uniform(0, np.pi)
    path, weights = draw_path(kind, rng)
    stars = noise * draw_stars(kind, path, weights, angle, width, rng)
    y, x = np.mgrid[-0.5 : 0.5 : SIDE * 1j, -0.5 : 0.5 : SIDE * 1j]
    tilt, centre = rng.uniform(-0.15, 0.15, 2), rng.uniform(-0.3, 0.3, 2)
    response = 1 - rng.uniform(0, 0.15) * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
    response *= 1 + rng.uniform(0, 0.002) * rng.standard_normal(shape[1])
    light = np.minimum((sky * (1 + tilt[0] * x + tilt[1] * y) + stars) * response, full_well)
    offset = read_out(kind, rng, noise)
    variance = np.where(light < full_well, light, 0) + read**2
    electrons = rng.poisson(light) * (light < full_well) + light * (light >= full_well)
    pixels = np.minimum(electrons, full_well) + rng.normal(0, read, shape) + offset
    unit = 1 / gain
    scene = [unit * one for one in (pixels, light + offset, np.sqrt(variance))]
    streaks = stars * response / noise
    satellites, with_satellites = put_satellites(scene[0], streaks, unit * noise, rng)
    trails, pictures = draw_trails(kind.length, width / 2.355, angle, rng)
    pictures = [unit * noise * one for one in pictures]
    return Scene(
        scene[0], scene[1], scene[2], streaks, float(unit * noise), with_satellites,
        scene[0] + np.sum(pictures, 0), satellites, trails, pictures,
    )  # fmt: skip


def draw_path(kind: Kind, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the path that all stars of a frame take, (2, M) along and across, and its light."""
    number = int(2 * FINE * kind.length)
    share = np.linspace(-0.5, 0.5, number)
    path = np.stack([kind.length * share, kind.bend * (4 * share**2 - 1 / 3)])
    weights = np.ones(number)
    if kind.wobble:
        reach = rng.uniform(2, 5) * number / kind.length  # px over which seeing stays alike
        waves = ndimage.gaussian_filter1d(rng.standard_normal((3, number)), reach, axis=1)
        waves /= waves.std(1, keepdims=True)
        path = path + kind.wobble * waves[:2]
        weights = 1 + 0.15 * waves[2]
    return path, weights / weights.mean()


def draw_stars(kind, path, weights, angle, width, rng) -> np.ndarray:
    """Return the light of all stars in units of the noise, without the sky: (SIDE, SIDE)."""
    total = SIDE + 2 * MARGIN
    number = rng.poisson(kind.stars * total**2 / SIDE**2)
    share = rng.random(number)
    low, high = kind.faintest**-0.75, kind.brightest**-0.75
    peak = (low - share * (low - high)) ** (-1 / 0.75)
    middle = rng.uniform(0, total, (number, 2))
    # the field turns by a little from side to side
    turned = angle + np.radians(0.3) * (middle - total / 2) @ rng.uniform(-1, 1, 2) / total
    cos, sin = np.cos(turned)[:, None], np.sin(turned)[:, None]
    x = middle[:, :1] + cos * path[0] - sin * path[1]
    y = middle[:, 1:] + sin * path[0] + cos * path[1]
    # peak of a line of light l per px: l / (1.064 FWHM)
    each = peak[:, None] * 1.064 * width * weights * (kind.length / path.shape[1])
    fine = total * FINE
    canvas = np.zeros(fine * fine)
    x, y = x * FINE, y * FINE
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        part = each * np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top))
        inside = (left >= 0) & (top >= 0) & (left + dx < fine) & (top + dy < fine)
        place = ((top + dy) * fine + left + dx)[inside]
        canvas += np.bincount(place, part[inside], minlength=fine * fine)
    offset = np.minimum(np.arange(fine), fine - np.arange(fine)) / FINE
    square = offset[:, None] ** 2 + offset**2
    beta = rng.uniform(3, 4.5)
    moffat = (1 + square * 4 * (2 ** (1 / beta) - 1) / width**2) ** -beta
    seen = fft.irfft2(fft.rfft2(canvas.reshape(fine, fine)) * fft.rfft2(moffat / moffat.sum()),
                      (fine, fine))  # fmt: skip
    seen = seen.reshape(total, FINE, total, FINE).sum((1, 3))
    return np.maximum(seen[MARGIN:-MARGIN, MARGIN:-MARGIN], 0)


def read_out(kind: Kind, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Return bias and bands, electrons: each amplifier has its own."""
    offset = np.zeros((SIDE, SIDE))
    edges = [0, *(int(SIDE * rng.uniform(0.4, 0.6)) for _ in range(kind.amplifiers - 1)), SIDE]
    for left, right in itertools.pairwise(edges):
        white = rng.uniform(0.2, 0.6) * rng.standard_normal(SIDE)
        slow = ndimage.gaussian_filter1d(rng.standard_normal(SIDE), 8)
        rows = noise * (white + slow / slow.std() * rng.uniform(0.1, 0.4))
        offset[:, left:right] = 500 + rng.normal(0, 4 * noise) + rows[:, None]
    return offset + noise * 0.1 * rng.standard_normal(SIDE)


def gaussian_point(x: float, y: float, sigma: float) -> np.ndarray:
    """Return a Gaussian point of flux 1 on the frame, integrated over pixels by a fine grid."""
    picture = np.zeros((SIDE, SIDE))
    reach = int(np.ceil(6 * sigma)) + 1
    column, row = round(x), round(y)
    fine = (np.arange((2 * reach + 1) * FINE) + 0.5) / FINE - reach - 0.5
    parts = []
    for middle in (y - row, x - column):
        profile = np.exp(-((fine - middle) ** 2) / (2 * sigma**2))
        parts.append((profile / profile.sum()).reshape(-1, FINE).sum(1))
    picture[row - reach : row + reach + 1, column - reach : column + reach + 1] = np.outer(*parts)
    return picture


def put_satellites(pixels, streaks, noise, rng):
    """Return (x, y, peak, place) of satellites, and the frame with them; two in five on streaks."""
    free = np.zeros(pixels.shape, bool)
    free[EDGE:-EDGE, EDGE:-EDGE] = True
    on, anywhere = np.argwhere(free & (streaks > ON) & (streaks < 300)), np.argwhere(free)
    chosen: list[np.ndarray] = []
    while len(chosen) < SATELLITES * len(PEAKS):
        pool = on if len(on) and rng.random() < 0.4 else anywhere
        place = pool[rng.integers(len(pool))] + rng.uniform(-0.5, 0.5, 2)
        if all(np.hypot(*(place - other)) >= APART for other in chosen):
            chosen.append(place)
    share = gaussian_point(SIDE // 2, SIDE // 2, SATELLITE_SIGMA).max()
    found, result = [], pixels.copy()
    for k, (y, x) in enumerate(chosen):
        peak = PEAKS[k % len(PEAKS)]
        light = streaks[round(y), round(x)]
        place = "on" if light > ON else "off" if light < ON / 4 else "between"
        found.append((float(x), float(y), peak, place))
        result += peak * noise / share * gaussian_point(x, y, SATELLITE_SIGMA)
    return found, result


def draw_trails(length, sigma, angle, rng):
    """Return trails and their light in units of the noise: across the streaks, and along them."""
    kinds = ["across"] * TRAILS + ["long"] * (PARALLEL // 2) + ["narrow"] * (PARALLEL // 2)
    trails, pictures = [], []
    taken = np.zeros((SIDE, SIDE), bool)
    for kind in kinds:
        for _ in range(200):
            turned = angle + (np.radians(rng.uniform(20, 160)) if kind == "across" else 0)
            size = rng.uniform(15, 45) if kind == "across" else length
            size *= rng.uniform(1.4, 1.8) if kind == "long" else 1
            width = rng.uniform(1.0, 1.4) if kind == "across" else sigma
            width *= 0.5 if kind == "narrow" else 1
            half = size / 2 * np.array([np.cos(turned), np.sin(turned)])
            edge = np.abs(half) + EDGE
            middle = rng.uniform(edge, SIDE - 1 - edge)
            picture = line_light(middle - half, middle + half, width)
            if not (taken & (picture > 0.01)).any():
                break
        taken |= ndimage.binary_dilation(picture > 0.01, iterations=8)
        trails.append((middle - half, middle + half, width, kind))
        pictures.append(rng.uniform(5, 10) * picture)
    return trails, pictures


def line_light(
    start: np.ndarray, end: np.ndarray, sigma: float, shape: tuple[int, int] = (SIDE, SIDE)
) -> np.ndarray:
    """Return a line seen through a Gaussian, its peak about 1, by three points a px: (H, W)."""
    rows, columns = ((np.arange(side * 3) + 0.5) / 3 - 0.5 for side in shape)
    length = np.hypot(*(end - start))
    cos, sin = (end - start) / length
    dx, dy = columns[None, :] - start[0], rows[:, None] - start[1]
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    root = np.sqrt(2) * sigma
    ends = (special.erf(along / root) - special.erf((along - length) / root)) / 2
    light = np.exp(-(across**2) / (2 * sigma**2)) * ends
    return light.reshape(shape[0], 3, shape[1], 3).mean((1, 3))
