"""Run SExtractor as a program and read its catalogue."""

import shutil
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bgrem.frame.detect import SEXTRACTOR_DEBLEND_LEVELS, SEXTRACTOR_MIN_AREA

INSTALL_SEXTRACTOR = "apt install source-extractor"  # command that a message recommends


def find_sextractor() -> str | None:
    """Return the SExtractor command of this machine, or None."""
    return shutil.which("source-extractor") or shutil.which("sex")


def run_sextractor(
    folder: Path,
    images: Sequence[np.ndarray],
    columns: Sequence[str],
    options: Mapping[str, str],
    *,
    kernel: np.ndarray | None = None,
) -> np.ndarray:
    """Run SExtractor in an empty folder and return its catalogue, one record per source.

    Parameters
    ----------
    folder : path
        Gets the images, SExtractor's files, and the check images that `options` ask for.
    images : sequence of array, shape (H, W)
        One; or two: detection image, measurement image.
    columns : sequence of str
        Of the catalogue.
    options : mapping of str
        SExtractor's keywords, besides those that all runs share.
    kernel : array, optional
        Convolution mask; None for none.

    Raises
    ------
    FileNotFoundError
        If SExtractor is not installed.
    ValueError
        If it fails.

    Warns
    -----
    UserWarning
        If it gives up on blends.
    """
    from astropy.io import fits

    command = find_sextractor()
    if command is None:
        raise FileNotFoundError(f"SExtractor is not installed: {INSTALL_SEXTRACTOR}")
    names = [str(folder / f"image{number}.fits") for number in range(len(images))]
    for path, pixels in zip(names, images, strict=True):
        fits.writeto(path, np.asarray(pixels, np.float32))
    (folder / "columns").write_text("\n".join(columns) + "\n")
    (folder / "empty.sex").write_text("")
    everywhere = {
        "CATALOG_NAME": str(folder / "found.fits"), "CATALOG_TYPE": "FITS_1.0",
        "PARAMETERS_NAME": str(folder / "columns"), "VERBOSE_TYPE": "NORMAL",
        "ANALYSIS_THRESH": options["DETECT_THRESH"], "DETECT_MINAREA": str(SEXTRACTOR_MIN_AREA),
        "DEBLEND_NTHRESH": str(SEXTRACTOR_DEBLEND_LEVELS), "FILTER": "N",
        "MEMORY_OBJSTACK": "65000", "MEMORY_PIXSTACK": "5000000",
    }  # fmt: skip
    if kernel is not None:
        rows = "\n".join(" ".join(f"{value:.6g}" for value in row) for row in kernel)
        (folder / "filter").write_text(f"CONV NORM\n{rows}\n")
        everywhere |= {"FILTER": "Y", "FILTER_NAME": str(folder / "filter")}
    settings = {**everywhere, **options}
    flags = [part for name in settings for part in (f"-{name}", settings[name])]
    limit = 300 + images[0].size / 1e5  # seconds; ten times what a crowded frame takes
    try:
        ended = subprocess.run(
            [command, ",".join(names), "-c", str(folder / "empty.sex"), *flags],
            capture_output=True, text=True, timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"SExtractor is not done after {limit:.0f} s. Raise the threshold."
        ) from None
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"SExtractor failed: {reason}")
    if "Deblending overflow" in ended.stderr:
        warnings.warn(
            "SExtractor's deblending overflows: blends of many sources stay one, or are lost. "
            "Raise the threshold, or take the library sep.", stacklevel=2,
        )  # fmt: skip
    with fits.open(folder / "found.fits", memmap=False) as hdus:
        table: np.ndarray = np.array(hdus[1].data)
    return table
