"""Steps of the level between whole columns or rows: overscan strips, amplifiers, stack edges."""

import numpy as np
from scipy import ndimage

from bgrem.frame.noise import pixel_noise
from common.robust import mad_sigma
from common.scratch import release, sample_of

LINES_FOR_PROFILE = 1024  # lines of a frame whose middle pixels give the profile across them
STEP_SIGMA = 8.0  # errors of a difference, or its usual size around; waves are not so sharp
STEP_REACH_PX = 32  # px; to both sides no difference is usual that is comparable
# px; over so much the level stays: the flank of a wide trail along the columns is no step
STEP_SIDES_PX = (32, 96)
MIN_STEP_SIDE_PX = 3  # px; a narrower strip at the border is bad columns
MAX_STEP_CHANGE = 0.5  # of a step; how far the levels of both sides may be from its height


def level_steps(
    pixels: np.ndarray, missing: np.ndarray, middle: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of columns, (W,), and of rows, (H,): a level for each part between them.

    That of the largest part is 0. A step is a difference of two neighbouring columns, or rows,
    which all of their pixels share and which stays. No smooth surface follows it: without it here,
    a strip of another level is a row of sources.

    Parameters
    ----------
    pixels : array, shape (H, W)
    missing : bool array, shape (H, W)
    middle : float, optional
        Median of the pixels, taken off first: sums are more exact then.
    """

    def lines(axis: int) -> tuple[np.ndarray, np.ndarray]:
        step = -(-pixels.shape[axis] // LINES_FOR_PROFILE)
        part = np.s_[::step, :] if axis == 0 else np.s_[:, ::step]
        flat = np.where(missing[part], np.nan, pixels[part].astype(np.float64) - middle)
        release(pixels, missing)
        return flat, np.arange(0, pixels.shape[axis], step)

    sample = np.where(known := ~sample_of(missing), sample_of(pixels).astype(np.float64), middle)
    noise = pixel_noise(sample - middle, ~known)
    across = _offsets(*_profile(lines(0)[0]), noise)
    flat, columns = lines(1)
    down = _offsets(*_profile((flat - across[columns]).T), noise)
    return across, down


def _profile(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the middle half of each column's pixels, and their number, both (W,)."""
    values = np.sort(lines, axis=0)  # NaN comes last
    count = np.isfinite(values).sum(0)
    place = np.arange(len(values))[:, None]
    middle = (place >= count // 4) & (place < count - count // 4)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(middle, values, 0).sum(0) / middle.sum(0), middle.sum(0)


def _offsets(profile: np.ndarray, pixels: np.ndarray, noise: float) -> np.ndarray:
    """Return the level of each column relative to the widest part between steps, (W,)."""
    known = np.flatnonzero(np.isfinite(profile))
    offsets = np.zeros(len(profile))
    if len(known) <= 2 * MIN_STEP_SIDE_PX:
        return offsets
    error = noise / np.sqrt(2 * np.median(pixels[known]))  # the other half decides which is middle
    level = profile[known]
    # without slopes: what differs from the usual change within reach
    slope = ndimage.median_filter(np.diff(level), 2 * STEP_REACH_PX + 1, mode="nearest")
    level = level - np.concatenate([[0], np.cumsum(slope)])
    change = np.diff(level)
    steps = np.zeros(len(known))
    for place in np.flatnonzero(np.abs(change) > STEP_SIGMA * np.sqrt(2) * error):
        around = change[max(0, place - STEP_REACH_PX) : place + STEP_REACH_PX + 1]
        limit = STEP_SIGMA * max(mad_sigma(around, 0.0), np.sqrt(2) * error)
        # a step may lie within a pixel: three differences hold it
        first, last = max(0, int(place) - 1), min(len(change), int(place) + 2)
        height = level[last] - level[first]
        if (
            min(abs(change[place]), abs(height)) > limit
            and min(first + 1, len(level) - last) >= MIN_STEP_SIDE_PX
            and not steps[first : last + 1].any()
            and all(
                abs(_change_of_level(level, first, last, side) - height)
                < MAX_STEP_CHANGE * abs(height)
                for side in STEP_SIDES_PX
            )
        ):
            steps[first + 1 : last + 1] = change[first:last]
    levels = np.cumsum(steps)
    values, counts = np.unique(levels, return_counts=True)
    before = np.searchsorted(known, np.arange(len(profile)), side="right") - 1
    # a gap is like what it follows
    return (levels - values[np.argmax(counts)])[np.maximum(before, 0)]


def _change_of_level(level: np.ndarray, first: int, last: int, side: int) -> float:
    """Return the difference of the medians on both sides of a step, from `first` to `last`."""
    before, after = level[max(0, first + 1 - side) : first + 1], level[last : last + side]
    return float(np.median(after) - np.median(before))
