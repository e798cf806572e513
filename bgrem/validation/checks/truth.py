"""The metrics of Astro U-net's paper, where a truth is given."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bgrem.frame.detect import Detections
from bgrem.validation import metrics
from bgrem.validation.checks.result import CheckResult, Measure, new_figure, style_axes
from bgrem.validation.checks.sweeps import SEXTRACTOR_THRESHOLD, default_finder, denoised_finder
from bgrem.validation.frames import Examination

TRUTH_APERTURE_RADIUS_PX = 2.5  # px; the default aperture of SExtractor has a diameter of 5
SATURATED_SHARE = 0.95  # of the saturation level: readout noise leaves some pixels below it
TRUTH_HISTOGRAM_RANGE = (-5.0, 30.0)  # sigma; pixels that SSIM and histograms are made of
TRUTH_INPUT_LABEL = "input"  # of the frame before denoising
TRUTH_DENOISED_LABEL = "denoised"  # of the frame after denoising
# label -> colour of its curve
TRUTH_COLOURS = {"truth": "#222222", TRUTH_INPUT_LABEL: "#2c6fbb", TRUTH_DENOISED_LABEL: "#c0392b"}
TRUTH_UNITS = {
    "PSNR": "dB", "SSIM": "", "KL divergence": "", "TPR": "", "F-measure": "",
    "RFE": "%", "mean |RFE|": "%",
}  # fmt: skip


def check_truth(exam: Examination) -> list[CheckResult]:
    """Return PSNR, SSIM, KL divergence, TPR, F-measure, flux errors and the gain in S/N."""
    if exam.truth is None:
        return []
    planes = exam.planes
    images = {TRUTH_INPUT_LABEL: planes.flat, TRUTH_DENOISED_LABEL: planes.clean}
    finders = {
        TRUTH_INPUT_LABEL: default_finder(planes),
        TRUTH_DENOISED_LABEL: denoised_finder(planes, exam.spread),
    }
    threshold = exam.threshold.median
    found = {
        TRUTH_INPUT_LABEL: finders[TRUTH_INPUT_LABEL](SEXTRACTOR_THRESHOLD),
        TRUTH_DENOISED_LABEL: finders[TRUTH_DENOISED_LABEL](threshold),
    }
    values = {name: _values(exam, images[name], found[name]) for name in images}
    gain = _signal_to_noise(exam, images, found)
    measures = [Measure(f"{what}, {name}", values[name][what], TRUTH_UNITS[what])
                for what in TRUTH_UNITS for name in images]  # fmt: skip
    measures.append(Measure("gain in S/N of stars (SNR_f)", gain))
    rows = [{"image": name} | {what: f"{values[name][what]:.4g} {TRUTH_UNITS[what]}".strip()
                               for what in TRUTH_UNITS} for name in images]  # fmt: skip
    return [
        CheckResult(
            "truth",
            "Metrics of Astro U-net",
            "PSNR, SSIM, Kullback-Leibler divergence of the pixel histograms, true-positive "
            "rate, F-measure, relative flux error (true − measured over true, of true positives) "
            "and the gain in the mean signal-to-noise ratio, as Vojtekova et al. 2021 define "
            "them, against the sources without noise (the paper: an exposure twice as long), "
            "saturated pixels left out. SSIM and histograms are of pixels from "
            f"{TRUTH_HISTOGRAM_RANGE[0]:g} to {TRUTH_HISTOGRAM_RANGE[1]:g} sigma, brighter ones "
            "cut: the range of all would hide everything but the brightest star. Input: frame "
            f"less its smooth background, SExtractor's default. Denoised: {threshold:.3g} sigma, "
            "as “bgrem catalog”. SNR_f takes each image's own empty pixels for the noise; those "
            "of a denoised image are not independent, so it says little of errors.",
            measures,
            _draw(exam, images),
            "Histograms of all pixels in units of the frame's noise.",
            [("metrics", rows)],
        )
    ]


def _values(exam: Examination, image: np.ndarray, found: Detections) -> dict[str, float]:
    """Return the metrics of one image."""
    import sep

    truth, catalogue, sigma = _truth(exam), _catalogue(exam), exam.planes.sigma
    full = np.inf if exam.saturate is None else SATURATED_SHARE * exam.saturate
    image = np.where(np.nan_to_num(exam.planes.pixels) >= full, truth, image)
    result = metrics.score(found, catalogue, exam.spread.fwhm)
    missed = metrics.listed_number(catalogue) - result.true
    index = np.flatnonzero(result.partner >= 0)
    source = result.partner[index]
    exact = sep.sum_circle(
        truth, catalogue["x"][source], catalogue["y"][source], TRUTH_APERTURE_RADIUS_PX
    )[0]
    measured = sep.sum_circle(image, found.x[index], found.y[index], TRUTH_APERTURE_RADIUS_PX)[0]
    error = 100 * (exact - measured) / np.where(exact > 0, exact, np.nan)
    low, high = TRUTH_HISTOGRAM_RANGE
    shown = [np.clip(one / sigma, low, high) for one in (truth, image)]
    return {
        "PSNR": metrics.peak_signal_to_noise(truth, image),
        "SSIM": metrics.structural_similarity(shown[0], shown[1], high - low),
        "KL divergence": metrics.histogram_divergence(truth / sigma, image / sigma, low=low,
                                                      high=high),
        "TPR": result.true / max(result.true + missed, 1),
        "F-measure": metrics.f_measure(result.true, result.false, missed),
        "RFE": float(np.nanmean(error)) if index.size else float("nan"),
        "mean |RFE|": float(np.nanmean(np.abs(error))) if index.size else float("nan"),
    }  # fmt: skip


def _truth(exam: Examination) -> np.ndarray:
    """Return the light of the sources, 0 where the frame is missing."""
    sources = exam.planes.clean * 0 if exam.truth is None else exam.truth.sources
    return np.where(exam.planes.missing, 0, sources).astype(np.float64)


def _catalogue(exam: Examination) -> Mapping[str, np.ndarray]:
    return {} if exam.truth is None else exam.truth.catalogue


def _signal_to_noise(
    exam: Examination, images: dict[str, np.ndarray], found: dict[str, Detections]
) -> float:
    """Return the mean S/N of the denoised over that of the input, of stars found in both."""
    import sep

    catalogue = _catalogue(exam)
    partners = [metrics.score(one, catalogue, exam.spread.fwhm).partner for one in found.values()]
    both = np.intersect1d(partners[0], partners[1])
    both = both[both >= 0]
    both = both[catalogue["kind"][both] == "star"]
    if not both.size:
        return float("nan")
    mean = {}
    for name, image in images.items():
        dark = image[exam.planes.empty]
        flux, error, _ = sep.sum_circle(
            image, catalogue["x"][both], catalogue["y"][both], TRUTH_APERTURE_RADIUS_PX,
            err=max(float(dark.std()), 1e-12), gain=exam.gain or 0.0,
        )  # fmt: skip
        mean[name] = metrics.mean_signal_to_noise(flux, error, float(np.median(dark)))
    return mean[TRUTH_DENOISED_LABEL] / mean[TRUTH_INPUT_LABEL]


def _draw(exam: Examination, images: dict[str, np.ndarray]) -> Any:
    figure, axes = new_figure(2)
    edges = np.linspace(*TRUTH_HISTOGRAM_RANGE, 176)
    for name, image in {"truth": _truth(exam), **images}.items():
        values = (image / exam.planes.sigma)[~exam.planes.missing]
        axes[0].hist(values, edges, histtype="step", color=TRUTH_COLOURS[name], label=name)
    style_axes(axes[0], "pixel histograms", "pixel (sigma)", "pixels per bin of 0.2 sigma",
               yscale="log", ylim=(0.5, 3 * values.size))  # fmt: skip
    truth = (_truth(exam) / exam.planes.sigma)[~exam.planes.missing]
    edges = np.geomspace(0.2, 200, 16)
    index = np.digitize(truth, edges) - 1
    for name, image in images.items():
        values = (image / exam.planes.sigma)[~exam.planes.missing]
        ratio = [np.nan if (index == k).sum() < 30 else
                 values[index == k].sum() / truth[index == k].sum()
                 for k in range(len(edges) - 1)]  # fmt: skip
        axes[1].plot(np.sqrt(edges[1:] * edges[:-1]), ratio, color=TRUTH_COLOURS[name], marker="o",
                     ms=4, label=name)  # fmt: skip
    axes[1].axhline(1, color="k", lw=0.6)
    style_axes(axes[1], "light of pixels against their true brightness", "true pixel (sigma)",
               "measured : true light", xscale="log", ylim=(0, 1.5))  # fmt: skip
    for one in axes:
        one.legend(fontsize=9)
    return figure
