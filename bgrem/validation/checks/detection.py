"""Completeness and purity at equal false positives; what is found where there is only noise."""

from typing import Any

import numpy as np

from bgrem.validation import metrics
from bgrem.validation.checks.result import (
    MATCHED_FILTER_LABEL,
    METHOD_COLOURS,
    OURS_LABEL,
    SEXTRACTOR_DEFAULT_LABEL,
    SEXTRACTOR_TUNED_LABEL,
    CheckResult,
    Measure,
    at_least,
    bin_edges,
    judge,
    log_ticks,
    new_figure,
    style_axes,
)
from bgrem.validation.checks.sweeps import (
    FALSE_RATES,
    HEADLINE_FALSE_RATE,
    SEXTRACTOR_THRESHOLD,
    Sweep,
    TruthSweep,
    all_methods,
    default_finder,
    denoised_finder,
    significance,
)
from bgrem.validation.frames import Examination

# of true S/N: fainter sources than the listed ones are never matched; of measured S/N
TRUE_SNR_EDGES = np.asarray(bin_edges(metrics.MIN_LISTED_SNR, 100, 9))
# S/N, measured; below 1.5 nothing is detected
MEASURED_SNR_EDGES = np.asarray(bin_edges(1.5, 100, 11))
SHOWN_FALSE_RATES = np.geomspace(1, 100, 25)  # false detections per megapixel
SNR_TICKS = (2, 3, 5, 10, 20, 50, 100)  # S/N; ticks of the axes
MIN_SOURCES_PER_SNR_BIN = 5  # sources; fewer give no completeness of a bin
# text where a curve does not reach the other's completeness
NEVER_AS_COMPLETE = "never as complete"


def check_detection(exam: Examination) -> list[CheckResult]:
    """Return completeness and purity, what is found in noise, and curves where truth is given."""
    methods = all_methods(exam)
    sweeps = {method.name: Sweep(exam, method) for method in methods}
    if sweeps[SEXTRACTOR_DEFAULT_LABEL].share_at(HEADLINE_FALSE_RATE) > sweeps[
        SEXTRACTOR_TUNED_LABEL
    ].share_at(HEADLINE_FALSE_RATE):
        sweeps[SEXTRACTOR_TUNED_LABEL] = sweeps[
            SEXTRACTOR_DEFAULT_LABEL
        ]  # chosen on one repeat, and worse on all
    results = [_completeness(exam, sweeps), _noise_only(exam, sweeps)]
    if exam.truth is not None:
        true_sweeps: dict[str, Sweep] = {m.name: TruthSweep(exam, m) for m in methods}
        results.insert(1, _against_truth(true_sweeps))
    return results


def _completeness(exam: Examination, sweeps: dict[str, Sweep]) -> CheckResult:
    """Compare what is found at equal false positives."""
    measures = _ratios(sweeps)
    complete = {name: _against_snr(exam, sweep) for name, sweep in sweeps.items()}
    pure = {name: _purity(exam, sweep) for name, sweep in sweeps.items()}
    measures += [
        _half(name, complete[name])
        for name in (OURS_LABEL, SEXTRACTOR_DEFAULT_LABEL, SEXTRACTOR_TUNED_LABEL)
    ]
    noise = "noise drawn anew" if exam.counts else "the frame's own noise, its sign flipped"
    return CheckResult(
        "detection",
        "Completeness and purity",
        f"{sum(len(one.truth['x']) for one, _ in exam.injected)} stars and galaxies were injected "
        f"into {len(exam.injected)} copies of the frame ({sweeps[OURS_LABEL].listed} of them at a "
        f"signal-to-noise ratio of {metrics.MIN_LISTED_SNR:g} or more are the list). One counts "
        "as found if a detection lies on it which the frame as it is does not have. False "
        f"detections are counted on {noise}, and pieces of injected sources too. All methods are "
        "compared where they have as many false detections per megapixel "
        f"({HEADLINE_FALSE_RATE:g} in the summary). SExtractor is the library sep; tuned: the "
        "best of the default and three meshes with three filters, chosen with the truth. S/N is "
        "that of a matched filter in the frame's own noise.",
        measures,
        _draw(sweeps, complete, pure),
        "Left: sources found against false detections; bands are 68 % of bootstrapped cells. "
        f"Middle, right: at {HEADLINE_FALSE_RATE:g} false detections per megapixel; bars are "
        "standard errors of the counts. Purity depends on how many sources were injected: "
        "compare the methods, not the values.",
        [("part of the list that is found", _rows(sweeps))],
        {
            "curves": {name: sweep.curve for name, sweep in sweeps.items()},
            "completeness": complete,
            "purity": pure,
        },
    )


def _ratios(sweeps: dict[str, Sweep]) -> list[Measure]:
    """Return how many sources we find for each that another method finds."""
    ours, measures = sweeps[OURS_LABEL].drawn_at(HEADLINE_FALSE_RATE), []
    for name in (SEXTRACTOR_DEFAULT_LABEL, SEXTRACTOR_TUNED_LABEL, MATCHED_FILTER_LABEL):
        theirs = sweeps[name].drawn_at(HEADLINE_FALSE_RATE)
        found = sweeps[name].share_at(HEADLINE_FALSE_RATE)
        # over nothing found a ratio tells nothing
        ratio = sweeps[OURS_LABEL].share_at(HEADLINE_FALSE_RATE) / found if found else float("nan")
        error = float((ours[theirs > 0] / theirs[theirs > 0]).std()) if theirs.any() else 0.0
        label, unknown = f"sources found, {OURS_LABEL} : {name}", "the latter finds none"
        # a matched filter with the true profile is the yardstick, not a goal
        measures.append(
            Measure(label, ratio, error=error, unknown=unknown)
            if name == MATCHED_FILTER_LABEL
            else at_least(label, ratio, 1.0, error=error, unknown=unknown)
        )
    return measures


def _rows(sweeps: dict[str, Sweep]) -> list[dict[str, Any]]:
    return [
        {"false per Mpx": f"{rate:g}"}
        | {name: f"{sweep.share_at(rate):.3f} ± {sweep.drawn_at(rate).std():.3f}"
           for name, sweep in sweeps.items()}
        for rate in FALSE_RATES
    ]  # fmt: skip


def _against_truth(sweeps: dict[str, Sweep]) -> CheckResult:
    """Compare what is found of a simulated frame's own sources."""
    figure, axes = new_figure(1)
    _draw_curves(axes, sweeps, "part of the field's list found")
    return CheckResult(
        "truth_detection",
        "Detections against the truth",
        f"The {sweeps[OURS_LABEL].listed} sources of the simulated frame with a signal-to-noise "
        f"ratio of {metrics.MIN_LISTED_SNR:g} or more are the list; finding a fainter one is "
        "neither true nor false, everything else is false. Settings are those of the injection "
        "test.",
        _ratios(sweeps),
        figure,
        "Bands are 68 % of bootstrapped cells of the frame.",
        [("part of the list that is found", _rows(sweeps))],
        {"curves": {name: sweep.curve for name, sweep in sweeps.items()}},
    )


def _against_snr(exam: Examination, sweep: Sweep) -> dict[str, np.ndarray]:
    """Return the completeness in bins of true S/N at the headline's false rate."""
    threshold = sweep.threshold_at(HEADLINE_FALSE_RATE)
    found, snr = [], []
    for k, (injection, _) in enumerate(exam.injected):
        flags = np.zeros(len(injection.truth["snr"]), bool)
        flags[sweep.matches(threshold, k)[0]] = True
        found.append(flags)
        snr.append(injection.truth["snr"])
    return _shares(np.concatenate(snr), np.concatenate(found), TRUE_SNR_EDGES)


def _purity(exam: Examination, sweep: Sweep) -> dict[str, np.ndarray]:
    """Return the true part of the detections in bins of measured S/N, as `_against_snr`."""
    threshold = sweep.threshold_at(HEADLINE_FALSE_RATE)
    noise = sweep.method.noise(threshold)
    below = _at(significance(exam.noise[0], exam), noise.x, noise.y)
    snr, true = [below], [np.zeros(len(below), bool)]
    # one frame of noise stands for that of all repeats: its detections are no independent ones
    weight = np.ones(len(below)) * len(exam.injected)
    for k, (injection, planes) in enumerate(exam.injected):
        seen = significance(planes, exam)
        index, pieces = sweep.matches(threshold, k)
        for x, y, is_true in ((injection.truth["x"][index], injection.truth["y"][index], True),
                              (*pieces, False)):  # fmt: skip
            snr.append(_at(seen, x, y))
            true.append(np.full(len(x), is_true))
    values, flags = np.concatenate(snr), np.concatenate(true)
    weights = np.concatenate([weight, np.ones(len(values) - len(below))])
    return _shares(values, flags, MEASURED_SNR_EDGES, weights)


def _at(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the pixels nearest to positions."""
    row = np.clip(np.round(y).astype(int), 0, plane.shape[0] - 1)
    column = np.clip(np.round(x).astype(int), 0, plane.shape[1] - 1)
    return np.asarray(plane[row, column])


def _shares(
    snr: np.ndarray, flags: np.ndarray, edges: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return bins of S/N with the share of flags, its standard error and the number.

    A detection of weight w stands for w of them: it counts w times in the share, once in the
    number, and w squared in the variance. Without weights the error is binomial.
    """
    weights = np.ones(len(snr)) if weights is None else weights
    index = np.digitize(snr, edges) - 1

    def sums(chosen: np.ndarray, power: int) -> np.ndarray:
        inside = chosen & (index >= 0) & (index < len(edges) - 1)
        return np.bincount(index[inside], weights[inside] ** power, len(edges) - 1)

    number = sums(flags, 0) + sums(~flags, 0)
    good, bad = sums(flags, 1), sums(~flags, 1)
    enough = number >= MIN_SOURCES_PER_SNR_BIN
    share = np.where(enough, good / np.maximum(good + bad, 1), np.nan)
    # half a count more on both sides keeps the error above 0 where all or none are found
    yes, no = good + 0.5, bad + 0.5
    variance = no**2 * (sums(flags, 2) + 0.5) + yes**2 * (sums(~flags, 2) + 0.5)
    error = np.where(enough, np.sqrt(variance) / (yes + no) ** 2, np.nan)
    middle = np.sqrt(edges[1:] * edges[:-1])
    return {"snr": middle, "share": share, "error": error, "number": number}


def _half(name: str, bins: dict[str, np.ndarray]) -> Measure:
    """Return the S/N where the completeness passes one half, or on which side of all bins."""
    label = f"S/N at which half is found, {name}"
    known = np.isfinite(bins["share"])
    share, snr = bins["share"][known], bins["snr"][known]
    above = np.flatnonzero(share >= 0.5)
    if not share.size:
        return Measure(label, float("nan"))
    if not above.size:
        return Measure(label, float("nan"), unknown=f"> {snr[-1]:.2g}")
    if above[0] == 0:
        return Measure(label, float("nan"), unknown=f"< {snr[0]:.2g}")
    k = above[0] - 1
    part = (0.5 - share[k]) / (share[k + 1] - share[k])
    low, high = np.log(snr[k : k + 2])
    return Measure(label, float(np.exp(low + part * (high - low))))


def _draw(sweeps: dict[str, Sweep], complete: dict, pure: dict) -> Any:
    figure, axes = new_figure(3)
    _draw_curves(axes[0], sweeps, "part of the injected list found")
    for name in sweeps:
        for k, bins in ((1, complete[name]), (2, pure[name])):
            axes[k].errorbar(bins["snr"], bins["share"], bins["error"], color=METHOD_COLOURS[name],
                             marker="o", ms=3, lw=1.2, elinewidth=0.8)  # fmt: skip
    style_axes(axes[1], "completeness", "true S/N (matched filter)", "part found",
               xscale="log", ylim=(-0.03, 1.05), xlim=(metrics.MIN_LISTED_SNR, 100))  # fmt: skip
    log_ticks(axes[1], *(tick for tick in SNR_TICKS if tick >= metrics.MIN_LISTED_SNR))
    style_axes(axes[2], "purity", "measured S/N (matched filter)", "true part of the detections",
               xscale="log", ylim=(-0.03, 1.05), xlim=(1.5, 100))  # fmt: skip
    log_ticks(axes[2], *SNR_TICKS)
    return figure


def _draw_curves(axes: Any, sweeps: dict[str, Sweep], label: str) -> None:
    """Draw true against false detections with bootstrapped bands."""
    for name, sweep in sweeps.items():
        drawn = np.array([sweep.drawn_at(rate) for rate in SHOWN_FALSE_RATES])
        low, high = np.quantile(drawn, (0.16, 0.84), axis=1)
        axes.fill_between(
            SHOWN_FALSE_RATES, low, high, color=METHOD_COLOURS[name], alpha=0.18, lw=0
        )
        middle = [sweep.share_at(rate) for rate in SHOWN_FALSE_RATES]
        axes.plot(SHOWN_FALSE_RATES, middle, color=METHOD_COLOURS[name], label=name)
    style_axes(axes, "true against false detections", "false detections per megapixel", label,
               xscale="log", xlim=(1, 100))  # fmt: skip
    log_ticks(axes, 1, 2, 5, 10, 20, 50, 100)
    axes.legend(fontsize=9, loc="lower right")


def _noise_only(exam: Examination, sweeps: dict[str, Sweep]) -> CheckResult:
    """Count detections in noise at thresholds of equal completeness."""
    default, ours = sweeps[SEXTRACTOR_DEFAULT_LABEL], sweeps[OURS_LABEL]
    equal = ours.threshold_for(default.count(SEXTRACTOR_THRESHOLD)[0].sum())
    rows, rates, usual = [], {}, exam.threshold.median
    for name, sweep, threshold in (
        (f"{SEXTRACTOR_DEFAULT_LABEL} (DETECT_THRESH 1.5)", default, SEXTRACTOR_THRESHOLD),
        (f"{OURS_LABEL}, as complete as that", ours, equal),
        (f"{OURS_LABEL}, {usual:.3g} sigma (as bgrem catalog)", ours, usual),
    ):
        rates[name] = _noise_rates(exam, name.startswith(OURS_LABEL), threshold)
        rows.append({"detector": name} | _noise_row(sweep, threshold, rates[name]))
    names = list(rates)
    measures = []
    for kind in rates[names[0]]:
        (theirs, scatter), (mine, own) = rates[names[0]][kind], rates[names[1]][kind]
        # Poisson errors of both counts
        error = float(np.hypot(scatter, own))
        measures.append(
            Measure(
                f"false detections in noise, {kind}, as complete as {SEXTRACTOR_DEFAULT_LABEL}",
                mine,
                "per Mpx",
                error,
                f"≤ {theirs:.1f} per Mpx, SExtractor's",
                judge(mine - theirs, error),
                NEVER_AS_COMPLETE,
            )
        )
    return CheckResult(
        "noise_only", "Nothing but noise",
        "Detections where there is no source: on the frame's own noise with its sign flipped "
        "(sources are replaced by noise of other places: no frame has dark stars), and on noise "
        "drawn anew with its power spectrum, in which the frame's unseen faint sources are smeared "
        "out. Wanted: not more than SExtractor's default finds "
        "there, at the threshold at which as many injected sources are found.",
        measures, _draw_rates(rates), "Bars are Poisson errors of the counts.",
        [("false detections", rows)], {"rates": rates, "equal threshold": equal},
    )  # fmt: skip


def _noise_row(
    sweep: Sweep, threshold: float, rates: dict[str, tuple[float, float]]
) -> dict[str, str]:
    """Return a row of the table; dashes where there is no such threshold."""
    known = np.isfinite(threshold)
    part = sweep.count(threshold)[0].sum() / max(sweep.listed, 1) if known else 0.0
    row = {"threshold (sigma)": f"{threshold:.2f}", "part of the list found": f"{part:.3f}"}
    row |= {f"false per Mpx, {kind}": f"{rate:.1f} ± {error:.1f}"
            for kind, (rate, error) in rates.items()}  # fmt: skip
    return row if known else dict.fromkeys(row, "–")


def _noise_rates(
    exam: Examination, denoised: bool, threshold: float
) -> dict[str, tuple[float, float]]:
    """Return false detections per megapixel with their Poisson error on frames of noise.

    NaN where the threshold is.
    """
    found = {}
    kinds = ("drawn anew",) if exam.counts else ("sign-flipped", "drawn anew")
    for kind, planes in zip(kinds, exam.noise, strict=True):
        finder = denoised_finder(planes, exam.spread) if denoised else default_finder(planes)
        number = len(finder(threshold)) if np.isfinite(threshold) else np.nan
        found[kind] = (number / exam.megapixels, np.sqrt(max(number, 1)) / exam.megapixels)
    return found


def _draw_rates(rates: dict[str, dict[str, tuple[float, float]]]) -> Any:
    figure, axes = new_figure(1, height=2.6)
    colours = (METHOD_COLOURS[SEXTRACTOR_DEFAULT_LABEL], METHOD_COLOURS[OURS_LABEL], "#e59866")
    for k, (name, kinds) in enumerate(rates.items()):
        places = np.arange(len(kinds)) + 0.25 * (k - 1)
        values, errors = np.array(list(kinds.values())).T
        below = np.minimum(values, errors)  # no count is negative
        axes.errorbar(values, places, xerr=[below, errors], color=colours[k], label=name,
                      marker="o", lw=0, elinewidth=1.5, capsize=3)  # fmt: skip
    axes.set_yticks(range(len(kinds)), [f"noise {kind}" for kind in kinds])
    style_axes(axes, "detections where there is no source", "per megapixel", "")
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.set_xlim(0, 1.05 * np.nanmax([sum(one) for kinds in rates.values()
                                       for one in kinds.values()]))  # fmt: skip
    figure.legend(fontsize=9, loc="outside lower center", ncols=3)
    return figure
