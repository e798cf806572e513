"""A night of frames of one field: their objects are found together, from the median of all."""

import numpy as np

from bgoptimizer.cells import cell_noise
from bgoptimizer.config import BackgroundConfig
from bgoptimizer.robust.fit import grid_of
from bgoptimizer.robust.mask import recognise_objects, robust_fit
from bgoptimizer.robust.plans import Channel, plan_with_objects
from bgoptimizer.robust.smoothing import Grid
from bgoptimizer.robust.trend import find_trend

MIN_FRAMES_HERE = 0.5  # of the frames that must have measured a block


def find_shared_objects(frames: list[list[Channel]], config: BackgroundConfig) -> np.ndarray:
    """Return the objects of aligned frames, bool (h, w, C).

    The median of all frames, each without a sky of its own, is far deeper than one of them. First
    that sky is a polynomial, then a surface fitted around the objects of the first look.

    Parameters
    ----------
    frames : list of list of Channel
        Of each frame, its channels in blocks; all of one shape.
    config : BackgroundConfig
    """
    grid = grid_of(frames[0][0].cells.shape, config)
    return np.stack(
        [_objects_of([frame[c] for frame in frames], grid) for c in range(len(frames[0]))], -1
    )


def _objects_of(channels: list[Channel], grid: Grid) -> np.ndarray:
    skies = []
    for one in channels:
        filled = np.where(one.present, one.cells, np.median(one.cells[one.present]))
        skies.append(find_trend(filled, one.measured(one.present), grid).values)
    first = _recognise(channels, skies, grid)
    # one prior for all: it is chosen anew for each frame in its own fit
    plan = plan_with_objects(channels[0], grid, first)
    best = plan.chosen[0]
    for k, one in enumerate(channels):
        weights = plan.found.sky * one.measured(one.present) * ~first
        filled = np.where(one.present, one.cells, np.median(one.cells[one.present]))
        offset = skies[k] if best.sky.degree else 0.0
        surface, _ = robust_fit(
            grid.priors[best.prior], filled - offset, weights, best.stiffness, plan.noise, rounds=3
        )
        skies[k] = surface.values + offset
    return _recognise(channels, skies, grid)


def _recognise(channels: list[Channel], skies: list[np.ndarray], grid: Grid) -> np.ndarray:
    """Return the objects in the median of what the frames have above their skies.

    Structure of the skies that all frames share stands out there, too; the network knows it by its
    shape.
    """
    flat = [one.cells - sky for one, sky in zip(channels, skies, strict=True)]
    stack = np.stack(flat)
    seen = np.isfinite(stack).mean(0) >= MIN_FRAMES_HERE
    deep = np.full(seen.shape, np.nan)
    deep[seen] = np.nanmedian(stack[:, seen], axis=0)
    first = find_trend(np.where(seen, deep, np.median(deep[seen])), seen.astype(float), grid)
    noise = cell_noise(deep - first.values)
    one = channels[0]
    return recognise_objects(
        deep, grid, noise, one.allowed, first.values, one.known, one.strictness
    ).objects
