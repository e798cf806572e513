"""SExtractor in dual-image mode: finds on the denoised image, measures on the original."""

from pathlib import Path

import numpy as np

from bgrem.cataloguing.blends import Fit, FittedLight
from bgrem.cataloguing.measure import Columns, Ellipses, measure_sources
from bgrem.config import CatalogConfig
from bgrem.frame.sextractor_run import run_sextractor
from bgrem.frame.sources import Frame, number_anew
from bgrem.frame.stars import PointSpread
from common.atomic import scratch_folder

# what SExtractor measures on the measurement image
MEASURED_COLUMNS = (
    "FLUX_AUTO", "FLUXERR_AUTO", "KRON_RADIUS", "FLUX_APER", "FLUXERR_APER", "FLUX_RADIUS",
    "FWHM_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "ERRAWIN_IMAGE", "ERRBWIN_IMAGE",
    "ERRTHETAWIN_IMAGE", "SNR_WIN", "FLAGS",
)  # fmt: skip
# what it measures on the detection image, whatever the measurement image is
DETECTED_COLUMNS = ("X_IMAGE", "Y_IMAGE", "A_IMAGE", "B_IMAGE", "THETA_IMAGE")
ANGLE_COLUMNS = ("THETA_IMAGE", "ERRTHETAWIN_IMAGE")  # degrees in SExtractor, radians here
WEIGHT_OF_MISSING = 1e20  # noise of a missing pixel, and a saturation level that is never reached


def measure_with_sextractor(
    frame: Frame, config: CatalogConfig, gain: float | None, threshold: np.ndarray | float,
    spread: PointSpread | None, fit: Fit | None = None,
) -> tuple[Columns, np.ndarray, FittedLight | None]:  # fmt: skip
    """Return the columns of `measure_sources`, the segmentation map, and the fitted profiles.

    SExtractor finds sources on denoised / (sigma * threshold) and measures `MEASURED_COLUMNS` on
    the original pixels (neighbours: MASK_TYPE CORRECT). Barycentre, shape and the denoised flux,
    which it cannot measure there, come from our photometry in its segments and its ellipses.

    Raises
    ------
    FileNotFoundError
        If SExtractor is not installed.
    """
    columns = [
        f"{name}({len(config.apertures)})" if name.endswith("_APER") else name
        for name in (*DETECTED_COLUMNS, *MEASURED_COLUMNS)
    ]
    with scratch_folder() as folder:
        noise = _write_noise(folder, frame)
        options = {
            "DETECT_TYPE": "CCD", "THRESH_TYPE": "ABSOLUTE",
            "DETECT_THRESH": "1", "DETECT_MINAREA": str(config.minimum_area),
            "DEBLEND_MINCONT": str(config.deblend_contrast), "BACK_TYPE": "MANUAL",
            "BACK_VALUE": "0", "WEIGHT_TYPE": "NONE,MAP_RMS", "WEIGHT_IMAGE": f"{noise},{noise}",
            "WEIGHT_GAIN": "N", "GAIN": f"{gain or 0:.9g}", "GAIN_KEY": "NONE",
            "SATUR_LEVEL": f"{WEIGHT_OF_MISSING:g}", "SATUR_KEY": "NONE", "MASK_TYPE": "CORRECT",
            "PHOT_APERTURES": ",".join(f"{one:.9g}" for one in config.apertures),
            "PHOT_AUTOPARAMS": f"{config.kron_factor:.9g},{config.kron_minimum:.9g}",
            "CHECKIMAGE_TYPE": "SEGMENTATION",
            "CHECKIMAGE_NAME": str(folder / "segmentation.fits"),
        }  # fmt: skip
        images = [frame.denoised / (frame.sigma * threshold), frame.signal]
        table = run_sextractor(folder, images, columns, options)
        kept, segmentation = number_anew(
            _read_segmentation(folder / "segmentation.fits"), len(table)
        )
    columns_of_all = _columns(table[kept], frame, segmentation, config)
    fitted = None
    if fit is not None and columns_of_all:
        fitted = FittedLight.of(
            frame, *fit(columns_of_all["X_DENOISED"], columns_of_all["Y_DENOISED"])
        )
    return columns_of_all, segmentation, fitted


def _columns(
    table: np.ndarray, frame: Frame, segmentation: np.ndarray, config: CatalogConfig
) -> Columns:
    """Return SExtractor's columns with ours where it has only those of the detection image."""
    theirs = {
        name: table[name].astype(int if table[name].dtype.kind in "iu" else float)
        for name in (*DETECTED_COLUMNS, *MEASURED_COLUMNS)
    }
    for name in ANGLE_COLUMNS:
        theirs[name] = np.radians(theirs[name])
    for name in ("X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE"):
        theirs[name] = theirs[name] - 1
    x, y, a, b, theta = (theirs[f"{name}_IMAGE"] for name in ("X", "Y", "A", "B", "THETA"))
    ellipses = Ellipses(x, y, a, b, theta, theirs["KRON_RADIUS"])
    columns = measure_sources(frame, segmentation, config, ellipses)
    if not columns:
        return {}
    shape = columns["FLUX_APER"].shape
    return columns | {
        name: theirs[name].reshape(shape) if name.endswith("_APER") else theirs[name]
        for name in MEASURED_COLUMNS
    }


def _write_noise(folder: Path, frame: Frame) -> Path:
    from astropy.io import fits

    path = folder / "noise.fits"
    fits.writeto(path, np.where(frame.missing, WEIGHT_OF_MISSING, frame.sigma).astype(np.float32))
    return path


def _read_segmentation(path: Path) -> np.ndarray:
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        return np.asarray(hdus[0].data, np.int32)
