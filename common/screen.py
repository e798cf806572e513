"""Screen stretch for display: the numbers of PixInsight's AutoSTF."""

import math
from dataclasses import dataclass

import numpy as np

from common.robust import mad_sigma
from common.stretch import check_pixels, mtf, valid_samples


@dataclass(frozen=True, kw_only=True)
class Stf:
    """Screen stretch of PixInsight: numbers per channel, in units of `bounds` mapped to [0, 1]."""

    shadows: tuple[float, ...]
    midtones: tuple[float, ...]
    highlights: tuple[float, ...]
    bounds: tuple[float, float] = (0.0, 1.0)


def auto_stf(
    pixels: np.ndarray,
    *,
    linked: bool = False,
    target: float = 0.25,
    shadows_clipping: float = -2.8,
) -> Stf:
    """Return the screen stretch that PixInsight's AutoSTF computes.

    shadows = median + k · 1.4826 · MAD; midtones bring the median to `target`. A group whose
    medians are all above 0.5 (a negative) is treated from its highlights, as PixInsight does.
    Taken on every k-th pixel where a channel has more than 4e6.

    Parameters
    ----------
    pixels : array, shape (H, W, C)
        Linear values in [0, 1]. Where some lie outside, minimum and maximum are taken for 0 and 1
        and kept in `bounds`. NaN, infinities and zeros are left out.
    linked : bool
        One stretch for all channels, from the mean of their statistics.
    target : float
        Grey of the sky on the screen.
    shadows_clipping : float
        k, in units of 1.4826 · MAD; PixInsight's default is -2.8.

    Raises
    ------
    ValueError
        If a channel has no valid pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from common.screen import apply_stf, auto_stf
    >>> pixels = np.random.default_rng(0).normal(0.1, 0.01, (64, 64, 1))
    >>> shown = apply_stf(pixels, auto_stf(pixels))
    >>> bool(0.24 < np.median(shown) < 0.27)  # the sky has about the target's grey
    True
    """
    pixels = check_pixels(pixels, "image")
    finite = np.isfinite(pixels)
    low = float(np.min(pixels, where=finite, initial=math.inf))
    high = float(np.max(pixels, where=finite, initial=-math.inf))
    bounds = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    medians, sigmas = [], []
    for c in range(pixels.shape[-1]):
        _, samples = valid_samples(pixels[..., c], None, zeros_missing=True)
        if not samples.size:
            raise ValueError(
                f"image, channel {c}: no valid pixel (all are zero or NaN). Leave the channel out."
            )
        samples = (samples - bounds[0]) / ((bounds[1] - bounds[0]) or 1.0)
        medians.append(float(np.median(samples)))
        sigmas.append(float(mad_sigma(samples, medians[-1])))
    groups = [list(range(len(medians)))] if linked else [[c] for c in range(len(medians))]
    rows: list[tuple[float, float, float]] = []
    for group in groups:
        inverted = all(medians[c] > 0.5 for c in group)
        sign = -1 if inverted else 1
        ends = [
            medians[c] + sign * shadows_clipping * sigmas[c] if sigmas[c] else float(inverted)
            for c in group
        ]
        end = float(np.clip(np.mean(ends), 0, 1))
        distance = abs(float(np.mean([medians[c] for c in group])) - end)
        distance = min(max(distance, 1e-6), 1 - 1e-6)  # midtones must stay inside (0, 1)
        bright = (0.0, float(mtf(target, distance)), end)
        dark = (end, float(mtf(distance, target)), 1.0)
        rows += [bright if inverted else dark] * len(group)
    shadows, midtones, highlights = zip(*rows, strict=True)
    return Stf(shadows=shadows, midtones=midtones, highlights=highlights, bounds=bounds)


def apply_stf(pixels: np.ndarray, stf: Stf) -> np.ndarray:
    """Return pixels (H, W, C) for display, float32 in [0, 1]; missing pixels become 0."""
    pixels = check_pixels(pixels, "image")
    if pixels.shape[-1] != len(stf.shadows):
        raise ValueError(
            f"the screen stretch has {len(stf.shadows)} channels, the pixels have shape "
            f"{pixels.shape}. Take auto_stf of an image with the same channels."
        )
    out = np.empty(pixels.shape, np.float32)
    low, high = stf.bounds
    extent = (high - low) or 1.0
    levels = zip(stf.shadows, stf.midtones, stf.highlights, strict=True)
    for c, (shadows, midtones, highlights) in enumerate(levels):
        black = low + shadows * extent
        white = low + highlights * extent
        x = np.clip((pixels[..., c] - black) / ((white - black) or 1.0), 0, 1)
        out[..., c] = np.nan_to_num(mtf(x, midtones))
    return out
