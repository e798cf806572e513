"""Raw frames of a telescope that stares at the geostationary belt: stars are parallel streaks.

Modelled on the frames of Waldmann et al. (2023, Sect. 2): 35 cm f/3, CMOS, 0.75 arcsec/px, 0.1-2 s,
neither bias nor flat corrected. Every condition is drawn more widely than one telescope sees it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import fft, special

from bgrem.simulate.detector import cosmic_rays
from bgrem.simulate.trails import draw_trails

STARLESS_SHARE = 0.15  # of the frames: sky and detector alone
OVERLONG_SHARE = 0.08  # of the frames: streaks that no tile contains whole
MIN_STREAK_PX = 6.0  # px; shorter streaks look like satellites
MIN_STREAK_WIDTHS = 5.0  # widths; shorter streaks look like satellites
MIN_STREAK_SNR = 0.3  # S/N of a matched filter
MAX_STREAK_PEAK = 5000.0  # peak in units of the noise
MIN_DETAILED_PEAK = 10.0  # noise; fainter streaks need no flicker, wings and quadrature
MAX_STREAK_COVER = 3.0  # times the frame covered by streaks above 1 sigma: what lies deeper is sky
MAX_FIELD_ROTATION = np.radians(0.5)  # radians; largest difference to the frame's angle
MAX_POISSON_ELECTRONS = 50.0  # electrons; below it photons are drawn from Poisson's distribution
MAX_PIXEL_RESPONSE = 0.008  # rms of the response of single pixels at most
COSMIC_RAYS_PER_MPX = 1.0  # per megapixel; an exposure of seconds has few


@dataclass(frozen=True, eq=False)
class StaringFrame:
    """A frame without its noise, and what noise it has.

    Attributes
    ----------
    structure : array, shape (H, W), float32
        ADU without noise: bias + banding + flat * (sky + streaks), cut at the full well.
    sigma : array, shape (H, W), float32
        ADU; noise of each pixel: photons, response, reading. Saturated pixels have the last alone.
    angle : float
        Of the streaks, radians, from x towards y, 0 to pi.
    length : float
        Of the streaks, px; 0 in a frame without streaks.
    width : float
        Sigma of the streaks' cross-section, px.
    hot_pixels : array, shape (H, W), float32
        ADU; charge of single pixels. An artefact: part of the noise, not of the structure.
    gain : float
        Electrons per ADU.
    read_noise : float
        Electrons.
    """

    structure: np.ndarray
    sigma: np.ndarray
    angle: float
    length: float
    width: float
    hot_pixels: np.ndarray
    gain: float
    read_noise: float


def simulate_staring_frame(seed: int, shape: tuple[int, int] = (512, 512)) -> StaringFrame:
    """Return a frame whose conditions are all drawn by the seed.

    Parameters
    ----------
    seed : int
    shape : tuple of int
        Rows and columns.
    """
    rng = np.random.default_rng([seed, 11])
    sky, read_noise = _log_uniform(rng, 30, 2e4), _log_uniform(rng, 1, 6)
    noise = np.sqrt(sky + read_noise**2)  # the unit of all that follows, electrons
    full_well = max(_log_uniform(rng, 5e3, 1e5), 3 * sky)
    gain = max(_log_uniform(rng, 0.2, 2), full_well / 6e4)  # 16 bits hold the full well
    angle = rng.uniform(0, np.pi)
    length = _log_uniform(rng, MIN_STREAK_PX, 90)
    if rng.random() < OVERLONG_SHARE:
        length = rng.uniform(150, 300)
    width = rng.uniform(0.7, min(2.2, length / MIN_STREAK_WIDTHS))
    light = sky * _sky(rng, shape)
    if rng.random() < STARLESS_SHARE:
        length = 0.0
    else:
        light += noise * _streaks(rng, shape, angle, length, width)
    light = np.minimum(light * _flat(rng, shape), full_well)
    structure = light + noise * _banding(rng, shape) + gain * rng.uniform(100, 2000)
    # one frame does not tell the response of single pixels from noise
    response = rng.uniform(0, MAX_PIXEL_RESPONSE) * rng.random()
    variance = np.where(light < full_well, light + (response * light) ** 2, 0) + read_noise**2
    return StaringFrame(
        structure=(structure / gain).astype(np.float32),
        sigma=(np.sqrt(variance) / gain).astype(np.float32),
        angle=float(angle),
        length=float(length),
        width=float(width),
        hot_pixels=(noise / gain * _hot_pixels(rng, shape)).astype(np.float32),
        gain=float(gain),
        read_noise=float(read_noise),
    )


def draw_noise(
    sigma: np.ndarray, hot_pixels: np.ndarray, gain: float, read_noise: float, rng: Any
) -> np.ndarray:
    """Return noise in ADU, drawn anew: photons, reading, hot pixels, seldom a cosmic ray.

    Parameters
    ----------
    sigma, hot_pixels : array, shape (H, W)
        ADU; of a `StaringFrame` or of the same part of both.
    gain, read_noise : float
        Electrons per ADU, electrons.
    rng : numpy.random.Generator

    Returns
    -------
    array, shape (H, W), float32
    """
    variance = np.square(sigma, dtype=np.float64) + hot_pixels / gain
    noise = rng.standard_normal(sigma.shape) * np.sqrt(variance)
    electrons = variance * gain**2 - read_noise**2
    few = (electrons > 0) & (electrons < MAX_POISSON_ELECTRONS)
    if few.any():
        photons = rng.poisson(electrons[few]) - electrons[few]
        noise[few] = (photons + rng.normal(0, read_noise, photons.shape)) / gain
    tracks = cosmic_rays(rng, sigma.shape, COSMIC_RAYS_PER_MPX * sigma.size / 1e6)
    return (noise + hot_pixels + tracks / gain).astype(np.float32)


def _streaks(rng, shape, angle, length, width) -> np.ndarray:
    """Return streaks in units of the noise; the stars' fluxes follow a power law."""
    count, slope = _log_uniform(rng, 300, 6000), rng.uniform(0.5, 1.0)
    count = min(count, MAX_STREAK_COVER * 1e6 / (4 * width * length)) * (
        np.prod(np.add(shape, length)) / 1e6
    )
    area = np.sqrt(np.pi) * width * length  # peak = signal-to-noise ratio / sqrt(area)
    share = rng.uniform(0, 1, rng.poisson(count * MIN_STREAK_SNR**-slope))
    least = (MAX_STREAK_PEAK * np.sqrt(area) / MIN_STREAK_SNR) ** -slope
    peak = MIN_STREAK_SNR * (least + share * (1 - least)) ** (-1 / slope) / np.sqrt(area)
    middle = rng.uniform(-0.5, 0.5, (len(peak), 2))
    turned = angle + 2 * MAX_FIELD_ROTATION * rng.uniform(-1, 1) * middle @ rng.dirichlet((1, 1))
    half = length / 2 * np.stack([np.cos(turned), np.sin(turned)], 1)
    middle = middle * np.add(shape[::-1], length) + np.array(shape[::-1]) / 2 - 0.5
    flux, bright = peak * np.sqrt(2 * np.pi) * width, peak > MIN_DETAILED_PEAK
    canvas, wings, flicker = np.zeros(shape), rng.uniform(0, 0.1), rng.uniform(0, 0.04)
    start, end = middle - half, middle + half
    draw_trails(canvas, start[~bright], end[~bright], width, flux[~bright], quadrature=1)
    for share, sigma, nodes in ((1 - wings, width, 3), (wings, 2.5 * width, 1)):
        lines = start[bright], end[bright], sigma, share * flux[bright]
        draw_trails(canvas, *lines, quadrature=nodes, flicker=flicker, rng=rng)
    return canvas


def _sky(rng, shape) -> np.ndarray:
    """Return the sky relative to its level: a twilight gradient, also curved, and clouds."""
    v, u = np.meshgrid(*(np.linspace(-0.5, 0.5, side) for side in shape), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    along = (np.cos(angle) * u + np.sin(angle) * v) * np.sqrt(2)  # within -1 and 1
    slope, bend = rng.uniform(-0.3, 0.3) * rng.random(), rng.uniform(-0.1, 0.1) * rng.random()
    gradient = 1 + slope * along + bend * (3 * along**2 - 1)
    clouds = _random_field(rng, shape, rng.uniform(1.3, 2.2))
    share = 0.25 * rng.random() ** 2 * (rng.random() < 0.6)
    return gradient * (1 + share * clouds / np.abs(clouds).max())


def _flat(rng, shape) -> np.ndarray:
    """Return the response: vignetting, dust out of focus, columns."""
    v, u = np.meshgrid(*(np.arange(side, dtype=float) for side in shape), indexing="ij")
    x, y = rng.uniform(-1, 2, 2) * shape[::-1]  # the optical axis may lie outside this part
    square = (u - x) ** 2 + (v - y) ** 2
    flat = 1 - rng.uniform(0, 0.3) * rng.random() * (square - square.min()) / np.ptp(square)
    for _ in range(rng.poisson(1.5)):
        outer = rng.uniform(8, 60)
        x, y = rng.uniform(0, 1, 2) * shape[::-1]
        radius = np.hypot(u - x, v - y)
        ring = special.expit((outer - radius) / 1.5) - special.expit((0.4 * outer - radius) / 1.5)
        flat *= 1 - rng.uniform(0.005, 0.06) * ring
    columns = 1 + rng.uniform(0, 0.003) * rng.random() * rng.standard_normal(shape[1])
    return flat * columns


def _banding(rng, shape) -> np.ndarray:
    """Return offsets of rows, at times of columns or of two halves, in units of the noise."""
    fixed = rng.uniform(0, 0.2) * rng.random() * rng.standard_normal(shape[1])
    if rng.random() < 0.2:
        return fixed + _bands(rng, shape[::-1]).T
    return fixed + _bands(rng, shape)


def _bands(rng, shape) -> np.ndarray:
    """Return offsets of rows, white and slow, with a step where one amplifier ends."""
    slow, white = rng.random(), _log_uniform(rng, 0.05, 1.5)
    bands = np.zeros(shape)
    edge = int(rng.uniform(0.1, 0.9) * shape[1]) if rng.random() < 0.3 else shape[1]
    common = rng.standard_normal(shape[0])
    for part in (np.s_[:edge], np.s_[edge:]):
        rows = (common + 0.5 * rng.standard_normal(shape[0])) / np.hypot(1, 0.5)
        rows = np.sqrt(1 - slow) * rows + np.sqrt(slow) * _random_field(rng, shape[:1], 0.7)
        step = rng.normal(0, 1) * (edge < shape[1])
        bands[:, part] = (white * rows + step)[:, None]
    return bands


def _random_field(rng, shape, index) -> np.ndarray:
    """Return a field of mean 0 and deviation 1 whose amplitudes fall as frequency^-index."""
    # waves are periodic, half of their field is not
    padded = [fft.next_fast_len(2 * side, real=True) for side in shape]
    waves = fft.rfftn(rng.standard_normal(padded))
    axes = [fft.fftfreq(side) for side in padded[:-1]] + [fft.rfftfreq(padded[-1])]
    frequency = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    frequency.flat[0] = np.inf
    field = fft.irfftn(waves * frequency**-index, padded)
    field = field[tuple(np.s_[:side] for side in shape)]
    return (field - field.mean()) / field.std()


def _hot_pixels(rng, shape) -> np.ndarray:
    """Return charges of 3 to 300 in single pixels, in units of the noise."""
    hot = rng.random(shape) < rng.uniform(0, 5e-4)
    return np.where(hot, np.minimum(3 + rng.exponential(60, shape), 300), 0)


def _log_uniform(rng: Any, low: float, high: float) -> float:
    return float(low * (high / low) ** rng.random())
