"""Trails of moving lights and the points that satellites are, integrated over pixels."""

from typing import Any

import numpy as np
from scipy import special

SATELLITE_SIGMA_PX = 0.5  # px, sigma; Waldmann et al. 2023, Sect. 3.2
TRAIL_CHUNK = 1_000_000  # pixels computed at once: memory


def add_satellites(
    pixels: np.ndarray,
    peaks: np.ndarray,
    rng: Any,
    *,
    sigma: float = SATELLITE_SIGMA_PX,
    positions: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a copy of a frame with satellites in it, and their catalogue.

    A satellite is a Gaussian integrated over pixels; none lies within 12 px of another.

    Parameters
    ----------
    pixels : array, shape (H, W)
    peaks : array, shape (N,)
        Value of the brightest pixel, if the satellite lies in its middle, in the frame's unit.
    rng : numpy.random.Generator
        Draws the positions.
    sigma : float, optional
        Pixels.
    positions : array, shape (N, 2), optional
        (x, y), 0-based, in place of drawn ones.

    Returns
    -------
    pixels : array, shape (H, W)
    catalogue : dict of array
        x, y (0-based pixels), flux and peak in the frame's unit.

    Raises
    ------
    ValueError
        If the frame has not room for all.
    """
    peaks = np.asarray(peaks, float)
    if positions is None:
        positions = _places(rng, pixels.shape, len(peaks))
    x, y = np.asarray(positions, float).reshape(-1, 2).T
    flux = peaks / special.erf(0.5 / (np.sqrt(2) * sigma)) ** 2
    result = np.array(pixels, np.result_type(pixels, np.float32))
    half = int(np.ceil(6 * sigma)) + 1
    for k, light in enumerate(flux):
        rows, columns = (
            np.arange(max(round(place) - half, 0), min(round(place) + half + 1, size))
            for place, size in zip((y[k], x[k]), pixels.shape, strict=True)
        )
        stamp = np.outer(_in_pixels(rows - y[k], sigma), _in_pixels(columns - x[k], sigma))
        result[np.ix_(rows, columns)] += light * stamp
    return result, {"x": x, "y": y, "flux": flux, "peak": peaks}


def _places(rng: Any, shape: tuple[int, ...], number: int, cell: int = 24) -> np.ndarray:
    """Return (x, y) of each place in the middle half of a cell of its own."""
    rows, columns = (side // cell for side in shape)
    if number > rows * columns:
        raise ValueError(
            f"{number} satellites do not fit into a frame of {shape}. Give {rows * columns} at most"
        )
    row, column = np.divmod(rng.permutation(rows * columns)[:number], max(columns, 1))
    middle = rng.uniform(0.25, 0.75, (number, 2))
    return cell * (np.stack([column, row], 1) + middle) - 0.5


def _in_pixels(offsets: np.ndarray, sigma: float) -> np.ndarray:
    """Return a Gaussian's share in pixels at these distances from it."""
    edges = (np.asarray(offsets)[:, None] + [-0.5, 0.5]) / (np.sqrt(2) * sigma)
    return np.diff(special.erf(edges), axis=1)[:, 0] / 2


def add_trail(
    pixels: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
    flux_per_px: float,
) -> np.ndarray:
    """Return a copy of a frame with a trail: a line between two points, seen through a Gaussian.

    Parameters
    ----------
    pixels : array, shape (H, W)
    start, end : tuple of float
        (x, y), 0-based pixels; they may lie outside.
    width : float
        Sigma of the cross-section, px.
    flux_per_px : float
        Light per px of length, in the frame's unit.

    Raises
    ------
    ValueError
        If both points are the same.
    """
    if np.array_equal(start, end):
        raise ValueError(f"the trail has no length: it starts and ends at {start}. Move one end")
    light = np.zeros(pixels.shape)
    draw_trails(light, np.array([start], float), np.array([end], float), width, [flux_per_px])
    return (pixels + light).astype(np.result_type(pixels, np.float32))


def draw_trails(canvas, start, end, width, flux_per_px, *, quadrature=3, flicker=0.0, rng=None):
    """Add trails from start to end, both (N, 2), to the canvas (H, W).

    `flux_per_px` has shape (N,). `flicker` is the amplitude of each of three waves along a trail,
    drawn from `rng`. Pixels are integrated by Gauss and Legendre's rule; with one node the pixel
    is taken as a Gaussian of its variance, 1/12, good to 0.4 % of the peak at a width of 0.7 px.
    """
    steep = np.abs(end - start) @ (-1, 1) > 0
    for chosen, picture, order in ((~steep, canvas, 1), (steep, canvas.T, -1)):
        line = np.concatenate([start[:, ::order], end[:, ::order]], 1)[chosen]
        if len(line) == 0:
            continue
        reach = (6 if quadrature > 1 else 4) * np.hypot(width, 0.3) + 1
        columns = int(np.abs(line[:, 2] - line[:, 0]).max() + 3 * reach) + 2
        slope = np.abs(line[:, 3] - line[:, 1]) / np.abs(line[:, 2] - line[:, 0])
        rows = 2 * int(np.ceil(reach * np.hypot(1, slope.max()))) + 1
        step = max(1, TRAIL_CHUNK // (rows * columns))
        flux = np.asarray(flux_per_px, float)[chosen]
        for k in range(0, len(line), step):
            part = line[k : k + step], width, flux[k : k + step]
            _draw_chunk(picture, *part, (rows, columns), reach, quadrature, flicker, rng)


def _draw_chunk(canvas, line, width, flux, band, reach, quadrature, flicker, rng) -> None:
    """Add trails that are no steeper than a diagonal: in each column the rows near the line."""
    x, y, dx, dy = line[:, 0], line[:, 1], line[:, 2] - line[:, 0], line[:, 3] - line[:, 1]
    length = np.hypot(dx, dy)
    cos, sin, length = (value[:, None, None] for value in (dx / length, dy / length, length))
    left = np.floor(np.minimum(x, x + dx) - 1.5 * reach)
    column = (left[:, None] + np.arange(band[1]))[:, None, :]
    u = column - x[:, None, None]
    row = np.round(y[:, None, None] + u * sin / cos) + (np.arange(band[0]) - band[0] // 2)[:, None]
    v = row - y[:, None, None]
    sigma = np.sqrt(width**2 + (1 / 12 if quadrature == 1 else 0))
    nodes, weights = np.polynomial.legendre.leggauss(quadrature)
    light = np.zeros(row.shape)
    for a, wa in zip(nodes / 2, weights / 2, strict=True):
        for b, wb in zip(nodes / 2, weights / 2, strict=True):
            along = ((u + a) * cos + (v + b) * sin) / (np.sqrt(2) * sigma)
            across = ((v + b) * cos - (u + a) * sin) / (np.sqrt(2) * sigma)
            ends = special.erf(along) - special.erf(along - length / (np.sqrt(2) * sigma))
            light += wa * wb * ends * np.exp(-(across**2))
    light *= flux[:, None, None] / (2 * np.sqrt(2 * np.pi) * sigma)
    if flicker:
        along = (u * cos + v * sin) / length
        for waves, phase in rng.uniform((1, 0), (8, 1), (3, 2)):
            phases = phase + rng.uniform(size=cos.shape)  # each star has its own air
            light *= 1 + flicker * np.cos(2 * np.pi * (waves * along + phases))
    inside = (row >= 0) & (row < canvas.shape[0]) & (column >= 0) & (column < canvas.shape[1])
    places = (row * canvas.shape[1] + column)[inside].astype(np.int64)
    canvas += np.bincount(places, light[inside], canvas.size).reshape(canvas.shape)
