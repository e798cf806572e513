"""Random deep-sky scenes whose background is known: for the demo, the tests and the benchmark."""

from dataclasses import dataclass

import numpy as np

# kinds of object that can be drawn
SCENE_OBJECTS = ("none", "nebula", "filaments", "galaxy", "cluster", "mixed")
SCENE_GRADIENTS = ("tilt", "glow", "vignette", "waves")  # kinds of background that can be drawn


@dataclass(frozen=True)
class Scene:
    """One simulated frame; every array has shape (H, W, C), linear, 1.0 = full well.

    `observed` = Poisson and read noise on `background` + `objects` + stars; `valid` (H, W) is
    False in the black border that a registration left.
    """

    observed: np.ndarray
    background: np.ndarray
    objects: np.ndarray
    valid: np.ndarray
    description: str


def make_scene(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (1000, 1500),
    channels: int = 1,
    objects: str | None = None,
    border: bool = False,
) -> Scene:
    """Return the random scene of a seed: same seed, same pixels.

    Parameters
    ----------
    seed : int
    shape : (H, W)
    channels : {1, 3}
    objects : one of OBJECTS, optional
        Kind of extended light; drawn by the seed if not given.
    border : bool
        Leave exact zeros at the edges, as a registration does.

    Raises
    ------
    ValueError
        If `objects` is unknown.

    Examples
    --------
    >>> from bgoptimizer import make_scene
    >>> scene = make_scene(7, shape=(60, 90), channels=3, objects="galaxy")
    >>> scene.observed.shape, scene.background.shape, scene.valid.shape
    ((60, 90, 3), (60, 90, 3), (60, 90))
    """
    if objects is not None and objects not in SCENE_OBJECTS:
        raise ValueError(f"objects must be one of {SCENE_OBJECTS}. Received: {objects!r}")
    rng = np.random.default_rng([seed, 51])
    kind = objects or str(rng.choice(SCENE_OBJECTS))
    height, width = shape
    y, x = np.mgrid[:height, :width] / height
    aspect = width / height
    background, gradients = _background(y, x, aspect, channels, rng)
    light = np.zeros((height, width))
    for part in {"mixed": ("nebula", "galaxy")}.get(kind, (kind,)):
        light += _objects(part, y, x, aspect, rng)
    tint = np.ones(3) if channels == 1 else rng.uniform(0.25, 1.0, 3)
    clouds = light[..., None] * (tint / tint.max())[:channels]
    total = background + clouds + _stars(shape, channels, rng)
    electrons = 10 ** rng.uniform(4.2, 5.0)
    observed = rng.poisson(np.clip(total, 0, 8) * electrons) / electrons
    observed += rng.normal(0, 10 ** rng.uniform(-3.7, -3.1), total.shape)
    observed = np.clip(observed, 1e-6, 1.0).astype(np.float32)
    valid = np.ones(shape, bool)
    if border:
        edge = rng.uniform(0.01, 0.04, 4)
        slant = rng.uniform(-0.02, 0.02, 2)
        u = x / aspect
        valid = (y > edge[0] + slant[0] * u) & (y < 1 - edge[1] + slant[0] * u)
        valid &= (u > edge[2] + slant[1] * y) & (u < 1 - edge[3] + slant[1] * y)
        observed[~valid] = 0
    return Scene(
        observed,
        background.astype(np.float32),
        clouds.astype(np.float32),
        valid,
        f"{kind} over {'+'.join(gradients)}",
    )


def _background(y, x, aspect, channels, rng):
    """Sky level with a random choice of gradients, each with its own tint; at least the tilt."""
    level = 10 ** rng.uniform(-2.2, -1.0)
    tint = np.ones(1) if channels == 1 else rng.uniform(0.7, 1.0, 3)
    chosen = ["tilt"] + [name for name in SCENE_GRADIENTS[1:] if rng.random() < 0.55]
    sky = np.ones((*y.shape, channels))
    angle = 0.0
    for c in range(channels):
        angle = rng.uniform(0, 2 * np.pi) if c == 0 else angle + rng.normal(0, 0.3)
        slope = rng.uniform(0.05, 0.4)
        plane = np.cos(angle) * (x - aspect / 2) + np.sin(angle) * (y - 0.5)
        sky[..., c] += slope * plane
    if "glow" in chosen:
        for _ in range(rng.integers(1, 4)):
            side = rng.integers(4)
            along, beyond = rng.uniform(-0.05, 1.05), rng.uniform(-0.25, 0.06)
            cy, cx = [(along, beyond), (along, aspect - beyond),
                      (beyond, along * aspect), (1 - beyond, along * aspect)][side]  # fmt: skip
            width = rng.uniform(0.09, 0.45)
            glow = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2))
            sky += rng.uniform(0.05, 0.4) * glow[..., None] * rng.uniform(0.6, 1, channels)
    if "waves" in chosen:
        for _ in range(2):
            ky, kx = rng.uniform(-2.2, 2.2, 2)
            wave = np.sin(2 * np.pi * (ky * y + kx * x) + rng.uniform(0, 2 * np.pi))
            sky += rng.uniform(0.01, 0.05) * wave[..., None]
    if "vignette" in chosen:
        cy, cx = rng.normal(0.5, 0.04), aspect * rng.normal(0.5, 0.04)
        r2 = (y - cy) ** 2 + (x - cx) ** 2
        sky *= (1 / (1 + rng.uniform(0.05, 0.25) * r2) ** 2)[..., None]
    return level * sky * tint, chosen


def _fractal(y, x, rng, exponent=3.0):
    """Unit-variance random field with a power-law spectrum, as interstellar clouds have."""
    height, width = y.shape
    fy, fx = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * height
    power = (fy**2 + fx**2 + 1.0) ** (-exponent / 4)
    noise = np.fft.rfft2(rng.standard_normal(y.shape))
    fieldmap = np.fft.irfft2(noise * power, s=y.shape)
    return (fieldmap - fieldmap.mean()) / fieldmap.std()


def _objects(kind, y, x, aspect, rng):
    """Return extended light of one kind, zero where there is none."""
    light = np.zeros_like(y)
    amplitude = 10 ** rng.uniform(-2.6, -1.6)
    cy, cx = rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75) * aspect
    if kind == "nebula":
        for _ in range(rng.integers(1, 4)):
            oy, ox = rng.normal(0, 0.12, 2)
            sy, sx = rng.uniform(0.05, 0.17, 2)
            blob = np.exp(-(((y - cy - oy) / sy) ** 2 + ((x - cx - ox) / sx) ** 2) / 2)
            light += rng.uniform(0.4, 1) * blob
        light *= np.exp(rng.uniform(0.15, 0.6) * _fractal(y, x, rng))
    elif kind == "filaments":
        warp = 0.15 * _fractal(y, x, rng, 4.0)
        for _ in range(rng.integers(2, 6)):
            angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3)
            across = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy) + offset + warp
            along = -np.sin(angle) * (x - cx) + np.cos(angle) * (y - cy)
            width = rng.uniform(0.006, 0.03)
            envelope = np.exp(-((along / rng.uniform(0.15, 0.5)) ** 2))
            light += rng.uniform(0.3, 1) / (1 + (across / width) ** 2) ** 1.5 * envelope
        light *= np.exp(0.4 * _fractal(y, x, rng))
    elif kind == "galaxy":
        amplitude *= 3
        for _ in range(rng.integers(1, 4)):
            angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
            gy, gx = cy + rng.normal(0, 0.15), cx + rng.normal(0, 0.25)
            u = np.cos(angle) * (x - gx) + np.sin(angle) * (y - gy)
            v = (-np.sin(angle) * (x - gx) + np.cos(angle) * (y - gy)) / ratio
            scale, index = rng.uniform(0.01, 0.07), rng.uniform(1, 3)
            radius = (np.hypot(u, v) + 1e-3) / scale
            light += rng.uniform(0.2, 1) * np.exp(-1.7 * (radius ** (1 / index) - 1))
            light = np.minimum(light, 8)
    elif kind == "cluster":
        for _ in range(150):
            gy, gx = cy + rng.normal(0, 0.06), cx + rng.normal(0, 0.06)
            size = rng.uniform(0.002, 0.006)
            light += 0.3 * np.exp(-((y - gy) ** 2 + (x - gx) ** 2) / (2 * size**2))
    light *= amplitude
    light[light < 1e-6] = 0
    return light


def _stars(shape, channels, rng):
    """Power-law stars: a sharp Gaussian core with a Moffat halo whose fraction varies."""
    height, width = shape
    count = int(10 ** rng.uniform(2.4, 3.4) * height * width / 1.5e6)
    peaks = np.minimum(0.003 * (1 - rng.random(count)) ** (-1 / rng.uniform(0.8, 1.1)), 5.0)
    colour = 1 + (
        0.25 * rng.standard_normal((count, channels)) if channels == 3 else np.zeros((count, 1))
    )
    field = np.zeros((height, width, channels))
    fwhm, beta = rng.uniform(2.2, 4.5), rng.uniform(2.6, 4.0)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    for y0, x0, peak, tint in zip(rng.uniform(0, height, count), rng.uniform(0, width, count),
                                  peaks, np.clip(colour, 0.3, 2), strict=True):  # fmt: skip
        reach = int(np.clip(alpha * (peak / 1e-5) ** (0.5 / beta), 8, 250))
        rows = slice(max(0, int(y0) - reach), min(height, int(y0) + reach + 1))
        columns = slice(max(0, int(x0) - reach), min(width, int(x0) + reach + 1))
        yy, xx = np.ogrid[rows, columns]
        profile = (1 + ((yy - y0) ** 2 + (xx - x0) ** 2) / alpha**2) ** -beta
        field[rows, columns] += peak * profile[..., None] * tint
    return field
