"""Skies for `recording_inputs`: stars, galaxies, nebulae and noise, with NumPy alone."""

import numpy as np
from astropy.io import fits

SEED = 20_240_229  # of all inputs; another one makes all recordings incomparable
GAIN, READ_NOISE, SATURATION = 1.6, 5.0, 60_000.0  # electrons per count, electrons, counts
WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 128.5,
    "CRPIX2": 144.5, "CD1_1": -1.2e-4, "CD1_2": 3e-6, "CD2_1": 3e-6, "CD2_2": 1.2e-4,
    "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
}  # fmt: skip
CAMERA = {
    "GAIN": GAIN, "EGAIN": GAIN, "RDNOISE": READ_NOISE, "SATURATE": SATURATION, "BUNIT": "adu",
    "EXPTIME": 60.0, "MAGZERO": 25.3, "DATE-OBS": "2024-02-29T01:02:03.4", "FILTER": "r",
    "OBJECT": "made field", "OBSERVER": "O'Neil & daughters",
}  # fmt: skip
REACH = 48  # px around a source that its light is drawn in
Sources = list[tuple[float, float, float, str, float, float, float]]


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng([SEED, *name.encode()])


def grid(shape):
    return np.mgrid[: shape[0], : shape[1]].astype(np.float64)


def draw_sources(rng, shape, stars, galaxies, brightest) -> Sources:
    """Return x, y, peak, kind, half-light radius, axis ratio, angle of each source."""
    found: Sources = []
    for kind, number in (("star", stars), ("galaxy", galaxies)):
        for _ in range(number):
            y, x = rng.uniform(0, shape[0] - 1), rng.uniform(0, shape[1] - 1)
            peak = float(20 * (brightest / 20) ** (rng.uniform() ** 3))
            radius, ratio = (
                (0.0, 1.0) if kind == "star" else (rng.uniform(2, 5), rng.uniform(0.3, 1))
            )
            found.append((x, y, peak, kind, radius, ratio, rng.uniform(-90, 90)))
    return found


def window(shape, x, y):
    """Return the part of an image around a source, and its pixels' distances from it."""
    top, left = max(0, int(y) - REACH), max(0, int(x) - REACH)
    part = np.s_[top : int(y) + REACH + 1, left : int(x) + REACH + 1]
    rows, columns = np.mgrid[: shape[0], : shape[1]][(slice(None), *part)].astype(np.float64)
    return part, rows - y, columns - x


def paint(shape, sources: Sources, fwhm=3.2, beta=3.0):
    """Return the light of Moffat stars and of exponential galaxies."""
    light = np.zeros(shape)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    for x, y, peak, kind, radius, ratio, angle in sources:
        part, rows, columns = window(shape, x, y)
        turn = np.radians(angle)
        u = columns * np.cos(turn) + rows * np.sin(turn)
        v = rows * np.cos(turn) - columns * np.sin(turn)
        if kind == "star":
            light[part] += peak * (1 + (u**2 + v**2) / alpha**2) ** -beta
        else:
            distance = np.sqrt(u**2 + (v / ratio) ** 2 + 1)
            light[part] += peak * np.exp(-1.68 * distance / radius)
    return light


def field_parts(name, shape=(288, 256), stars=70, galaxies=15, sky=400.0, brightest=30_000.0):
    """Return sources, their light, smooth background and noise, in counts."""
    rng = rng_of(name)
    rows, columns = grid(shape)
    sources = draw_sources(rng, shape, stars, galaxies, brightest)
    light = paint(shape, sources)
    background = sky * (1 + 0.1 * columns / shape[1] + 0.05 * np.sin(rows / 90))
    electrons = rng.poisson((light + background) * GAIN) + rng.normal(0, READ_NOISE, shape)
    return sources, light, background, electrons / GAIN - light - background


def field_pixels(name, **parts):
    _, light, background, noise = field_parts(name, **parts)
    return np.minimum(light + background + noise, SATURATION).astype(np.float32)


def full_header(**more) -> fits.Header:
    """Return a header with cards of every kind that has to survive."""
    header = fits.Header()
    for key, value in {**CAMERA, **WCS, **more}.items():
        header[key] = value
    header["HIERARCH ESO DET CHIP NAME"] = ("Marlene", "a keyword of eight letters and more")
    header["LONGTEXT"] = "words that do not fit one card, so that it goes on in the next: " * 3
    header["FLAG"], header["NUMBER"], header["UNDEF"] = True, 12345678901, fits.card.Undefined()
    header.add_comment("a comment of the camera")
    header.add_history("bias and flat were taken off")
    return header


def colour_pixels():
    """Three channels of one sky, (3, H, W)."""
    shape = (192, 208)
    rng = rng_of("colour")
    sources = draw_sources(rng, shape, 45, 8, 15_000.0)
    light, (rows, columns) = paint(shape, sources), grid(shape)
    planes = []
    for share, sky in ((1.0, 300), (0.8, 380), (0.6, 500)):
        mean = share * light + sky + 0.2 * sky * (columns + 0.5 * rows) / 300
        planes.append(rng.poisson(mean * GAIN) / GAIN + rng.normal(0, 3, shape))
    return np.stack(planes).astype(np.float32)


def hubble_pixels(name):
    """An exposure in electrons: sharp stars, dark sky, cosmic rays."""
    shape, rng = (256, 272), rng_of(name)
    light = paint(shape, draw_sources(rng, shape, 60, 20, 8000.0), fwhm=1.8, beta=2.6)
    pixels = rng.poisson(light + 22) + rng.normal(0, 3.1, shape)
    for _ in range(25):
        row, column = rng.integers(2, shape[0] - 8), rng.integers(2, shape[1] - 8)
        for step in range(int(rng.integers(1, 6))):
            pixels[row + step, column + step // 2] += rng.uniform(200, 3000)
    return pixels.astype(np.float32)


def nebula_pixels(name, shape=(200, 296), channels=1):
    """A nebula and stars under a gradient, (channels, H, W)."""
    rng, (rows, columns) = rng_of(name), grid(shape)
    light = paint(shape, draw_sources(rng, shape, 90, 5, 12_000.0), fwhm=2.8)
    cloud = 260 * np.exp(-(((rows - 110) / 32) ** 2 + ((columns - 170) / 45) ** 2))
    cloud *= 1 + 0.4 * np.sin(columns / 7) * np.cos(rows / 9)
    planes = []
    for share in (1.0, 0.7, 0.5)[:channels]:
        sky = 900 * share + 1.2 * columns - 0.8 * rows + 0.004 * (columns - 90) ** 2
        planes.append(share * (light + cloud) + sky + rng.normal(0, 12, shape))
    return np.stack(planes).astype(np.float32)


def staring_pixels(name, length, stars):
    """Streaks of one direction, satellites, a trail across; banding and a gradient."""
    shape, rng = (304, 320), rng_of(name)
    rows, columns = grid(shape)
    light = np.zeros(shape)

    def draw(x, y, angle, size, width, peak):
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        along = np.maximum(np.abs(u) - size / 2, 0)
        return peak * np.exp(-0.5 * (v**2 + along**2) / width**2)

    for _ in range(stars):
        place = rng.uniform(-20, 340), rng.uniform(-20, 324)
        light += draw(*place, 0.35, length, 1.2, 60 * 100 ** rng.uniform())
    for _ in range(7):
        place = rng.uniform(20, 300), rng.uniform(20, 280)
        light += draw(*place, 0.0, 0.0, 0.7, rng.uniform(150, 600))
    light += draw(190, 120, 1.9, 90.0, 1.1, 350.0)
    level = 900 + 0.5 * columns + 60 * np.sin(rows / 70)
    bands = rng.normal(0, 9, (shape[0], 1)) + 25 * (columns > 160)
    return rng.poisson(light + level) + bands + rng.normal(0, 6, shape)
