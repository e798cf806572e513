"""Pictures of noise maps and of their power spectra (noisemap.py)."""

from pathlib import Path

import numpy as np
from astropy.visualization import ZScaleInterval
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_spectra(spectra: np.ndarray, ideal: np.ndarray, path: Path) -> None:
    """Write power spectra of frame, residual and map, shape (3, N), and of noise alone, (N,)."""
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    frequency = np.arange(len(ideal)) / (2 * len(ideal))
    for name, power in zip(("frame", "residual", "map"), spectra, strict=True):
        axes.loglog(frequency[1:], power[1:], label=name)
    axes.loglog(frequency[1:], ideal[1:], "k:", label="noise alone")
    axes.set(xlabel="frequency / cycles per px", ylabel="power, white noise = 1")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def draw_maps(panels: dict[str, np.ndarray], path: Path) -> None:
    """Write images side by side, each between its own limits of ZScale."""
    figure = Figure(figsize=(4 * len(panels), 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, pixels) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        low, high = ZScaleInterval().get_limits(pixels)
        axes.imshow(pixels, origin="lower", cmap="gray", vmin=low, vmax=high)
        axes.set_title(name, fontsize=10)
        axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100)
