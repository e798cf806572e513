"""Light of stars that the network withholds, put back where the exposure itself shows a star.

A network that is trained for the least error shrinks what it is not sure of: a star near the noise
comes out too faint. Where the input shows it beyond chance, its light is known without the network.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize, signal

from bgrem.frame.stars import PointSpread, measure_point_spread
from common import scratch
from common.robust import ROUNDED_FWHM_PER_SIGMA
from common.scratch import row_blocks, with_halo

FALSE_PER_MEGAPIXEL = 1.0  # of noise alone: so much may be invented
REACH_FWHM = 2.5  # FWHM; half of a stamp's side, beyond it the profile has 2 % of the light
PHASES = 4  # places of a star's centre along a pixel's side
ROUNDS = 4  # of the amplitudes: neighbours share their light


def put_back_stars(noisy: np.ndarray, noise: np.ndarray, spread: PointSpread | None) -> np.ndarray:
    """Return the network's noise without the light of stars that is in it.

    Stars are the maxima of the input, filtered with the point-spread function, above a threshold
    that the noise alone reaches once in a megapixel. To each of them that multiple of the
    point-spread function goes back which the noise contains; it may be negative.

    Parameters
    ----------
    noisy : array, shape (H, W)
        The input where its noise is 1.
    noise : array, shape (H, W)
        What the network takes off.
    spread : PointSpread or None
        None: the noise comes back as it is.

    Returns
    -------
    array, shape (H, W), float32
        In units of the noise.
    """
    if spread is None:
        return noise
    stamps = _Stamps.of(spread)
    result = scratch.empty(noisy.shape, np.float32)
    least = _threshold(spread)
    for rows in row_blocks(noisy.shape, noisy, noise, result):
        wide, inner = with_halo(rows, 2 * (ROUNDS + 1) * stamps.half, len(noisy))
        result[rows] = _without_stars(noisy[wide], noise[wide], stamps, least)[inner]
    return result


def frame_spread(
    electrons: np.ndarray, missing: np.ndarray, background: np.ndarray, sigma: np.ndarray
) -> PointSpread | None:
    """Return the point-spread function of an exposure; None where too few stars show it.

    Parameters
    ----------
    electrons : array, shape (H, W)
    missing : bool array, shape (H, W)
    background, sigma : array, shape (H, W)
        The exposure's smooth background and noise in electrons.
    """
    scaled = scratch.empty(electrons.shape, np.float32)
    for rows in row_blocks(scaled.shape, electrons, background, sigma, scaled):
        scaled[rows] = (electrons[rows] - background[rows]) / sigma[rows]
    return measure_point_spread(scaled, missing)


@dataclass(frozen=True, eq=False)
class _Stamps:
    """Profiles of sum 1 with their centre at PHASES x PHASES places of a pixel: (P, P, S, S)."""

    profiles: np.ndarray

    @property
    def half(self) -> int:
        return self.profiles.shape[-1] // 2

    @classmethod
    def of(cls, spread: PointSpread) -> "_Stamps":
        side = 2 * max(3, int(np.ceil(REACH_FWHM * spread.fwhm))) + 1
        offsets = (np.arange(PHASES) + 0.5) / PHASES - 0.5
        drawn = [
            [
                spread.profile.drawImage(nx=side, ny=side, scale=1.0, offset=(x, y)).array
                for x in offsets
            ]
            for y in offsets
        ]
        profiles = np.array(drawn, np.float64)
        return cls(profiles / profiles.sum((2, 3), keepdims=True))


def _threshold(spread: PointSpread) -> float:
    """Return the height that maxima of filtered noise reach `FALSE_PER_MEGAPIXEL` times.

    For Gaussian noise filtered with a Gaussian of standard deviation s, maxima above u are
    (2 pi)^(-3/2) u exp(-u^2 / 2) / (2 s^2) in a pixel (Bardeen et al. 1986, ApJ 304, 15).
    """
    area = 2 * (spread.fwhm / ROUNDED_FWHM_PER_SIGMA) ** 2
    return float(optimize.brentq(
        lambda u: np.log(1e6 / area / FALSE_PER_MEGAPIXEL * (2 * np.pi) ** -1.5 * u) - u**2 / 2,
        2.0, 10.0,
    ))  # fmt: skip


def _without_stars(
    noisy: np.ndarray, noise: np.ndarray, stamps: _Stamps, least: float
) -> np.ndarray:
    half = stamps.half
    middle = stamps.profiles[PHASES // 2 - 1 : PHASES // 2 + 1, PHASES // 2 - 1 : PHASES // 2 + 1]
    kernel = middle.mean((0, 1))
    kernel = kernel - kernel.mean()  # light that is flat around a star counts for nothing
    filtered = signal.oaconvolve(
        np.pad(noisy, half, mode="symmetric"), kernel[::-1, ::-1], mode="valid"
    ) / np.sqrt((kernel**2).sum())  # fmt: skip
    top = (filtered == ndimage.maximum_filter(filtered, 3)) & (filtered > least)
    row, column = np.nonzero(top)
    if not len(row):
        return noise
    profiles = stamps.profiles[_phase(filtered, row, column, 0), _phase(filtered, row, column, 1)]
    padded = np.pad(noise.astype(np.float64), half)
    steps = np.arange(2 * half + 1)
    rows, columns = row[:, None, None] + steps[:, None], column[:, None, None] + steps
    power = (profiles**2).sum((1, 2))
    for _ in range(ROUNDS):
        found = (padded[rows, columns] * profiles).sum((1, 2)) / power
        # of two that overlap each sees the other's light: no more than half of it at once
        share = np.zeros_like(padded)
        np.add.at(share, (rows, columns), profiles)
        crowding = (share[rows, columns] * profiles).sum((1, 2)) / power
        np.subtract.at(padded, (rows, columns), (found / crowding)[:, None, None] * profiles)
    # the place that noise makes brightest was chosen: two coordinates add 2 to the squared S/N
    height = filtered[row, column]
    chance = (height - np.sqrt(height**2 - 2)) / np.sqrt(power)
    np.add.at(padded, (rows, columns), chance[:, None, None] * profiles)
    return padded[half:-half, half:-half]


def _phase(filtered: np.ndarray, row: np.ndarray, column: np.ndarray, axis: int) -> np.ndarray:
    """Return the phase of maxima along an axis, from the parabola through three pixels."""
    height, width = filtered.shape
    step = np.array([1, 0]) if axis == 0 else np.array([0, 1])
    before = filtered[np.clip(row - step[0], 0, None), np.clip(column - step[1], 0, None)]
    after = filtered[
        np.clip(row + step[0], None, height - 1), np.clip(column + step[1], None, width - 1)
    ]
    bend = np.maximum(2 * filtered[row, column] - before - after, 1e-9)
    offset = np.clip((after - before) / (2 * bend), -0.5, 0.499)
    return np.asarray(((offset + 0.5) * PHASES).astype(int))
