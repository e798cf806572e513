"""Detections of SExtractor, run as a program, in the form that benchmarks compare."""

import tempfile
from pathlib import Path

import numpy as np

from bgrem.frame.detect import SEXTRACTOR_CONTRAST, SEXTRACTOR_KERNEL, Detections
from bgrem.frame.sextractor_run import run_sextractor


def detect_with_sextractor(
    pixels: np.ndarray,
    threshold: float,
    *,
    relative: bool = True,
    mesh: int = 64,
    background: bool = True,
    kernel: np.ndarray | None = SEXTRACTOR_KERNEL,
    contrast: float = SEXTRACTOR_CONTRAST,
) -> Detections:
    """Return what SExtractor finds, shape (H, W) in.

    Parameters
    ----------
    threshold : float
        In units of SExtractor's own noise, or, where not `relative`, of the pixels.
    mesh : int
        BACK_SIZE.
    background : bool
        Whether SExtractor takes its background off.

    Raises
    ------
    FileNotFoundError
        If SExtractor is not installed.
    """
    options = {
        "THRESH_TYPE": "RELATIVE" if relative else "ABSOLUTE",
        "DETECT_THRESH": f"{threshold:.6g}",
        "BACK_SIZE": str(mesh),
        "BACK_TYPE": "AUTO" if background else "MANUAL",
        "DEBLEND_MINCONT": str(contrast),
    }
    with tempfile.TemporaryDirectory() as name:
        table = run_sextractor(
            Path(name), [pixels], ["X_IMAGE", "Y_IMAGE", "FLUX_ISO"], options, kernel=kernel
        )
    x, y, flux = (np.array(table[n], float) for n in ("X_IMAGE", "Y_IMAGE", "FLUX_ISO"))
    return Detections(x - 1, y - 1, flux)
