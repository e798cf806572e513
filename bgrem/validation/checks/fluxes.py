"""Fluxes, positions, widths and shapes of injected sources: measured against true."""

from typing import Any

import numpy as np

from bgrem.cataloguing.flow import ENGINES
from bgrem.cataloguing.psf import fit_profiles
from bgrem.config import CatalogConfig
from bgrem.frame.detect import Detections
from bgrem.frame.sources import Frame
from bgrem.validation import metrics
from bgrem.validation.checks.result import (
    CheckResult,
    Measure,
    at_most,
    bin_edges,
    log_ticks,
    new_figure,
    style_axes,
)
from bgrem.validation.checks.sweeps import denoised_finder
from bgrem.validation.frames import Examination, Planes
from bgrem.validation.injection import Injection
from common.robust import mad_sigma

APERTURE_RADIUS_FWHM = 1.0  # FWHM; wider ones contain more noise and more of the neighbours' light
MIN_SNR_FOR_FLUX_BIAS = 10.0  # S/N from which fluxes are promised
MAX_FLUX_BIAS = 0.01  # relative; the promise that is checked
FLUX_SNR_EDGES = np.asarray(bin_edges(3, 100, 8))  # S/N; bins of the curve of the bias
# light of neighbours / light of the source
CROWDING_EDGES = np.array([0, 0.02, 0.1, 0.5, 2.0, np.inf])
MIN_SOURCES_PER_FLUX_BIN = 8  # sources; fewer give no bias of a bin
TWO_STEP = "two-step"  # label: detected on the denoised, measured on the original image
ONE_STEP = "one-step"  # label: measured on the denoised image
PROFILE = "profiles"  # label: all point-spread functions fitted together on the original image
FLUX_COLOURS = {
    TWO_STEP: "#c0392b",
    ONE_STEP: "#8e6bbf",
    PROFILE: "#2c6fbb",
}  # label -> colour of its curve


def check_fluxes(exam: Examination) -> list[CheckResult]:
    """Return biases of flux, position, width and ellipticity."""
    tables = [_measure(exam, *one) for one in exam.injected]
    injected = {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}
    rows = {name: column[injected["found"]] for name, column in injected.items()}
    star = rows["kind"] == "star"
    bright = rows["snr"] >= MIN_SNR_FOR_FLUX_BIAS
    by_snr = {
        kind: [_bin(rows[kind][star], rows["snr"][star], edges) for edges in _pairs(FLUX_SNR_EDGES)]
        for kind in FLUX_COLOURS
    }
    pulls = [_bin(rows["pull"][star], rows["snr"][star], edges) for edges in _pairs(FLUX_SNR_EDGES)]
    chosen = star & bright
    by_crowding = [_bin(rows[TWO_STEP][chosen], rows["crowding"][chosen], edges)
                   for edges in _pairs(CROWDING_EDGES)]  # fmt: skip
    radius = exam.spread.fwhm * APERTURE_RADIUS_FWHM
    return [CheckResult(
        "fluxes", "Fluxes, positions, shapes",
        "Injected sources were detected on the denoised frame and measured as “bgrem catalog” "
        "does; those which lie on a source that was there are left out. Two-step: the original "
        "pixels, neighbours' light taken off, in a circle of radius "
        f"{radius:.1f} px at the denoised position, corrected with the measured point-spread "
        f"function ({exam.spread.light_inside(radius):.3f} of a star's light lies inside). "
        "One-step: the denoised pixels in the same circle; for information. Profiles: FLUX_PSF, "
        "and its pull, (flux - truth) / error, whose scatter is 1 where the errors hold. Galaxies "
        "are compared with their own light inside the circle. Widths and shapes are compared with "
        "those of the injected light without noise in the same segments.",
        _measures(rows, star, bright), _draw(by_snr, by_crowding, rows, star),
        "Points are medians, bars their standard errors (from the median absolute deviation). "
        "Crowding: light of the frame's own sources in the circle over that of the star.",
        [("stars against S/N", _table(by_snr, pulls)), *_crowding_table(by_crowding)],
        {"by snr": by_snr, "by crowding": by_crowding, "pulls": pulls,
         "corrections": _corrections(injected)},
    )]  # fmt: skip


def _measure(exam: Examination, injection: Injection, planes: Planes) -> dict[str, np.ndarray]:
    """Return one row for each injected source; what was not detected has no measures."""
    import sep

    radius = exam.spread.fwhm * APERTURE_RADIUS_FWHM
    config = CatalogConfig(apertures=(2 * radius,))
    frame = Frame.of(planes.flat, planes.clean, planes.sigma, exam.gain)
    found, segmentation, _ = ENGINES["sep"](
        frame, config, exam.gain, exam.threshold.sigma, exam.spread
    )
    truth = injection.truth
    if not found:
        return _not_found(exam, injection, np.arange(len(truth["x"])))
    places = found["X_DENOISED"], found["Y_DENOISED"]
    detections = Detections(*places, found["FLUX_AUTO"])
    partner = metrics.score(detections, truth, exam.spread.fwhm).partner
    index = np.flatnonzero(partner >= 0)
    if not index.size:
        return _not_found(exam, injection, np.arange(len(truth["x"])))
    source = partner[index]
    x, y = places[0][index], places[1][index]
    inside = exam.spread.light_inside(radius)
    own = sep.sum_circle(injection.light, truth["x"][source], truth["y"][source], radius)[0]
    star = truth["kind"][source] == "star"
    true = np.where(star, truth["flux"][source] * inside, own)
    one_step = sep.sum_circle(planes.clean, x, y, radius)[0]
    others = sep.sum_circle(exam.planes.clean, x, y, radius)[0]
    exact = _noise_free(exam, injection, segmentation, config, index)
    # a source that was there before would be measured in place of the injected one
    plain = denoised_finder(exam.planes, exam.spread)(exam.threshold.median)
    before = metrics.score(plain, truth, exam.spread.fwhm).partner
    usable = ~np.isin(source, before)
    fitted, _ = fit_profiles(frame, found["X_FIRST"], found["Y_FIRST"], exam.spread)
    profile, flux = fitted.flux[index], np.where(star, truth["flux"][source], np.nan)
    rows = {
        PROFILE: profile / flux - 1, "pull": (profile - flux) / fitted.error[index],
        "kind": truth["kind"][source], "snr": truth["snr"][source], "crowding": others / true,
        TWO_STEP: found["FLUX_APER"][index, 0] / true - 1, ONE_STEP: one_step / true - 1,
        "dx": found["XWIN_IMAGE"][index] - truth["x"][source],
        "dy": found["YWIN_IMAGE"][index] - truth["y"][source],
        "width": found["FWHM_IMAGE"][index] / exact["FWHM_IMAGE"] - 1,
        "ellipticity": found["ELLIPTICITY"][index] - exact["ELLIPTICITY"],
        "flux": truth["flux"][source], "found": np.ones(len(index), bool),
    }  # fmt: skip
    lost = np.setdiff1d(np.arange(len(truth["x"])), np.concatenate([source, before]))
    lost_rows = _not_found(exam, injection, lost)
    return {name: np.concatenate([rows[name][usable], lost_rows[name]]) for name in rows}


def _not_found(
    exam: Examination, injection: Injection, source: np.ndarray
) -> dict[str, np.ndarray]:
    """Return rows of injected sources that were not detected."""
    import sep

    truth, radius = injection.truth, exam.spread.fwhm * APERTURE_RADIUS_FWHM
    others = sep.sum_circle(exam.planes.clean, truth["x"][source], truth["y"][source], radius)[0]
    own = truth["flux"][source] * exam.spread.light_inside(radius)
    none = np.full(len(source), np.nan)
    return {name: none for name in _MEASURES} | {
        "kind": truth["kind"][source], "snr": truth["snr"][source], "crowding": others / own,
        "flux": truth["flux"][source], "found": np.zeros(len(source), bool),
    }  # fmt: skip


# keys of what is measured of each source
_MEASURES = (PROFILE, "pull", TWO_STEP, ONE_STEP, "dx", "dy", "width", "ellipticity")
CORRECTION_SNR_EDGES = np.array([3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0])
CORRECTION_CROWDING_EDGES = np.array([0.0, 0.1, 0.5, np.inf])


def _corrections(injected: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """Return completeness, biases and pulls of stars in bins of S/N and crowding."""
    star = injected["kind"] == "star"
    rows = []
    for low, high in _pairs(CORRECTION_SNR_EDGES):
        for least, most in _pairs(CORRECTION_CROWDING_EDGES):
            inside = star & (injected["snr"] >= low) & (injected["snr"] < high)
            # neighbours' light is measured: it may be a little below 0
            inside &= (np.maximum(injected["crowding"], 0) >= least) & (injected["crowding"] < most)
            number, found = int(inside.sum()), injected["found"] & inside
            share = found.sum() / number if number else np.nan
            row = {"SNR_MIN": low, "SNR_MAX": high, "CROWDING_MIN": least, "CROWDING_MAX": most,
                   "FLUX": float(np.median(injected["flux"][inside])) if number else np.nan,
                   "INJECTED": number, "COMPLETENESS": float(share),
                   "COMPLETENESS_ERR": float(np.sqrt(share * (1 - share) / number)) if number
                   else np.nan}  # fmt: skip
            for name, kind in (("APER", TWO_STEP), ("PSF", PROFILE)):
                median, error, _ = _middle(injected[kind][found])
                row |= {f"BIAS_{name}": median, f"BIASERR_{name}": error}
            row["PULL_PSF"] = _middle(injected["pull"][found])[2]
            rows.append(row)
    return rows


def _noise_free(
    exam: Examination, injection: Injection, segmentation: np.ndarray, config: CatalogConfig,
    index: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return width and shape of the injected light alone, measured as the sources were."""
    from bgrem.cataloguing.measure import measure_sources

    # only the segments in question, numbered anew
    number = np.zeros(segmentation.max() + 1, segmentation.dtype)
    number[index + 1] = np.arange(1, len(index) + 1)
    sigma = np.ones_like(injection.light)
    exact = Frame.of(injection.light, injection.light, sigma, None)
    found = measure_sources(exact, number[segmentation], config)
    with np.errstate(invalid="ignore"):
        width = np.where(found["FWHM_IMAGE"] > 0, found["FWHM_IMAGE"], np.nan)
    return {"FWHM_IMAGE": width, "ELLIPTICITY": found["ELLIPTICITY"]}


def _pairs(edges: np.ndarray) -> list[tuple[float, float]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _bin(values: np.ndarray, by: np.ndarray, edges: tuple[float, float]) -> dict[str, float]:
    """Return number, median, its standard error and the scatter of values in a bin."""
    inside = values[(by >= edges[0]) & (by < edges[1]) & np.isfinite(values)]
    row = {"low": edges[0], "high": edges[1], "number": float(len(inside))}
    if len(inside) < MIN_SOURCES_PER_FLUX_BIN:
        return row | {"median": np.nan, "error": np.nan, "scatter": np.nan}
    median, error, scatter = _middle(inside)
    return row | {"median": median, "error": error, "scatter": scatter}


def _middle(values: np.ndarray) -> tuple[float, float, float]:
    """Return the median, its standard error, and the robust standard deviation."""
    values = values[np.isfinite(values)]
    if len(values) < MIN_SOURCES_PER_FLUX_BIN:
        return np.nan, np.nan, np.nan
    median = float(np.median(values))
    scatter = float(mad_sigma(values, median))
    return median, float(1.2533 * scatter / np.sqrt(len(values))), scatter


def _measures(rows: dict[str, np.ndarray], star: np.ndarray, bright: np.ndarray) -> list[Measure]:
    """Return the biases of bright sources, in per cent and pixels."""
    measures = []
    alone = rows["crowding"] < CROWDING_EDGES[2]
    for what, chosen in (("stars", star), ("isolated stars", star & alone)):
        median, error, _ = _middle(100 * rows[TWO_STEP][chosen & bright])
        name = f"flux bias of {what}, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}, two-step"
        measures.append(at_most(name, median, 100 * MAX_FLUX_BIAS, unit="%", error=error))
    for name, kind, chosen in (
        (f"flux bias of galaxies, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}, two-step", TWO_STEP, ~star),
        (f"flux bias of stars, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}, one-step", ONE_STEP, star),
        (f"flux bias of stars, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}, profiles", PROFILE, star),
    ):
        median, error, _ = _middle(100 * rows[kind][chosen & bright])
        measures.append(Measure(name, median, "%", error))
    chosen = star & bright
    width = _middle(rows["pull"][chosen])[2]
    name = f"scatter of the pulls of stars, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}, profiles"
    measures.append(Measure(name, width, ""))
    for axis in ("x", "y"):
        median, error, _ = _middle(rows[f"d{axis}"][chosen])
        measures.append(
            Measure(
                f"shift in {axis} of stars, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}", median, "px", error
            )
        )
    scatter = np.hypot(_middle(rows["dx"][chosen])[2], _middle(rows["dy"][chosen])[2])
    measures.append(
        Measure(f"scatter of positions, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}", float(scatter), "px")
    )
    median, error, _ = _middle(100 * rows["width"][chosen])
    measures.append(
        Measure(f"bias of stars' FWHM, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}", median, "%", error)
    )
    median, error, _ = _middle(rows["ellipticity"][chosen])
    measures.append(
        Measure(f"bias of stars' ellipticity, S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}", median, "", error)
    )
    return measures


def _cells(one: dict[str, float]) -> str:
    if not np.isfinite(one["median"]):
        return "–"
    return f"{100 * one['median']:+.2f} ± {100 * one['error']:.2f}"


def _table(
    by_snr: dict[str, list[dict[str, float]]], pulls: list[dict[str, float]]
) -> list[dict[str, Any]]:
    return [
        {"S/N": f"{two['low']:.1f} – {two['high']:.1f}", "stars": f"{two['number']:.0f}",
         "two-step bias (%)": _cells(two), "one-step bias (%)": _cells(one),
         "profiles, bias (%)": _cells(all_),
         "scatter of pulls": f"{pull['scatter']:.2f}" if np.isfinite(pull["scatter"]) else "–"}
        for two, one, all_, pull in zip(
            by_snr[TWO_STEP], by_snr[ONE_STEP], by_snr[PROFILE], pulls, strict=True
        )
    ]  # fmt: skip


def _crowding_table(bins: list[dict[str, float]]) -> list[tuple[str, list[dict[str, Any]]]]:
    rows = [
        {"neighbours' light : own": _range(one),
         "stars": f"{one['number']:.0f}", "two-step bias (%)": _cells(one)}
        for one in bins if one["number"]
    ]  # fmt: skip
    return [(f"stars of S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g} against crowding", rows)]


def _range(one: dict[str, float]) -> str:
    if not np.isfinite(one["high"]):
        return f"> {one['low']:g}"
    return f"{one['low']:g}–{one['high']:g}"


def _draw(
    by_snr: dict[str, list[dict[str, float]]], by_crowding: list[dict[str, float]],
    rows: dict[str, np.ndarray], star: np.ndarray,
) -> Any:  # fmt: skip
    figure, axes = new_figure(3)
    for kind, bins in by_snr.items():
        x = [np.sqrt(one["low"] * one["high"]) for one in bins]
        y, error = (100 * np.array([one[k] for one in bins]) for k in ("median", "error"))
        axes[0].errorbar(x, y, error, color=FLUX_COLOURS[kind], label=kind, marker="o", ms=4, lw=1)
    axes[0].axhspan(
        -100 * MAX_FLUX_BIAS, 100 * MAX_FLUX_BIAS, color="#2e8b57", alpha=0.15, lw=0, label="± 1 %"
    )
    axes[0].axvline(MIN_SNR_FOR_FLUX_BIAS, color="k", ls=":", lw=0.8)
    style_axes(axes[0], "flux of stars", "true S/N", "median bias (%)", xscale="log",
               ylim=(-15, 15), xlim=(3, 100))  # fmt: skip
    axes[0].legend(fontsize=9)
    names = [_range(one) for one in by_crowding]
    y, error = (100 * np.array([one[k] for one in by_crowding]) for k in ("median", "error"))
    axes[1].errorbar(range(len(y)), y, error, color=FLUX_COLOURS[TWO_STEP], marker="o", ms=4, lw=0,
                     elinewidth=1.2)  # fmt: skip
    axes[1].axhspan(-100 * MAX_FLUX_BIAS, 100 * MAX_FLUX_BIAS, color="#2e8b57", alpha=0.15, lw=0)
    axes[1].set_xticks(range(len(names)), names)
    style_axes(
        axes[1],
        f"stars of S/N ≥ {MIN_SNR_FOR_FLUX_BIAS:g}, two-step",
        "neighbours' light : own light",
        "median bias (%)",
        xlim=(-0.5, len(names) - 0.5),
    )
    distance = np.hypot(rows["dx"], rows["dy"])[star]
    near = [_bin(distance, rows["snr"][star], edges) for edges in _pairs(FLUX_SNR_EDGES)]
    x = [np.sqrt(one["low"] * one["high"]) for one in near]
    y, error = (np.array([one[k] for one in near]) for k in ("median", "error"))
    axes[2].errorbar(x, y, error, color=FLUX_COLOURS[TWO_STEP], marker="o", ms=4, lw=1)
    style_axes(axes[2], "positions of stars", "true S/N", "median distance (px)", xscale="log",
               yscale="log", xlim=(3, 100))  # fmt: skip
    for one in (axes[0], axes[2]):
        log_ticks(one, 3, 5, 10, 20, 50, 100)
    return figure
