"""Noise of the frame, of what was taken off and of what is left: covariance, empty apertures."""

from typing import Any

import numpy as np
from scipy.signal import fftconvolve

from bgrem.validation.checks.result import CheckResult, Measure, new_figure, style_axes
from bgrem.validation.frames import Examination, Planes
from common.robust import MINUS_SIGMA_QUANTILE, PLUS_SIGMA_QUANTILE

MAX_LAG_PX = 25  # px; of the autocorrelation
EMPTY_APERTURE_RADII_PX = np.array([1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12])  # px
MAX_EMPTY_APERTURES = 4000  # apertures tried for each radius
MIN_EMPTY_APERTURES = 50  # apertures; fewer give no scatter
FRAME_NOISE_LABEL = "frame"  # of the noise of the input
SUBTRACTED_NOISE_LABEL = "taken off"  # of frame - background - denoised
DENOISED_NOISE_LABEL = "denoised"  # of what is left in the dark
# label -> colour of its curve
NOISE_COLOURS = {
    FRAME_NOISE_LABEL: "#2c6fbb",
    SUBTRACTED_NOISE_LABEL: "#e59866",
    DENOISED_NOISE_LABEL: "#c0392b",
}


def check_noise(exam: Examination) -> list[CheckResult]:
    """Return correlations and noise in apertures, in units of the frame's pixel noise."""
    planes = exam.planes
    parts = _parts(planes)
    correlations = {name: autocorrelation(one, planes.empty) for name, one in parts.items()}
    sums = {name: empty_apertures(one, planes.empty, exam.rng(4)) for name, one in parts.items()}
    scatter = {name: found for name, (found, _) in sums.items()}
    white = np.sqrt(sums[FRAME_NOISE_LABEL][1])
    radius = exam.spread.fwhm
    inflation, left = (
        interpolated(radius, scatter[name] / white)
        for name in (FRAME_NOISE_LABEL, DENOISED_NOISE_LABEL)
    )
    used = radius if np.isfinite(inflation) else float("nan")
    near = {name: float(found[1]) for name, found in correlations.items()}
    cards = [
        ("BGINFL", inflation, "noise in apertures : that of white noise"),
        ("BGINFLR", used, "[pixel] radius of these apertures, one FWHM"),
        ("BGINFLD", left, "the same of the denoised image, input's noise = 1"),
        ("BGCORR", near[FRAME_NOISE_LABEL], "correlation of neighbouring pixels' noise"),
    ]
    rows = [{"radius (px)": f"{r:g}"} | {name: _shown(scatter[name][k] / white[k])
            for name in parts} for k, r in enumerate(EMPTY_APERTURE_RADII_PX)]  # fmt: skip
    return [
        CheckResult(
            "noise",
            "Noise and its covariance",
            "Pixels without sources (a mask on two scales), in units of the frame's pixel noise. "
            "Empty apertures: scatter of sums in circles that touch no source, over what "
            "independent pixels of that noise would give; the inflation factor is this ratio at "
            f"a radius of one FWHM ({radius:.1f} px). Errors of aperture fluxes from single "
            f"pixels are too small by it. “{SUBTRACTED_NOISE_LABEL}” is frame − background − "
            f"denoised, “{DENOISED_NOISE_LABEL}” what is left in the dark, faint sources "
            "included: no denoised pixel is independent of its neighbours.",
            [
                Measure(f"inflation of noise in apertures, {FRAME_NOISE_LABEL}", inflation),
                Measure(
                    f"noise in apertures that is left, {DENOISED_NOISE_LABEL} (frame's white "
                    f"noise = 1)",
                    left,
                ),
                *(
                    Measure(f"correlation of neighbours, {name}", value)
                    for name, value in near.items()
                ),
            ],
            _draw(correlations, scatter, white, radius),
            "Left: correlation of pixels at a distance, averaged over directions. Right: noise in "
            "empty apertures; the line is white noise.",
            [("noise in empty apertures : white noise of the frame's pixels", rows)],
            {"autocorrelation": correlations, "radii": EMPTY_APERTURE_RADII_PX, "scatter": scatter},
            known_cards(cards),
        )
    ]


def _parts(planes: Planes) -> dict[str, np.ndarray]:
    return {
        FRAME_NOISE_LABEL: planes.scaled,
        SUBTRACTED_NOISE_LABEL: (planes.flat - planes.clean) / planes.sigma,
        DENOISED_NOISE_LABEL: planes.clean / planes.sigma,
    }


def interpolated(radius: float, ratios: np.ndarray) -> float:
    """Return a ratio between those at `EMPTY_APERTURE_RADII_PX`; NaN beyond them."""
    return float(np.interp(radius, EMPTY_APERTURE_RADII_PX, ratios, left=np.nan, right=np.nan))


def known_cards(cards: list[tuple[str, float, str]]) -> list[tuple[str, Any, str]]:
    """Return the keywords whose value could be measured, rounded."""
    return [(key, round(value, 4), words) for key, value, words in cards if np.isfinite(value)]


def _shown(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"


def autocorrelation(values: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Return the correlation of empty pixels against their distance of 0, 1, … px.

    Parameters
    ----------
    values : array, shape (H, W)
    empty : bool array, shape (H, W)
        Pixels that count; the others take no part in any pair.
    """
    good = empty & (np.abs(values) < 10)
    centred = np.where(good, values - values[good].mean(), 0) if good.any() else 0 * values
    shape = [2 * side for side in values.shape]

    def pairs(plane: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft2(plane, shape)) ** 2
        full = np.fft.fftshift(np.fft.irfft2(power, shape))
        middle = [side // 2 for side in shape]
        reach = min(MAX_LAG_PX, *(side - 1 for side in values.shape))
        near = [slice(centre - reach, centre + reach + 1) for centre in middle]
        return np.asarray(full[tuple(near)])

    total, number = pairs(centred), pairs(good.astype(float))
    axis = np.arange(total.shape[0]) - total.shape[0] // 2
    ring = np.round(np.hypot(*np.meshgrid(axis, axis))).astype(int).ravel()
    rings = [np.bincount(ring, plane.ravel())[: axis[-1] + 1] for plane in (total, number)]
    covariance = rings[0] / np.maximum(rings[1], 1)
    found: np.ndarray = covariance / covariance[0] if covariance[0] > 0 else 0 * covariance
    return found


def empty_apertures(
    values: np.ndarray, empty: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the robust scatter of sums in empty circles, and the circles' areas.

    Circles are sets of whole pixels. NaN where too few circles are free of sources.
    """
    found, areas = (
        np.full(len(EMPTY_APERTURE_RADII_PX), np.nan),
        np.zeros(len(EMPTY_APERTURE_RADII_PX)),
    )
    filled = np.where(empty, values, 0).astype(np.float64)
    for k, radius in enumerate(EMPTY_APERTURE_RADII_PX):
        half = int(np.ceil(radius))
        axis = np.arange(-half, half + 1)
        disc = (np.hypot(*np.meshgrid(axis, axis)) <= radius).astype(float)
        areas[k] = disc.sum()
        covered = fftconvolve((~empty).astype(float), disc, mode="same")
        free = np.argwhere((covered < 0.5)[half:-half, half:-half]) + half
        if len(free) < MIN_EMPTY_APERTURES:
            continue
        chosen = free[rng.choice(len(free), min(MAX_EMPTY_APERTURES, len(free)), replace=False)]
        sums = fftconvolve(filled, disc, mode="same")[chosen[:, 0], chosen[:, 1]]
        low, high = np.quantile(sums, (MINUS_SIGMA_QUANTILE, PLUS_SIGMA_QUANTILE))
        found[k] = (high - low) / 2
    return found, areas


def _draw(
    correlations: dict[str, np.ndarray], scatter: dict[str, np.ndarray], white: np.ndarray,
    radius: float,
) -> Any:  # fmt: skip
    figure, axes = new_figure(2)
    for name, found in correlations.items():
        axes[0].plot(found, color=NOISE_COLOURS[name], label=name, marker=".", lw=1.2)
        axes[1].plot(
            EMPTY_APERTURE_RADII_PX,
            scatter[name],
            color=NOISE_COLOURS[name],
            label=name,
            marker="o",
            ms=4,
        )
    axes[0].axhline(0, color="k", lw=0.6)
    axes[1].plot(EMPTY_APERTURE_RADII_PX, white, "k:", lw=1, label="white noise")
    axes[1].axvline(radius, color="grey", lw=0.8, ls="--", label="one FWHM")
    style_axes(axes[0], "autocorrelation of pixels without sources", "distance (px)", "correlation",
               xlim=(0, MAX_LAG_PX))  # fmt: skip
    style_axes(axes[1], "noise in empty apertures", "radius (px)", "scatter of sums (pixel noise)",
               xscale="log", yscale="log")  # fmt: skip
    for one in axes:
        one.legend(fontsize=9)
    return figure
