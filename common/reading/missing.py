"""Which pixels hold a number in place of a measurement: zeros, fill values, impossible values.

The only place that decides it, for both formats and all commands; called by `common.io`.
"""

from collections.abc import Iterator

import numpy as np

from common import scratch
from common.robust import difference_noise
from common.scratch import MAX_BLOCK_PIXELS, release, row_blocks

ZEROS = ("border", "all", "data")  # which exact zeros are missing pixels
MAX_MAGNITUDE = 1e30  # in any unit; fill values lie above, such as the largest float32, 3.4e38
# of the spread of all but the brightest 0.1 %; a detector's range is 1e5, of 10,000 exposures 1e7
MAX_SPREAD_RATIO = 1e9
SPREAD_QUANTILE = 0.999  # of the distances from the median
SAMPLE_PIXELS = 1_000_000  # give median and noise to a thousandth
MIN_USUAL_SHARE = 0.01  # of the pixels that differ from their neighbour; fewer are no sky
CHUNK_ROWS = 256  # rows looked at together: memory
MAX_FILL_VALUES = 16  # of one channel, the widest; more are steps of a quantised sky
MIN_LINE_PIXELS = 16  # pixels; a shorter row of one value may be chance
MAX_PIXELS_PER_CORE = 10  # pixels of one value for each in the middle of 3x3 of them
# of the pixels of one value that lie in solid areas; a sky that was clipped has them everywhere
MIN_SOLID_SHARE = 0.9
MIN_EDGE_RATIO = 5.0  # step at the edge of an area / step of the pixels beside it
MAX_EQUAL_SHARE = 0.1  # of neighbours that are equal; 9 equal ones are no chance then (1e-8)
BRIGHT_SIDE_PX = 9  # px; a bright area that is thinner may be a saturated column
# step at the edge of a bright area / its height; around saturated stars it is smaller
MIN_BRIGHT_EDGE = 0.8
MIN_MARKERS = 3  # pixels of the lowest value that may mark single bad pixels
MIN_MARKER_GAP = 20.0  # noise between such a value and the next higher one


def find_missing(
    pixels: np.ndarray, zeros: str
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[float, ...]]:
    """Return the zeros and the other numbers that stand for 'missing', and these other numbers.

    Parameters
    ----------
    pixels : array, shape (H, W, C)
    zeros : {'border', 'all', 'data'}
        As in `common.io.read_image`.

    Returns
    -------
    zero, filled : bool array, shape (H, W, C), or None
        None: there are none.
    values : tuple of float
        What stands in the filled pixels.
    """
    if zeros == "data":
        return None, None, ()
    zero = pixels == 0 if zeros == "all" else _zero_border(pixels)
    if zero is not None and not zero.any():
        zero = None
    filled, values = None, set()
    for channel in range(pixels.shape[-1]):
        plane = pixels[..., channel]
        for found, value in _fill_areas(plane, None if zero is None else zero[..., channel]):
            if value == 0:
                zero = np.zeros(pixels.shape, bool) if zero is None else zero.copy()
                zero[..., channel] |= found
                continue
            filled = np.zeros(pixels.shape, bool) if filled is None else filled
            filled[..., channel] |= found
            values.add(value)
    return zero, filled, tuple(sorted(values))


def _zero_border(pixels: np.ndarray) -> np.ndarray | None:
    """Return the solid areas, zero in all channels, that reach the edge; none if the median is 0.

    Sparse photon counts have a median of 0.
    """
    if _median_is_zero(pixels):
        return None
    border = _solid_border((pixels == 0).all(axis=-1))
    return np.broadcast_to(border[..., None], pixels.shape) if border.any() else None


def _median_is_zero(pixels: np.ndarray) -> bool:
    """Count instead of sorting: an image of 100 million pixels would take seconds and a copy."""
    finite = above = below = 0
    for rows in row_blocks(pixels.shape, pixels):
        part = pixels[rows]
        finite += int(np.count_nonzero(np.isfinite(part)))
        above += int(np.count_nonzero(part > 0))
        below += int(np.count_nonzero(part < 0))
    return max(above, below) <= finite / 2


def _solid_border(zero: np.ndarray) -> np.ndarray:
    """Return where zeros fill 3x3 areas in a region that reaches the edge; shape (H, W)."""
    from scipy import ndimage

    if not any(edge.any() for edge in (zero[0], zero[-1], zero[:, 0], zero[:, -1])):
        return np.zeros_like(zero)
    square = np.ones((3, 3), bool)
    core = ndimage.binary_erosion(zero, square, border_value=1)
    solid = ndimage.binary_dilation(core, square) & zero
    labels, _ = ndimage.label(solid, square)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    reaches = np.zeros(labels.max() + 1, bool)
    reaches[edge] = True
    reaches[0] = False
    return reaches[labels]


def _fill_areas(plane: np.ndarray, zero: np.ndarray | None) -> Iterator[tuple[np.ndarray, float]]:
    """Give mask and value of what is impossible, of solid areas, and of marked single pixels."""
    step = max(1, int(np.sqrt(plane.size / SAMPLE_PIXELS)))
    sample = plane[::step, ::step]
    # areas of one value do not count, they may be what is looked for
    usual = np.isfinite(sample) & (np.abs(sample) < MAX_MAGNITUDE)
    usual[:, :-1] &= sample[:, :-1] != sample[:, 1:]
    if usual.mean() < MIN_USUAL_SHARE:
        return
    middle = float(np.median(sample[usual]))
    distances = np.abs(sample[usual].astype(np.float64) - middle)
    reach = MAX_SPREAD_RATIO * float(np.quantile(distances, SPREAD_QUANTILE)) or MAX_MAGNITUDE
    unmeasured, impossible = (scratch.empty(plane.shape, bool) for _ in range(2))
    for rows in row_blocks(plane.shape, plane, unmeasured, impossible):
        with np.errstate(invalid="ignore"):
            unmeasured[rows] = ~(np.abs(plane[rows] - middle) < min(reach, MAX_MAGNITUDE))
        impossible[rows] = unmeasured[rows] & np.isfinite(plane[rows])
    if impossible.any():
        yield impossible, float(plane[impossible].min())
    if zero is not None:
        unmeasured |= zero
    if unmeasured.all():
        return
    low, high = _range(plane, unmeasured)
    distinct = _equal_share(plane[::step, ::step]) < MAX_EQUAL_SHARE
    if low == high:
        return
    for value, cores in _repeated_values(plane, unmeasured).items():
        equal = (plane == value) & ~unmeasured
        if np.count_nonzero(equal) > MAX_PIXELS_PER_CORE * cores:
            continue
        solid = _solid_area(plane, value, equal, ~unmeasured, low, high, middle, distinct=distinct)
        if solid.any():
            unmeasured |= solid
            yield solid, value
    release(plane, unmeasured)
    yield from _markers(plane, unmeasured, middle, _noise(plane, step))


def _range(plane: np.ndarray, unmeasured: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest measured pixel."""
    ends = [
        (np.min(plane[rows], where=~unmeasured[rows], initial=np.inf),
         np.max(plane[rows], where=~unmeasured[rows], initial=-np.inf))
        for rows in row_blocks(plane.shape, plane, unmeasured)
    ]  # fmt: skip
    low, high = zip(*ends, strict=True)
    return float(min(low)), float(max(high))


def _noise(plane: np.ndarray, step: int) -> float:
    """Return the noise from differences of neighbours; 0 where there are none."""
    with np.errstate(invalid="ignore", over="ignore"):
        lines = max(step, -(-plane.size // MAX_BLOCK_PIXELS))
        differences = np.diff(plane[::lines].astype(np.float64), axis=1)
    differences = differences[np.isfinite(differences) & (differences != 0)]
    return difference_noise(differences, 0.0) if differences.size else 0.0


def _equal_share(sample: np.ndarray) -> float:
    """Return the larger share of neighbours that are equal, along rows and along columns.

    Only those count that have an unequal pair beside them: not those in areas of one value.
    """
    shares = []
    for turned in (sample, sample.T):
        equal = turned[:, 1:] == turned[:, :-1]
        beside = ~equal
        beside[:, 1:] |= ~equal[:, :-1]
        beside[:, :-1] |= ~equal[:, 1:]
        shares.append(float(equal[beside].mean()) if beside.any() else 1.0)
    return max(shares)


def _repeated_values(plane: np.ndarray, unmeasured: np.ndarray) -> dict[float, int]:
    """Return the values that fill 3x3 pixels or a whole line, the widest first -> their number."""
    counts: dict[float, int] = {}
    height = plane.shape[0]
    for top in range(0, height, CHUNK_ROWS):
        release(plane, unmeasured)
        part = np.pad(
            plane[max(top - 1, 0) : top + CHUNK_ROWS + 1],
            ((top == 0, top + CHUNK_ROWS >= height), (1, 1)), mode="edge",
        )  # fmt: skip
        across = (part[:, 1:-1] == part[:, :-2]) & (part[:, 1:-1] == part[:, 2:])
        middle = part[1:-1, 1:-1]
        core = across[1:-1] & across[:-2] & across[2:]
        core &= (middle == part[:-2, 1:-1]) & (middle == part[2:, 1:-1])
        core &= ~unmeasured[top : top + CHUNK_ROWS]
        for value, count in zip(*np.unique(middle[core], return_counts=True), strict=True):
            counts[float(value)] = counts.get(float(value), 0) + int(count)
    for lines in (plane, plane.T):
        for line in np.flatnonzero(_constant_lines(lines)):
            value = lines[line][np.isfinite(lines[line])][0]
            if not unmeasured.all() and abs(value) < MAX_MAGNITUDE:
                counts[float(value)] = counts.get(float(value), 0) + lines.shape[1]
    widest = sorted(counts, key=lambda value: -counts[value])[:MAX_FILL_VALUES]
    return {value: counts[value] for value in widest}


def _constant_lines(plane: np.ndarray) -> np.ndarray:
    """Return for each row whether all its measured pixels, and many of them, are equal."""
    turned = plane.strides[0] < plane.strides[1]  # the rows of memory are read in their order
    stored, axis = (plane.T, 0) if turned else (plane, 1)
    low, high = np.full(len(plane), np.inf), np.full(len(plane), -np.inf)
    number = np.zeros(len(plane), int)
    for rows in row_blocks(stored.shape, stored):
        part, there = stored[rows], slice(None) if turned else rows
        finite = np.isfinite(part)
        lowest = np.min(part, axis=axis, where=finite, initial=np.inf)
        highest = np.max(part, axis=axis, where=finite, initial=-np.inf)
        low[there] = np.minimum(low[there], lowest)
        high[there] = np.maximum(high[there], highest)
        number[there] += finite.sum(axis=axis)
    return (low == high) & (number >= MIN_LINE_PIXELS)


def _solid_area(
    plane: np.ndarray, value: float, equal: np.ndarray, usable: np.ndarray,
    low: float, high: float, middle: float, *, distinct: bool,
) -> np.ndarray:  # fmt: skip
    """Return the solid areas of a value that are no saturated stars and no clipped sky."""
    from scipy import ndimage

    solid = np.zeros_like(equal)
    for lines, target in ((plane, solid), (plane.T, solid.T)):
        whole = _constant_lines(lines) & (lines == value).any(axis=1)
        if value == high:  # only at the edge: inside they may be saturated
            whole = np.logical_and.accumulate(whole) | np.logical_and.accumulate(whole[::-1])[::-1]
        target[whole] = True
    solid &= equal
    bright = value > middle
    side = BRIGHT_SIDE_PX if bright else 3
    square = np.ones((side, side), bool)
    core = ndimage.binary_erosion(equal, square, border_value=1)
    wide = ndimage.binary_dilation(core, square) & equal
    first, second = _steps_at_edge(plane, wide | solid, usable, value)
    abrupt = first > MIN_EDGE_RATIO * second
    if bright:
        abrupt &= first > MIN_BRIGHT_EDGE * (value - middle)
    if not (abrupt or distinct):
        solid[:] = False
    if abrupt or (distinct and low < value < high and not bright):
        solid |= ndimage.binary_propagation(wide, np.ones((3, 3), bool), equal)
    if bright or np.count_nonzero(solid) >= MIN_SOLID_SHARE * np.count_nonzero(equal):
        return solid
    return np.zeros_like(solid)


def _steps_at_edge(
    plane: np.ndarray, area: np.ndarray, usable: np.ndarray, value: float
) -> tuple[float, float]:
    """Return the median steps from an area of one value to its edge, and one pixel further."""
    first, second, outside = [], [], usable & ~area
    for turn in (lambda a: a, lambda a: a[::-1], lambda a: a.T, lambda a: a.T[::-1]):
        inside, free = turn(area), turn(outside)
        beside, beyond = turn(plane)[1:-1], turn(plane)[2:]
        edge = inside[:-2] & free[1:-1] & free[2:]
        first.append(np.abs(beside[edge] - value))
        second.append(np.abs(beyond[edge] - beside[edge]))
    one, other = np.concatenate(first), np.concatenate(second)
    if not one.size:  # nothing measured lies beside it
        return np.inf, 0.0
    smallest = 1.0 if (np.concatenate([one, other]) % 1 == 0).all() else 0.0
    return float(np.median(one)), max(float(np.median(other)), smallest)


def _markers(
    plane: np.ndarray, unmeasured: np.ndarray, middle: float, noise: float
) -> Iterator[tuple[np.ndarray, float]]:
    """Give the pixels of the lowest value where it is far below all others: marked bad pixels."""
    if unmeasured.all():
        return
    low = _range(plane, unmeasured)[0]
    if low == 0 or not noise > 0 or low > middle - MIN_MARKER_GAP * noise:
        return
    found = (plane == low) & ~unmeasured
    others = ~(found | unmeasured)
    following = float(np.min(plane, where=others, initial=np.inf))
    if np.count_nonzero(found) >= MIN_MARKERS and following - low > MIN_MARKER_GAP * noise:
        yield found, low
