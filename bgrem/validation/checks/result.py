"""What a check returns: figures of merit with what is wanted of them, tables, a picture."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS_LABEL, SEXTRACTOR_DEFAULT_LABEL, SEXTRACTOR_TUNED_LABEL, MATCHED_FILTER_LABEL = (
    "denoised",
    "SExtractor default",
    "SExtractor tuned",
    "matched filter",
)
NOT_MEASURED = "not measured"  # text of a value that is missing
# label -> colour of its curve
METHOD_COLOURS = {
    OURS_LABEL: "#c0392b",
    SEXTRACTOR_DEFAULT_LABEL: "#2c6fbb",
    SEXTRACTOR_TUNED_LABEL: "#2e8b57",
    MATCHED_FILTER_LABEL: "#555555",
}


@dataclass(frozen=True)
class Measure:
    """One figure of merit.

    Attributes
    ----------
    name, unit : str
    value : float
        NaN: could not be measured.
    error : float or None
        Standard deviation.
    wanted : str
        In words; empty where there is no goal, and the figure is for information.
    passed : bool or None
        None: no goal, or nearer to it than the error.
    unknown : str
        What is shown where the value is NaN.
    """

    name: str
    value: float
    unit: str = ""
    error: float | None = None
    wanted: str = ""
    passed: bool | None = None
    unknown: str = NOT_MEASURED


def judge(excess: float, error: float) -> bool | None:
    """Return whether a goal is met; None if it is met or missed by less than the error.

    Parameters
    ----------
    excess : float
        How far beyond the goal a value is, below 0 inside. NaN is unknown.
    error : float
        Standard deviation; NaN is unknown.
    """
    if excess <= -error:
        return True
    return False if excess > error else None


def at_least(
    name: str, value: float, goal: float, *, error: float = 0.0, unknown: str = NOT_MEASURED
) -> Measure:
    """Return a measure whose goal is a lower limit."""
    passed = judge(goal - value, error)
    return Measure(name, value, "", error, f"≥ {goal:g}", passed, unknown)


def at_most(name: str, value: float, goal: float, *, unit: str, error: float = 0.0) -> Measure:
    """Return a measure whose size has an upper limit."""
    passed = judge(abs(value) - goal, error)
    return Measure(name, value, unit, error, f"± {goal:g} {unit}", passed)


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What one check found.

    Attributes
    ----------
    name : str
        Of its files.
    title, method : str
        Headline; how it was measured, in a few sentences.
    measures : list of Measure
    picture : matplotlib.figure.Figure
    caption : str
    tables : list of (title, rows)
        Rows are mappings of one set of keys.
    data : dict
        Curves, for machines only.
    cards : list of (keyword, value, comment)
        For headers.
    """

    name: str
    title: str
    method: str
    measures: list[Measure]
    picture: "Figure"
    caption: str = ""
    tables: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    cards: list[tuple[str, Any, str]] = field(default_factory=list)


def new_figure(columns: int, *, rows: int = 1, height: float = 4.0) -> tuple["Figure", Any]:
    """Return an empty figure and its axes, as an array of shape (rows, columns) without ones."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def style_axes(axes: Any, title: str, x: str, y: str, **limits: Any) -> None:
    """Give axes their labels and a quiet grid."""
    # limits before scales: a scale would look for limits where nothing could be measured
    axes.set(**{name: value for name, value in limits.items() if name.endswith("lim")})
    if not axes.dataLim.minposy < float("inf"):  # nothing positive: no logarithm
        limits.pop("yscale", None)
    axes.set(xlabel=x, ylabel=y, **limits)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)


def log_ticks(axes: Any, *values: float) -> None:
    """Label a logarithmic x axis with plain numbers at these places."""
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()


def bin_edges(low: float, high: float, number: int) -> Any:
    """Return edges of bins of equal width in the logarithm."""
    import numpy as np

    return np.geomspace(low, high, number + 1)
