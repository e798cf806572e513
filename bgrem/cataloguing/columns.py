"""The columns of a catalogue: names, units and meanings are SExtractor's where it has them."""

from typing import Any

import numpy as np

FLUX_UNIT = "flux"  # placeholder for the unit of the pixels
# name: (type, unit, meaning; at most 46 characters, which fit beside TTYPE in a FITS card)
CATALOG_COLUMNS: dict[str, tuple[str, str | None, str]] = {
    "NUMBER": ("i4", None, "running number, as in the segmentation map"),
    "X_IMAGE": ("f8", "pixel", "barycentre of the original pixels (first: 1)"),
    "Y_IMAGE": ("f8", "pixel", "barycentre of the original pixels (first: 1)"),
    "XWIN_IMAGE": ("f8", "pixel", "windowed centroid, original (first pixel: 1)"),
    "YWIN_IMAGE": ("f8", "pixel", "windowed centroid, original (first pixel: 1)"),
    "ERRAWIN_IMAGE": ("f4", "pixel", "error of the windowed centroid, major axis"),
    "ERRBWIN_IMAGE": ("f4", "pixel", "error of the windowed centroid, minor axis"),
    "ERRTHETAWIN_IMAGE": ("f4", "deg", "direction of ERRAWIN_IMAGE from x towards y"),
    "ALPHA_J2000": ("f8", "deg", "right ascension of X_IMAGE, Y_IMAGE (ICRS)"),
    "DELTA_J2000": ("f8", "deg", "declination of X_IMAGE, Y_IMAGE (ICRS)"),
    "FLUX_AUTO": ("f4", FLUX_UNIT, "original, in the denoised image's Kron ellipse"),
    "FLUXERR_AUTO": ("f4", FLUX_UNIT, "rms error of FLUX_AUTO"),
    "MAG_AUTO": ("f4", "mag", "of FLUX_AUTO; 99: flux is not positive"),
    "MAGERR_AUTO": ("f4", "mag", "rms error of MAG_AUTO"),
    "KRON_RADIUS": ("f4", None, "of FLUX_AUTO, in units of A_, B_DENOISED"),
    "FLUX_APER": ("f4", FLUX_UNIT, "original, around XPSF_, YPSF_IMAGE"),
    "FLUXERR_APER": ("f4", FLUX_UNIT, "rms errors of FLUX_APER"),
    "MAG_APER": ("f4", "mag", "of FLUX_APER; 99: flux is not positive"),
    "MAGERR_APER": ("f4", "mag", "rms errors of MAG_APER"),
    "XPSF_IMAGE": ("f8", "pixel", "of the fit of all profiles (first pixel: 1)"),
    "YPSF_IMAGE": ("f8", "pixel", "of the fit of all profiles (first pixel: 1)"),
    "ALPHAPSF_J2000": ("f8", "deg", "right ascension of XPSF_IMAGE, YPSF_IMAGE"),
    "DELTAPSF_J2000": ("f8", "deg", "declination of XPSF_IMAGE, YPSF_IMAGE"),
    "FLUX_PSF": ("f4", FLUX_UNIT, "original, all profiles fitted together"),
    "FLUXERR_PSF": ("f4", FLUX_UNIT, "rms error of FLUX_PSF"),
    "MAG_PSF": ("f4", "mag", "of FLUX_PSF; 99: flux is not positive"),
    "MAGERR_PSF": ("f4", "mag", "rms error of MAG_PSF"),
    "CHI2_PSF": ("f4", None, "reduced chi-square of the fit, in the core"),
    "SPREAD_MODEL": ("f4", None, "0: a star; above: wider; below: sharper"),
    "FLUX_RADIUS": ("f4", "pixel", "radius of half of FLUX_AUTO; 0: unknown"),
    "FWHM_IMAGE": ("f4", "pixel", "at half maximum, of the core; 0: unknown"),
    "A_IMAGE": ("f4", "pixel", "rms along the major axis, original pixels"),
    "B_IMAGE": ("f4", "pixel", "rms along the minor axis, original pixels"),
    "THETA_IMAGE": ("f4", "deg", "direction of A_IMAGE from x towards y"),
    "ELLIPTICITY": ("f4", None, "1 - B_IMAGE / A_IMAGE"),
    "ELONGATION": ("f4", None, "A_IMAGE / B_IMAGE"),
    "BACKGROUND": ("f4", FLUX_UNIT, "smooth background at the barycentre"),
    "SNR": ("f4", None, "FLUX_AUTO / FLUXERR_AUTO"),
    "SNR_WIN": ("f4", None, "signal to noise under a Gaussian window"),
    "FLAGS": ("i2", None, "1 neighbour 2 blend 4 full 8 border 16 partly"),
    "X_DENOISED": ("f8", "pixel", "denoised barycentre: centre of ellipses"),
    "Y_DENOISED": ("f8", "pixel", "denoised barycentre: centre of ellipses"),
    "A_DENOISED": ("f4", "pixel", "rms along the major axis, denoised"),
    "B_DENOISED": ("f4", "pixel", "rms along the minor axis, denoised"),
    "THETA_DENOISED": ("f4", "deg", "direction of A_DENOISED from x towards y"),
    "FLUX_DENOISED": ("f4", FLUX_UNIT, "denoised, in the ellipse of FLUX_AUTO"),
    "DENOISED_RATIO": ("f4", None, "FLUX_DENOISED / FLUX_AUTO; NaN: no flux"),
    "DENOISED_FLAG": ("i2", None, "1 differs 2 no flux 4 shape 8 sharp 16 crowd"),
    "VIGNET": ("f4", FLUX_UNIT, "original pixels around it; -1e30: not its own"),
}
PROFILE_SKY_COLUMNS = ("ALPHAPSF_J2000", "DELTAPSF_J2000")
SKY_COLUMNS = ("ALPHA_J2000", "DELTA_J2000", *PROFILE_SKY_COLUMNS)  # columns that need a WCS
# what else the catalogue's header says
CATALOG_META = {
    "ENGINE": "what detected and measured",
    "THRESH": "[sigma] detection threshold, denoised image",
    "THRESHLO": "[sigma] lowest, where it follows the noise",
    "THRESHHI": "[sigma] highest",
    "GAIN": "[electron/pixel value] used for errors",
    "RDNOISE": "[electron] read noise; the noise is measured",
    "SATURATE": "level of a full pixel",
    "ZEROPNT": "[mag] zero point of the magnitudes",
    "BACKSIG": "median noise of a pixel",
    "NSOURCE": "number of sources",
}


def make_table(columns: dict[str, np.ndarray], unit: str, apertures: int, vignet: int) -> Any:
    """Return an astropy Table of the columns that there are, in the order of `CATALOG_COLUMNS`.

    Parameters
    ----------
    columns : dict of array, shape (N, ...)
        Without NUMBER, which is added; empty where nothing was found.
    unit : str
        BUNIT; one that astropy does not know is left out.
    apertures, vignet : int
        Number of apertures, side of the stamps, for a table without rows.
    """
    from astropy.table import Column, Table
    from astropy.units import Unit, UnrecognizedUnit

    flux = Unit(unit, format="fits", parse_strict="silent") if unit else None
    flux = None if isinstance(flux, UnrecognizedUnit) else flux
    number = len(next(iter(columns.values()), ()))
    shapes = {"VIGNET": (0, vignet, vignet)}
    table = Table()
    values: np.ndarray
    for name, (kind, column_unit, meaning) in CATALOG_COLUMNS.items():
        if name == "NUMBER":
            values = np.arange(1, number + 1)
        elif name in columns:
            values = columns[name]
        elif number or name in SKY_COLUMNS or (name == "VIGNET" and not vignet):
            continue
        else:
            values = np.zeros(shapes.get(name, (0, apertures) if name.endswith("_APER") else (0,)))
        shown = flux if column_unit == FLUX_UNIT else column_unit
        table[name] = Column(np.asarray(values).astype(kind), unit=shown, description=meaning)
    return table
