"""How well a background is known: a standard deviation for every cell."""

import numpy as np
from scipy import ndimage

from bgoptimizer.config import BackgroundConfig
from bgoptimizer.robust.mask import (
    GROW_MODEL_SIGMA,
    GROW_NOISE_SIGMA,
    MAX_OBJECT_SHARE,
    MEAN_MISS,
    ObjectMap,
    robust_fit,
)
from bgoptimizer.robust.plans import Plan
from bgoptimizer.robust.smoothing import Grid

WIDER_CELLS = 4  # cells by which another map may reach further
WING_LENGTH_HEIGHTS = 0.08  # heights of the frame over which undetected outskirts fade
EXTENDED_HALF_WIDTH = 0.1  # heights; from this half-width on an object has such outskirts in full


def bootstrap_sigma(
    plan: Plan, grid: Grid, surface: np.ndarray, config: BackgroundConfig
) -> np.ndarray:
    """Return the standard deviation of the surface (h, w) of a plan, shape (h, w).

    `config.uncertainty` fits on blocks drawn with replacement, each under a prior drawn from the
    near ties and around objects of a map that could as well be true, give the spread that the data
    and the choices leave; the posterior deviation, scaled by how far held-out blocks missed, gives
    what no data constrain (under objects).
    """
    found, noise = plan.found, plan.noise
    rng = np.random.default_rng(config.seed)
    weights = found.sky * ~found.objects
    maps = _other_maps(found)
    side = max(2, grid.rows // 12)
    down, across = -(-grid.rows // side), -(-grid.columns // side)
    spread = np.zeros_like(plan.values)
    for _ in range(config.uncertainty):
        one = plan.chosen[rng.integers(len(plan.chosen))]
        drawn = rng.multinomial(down * across, np.full(down * across, 1 / (down * across)))
        times = np.kron(drawn.reshape(down, across), np.ones((side, side)))
        times = times[: grid.rows, : grid.columns]
        objects = maps[rng.integers(len(maps))]
        fit, _ = robust_fit(
            grid.priors[one.prior], plan.values - one.sky.values, found.sky * ~objects * times,
            one.stiffness, noise, rounds=3, bound=(objects & (found.sky > 0)) | found.floor,
        )  # fmt: skip
        spread += (fit.values + one.sky.values - surface) ** 2
    spread /= config.uncertainty
    posterior = np.zeros_like(plan.values)
    for one in plan.chosen:
        unsure = grid.priors[one.prior].deviation(weights, one.stiffness, noise)
        posterior += (unsure * max(one.miss / MEAN_MISS, 0.3)) ** 2
    known = np.sqrt(spread + posterior / len(plan.chosen))
    return np.hypot(known, _hidden_wings(found.objects, known, noise))


def _other_maps(found: ObjectMap) -> list[np.ndarray]:
    """Return the map, twice, a wider one, and the one of an earlier round of growth."""
    objects = found.objects
    maps = [objects, objects]
    if objects.any():
        wider = ndimage.binary_dilation(objects, iterations=WIDER_CELLS)
        if (found.sky * ~wider > 0).mean() > 1 - MAX_OBJECT_SHARE:
            maps.append(wider)
        if found.rounds:
            maps.append(found.rounds[len(found.rounds) // 2][0])
    return maps


def _hidden_wings(objects: np.ndarray, known: np.ndarray, noise: float) -> np.ndarray:
    """Light that an object's outskirts may add just below what the object map could notice."""
    if not objects.any():
        return np.zeros_like(known)
    distance = ndimage.distance_transform_edt(~objects) / objects.shape[0]
    widest = ndimage.distance_transform_edt(objects).max() / objects.shape[0]
    limit = GROW_NOISE_SIGMA * noise / (8 * np.sqrt(np.pi)) + GROW_MODEL_SIGMA * known
    extended = min(1.0, widest / EXTENDED_HALF_WIDTH)
    return extended * limit * np.exp(-distance / WING_LENGTH_HEIGHTS)
