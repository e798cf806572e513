"""Errors of fluxes from what the fit of all sources leaves: correlated noise and unlisted stars.

What it leaves around sources is compared with what it leaves of drawn noise, which was fitted in
the same places: the fit takes a part of all light away, and so of the unlisted. The excess is
turned into an error of the flux by how a drawn plane of unlisted light answers to the same fit.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from common.robust import mad_sigma
from common.scratch import map_rows

GROUP = 50  # sources; a mean square of so many is good to a fifth
MESH_PX = 256  # px; noise and crowding differ from place to place
CLIP = 3.0  # standard deviations; what is further off is of galaxies and of full stars


def error_growth(sources: Mapping[str, np.ndarray], around: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return by how much the errors of fluxes grow, (N,), at least 1.

    Measured in groups of sources of similar flux and place, so that it follows crowding, and the
    profile's own faults, which count for bright stars.

    Parameters
    ----------
    sources : mapping of array, shape (N,)
        x, y, flux, error.
    around : mapping of array, shape (N,)
        As `bgrem.cataloguing.block.Block.left_around` gives it.
    """
    growth = np.ones(len(sources["flux"]))
    known = np.flatnonzero(np.isfinite(sources["error"]) & (sources["error"] > 0))
    keys = [sources[name][known] for name in ("flux", "y", "flux", "x")]
    for group in _groups(keys, np.arange(len(known))):
        one = known[group]
        left = around["left"][one]
        usual = left <= CLIP**2 * np.median(left)
        left = np.where(usual, left[usual].mean(), left)  # galaxies and full stars for themselves
        noise, unlisted = (around[name][one].mean() for name in ("noise", "unlisted"))
        answer = ((around["answer"][one] / sources["error"][one]) ** 2).mean()
        growth[one] = np.sqrt(1 + np.maximum(left - noise, 0) / unlisted * answer)
    return growth


def _groups(keys: list[np.ndarray], index: np.ndarray, depth: int = 0) -> Iterator[np.ndarray]:
    """Give groups of `GROUP` to twice as many, by halves along one key after the other."""
    if len(index) < 2 * GROUP:
        if len(index):
            yield index
        return
    order = index[np.argsort(keys[depth % len(keys)][index], kind="stable")]
    for half in (order[: len(order) // 2], order[len(order) // 2 :]):
        yield from _groups(keys, half, depth + 1)


def level_of(rest: np.ndarray, variance: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Return the mean of what is left of the pixels (H, W), smooth: light of unlisted sources."""

    def mean(part: tuple[slice, slice]) -> float:
        values, noise = rest[part][use[part]], np.sqrt(variance[part][use[part]])
        values = values[np.abs(values) < CLIP * noise]
        return float(values.mean()) if values.size else 0.0

    grid, cells = _in_meshes(rest.shape, mean)

    def rows_of(rows: np.ndarray) -> np.ndarray:
        columns = np.arange(rest.shape[1])
        place = np.meshgrid(rows[:, 0], columns, indexing="ij")
        return _between(grid, cells, place)

    numbers = np.arange(rest.shape[0])[:, None]
    return map_rows(rows_of, numbers, shape=rest.shape)


def aperture_scatter(
    rest: np.ndarray, variance: np.ndarray, use: np.ndarray,
    places: tuple[np.ndarray, np.ndarray], radius: float,
) -> np.ndarray:  # fmt: skip
    """Return the scatter of sums in empty circles over that of independent noise, (N,), at least 1.

    Parameters
    ----------
    rest, variance : array, shape (H, W)
        What is left of the pixels without all sources, and the variance of their noise.
    use : bool array, shape (H, W)
        Pixels that were fitted.
    places : tuple of array, shape (N,)
        Rows and columns of the sources, 0-based.
    radius : float
        Of the circles, px.
    """
    half = int(np.ceil(radius))
    steps = np.arange(-half, half + 1)
    circle = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(float)

    def sums(rest: np.ndarray, variance: np.ndarray, use: np.ndarray) -> np.ndarray:
        light, power = (fftconvolve(np.where(use, one, 0), circle, mode="same")
                        for one in (rest, variance))  # fmt: skip
        return light / np.sqrt(np.maximum(power, 1e-300))

    scaled = map_rows(sums, rest, variance, use, halo=half)

    def scatter(part: tuple[slice, slice]) -> float:
        values = scaled[part][use[part]]
        return max(1.0, float(mad_sigma(values))) if values.size else 1.0

    return _between(*_in_meshes(use.shape, scatter), places)


def _in_meshes(shape: tuple[int, ...], figure: object) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return a figure of each mesh of a plane, and the sides of a mesh in px."""
    numbers = [max(1, round(side / MESH_PX)) for side in shape]
    grid = np.empty(numbers)
    for cell in np.ndindex(*numbers):
        grid[cell] = figure(tuple(  # type: ignore[operator]
            slice(k * side // number, (k + 1) * side // number)
            for k, side, number in zip(cell, shape, numbers, strict=True)
        ))  # fmt: skip
    return grid, tuple(side / number for side, number in zip(shape, numbers, strict=True))


def _between(grid: np.ndarray, cells: tuple[float, ...], places: object) -> np.ndarray:
    """Return the figures of meshes at places, linear between their middles."""
    at = [(np.nan_to_num(axis) + 0.5) / cell - 0.5
          for axis, cell in zip(places, cells, strict=True)]  # type: ignore[call-overload]  # fmt: skip
    return np.asarray(ndimage.map_coordinates(grid, at, order=1, mode="nearest"))
