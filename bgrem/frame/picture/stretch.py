"""Is a picture linear? Photons say so: where there is more light there is more noise.

A stretch lifts the dark and presses the bright together, and their noise with them: after any of
the usual ones the noise is smaller where the picture is brighter.
"""

import re

import numpy as np

from bgrem.frame.picture.level import noise_at_levels
from common.header import header_of
from common.image import AstroImage

MIN_RATIO = 0.8  # noise of brighter / of the darkest parts; linear frames have 0.9 or more
SMOOTHED_BINS = 3  # of the level; a mean over them is no chance
# processes of PixInsight, Siril and others that stretch, as their history names them
STRETCHES = re.compile(
    r"HistogramTransformation|MaskedStretch|ArcsinhStretch|GeneralizedHyperbolicStretch|"
    r"AutoHistogram|CurvesTransformation|\bautostretch\b|\basinh\b stretch|\bmtf\b|\bGHT\b|"
    r"Histogram Transf|StarStretch",
    re.IGNORECASE,
)


def require_linear(image: AstroImage) -> None:
    """Raise ValueError where a picture has been stretched: by its history, or by its noise."""
    how = stretched_how(image)
    if how:
        raise ValueError(
            f"{image.name}: is stretched: {how}. Take the noise out of the linear picture, before "
            "the stretch; --linear takes it for linear."
        )


def stretched_how(image: AstroImage) -> str:
    """Return what tells that a picture is stretched; empty for a linear one."""
    if image.carrier is not None:
        for line in header_of(image).get("HISTORY", ()):
            if found := STRETCHES.search(str(line)):
                return f"its history names {found.group(0)}"
    ratios = [_lowest_ratio(image.pixels[..., c]) for c in range(image.shape[-1])]
    if min(ratios) < MIN_RATIO:
        return (
            f"its noise falls to {min(ratios):.2f} where there is more light, that of a linear "
            "picture never does"
        )
    return ""


def _lowest_ratio(plane: np.ndarray) -> float:
    """Return the least noise of brighter parts over that of the darkest, 1 where it is unknown."""
    noise = noise_at_levels(plane)[1]
    if len(noise) <= SMOOTHED_BINS or not noise[0] > 0:
        return 1.0
    means = np.convolve(noise[1:], np.ones(SMOOTHED_BINS) / SMOOTHED_BINS, mode="valid")
    return float(means.min() / noise[0])
