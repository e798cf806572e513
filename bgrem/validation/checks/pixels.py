"""What happened to the pixels: spectra, histograms, what was taken off and where."""

from typing import Any

import numpy as np

from bgrem.frame.spectrum import radial_spectrum
from bgrem.validation.checks.result import CheckResult, Measure, new_figure, style_axes
from bgrem.validation.frames import Examination, Planes

SPECTRUM_BINS = 30  # bins of spatial frequency
SHOWN_SIDE_PX = 256  # px; side of the cut that is shown
# label -> colour of its curve
PIXEL_COLOURS = {"frame": "#2c6fbb", "denoised": "#c0392b", "taken off": "#e59866"}


def check_pixels(exam: Examination) -> list[CheckResult]:
    """Return what the network changed, in sigma."""
    planes, limit = exam.planes, exam.config.largest_change
    change = taken_off(planes, exam.gain)
    measured = ~planes.missing
    beyond = float((np.abs(change[measured]) > limit).mean())
    dark = change[planes.empty]
    mean = float(dark.mean()) if dark.size else float("nan")
    white = float(dark.std()) if dark.size else float("nan")
    parts = {"frame": planes.scaled, "denoised": planes.clean / planes.sigma, "taken off": change}
    spectra = {name: windowed_spectrum(np.where(measured, one, 0)) for name, one in parts.items()}
    noise = "noise of sky and sources" if exam.gain else "noise of the sky (no GAIN)"
    return [
        CheckResult(
            "pixels", "What was changed",
            "The change of a pixel beside the smooth background (frame − background − denoised) in "
            f"units of its {noise}. Where only noise was taken off it has mean 0 and scatter 1 in "
            "the dark, and few pixels lie beyond the limit (--largest-change): cosmic rays, "
            "saturated cores, and light of sources that was taken for noise.",
            [Measure("mean change in the dark", mean, "sigma"),
             Measure("scatter of the change in the dark", white, "sigma"),
             Measure(f"pixels changed by more than {limit:g} sigma", 1e6 * beyond, "per million"),
             Measure("largest change", float(np.abs(change[measured]).max()), "sigma"),
             *_capped(planes)],
            _draw(parts, spectra, measured, limit),
            "Left: power against frequency; white noise of the frame is 1. Right: histograms of "
            "all pixels in units of the noise.",
            data={"spectra": spectra, "share beyond": beyond},
        ),
        _maps(planes, change, limit),
    ]  # fmt: skip


def _capped(planes: Planes) -> list[Measure]:
    if not np.isfinite(planes.capped):
        return []
    return [Measure("pixels left as they were by --max-sigma", 1e6 * planes.capped, "per million")]


def taken_off(planes: Planes, gain: float | None) -> np.ndarray:
    """Return frame - background - denoised in units of the pixels' noise; 0 where missing."""
    variance = planes.sigma**2
    if gain:
        variance = variance + np.maximum(planes.clean, 0) / gain
    return np.asarray((planes.flat - planes.clean) / np.sqrt(variance))


def windowed_spectrum(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies (cycles per pixel) and mean power there; 1 for white noise of variance 1.

    A Hann window keeps the borders from mattering.
    """
    edges = np.geomspace(2 / min(values.shape), 0.5, SPECTRUM_BINS + 1)
    window = np.outer(*(np.hanning(side) for side in values.shape))
    power = radial_spectrum(values, edges, window=window)
    filled = np.isfinite(power)
    return np.sqrt(edges[1:] * edges[:-1])[filled], power[filled]


def _draw(
    parts: dict[str, np.ndarray], spectra: dict[str, Any], measured: np.ndarray, limit: float
) -> Any:
    figure, axes = new_figure(2)
    edges = np.linspace(-8, 30, 191)
    for name, one in parts.items():
        axes[0].plot(*spectra[name], color=PIXEL_COLOURS[name], label=name)
        axes[1].hist(one[measured], edges, histtype="step", color=PIXEL_COLOURS[name], label=name)
    axes[0].axhline(1, color="k", ls=":", lw=0.8, label="white noise")
    middle = (edges[1:] + edges[:-1]) / 2
    gauss = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi) * measured.sum() * (edges[1] - edges[0])
    axes[1].plot(middle, gauss, "k:", lw=0.8, label="Gaussian, scatter 1")
    for side in (-limit, limit):
        axes[1].axvline(side, color="grey", ls="--", lw=0.7)
    style_axes(axes[0], "power spectra", "frequency (cycles per pixel)", "power (pixel noise²)",
               xscale="log", yscale="log")  # fmt: skip
    style_axes(axes[1], "histograms", "pixel (sigma)", "pixels per bin of 0.2 sigma",
               yscale="log", ylim=(0.5, 3 * measured.sum()))  # fmt: skip
    for one in axes:
        one.legend(fontsize=9)
    return figure


def _maps(planes: Planes, change: np.ndarray, limit: float) -> CheckResult:
    """Show the frame, the denoised frame and the change."""
    figure, axes = new_figure(3, height=3.8)
    height, width = planes.pixels.shape
    top, left = max(0, (height - SHOWN_SIDE_PX) // 2), max(0, (width - SHOWN_SIDE_PX) // 2)
    area = np.s_[top : top + SHOWN_SIDE_PX, left : left + SHOWN_SIDE_PX]
    extent = (
        left - 0.5,
        left - 0.5 + min(SHOWN_SIDE_PX, width),
        top - 0.5,
        top - 0.5 + min(SHOWN_SIDE_PX, height),
    )
    panels = (("frame − background", planes.scaled), ("denoised", planes.clean / planes.sigma))
    for one, (title, plane) in zip(axes, panels, strict=False):
        shown = one.imshow(np.arcsinh(plane[area]), origin="lower", cmap="gray", extent=extent,
                           vmin=-1.5, vmax=4, interpolation="nearest")  # fmt: skip
        bar = figure.colorbar(shown, ax=one, shrink=0.8, label="sigma (asinh)")
        ticks = np.array([-2, 0, 2, 10, 25])
        bar.set_ticks(np.arcsinh(ticks), labels=[f"{tick:g}" for tick in ticks])
        style_axes(one, title, "x (px)", "y (px)")
    shown = axes[2].imshow(change[area], origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit,
                           extent=extent, interpolation="nearest")  # fmt: skip
    figure.colorbar(shown, ax=axes[2], shrink=0.8, label="sigma")
    style_axes(axes[2], "taken off beside the background", "x (px)", "y (px)")
    for one in axes:
        one.grid(visible=False)
    return CheckResult(
        "maps",
        "Residual map",
        f"The middle of the examined part ({SHOWN_SIDE_PX} x {SHOWN_SIDE_PX} px at most), pixel "
        "for pixel. What was taken off should look like noise: no stars, rings or edges.",
        [],
        figure,
    )
