"""Counts maps with wide sources: denoised in sums of pixels, given back pixel by pixel.

Sums of photons are photons: nothing is lost but what is finer than the sums, and the network sees
sources as narrow as those that it knows best.
"""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from bgrem.config import DenoiseConfig
from bgrem.denoising.plane import DenoisedPlane, denoise_plane
from bgrem.frame.counts import source_width
from bgrem.frame.normalisers import normaliser_of
from bgrem.inference.run import Progress
from bgrem.models import Model

BINNED_WIDTH_PX = 2.5  # px; FWHM that sums are to keep: 2 px are the least that is sampled well


def choose_binning(pixels: np.ndarray, config: DenoiseConfig, model: Model, *, twin: bool) -> int:
    """Return the side of the sums that a plane (H, W) is denoised in; 1: none.

    Automatic sums are for counts maps alone, and keep sources at least `BINNED_WIDTH_PX` wide.

    Raises
    ------
    ValueError
        If sums are asked for with half-widths, or of what is no counts map.
    """
    is_counts = normaliser_of(model.description).is_counts
    if config.binning > 1:
        if not is_counts:
            raise ValueError(
                f"--binning {config.binning}: only for counts maps. {model.name} is not for them."
            )
        if twin:
            raise ValueError(
                f"--binning {config.binning}: half-widths are of single pixels. Leave out one."
            )
        return config.binning
    if config.binning == 1 or twin or not is_counts:
        return 1
    return max(1, int(source_width(pixels) / BINNED_WIDTH_PX))


def denoise_binned(
    pixels: np.ndarray, name: str, config: DenoiseConfig, model: Model,
    progress: Progress | None, binning: int,
) -> DenoisedPlane:  # fmt: skip
    """Denoise a plane of counts (H, W) in sums of `binning` x `binning` pixels.

    Sums with a missing pixel are missing; what lies there is extrapolated as elsewhere.
    """
    sums = bin_counts(pixels, binning)
    done = denoise_plane(sums, name, config, model, progress, twin=False)

    def part(plane: np.ndarray, least: float | None = None) -> np.ndarray:
        return unbin(plane, binning, pixels.shape, least)

    background = part(done.background, 0.0)
    sources = part(done.sources, 0.0 if config.clip else None)
    # a sum of n x n pixels has n times the noise of one
    sigma = np.maximum(part(done.sigma, 0.0) * binning, 1e-6)
    capped = None
    if done.capped is not None:
        capped = np.kron(done.capped, np.ones((binning, binning), bool))
        capped = capped[: pixels.shape[0], : pixels.shape[1]] & np.isfinite(pixels)
        sources = np.where(capped, pixels - background, sources)
    return replace(
        done, sources=sources, background=background, sigma=sigma, capped=capped, twin=None
    )


def bin_counts(pixels: np.ndarray, binning: int) -> np.ndarray:
    """Return sums (h, w) of a plane (H, W); what is left over at its end is mirrored."""
    rest = [(0, -side % binning) for side in pixels.shape]
    whole = np.pad(pixels, rest, mode="symmetric").astype(np.float64)
    rows, columns = (side // binning for side in whole.shape)
    parts = whole.reshape(rows, binning, columns, binning)
    return parts.sum((1, 3)).astype(pixels.dtype)


def unbin(
    sums: np.ndarray, binning: int, shape: tuple[int, ...], least: float | None = None
) -> np.ndarray:
    """Return a smooth plane (H, W) whose sums of pixels are about those given; at least `least`."""
    fine = ndimage.zoom(
        sums.astype(np.float64), binning, order=3, mode="nearest", grid_mode=True
    )  # fmt: skip
    fine = fine[: shape[0], : shape[1]] / binning**2
    return (fine if least is None else np.maximum(fine, least)).astype(np.float32)
