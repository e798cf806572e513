"""Does simulated noise match real noise? A frame beside a field that was made like it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from bgrem.simulate.compare.match import MatchedField
from bgrem.simulate.compare.measure import (
    FrameMeasures,
    count_slope,
    lag_correlation,
    line_pattern,
    measure_frame,
    power_spectrum,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COMPARED_SIGMA = 5.0  # sigma; pixels beyond are counted: few artefacts would decide all moments
MAX_LARGE_SCALE_FREQUENCY = 1 / 8  # cycles per pixel; lower frequencies are waves of 8 to 32 px
MIN_COMPARED_SOURCES = 10  # in both: fewer give no distribution


@dataclass(frozen=True)
class Difference:
    """One measure of both, their distance, and what it means beyond the limit."""

    measure: str
    frame: float
    simulated: float
    distance: float
    limit: float
    meaning: str

    @property
    def differs(self) -> bool:
        """Whether the distance is beyond the limit (NaN: not measured, no difference)."""
        return self.distance > self.limit


@dataclass(frozen=True, eq=False)
class NoiseComparison:
    """All differences, and the measures of both for pictures."""

    differences: list[Difference]
    frame: FrameMeasures
    simulated: FrameMeasures

    @property
    def troubles(self) -> list[str]:
        """What is beyond its limit, in words."""
        return [f"{one.measure}: {one.meaning}" for one in self.differences if one.differs]


def compare_noise(real: np.ndarray, simulated: np.ndarray) -> NoiseComparison:
    """Return how far the noise and the sources of two frames are apart.

    Both are brought to units of their local noise, so level, gain and units do not matter.

    Parameters
    ----------
    real, simulated : array, shape (H, W)
        Frames with their background; NaN is missing. The shapes may differ.
    """
    both = measure_frame(real), measure_frame(simulated)
    return NoiseComparison([*_noise(*both), *_spectrum(*both), *_counts(*both)], *both)


# sentence of the report
SHAPE_MEANING = "the histogram has another width or form than shot and read noise give"
# sentence of the report
SHIFT_MEANING = "most pixels lie beside the background: unseen sources, or a background too low"
# sentence of the report
TAILS_MEANING = "tails or a slant that shot and read noise do not have: artefacts, unseen sources"
# sentence of the report
SPOTS_MEANING = "cosmic rays, hot or dead pixels in one only; --artefacts simulates the bright ones"
CORRELATION_MEANING = (
    "pixels of one are not independent (resampling, smoothing, compression): its noise in an "
    "aperture is not what its pixels tell, thresholds in sigma mean something else"
)
# sentence of the report
STRIPES_MEANING = (
    "stripes, as readout leaves them; the simulation has them in the amateur preset only"
)
SPECTRUM_MEANING = "the noise is coloured otherwise"  # sentence of the report
# sentence of the report
WAVES_MEANING = "waves of the sky, errors of the flat field, or unseen sources in one only"
CROWDING_MEANING = "one is more crowded"  # sentence of the report
# sentence of the report
COUNTS_SLOPE_MEANING = "bright and faint sources are mixed otherwise; --star-slope, --galaxies"


def _of_both(name: str, frame: float, simulated: float, limit: float, meaning: str) -> Difference:
    return Difference(name, frame, simulated, abs(frame - simulated), limit, meaning)


def _distance(name: str, distance: float, limit: float, meaning: str) -> Difference:
    return Difference(name, np.nan, np.nan, distance, limit, meaning)


def _noise(frame: FrameMeasures, simulated: FrameMeasures) -> list[Difference]:
    """Compare the histograms of pixels without source."""
    one, two = (
        m.values[np.abs(m.values) < MAX_COMPARED_SIGMA].astype(np.float64)
        for m in (frame, simulated)
    )
    ks = float(stats.ks_2samp(one, two, method="asymp").statistic)
    beyond = [
        float(1e6 * np.mean(np.abs(m.values) >= MAX_COMPARED_SIGMA)) for m in (frame, simulated)
    ]
    # noise that is six per cent wider has distances of 0.015 and 0.05
    return [
        _distance("noise histogram, Kolmogorov-Smirnov", ks, 0.02, SHAPE_MEANING),
        _distance(
            "noise histogram, Wasserstein (sigma)",
            float(stats.wasserstein_distance(one, two)),
            0.05,
            SHAPE_MEANING,
        ),
        _of_both(
            "middle (sigma)", float(np.median(one)), float(np.median(two)), 0.05, SHIFT_MEANING
        ),
        _of_both("width (sigma)", float(one.std()), float(two.std()), 0.06, SHAPE_MEANING),
        _of_both("skewness", float(stats.skew(one)), float(stats.skew(two)), 0.1, TAILS_MEANING),
        _of_both(
            "kurtosis", float(stats.kurtosis(one)), float(stats.kurtosis(two)), 0.3, TAILS_MEANING
        ),
        _of_both("pixels beyond 5 sigma (per million)", beyond[0], beyond[1], 200, SPOTS_MEANING),
    ]


def _spectrum(frame: FrameMeasures, simulated: FrameMeasures) -> list[Difference]:
    """Compare how the noise is spread over frequencies and directions."""
    one, two = frame.residual, simulated.residual
    rows = []
    for axis, name in ((1, "rows"), (0, "columns")):
        # r = 0.05 in both directions changes the noise of a small aperture by ten per cent
        rows.append(
            _of_both(
                f"correlation of neighbours in {name}",
                lag_correlation(one, axis),
                lag_correlation(two, axis),
                0.05,
                CORRELATION_MEANING,
            )
        )
        rows.append(_of_both(f"pattern of whole {name} (sigma)", line_pattern(one, axis),
                             line_pattern(two, axis), 0.1, STRIPES_MEANING))  # fmt: skip
    (frequency, power), (other, others) = power_spectrum(one), power_spectrum(two)
    ratio = np.log10(power) - np.log10(np.interp(frequency, other, others))
    # the number of modes grows with the frequency
    rms = float(np.sqrt(np.average(ratio**2, weights=frequency)))
    low, lows = (
        float(
            np.average(p[f < MAX_LARGE_SCALE_FREQUENCY], weights=f[f < MAX_LARGE_SCALE_FREQUENCY])
        )
        for f, p in ((frequency, power), (other, others))
    )
    rows.append(_distance("power spectrum, rms ratio (dex)", rms, 0.05, SPECTRUM_MEANING))
    rows.append(_of_both("power on 8 to 32 px (white: 1)", low, lows, 0.25, WAVES_MEANING))
    return rows


def _counts(frame: FrameMeasures, simulated: FrameMeasures) -> list[Difference]:
    """Compare numbers of sources against flux, above what both find."""
    both = (frame, simulated)
    faintest = max((np.median(m.fluxes) if len(m.fluxes) else 0.0) for m in both)
    one, two = (m.fluxes[m.fluxes > faintest] for m in both)
    if min(len(one), len(two)) < MIN_COMPARED_SOURCES:
        return [_distance("source counts (too few)", np.nan, np.nan, CROWDING_MEANING)]
    # beside a tolerance the limits hold what so small numbers scatter by (two sigma)
    scatter = float(np.sqrt(1 / len(one) + 1 / len(two)))
    density = len(one) / frame.megapixels, len(two) / simulated.megapixels
    slope = count_slope(one, faintest), count_slope(two, faintest)
    ks = float(stats.ks_2samp(np.log(one), np.log(two)).statistic)
    return [
        Difference(
            "sources per megapixel (distance: dex)",
            *density,
            abs(float(np.log10(density[0] / density[1]))),
            0.1 + 0.87 * scatter,
            CROWDING_MEANING,
        ),
        _of_both(
            "slope of source counts",
            *slope,
            0.2 + (slope[0] + slope[1]) * scatter,
            COUNTS_SLOPE_MEANING,
        ),
        _distance(
            "source fluxes, Kolmogorov-Smirnov", ks, 0.1 + 1.36 * scatter, COUNTS_SLOPE_MEANING
        ),
    ]


def draw_comparison(
    comparison: NoiseComparison, name: str, matched: MatchedField, path: Path, overwrite: bool
) -> None:
    """Write three panels as PNG: noise histogram, power spectrum, source counts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from common.atomic import atomic_write

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    both = {
        name: (comparison.frame, "tab:blue", "-"),
        f"simulated ({matched.config.preset})": (comparison.simulated, "tab:orange", "--"),
    }
    for label, (measures, colour, style) in both.items():
        _draw_one(axes, measures, label=label, color=colour, linestyle=style)
    x = np.linspace(-MAX_COMPARED_SIGMA, MAX_COMPARED_SIGMA, 101)
    axes[0].plot(x, np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi), "k:", lw=1, label="Gaussian")
    axes[0].set(xlabel="pixel / local noise", ylabel="density", yscale="log", ylim=(1e-6, 1),
                title="noise, sources masked")  # fmt: skip
    axes[1].axhline(1, color="k", linestyle=":", lw=1)
    axes[1].set(xlabel="frequency (cycles per pixel)", ylabel="power / variance",
                title="power spectrum", ylim=(0, None))  # fmt: skip
    axes[2].set(xlabel="flux / pixel noise", ylabel="brighter sources per megapixel",
                xscale="log", yscale="log", title="source counts")  # fmt: skip
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9)
    with atomic_write(path, overwrite) as temporary:
        # matplotlib's version would change the bytes
        figure.savefig(temporary, dpi=100, format="png", metadata={"Software": None})


def _draw_one(axes: "np.ndarray | list[Axes]", measures: FrameMeasures, **style: Any) -> None:
    values, bins = np.clip(measures.values, -11, 11), list(np.arange(-10, 10.01, 0.2))
    axes[0].hist(values, bins=bins, density=True, histtype="step", **style)
    axes[1].plot(*power_spectrum(measures.residual), **style)
    fluxes = np.sort(measures.fluxes[measures.fluxes > 0])[::-1]
    if len(fluxes):
        axes[2].plot(fluxes, np.arange(1, len(fluxes) + 1) / measures.megapixels, **style)
