"""A simulated field as one FITS file: the exposure, its parts, its catalogue, its settings."""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from bgrem import __version__
from bgrem.frame.truth import TRUTH_COLUMNS
from common.atomic import atomic_write
from common.provenance import history_lines

if TYPE_CHECKING:
    from astropy.io import fits

    from bgrem.simulate.optical import SimulatedField

FIELD_IMAGES = {
    "OBSERVED": "the exposure: sources + background + noise",
    "SOURCES": "light of all sources, no noise",
    "BACKGROUND": "sky, dark current and bias, no noise",
    "NOISE": "shot and read noise, artefacts, saturation",
}
TOOL_CARDS = (
    ("BGTOOL", "bgrem simulate", "program that made this image"),
    ("BGVERS", __version__, "its version"),
)
FIELD_CENTRE = (150.0, 2.0)  # degrees; arbitrary, away from the poles


def write_field(
    path: str | os.PathLike[str], field: "SimulatedField", *, overwrite: bool = False
) -> None:
    """Write a field as OBSERVED, SOURCES, BACKGROUND, NOISE (float32 ADU) and CATALOGUE.

    The same field gives the same bytes: the file holds no time and no folder. Positions of the
    catalogue are FITS pixels, where the centre of the first pixel is (1, 1): one more than those
    of `SimulatedField.catalogue`. All HDUs have CHECKSUM and DATASUM.

    Parameters
    ----------
    path : path
        Name of the file; it appears complete or not at all.
    field : SimulatedField
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    OSError
        As `common.atomic.check_writable`.
    """
    from astropy.io import fits

    cards = _cards(field)
    primary = fits.PrimaryHDU(header=fits.Header([*TOOL_CARDS, *cards]))
    for line in history_lines("bgrem simulate", __version__, field.config.preset, _settings(field)):
        primary.header["HISTORY"] = line
    hdus = fits.HDUList([primary])
    for name, meaning in FIELD_IMAGES.items():
        header = fits.Header([("BUNIT", "adu", meaning), *cards, *_wcs(field)])
        hdus.append(fits.ImageHDU(getattr(field, name.lower()), header, name=name))
    hdus.append(_catalogue(field))
    for hdu in hdus:
        # the comment in place of astropy's, which is the time
        hdu.add_checksum(when="checksum of the FITS standard")
    with atomic_write(path, overwrite) as temporary:
        hdus.writeto(temporary, overwrite=True)


def magnitude_zero_point(field: "SimulatedField") -> float:
    """Return the magnitude of a source of 1 ADU over the exposure."""
    camera = field.instrument
    return float(camera.zero_point + 2.5 * np.log10(camera.exposure / camera.gain))


def _settings(field: "SimulatedField") -> dict[str, Any]:
    """Return all settings: those of the field, then those of the instrument."""
    instrument = dataclasses.asdict(field.instrument)
    return dataclasses.asdict(field.config) | {f"instrument {n}": v for n, v in instrument.items()}


def _cards(field: "SimulatedField") -> list[tuple[str, Any, str]]:
    """Return the keywords that every image needs to be read on its own."""
    camera = field.instrument
    return [
        ("PRESET", field.config.preset, "instrument"),
        ("SEED", field.config.seed, "of the random numbers"),
        ("GAIN", camera.gain, "[electron/adu]"),
        ("RDNOISE", camera.read_noise, "[electron] read noise"),
        ("SATURATE", camera.saturation / camera.gain + camera.bias, "[adu] full pixel, with bias"),
        ("BIASLVL", camera.bias, "[adu] bias, part of BACKGROUND"),
        ("EXPTIME", camera.exposure, "[s] exposure"),
        ("PIXSCALE", camera.pixel_scale, "[arcsec/pixel]"),
        ("FWHM", round(float(field.fwhm), 6), "[pixel] of stars in the centre"),
        ("MAGZPT", round(magnitude_zero_point(field), 6), "[mag] of 1 adu over the exposure"),
    ]


def _wcs(field: "SimulatedField") -> list[tuple[str, Any, str]]:
    """Return a tangential projection, north up, east left, around `FIELD_CENTRE`."""
    rows, columns = field.observed.shape
    scale = field.instrument.pixel_scale / 3600
    return [
        ("CTYPE1", "RA---TAN", ""),
        ("CTYPE2", "DEC--TAN", ""),
        ("CRPIX1", (columns + 1) / 2, "centre of the field"),
        ("CRPIX2", (rows + 1) / 2, "centre of the field"),
        ("CRVAL1", FIELD_CENTRE[0], "[deg] arbitrary"),
        ("CRVAL2", FIELD_CENTRE[1], "[deg] arbitrary"),
        ("CDELT1", -scale, "[deg/pixel]"),
        ("CDELT2", scale, "[deg/pixel]"),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("RADESYS", "ICRS", ""),
    ]


def _catalogue(field: "SimulatedField") -> "fits.BinTableHDU":
    """Return the catalogue: FITS pixels, degrees, magnitudes beside fluxes."""
    from astropy.io import fits

    truth = field.catalogue
    values = {name: np.asarray(truth[source]) for name, source, _, _ in TRUTH_COLUMNS}
    values["X_IMAGE"], values["Y_IMAGE"] = values["X_IMAGE"] + 1.0, values["Y_IMAGE"] + 1.0
    values["THETA_IMAGE"] = np.degrees(values["THETA_IMAGE"])
    columns = [
        fits.Column(name, form, unit=unit or None, array=values[name])
        for name, _, form, unit in TRUTH_COLUMNS
    ]
    magnitudes = magnitude_zero_point(field) - 2.5 * np.log10(values["FLUX_TRUE"])
    columns.insert(3, fits.Column("MAG_TRUE", "E", unit="mag", array=magnitudes))
    table = fits.BinTableHDU.from_columns(columns, name="CATALOGUE")
    for index, column in enumerate(table.columns, 1):
        table.header.comments[f"TTYPE{index}"] = TRUTH_COMMENTS[column.name]
    return table


TRUTH_COMMENTS = {
    "X_IMAGE": "FITS pixel: first centre is 1",
    "Y_IMAGE": "FITS pixel: first centre is 1",
    "FLUX_TRUE": "whole flux over the exposure",
    "MAG_TRUE": "MAGZPT - 2.5 log10(FLUX_TRUE)",
    "SNR_TRUE": "of a matched filter, if isolated",
    "KIND": "star, galaxy or structure",
    "HALF_LIGHT_RADIUS": "root of a*b, without seeing",
    "SERSIC": "index of the profile; star: 0",
    "AXIS_RATIO": "minor to major, without seeing",
    "THETA_IMAGE": "major axis from x towards y",
}
