"""The self-test of a network: a small fixed input, and whether the output is the stored one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

PROBE_SIDE_PX = 32  # px; least side that all networks take: the deepest halves it four times
PROBE_VARIANCE = 0.5  # noise variance, or ratio of exposure times; a diffusion is halfway there
PROBE_NOISE = 3.5  # width of the uniform noise: its standard deviation is 1.01, as in frames
PROBE_STARS = ((9, 11, 64.0, 4.0), (22, 20, 8.0, 9.0))  # row, column, peak, square of the width
# px; 16 pixels of the output are stored, the first star's peak is among them
PROBE_PIXELS = (slice(1, None, 8), slice(3, None, 8))
SHOWN_DIGITS = 7  # of a stored number: float32 has no more

# Half a unit in the last place. A GPU multiplies float32 in TensorFloat-32, which has 11 bits.
UNIT_ROUNDOFFS = {"float32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Deviation that is allowed, in unit roundoffs. Some sixty roundings one after the other give 3 to
# 5 (rms) and up to 50 in the worst pixel of the four models, in bfloat16 as in float16.
ALLOWED_ROUNDOFFS = 64


def make_probe() -> tuple[np.ndarray, np.ndarray]:
    """Return the input: image (1, 32, 32, 1) in units of its noise, variance (1, 1, 1, 1).

    The noise comes from integers, so that it is the same everywhere.
    """
    index = np.arange(PROBE_SIDE_PX**2, dtype=np.int64).reshape(PROBE_SIDE_PX, PROBE_SIDE_PX)
    image = PROBE_NOISE * (((index * 1103515245 + 12345) >> 8 & 0xFFFF) / 65536 - 0.5)
    y, x = np.mgrid[:PROBE_SIDE_PX, :PROBE_SIDE_PX]
    for row, column, peak, square in PROBE_STARS:
        image += peak / (1 + ((y - row) ** 2 + (x - column) ** 2) / square) ** 2
    return (
        image.astype(np.float32)[None, ..., None],
        np.full((1, 1, 1, 1), PROBE_VARIANCE, np.float32),
    )


def describe_answer(output: np.ndarray) -> dict[str, Any]:
    """Return what a model's card keeps of an output (1, 32, 32, 1): mean, rms and 16 pixels."""
    plane = np.asarray(output, np.float64)[0, ..., 0]

    def shorten(value: float) -> float:
        return float(f"{value:.{SHOWN_DIGITS}g}")

    return {
        "mean": shorten(plane.mean()),
        "rms": shorten(np.sqrt(np.mean(plane**2))),
        "pixels": [shorten(value) for value in plane[PROBE_PIXELS].ravel()],
    }


def compare_answer(
    output: np.ndarray, expected: Mapping[str, Any], precision: str = "float32"
) -> float:
    """Return the largest deviation of an output from the stored one, 1 being what is allowed.

    Parameters
    ----------
    output : array, shape (1, 32, 32, 1)
        Of the network for `make_probe`.
    expected : mapping
        Of `describe_answer`.
    precision : {"float32", "bfloat16", "float16"}
        That the network computes in.

    Returns
    -------
    float
        Infinity where a number is not finite. A pixel v may be off by 64 u (rms + |v|), with the
        unit roundoff u of the precision: the networks compress bright light and expand it again,
        so that the error of a bright pixel is relative to it.

    Raises
    ------
    ValueError
        If `expected` is not an answer.
    """
    found = describe_answer(output)
    try:
        rms = float(expected["rms"])
        wanted = np.array([expected["mean"], rms, *expected["pixels"]], np.float64)
        if len(wanted) != 2 + len(found["pixels"]) or not (np.isfinite(wanted).all() and rms > 0):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            "known_answer is not mean, rms and 16 pixels. Get the card again."
        ) from None
    numbers = np.array([found["mean"], found["rms"], *found["pixels"]])
    allowed = ALLOWED_ROUNDOFFS * UNIT_ROUNDOFFS[precision] * (rms + np.abs(wanted))
    with np.errstate(invalid="ignore"):
        worst = float(np.max(np.abs(numbers - wanted) / allowed))
    return worst if np.isfinite(worst) else np.inf
