"""Trails of satellites: injected into staring frames, and fitted by least squares (noisemap.py)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from bgrem.simulate.trails import add_trail, draw_trails

LENGTHS, WIDTHS, PEAKS = (15.0, 60.0), (1.0, 1.5), (5.0, 10.0)  # px, px (sigma), noise
ACROSS, ALONG = 20.0, 3.0  # degrees; least angle to the streaks, and most for a parallel trail
MARGIN = 8  # px around a trail: the fit's pixels
APART = 12  # px between trails
APERTURE = 5.0  # px on either side and beyond the ends: a trail's light
START_ERROR = 0.7  # px, of the fit's first guess


@dataclass(frozen=True, eq=False)
class Trail:
    """A line from `start` to `end` (x, y), seen through a Gaussian; flux per px of length, ADU."""

    start: np.ndarray
    end: np.ndarray
    width: float
    flux: float
    parallel: bool


def draw_trails_for(
    seed: int, shape: tuple[int, int], angle: float | None, noise: float, number: int
) -> list[Trail]:
    """Return trails that do not touch; each third is parallel to the streaks, if there are any."""
    rng = np.random.default_rng([seed, 13])
    taken = np.zeros(shape, bool)
    trails: list[Trail] = []
    for _ in range(60 * number):
        parallel = angle is not None and len(trails) % 3 == 2
        turned = rng.uniform(ACROSS, 180 - ACROSS) if not parallel else rng.uniform(-ALONG, ALONG)
        direction = np.radians(turned) + (angle or 0.0)
        length, width = rng.uniform(*LENGTHS), rng.uniform(*WIDTHS)
        half = length / 2 * np.array([np.cos(direction), np.sin(direction)])
        edge = length / 2 + 2 * MARGIN
        middle = rng.uniform(edge, np.array(shape[::-1]) - edge)
        flux = rng.uniform(*PEAKS) * noise * np.sqrt(2 * np.pi) * width
        trail = Trail(middle - half, middle + half, width, flux, parallel)
        area = near(trail, shape, APART)
        if not (area & taken).any():
            taken |= area
            trails.append(trail)
        if len(trails) == number:
            break
    return trails


def add_all(pixels: np.ndarray, trails: list[Trail]) -> np.ndarray:
    """Return a copy of a frame with the trails in it."""
    for one in trails:
        pixels = add_trail(pixels, tuple(one.start), tuple(one.end), one.width, one.flux)
    return pixels


def near(trail: Trail, shape: tuple[int, int], distance: float) -> np.ndarray:
    """Return where pixels are at most so far from a trail."""
    y, x = np.indices(shape)
    along = trail.end - trail.start
    share = ((x - trail.start[0]) * along[0] + (y - trail.start[1]) * along[1]) / (along @ along)
    share = np.clip(share, 0, 1)
    return np.hypot(x - trail.start[0] - share * along[0],
                    y - trail.start[1] - share * along[1]) <= distance  # fmt: skip


def fit_trail(pixels: np.ndarray, trail: Trail, unit: float) -> dict[str, float] | None:
    """Return length, width (px), ends (x, y) and flux per px of the trail that fits best.

    Least squares of the trail on a constant level; the first guess is the truth with an error.
    None where the fit fails: its trail has no light, or leaves the pixels.
    """
    rng = np.random.default_rng(0)
    low = np.floor(np.minimum(trail.start, trail.end)).astype(int) - MARGIN
    high = np.ceil(np.maximum(trail.start, trail.end)).astype(int) + MARGIN + 1
    stamp = pixels[low[1] : high[1], low[0] : high[0]] / unit
    local = Trail(trail.start - low, trail.end - low, trail.width, trail.flux, trail.parallel)
    used = near(local, stamp.shape, MARGIN)

    def model(p: np.ndarray) -> np.ndarray:
        canvas = np.zeros(stamp.shape)
        draw_trails(canvas, p[None, :2], p[None, 2:4], p[4], p[5:6])
        return canvas + p[6]

    guess = np.concatenate([local.start, local.end, [local.width, local.flux / unit, 0.0]])
    guess[:4] += START_ERROR * rng.uniform(-1, 1, 4)
    guess[4] *= 1.2
    guess[6] = np.median(stamp[used])
    limit = np.array(stamp.shape[::-1])
    low_bounds = np.concatenate([np.zeros(4), [0.2, 0.0, -np.inf]])
    high_bounds = np.concatenate([limit, limit, [MARGIN, np.inf, np.inf]])
    done = optimize.least_squares(
        lambda p: (model(p) - stamp)[used], guess, bounds=(low_bounds, high_bounds),
        x_scale=np.maximum(np.abs(guess), 1) * [0.1, 0.1, 0.1, 0.1, 1, 1, 1], max_nfev=60,
    )  # fmt: skip
    p = done.x
    if not done.success or done.active_mask.any():
        return None
    start, end = p[:2] + low, p[2:4] + low
    return {"length": float(np.hypot(*(end - start))), "width": float(p[4]),
            "x0": float(start[0]), "y0": float(start[1]), "x1": float(end[0]),
            "y1": float(end[1]), "flux": float(p[5]) * unit}  # fmt: skip


def change(found: dict[str, float] | None, before: dict[str, float] | None) -> dict[str, float]:
    """Return |change| of length and width and the larger shift of both ends, px; nan: no fit."""
    if found is None or before is None:
        return dict.fromkeys(("length", "width", "ends"), float("nan"))
    shifts = [np.hypot(found[f"x{k}"] - before[f"x{k}"], found[f"y{k}"] - before[f"y{k}"])
              for k in (0, 1)]  # fmt: skip
    return {"length": abs(found["length"] - before["length"]),
            "width": abs(found["width"] - before["width"]), "ends": float(max(shifts))}  # fmt: skip


def trail_rows(
    trails: list[Trail],
    frames: dict[str, np.ndarray],
    residuals: dict[str, np.ndarray],
    noise: float,
) -> list[dict[str, Any]]:
    """Return what becomes of each trail.

    Parameters
    ----------
    trails : list of Trail
    frames : dict of array
        "plain", "with" (the trails), "noise" (the frame's noise and the trails, nothing else).
    residuals : dict of array
        "plain", "with".
    noise : float
        Of the pixels, ADU.
    """
    kept, put = residuals["with"] - residuals["plain"], frames["with"] - frames["plain"]
    rows = []
    for trail in trails:
        area = near(trail, kept.shape, APERTURE)
        ideal = fit_trail(frames["noise"], trail, noise)
        rows.append({
            "parallel": trail.parallel,
            "kept": float(kept[area].sum() / put[area].sum()),
            "difference": change(fit_trail(kept, trail, noise), fit_trail(put, trail, noise)),
            "before": change(fit_trail(frames["with"], trail, noise), ideal),
            "after": change(fit_trail(residuals["with"], trail, noise), ideal),
        })  # fmt: skip
    return rows
