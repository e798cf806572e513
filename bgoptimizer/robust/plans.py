"""What is fitted in a channel, and to what: its objects, its priors, the sky taken off before."""

from dataclasses import dataclass

import numpy as np

from bgoptimizer.cells import cell_noise
from bgoptimizer.guidance.guidance import OBJECT, SKY
from bgoptimizer.guidance.reference import MIN_SCALE_SIGMA, scale_of
from bgoptimizer.robust.mask import SURE_WEIGHT, ObjectMap, find_stars, recognise_objects
from bgoptimizer.robust.smoothing import AVERAGE_MARGIN, Grid, choose_priors
from bgoptimizer.robust.tasks import Fitted, Task
from bgoptimizer.robust.trend import Trend, dark_side, find_trend, no_trend

MIN_CELLS = 16  # cells; fewer do not determine a surface
MIN_NOISE = 1e-7  # of the cells' range; noiseless simulations have none


@dataclass(frozen=True, eq=False)
class Channel:
    """One channel in blocks, arrays (h, w), and what the user knows of it.

    Attributes
    ----------
    cells : array
        Sky values; NaN = missing.
    allowed : array or None
        The user's mask: 1 = use, 0 = never.
    known : int array or None
        `SKY`, `OBJECT`, or 0.
    strictness : float
        Times all thresholds of what is called object.
    logits : array or None
        Log odds of objects, from all channels of the frame; None: from this one alone.
    """

    cells: np.ndarray
    allowed: np.ndarray | None = None
    known: np.ndarray | None = None
    strictness: float = 1.0
    logits: np.ndarray | None = None

    @property
    def present(self) -> np.ndarray:
        """Bool (h, w): measured."""
        return np.isfinite(self.cells)

    def measured(self, present: np.ndarray) -> np.ndarray:
        """Return the weights of these cells, 0 to 1."""
        return present.astype(float) if self.allowed is None else present * self.allowed


@dataclass(frozen=True, eq=False)
class Choice:
    """One of the surfaces that are averaged.

    Attributes
    ----------
    prior : str
    stiffness : float
    miss : float
        Held-out error in noise.
    sky : Trend
        Taken off the cells before, added to the surface after.
    """

    prior: str
    stiffness: float
    miss: float
    sky: Trend


@dataclass(frozen=True, eq=False)
class Plan:
    """The last fit of one channel.

    Attributes
    ----------
    found : ObjectMap
    chosen : list of Choice
        Best first.
    values : array, shape (h, w)
        What the surface goes through: the cells, holes filled.
    noise : float
        Standard deviation of a cell.
    bounded : bool
        Whether objects bound the surface from above.
    note : str
        What the user should know.
    """

    found: ObjectMap
    chosen: list[Choice]
    values: np.ndarray
    noise: float
    bounded: bool = True
    note: str = ""

    def tasks(self) -> list[Task]:
        """Return one task for each choice.

        Where objects lie the cells bound the surface from above: objects add light.
        """
        found = self.found
        weights = found.sky * ~found.objects
        bound = (found.objects & (found.sky > 0)) | found.floor if self.bounded else None
        return [Task(one.prior, one.stiffness, self.noise, self.values - one.sky.values, weights,
                     bound) for one in self.chosen]  # fmt: skip

    def surface(self, fitted: list[Fitted]) -> Fitted:
        """Return the mean of what was fitted for the tasks: less error under the objects."""
        pairs = list(zip(fitted, self.chosen, strict=True))
        return Fitted(
            np.mean([fit.points + one.sky.points for fit, one in pairs], 0),
            np.mean([fit.values + one.sky.values for fit, one in pairs], 0),
            np.mean([fit.used for fit, _ in pairs], 0),
        )


def plan_channel(channel: Channel, grid: Grid) -> Plan:
    """Recognise the objects of a channel and choose its priors."""
    first, noise = _first_sky(channel, grid)
    found = recognise_objects(
        channel.cells, grid, noise, channel.allowed, first.values, channel.known,
        channel.strictness, channel.logits,
    )  # fmt: skip
    return _with_priors(channel, grid, found, noise, first)


def plan_with_objects(channel: Channel, grid: Grid, objects: np.ndarray) -> Plan:
    """Choose the priors of a channel whose objects are found already, bool (h, w)."""
    first, noise = _first_sky(channel, grid)
    present = channel.present
    stars = find_stars(np.where(present, channel.cells - first.values, 0), present, noise)
    sky = _sure_sky(channel, present, channel.measured(present) * ~stars)
    found = ObjectMap(sky, objects & present, np.zeros_like(present), [])
    return _with_priors(channel, grid, found, noise, first)


def plan_difference(channel: Channel, grid: Grid, reference: np.ndarray, name: str) -> Plan:
    """Plan to fit what a frame has more than a reference (h, w), whose sky is taken for flat.

    Nothing is an object then, but what the user calls so.

    Raises
    ------
    ValueError
        If the two have too little, or no structure, in common.
    """
    cells = channel.cells
    present = channel.present & np.isfinite(reference)
    measured = channel.measured(present)
    if (measured > 0).sum() < MIN_CELLS:
        raise ValueError(
            f"{name}: {int((measured > 0).sum())} blocks overlap the reference, {MIN_CELLS} are "
            "needed. Give one that covers the frame."
        )
    stars = np.zeros_like(present)
    for plane in (cells, reference):
        first = find_trend(_filled(plane, present), measured, grid)
        flat = np.where(present, plane - first.values, np.nan)
        stars |= find_stars(np.where(present, flat, 0), present, cell_noise(flat))
    scale, error = scale_of(cells, reference, present & ~stars)
    if scale < MIN_SCALE_SIGMA * error:
        raise ValueError(
            f"{name}: has no structure in common with the reference. Choose one of the same field "
            "and passband."
        )
    left = np.where(present, cells - scale * reference, np.nan)
    noise = max(cell_noise(left), MIN_NOISE * float(np.ptp(left[present])))
    objects = np.zeros_like(present) if channel.known is None else channel.known == OBJECT
    sky = _sure_sky(channel, present, measured * ~stars)
    found = ObjectMap(sky, objects, np.zeros_like(present), [])
    values = _filled(left, present) + scale * dark_side(reference[present])[0]
    share = present.sum() / max(channel.present.sum(), 1)
    note = f"reference: light {scale:.3g} times as strong, over {100 * share:.0f} % of the frame"
    chosen = _choices(grid, values, sky * ~objects, noise, no_trend(grid))
    return Plan(found, chosen, values, noise, bounded=False, note=note)


def _filled(cells: np.ndarray, present: np.ndarray) -> np.ndarray:
    return np.where(present, cells, np.median(cells[present]))


def _sure_sky(channel: Channel, present: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """Return weights of the sky with what the user calls sky."""
    if channel.known is None:
        return sky
    return np.where((channel.known == SKY) & present, SURE_WEIGHT, sky)


def _first_sky(channel: Channel, grid: Grid) -> tuple[Trend, float]:
    """Return a first sky and the noise of a cell."""
    cells, present = channel.cells, channel.present
    first = find_trend(_filled(cells, present), channel.measured(present), grid)
    least = MIN_NOISE * float(np.nanmax(cells) - np.nanmin(cells))
    return first, max(cell_noise(cells - first.values), least)


def _with_priors(
    channel: Channel, grid: Grid, found: ObjectMap, noise: float, first: Trend
) -> Plan:
    """Return the plan: priors for the cells, and for what the first sky leaves of them."""
    cells = _filled(channel.cells, channel.present)
    weights = found.sky * ~found.objects
    chosen = _choices(grid, cells, weights, noise, no_trend(grid))
    if first.degree > 1:  # all priors have a plane
        chosen += _choices(grid, cells, weights, noise, first)
    chosen.sort(key=lambda one: one.miss)
    limit = chosen[0].miss * (1 + AVERAGE_MARGIN)
    return Plan(found, [one for one in chosen if one.miss <= limit], cells, noise)


def _choices(
    grid: Grid, cells: np.ndarray, weights: np.ndarray, noise: float, sky: Trend
) -> list[Choice]:
    """Return the best prior and its near ties for cells without a sky."""
    rows = choose_priors(grid, cells - sky.values, weights, noise)
    return [Choice(*row, sky) for row in rows]
