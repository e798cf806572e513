"""The two-step catalogue, on one screen: detect on the denoised image, measure on the original."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from bgrem.cataloguing.aperture_errors import fitted_errors
from bgrem.cataloguing.blends import Fit, FittedLight
from bgrem.cataloguing.columns import PROFILE_SKY_COLUMNS, make_table
from bgrem.cataloguing.measure import FLAG_SATURATED, Columns, cut_vignets, measure_sources
from bgrem.cataloguing.psf import Fitted, fit_profiles
from bgrem.cataloguing.sextractor import measure_with_sextractor
from bgrem.cataloguing.sharp import sharper_than_stars
from bgrem.cataloguing.threshold import Threshold, find_threshold
from bgrem.cataloguing.varying import psfex_profiles
from bgrem.config import CatalogConfig, DenoiseConfig
from bgrem.denoising.flow import Denoised, denoise
from bgrem.frame.blends import Sharpened, find_sources
from bgrem.frame.exposure import Exposure, find_exposure
from bgrem.frame.sources import Frame
from bgrem.frame.stars import PointSpread, measure_point_spread
from bgrem.inference.run import Progress
from bgrem.models import Model
from common.header import celestial_wcs, header_of
from common.image import AstroImage
from common.scratch import map_rows

FLAG_BLENDED = 2  # bit of FLAGS, as SExtractor has it
DENOISED_FLAG_DISAGREES = 1  # bit of DENOISED_FLAG: fluxes of denoised and original image differ
DENOISED_FLAG_NO_FLUX = 2  # bit of DENOISED_FLAG: the original has no positive flux there
DENOISED_FLAG_SHAPE_LOST = 4  # bit of DENOISED_FLAG: position and shape are the denoised ones
DENOISED_FLAG_SHARP = 8  # bit of DENOISED_FLAG: sharper than any star
DENOISED_FLAG_CROWDED = 16  # bit of DENOISED_FLAG: more than one source in `CROWDED_BEAMS` around
CROWDED_BEAMS = 10.0  # beams a source; in denser fields fluxes have light of unlisted neighbours
COUNTED_BEAMS = 100.0  # beams; area in which the sources are counted
BEAM_FWHM = 1.133  # area of a Gaussian beam / FWHM²: pi / (4 ln 2)
CROWDED_NOTE_SHARE = 0.05  # of the sources; with more of them crowded a line says so
NO_MAGNITUDE = 99.0  # mag; SExtractor's value where there is none
# mag; 2.5 / ln 10, error propagation of a magnitude
MAGNITUDE_PER_RELATIVE_ERROR = 2.5 / np.log(10)


@dataclass(frozen=True, eq=False)
class Catalog:
    """What `catalog` gives.

    Attributes
    ----------
    table : astropy.table.Table
        One row per source; columns and their meaning are in
        `bgrem.cataloguing.columns.CATALOG_COLUMNS`. ``table.meta`` has the settings, and as
        ``notes`` what was missing.
    segmentation : int32 array, shape (H, W)
        0: no source; k: the pixels of the source with NUMBER k.
    done : Denoised
        What was detected on.
    """

    table: Any
    segmentation: np.ndarray
    done: Denoised


def catalog(
    image: AstroImage | np.ndarray,
    config: CatalogConfig | None = None,
    *,
    denoising: DenoiseConfig | None = None,
    done: Denoised | None = None,
    model: Model | None = None,
    psf: Path | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Catalog:
    """Return the sources of an image: found on the denoised, measured on the original pixels.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, 1)
        Linear pixels; NaN is missing. From a file: gain, saturation, zero point, WCS of its header.
    config : CatalogConfig, optional
        `settings` change its fields: ``catalog(image, threshold=1.5)``.
    denoising : DenoiseConfig, optional
        How the image is denoised.
    done : Denoised, optional
        The denoised image, if there is one; then no network runs.
    model : Model, optional
        As in `denoise`.
    psf : Path, optional
        Model of the point-spread function that PSFEx wrote; default: that of the frame's stars.
    progress : callable, optional
        Called with the number of tiles that are done.

    Raises
    ------
    ValueError
        If the image has several channels, `psf` is no model of this frame, or as `denoise`.
    FileNotFoundError
        If the engine is "sextractor" and SExtractor is not installed.
    """
    config = replace(config or CatalogConfig(), **settings)
    image = image if isinstance(image, AstroImage) else AstroImage(np.asarray(image))
    require_one_channel(image)
    if denoising is not None and denoising.strength != 1:
        raise ValueError(f"strength must be 1 for a catalogue. Received: {denoising.strength}")
    wanted = replace(denoising or DenoiseConfig(), keep="sources")
    done = done or denoise(image, wanted, model=model, progress=progress)
    header = header_of(image)
    exposure = find_exposure(header, config)

    original, background = image.pixels[..., 0], done.background.pixels[..., 0]
    denoised, sigma = done.result.pixels[..., 0], done.sigma[..., 0]
    signal = map_rows(lambda one, sky: one.astype(np.float64) - sky, original, background)
    frame = Frame.of(signal, denoised, sigma, exposure.gain)
    del signal
    threshold = find_threshold(frame, config.threshold)
    full = None if exposure.saturate is None else original >= exposure.saturate
    scaled = map_rows(np.divide, frame.signal, frame.sigma)
    spread = measure_point_spread(scaled, frame.missing, full)
    del scaled
    given = None if psf is None else psfex_profiles(psf, original.shape, spread)
    fit: Fit | None = None
    if spread is not None or given is not None:
        fit = partial(fit_profiles, frame, spread=spread, saturated=full, given=given)
    columns, segmentation, fitted = ENGINES[config.engine](
        frame, config, exposure.gain, threshold.sigma, spread, fit
    )
    notes = []
    if columns:
        if fitted is None:
            columns |= _grown_errors(columns, threshold.inflation, original.shape)
        else:
            columns |= fitted_errors(columns, frame, fitted, config)
        columns |= _flags(columns, frame, full, segmentation, config)
        if fitted is None:
            notes.append("too few stars for a point-spread function: no FLUX_PSF")
        else:
            columns |= _profile_columns(fitted.fitted)
            columns |= _centroids_at_home(columns)
            crowded = _crowded(columns, fitted.profiles.middle.width())
            columns["DENOISED_FLAG"] = columns["DENOISED_FLAG"] | DENOISED_FLAG_CROWDED * crowded
            if crowded.mean() > CROWDED_NOTE_SHARE:
                notes.append(
                    f"too crowded around {100 * crowded.mean():.0f} % of the sources (16 in "
                    "DENOISED_FLAG): neighbours that are not listed are in their light"
                )
        columns |= _magnitudes(columns, exposure.zero_point or 0.0)
        if config.vignet:
            columns["VIGNET"] = cut_vignets(frame, segmentation, columns, config.vignet)
        columns |= _places(columns, header, background)
    table = make_table(columns, exposure.unit, len(config.apertures), config.vignet)
    table.meta |= _meta(table, exposure, config, sigma) | _threshold_meta(threshold)
    table.meta["notes"] += notes
    table.meta["origin"]["threshold"] = threshold.origin
    return Catalog(table, segmentation, done)


def require_one_channel(image: AstroImage) -> None:
    """Raise ValueError where an image has several channels."""
    if image.shape[-1] != 1:
        raise ValueError(
            f"{image.name}: a catalogue is of one channel, this image has {image.shape[-1]}. "
            "Choose one with --channels 0, 1 or 2."
        )


def _measure_with_sep(
    frame: Frame, config: CatalogConfig, gain: float | None, threshold: np.ndarray | float,
    spread: PointSpread | None, fit: Fit | None = None,
) -> tuple[Columns, np.ndarray, FittedLight | None]:  # fmt: skip
    """Return columns, segmentation map and fitted profiles of the `sep` library's sources."""
    light, sharpened = map_rows(np.divide, frame.denoised, frame.sigma), None
    if config.sharpen and spread is not None:
        sharpened = Sharpened(light, spread, config.sharpen)
    found = find_sources(
        light, threshold, sharpened, contrast=config.deblend_contrast,
        minimum_area=config.minimum_area,
    )  # fmt: skip
    fitted = None
    if fit is not None and len(found.places):
        fitted = FittedLight.of(frame, *fit(found.places.x, found.places.y))
    columns = measure_sources(frame, found.segmentation, config, fit=fitted)
    if columns:
        columns["FLAGS"] = columns["FLAGS"] | FLAG_BLENDED * found.blended
        columns |= {"X_FIRST": found.places.x, "Y_FIRST": found.places.y}
    return columns, found.segmentation, fitted


def _grown_errors(
    columns: Columns, inflation: np.ndarray | float, shape: tuple[int, ...]
) -> Columns:
    """Return the errors of fluxes with what the correlation of neighbouring pixels adds."""
    row, column = (
        np.clip(np.round(columns[f"{axis}_DENOISED"]).astype(int), 0, most - 1)
        for axis, most in zip("YX", shape, strict=True)
    )
    factor = np.broadcast_to(inflation, shape)[row, column]
    return {"FLUXERR_AUTO": columns["FLUXERR_AUTO"] * factor,
            "FLUXERR_APER": columns["FLUXERR_APER"] * factor[:, None]}  # fmt: skip


def _profile_columns(found: Fitted) -> Columns:
    """Return the columns of the fit of all sources together, NaN without pixels."""
    return {
        "XPSF_IMAGE": found.x, "YPSF_IMAGE": found.y, "FLUX_PSF": found.flux,
        "FLUXERR_PSF": found.error, "CHI2_PSF": found.chi2, "SPREAD_MODEL": found.spread,
    }  # fmt: skip


def _crowded(columns: Columns, fwhm: float) -> np.ndarray:
    """Return around which sources lie more than one in `CROWDED_BEAMS`, bool (N,)."""
    places = np.column_stack([columns["X_DENOISED"], columns["Y_DENOISED"]])
    reach = fwhm * np.sqrt(COUNTED_BEAMS * BEAM_FWHM / np.pi)
    number = cKDTree(places).query_ball_point(places, reach, return_length=True)
    return np.asarray(number > COUNTED_BEAMS / CROWDED_BEAMS)


def _centroids_at_home(columns: Columns) -> Columns:
    """Return windowed centroids; one that has moved to another source is the fitted place."""
    fitted = np.column_stack([columns["XPSF_IMAGE"], columns["YPSF_IMAGE"]])
    known = np.flatnonzero(np.isfinite(fitted).all(1))
    if not known.size:
        return {}
    windowed = np.column_stack([columns["XWIN_IMAGE"], columns["YWIN_IMAGE"]])
    _, nearest = cKDTree(fitted[known]).query(windowed[known])
    moved = known[known[nearest] != known]
    windowed[moved] = fitted[moved]
    return {"XWIN_IMAGE": windowed[:, 0], "YWIN_IMAGE": windowed[:, 1]}


def _flags(
    columns: Columns, frame: Frame, full: np.ndarray | None, segmentation: np.ndarray,
    config: CatalogConfig,
) -> Columns:  # fmt: skip
    """Return FLAGS with saturation, what the denoised image says of each source, and SNR."""
    flux, error = columns["FLUX_AUTO"], columns["FLUXERR_AUTO"]
    flags = columns["FLAGS"]
    if full is not None:
        number = np.bincount(segmentation[full], minlength=len(flux) + 1)
        flags = flags | FLAG_SATURATED * (number[1:] > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(flux > 0, columns["FLUX_DENOISED"] / flux, np.nan)
        snr = flux / error
    disagrees = abs(columns["FLUX_DENOISED"] - flux) > config.disagreement * error
    denoised = (
        DENOISED_FLAG_DISAGREES * disagrees
        + DENOISED_FLAG_NO_FLUX * ~(flux > 0)
        + DENOISED_FLAG_SHAPE_LOST * columns["SHAPE_LOST"]
        + DENOISED_FLAG_SHARP
        * sharper_than_stars(frame, segmentation, full, most=config.max_sharpness)
    )
    return {"FLAGS": flags, "SNR": snr, "DENOISED_RATIO": ratio, "DENOISED_FLAG": denoised}


def _magnitudes(columns: Columns, zero_point: float) -> Columns:
    found = {}
    for kind in ("AUTO", "APER", "PSF"):
        if f"FLUX_{kind}" not in columns:
            continue
        flux, error = columns[f"FLUX_{kind}"], columns[f"FLUXERR_{kind}"]
        usable = flux > 0
        some = np.where(usable, flux, 1)
        magnitude = zero_point - 2.5 * np.log10(some)
        found[f"MAG_{kind}"] = np.where(usable, magnitude, NO_MAGNITUDE)
        found[f"MAGERR_{kind}"] = np.where(
            usable, MAGNITUDE_PER_RELATIVE_ERROR * error / some, NO_MAGNITUDE
        )
    return found


def _places(columns: Columns, header: Any, background: np.ndarray) -> Columns:
    """Return positions as FITS counts pixels, angles in degrees, sky positions, background."""
    x, y = columns["X_IMAGE"], columns["Y_IMAGE"]
    row, column = (
        np.clip(np.round(axis).astype(int), 0, most - 1)
        for axis, most in zip((y, x), background.shape, strict=True)
    )
    found = {"BACKGROUND": background[row, column]} | sky_positions(header, x, y)
    if "XPSF_IMAGE" in columns:
        sky = sky_positions(header, columns["XPSF_IMAGE"], columns["YPSF_IMAGE"])
        found |= dict(zip(PROFILE_SKY_COLUMNS, sky.values(), strict=False))
    for name in ("IMAGE", "DENOISED"):
        found[f"THETA_{name}"] = np.degrees(columns[f"THETA_{name}"])
    found["ERRTHETAWIN_IMAGE"] = np.degrees(columns["ERRTHETAWIN_IMAGE"])
    for kind in ("{}_IMAGE", "{}WIN_IMAGE", "{}PSF_IMAGE", "{}_DENOISED"):
        for name in (kind.format(axis) for axis in "XY"):
            if name in columns:
                found[name] = columns[name] + 1
    return found


def sky_positions(header: Any, x: np.ndarray, y: np.ndarray) -> Columns:
    """Return ALPHA_J2000 and DELTA_J2000 of 0-based pixels, or nothing without a WCS."""
    wcs = celestial_wcs(header)
    if wcs is None:
        return {}
    sky = wcs.pixel_to_world(x, y).icrs
    return {"ALPHA_J2000": sky.ra.deg, "DELTA_J2000": sky.dec.deg}


def _meta(
    table: Any, exposure: Exposure, config: CatalogConfig, sigma: np.ndarray
) -> dict[str, Any]:
    known = {
        "GAIN": exposure.gain, "RDNOISE": exposure.read_noise, "SATURATE": exposure.saturate,
        "ZEROPNT": exposure.zero_point or 0.0,
    }  # fmt: skip
    values: dict[str, Any] = {"ENGINE": config.engine}
    values |= {name: value for name, value in known.items() if value is not None}
    values |= {"BACKSIG": float(np.median(sigma)), "NSOURCE": len(table)}
    values |= {f"APER{k}": size for k, size in enumerate(config.apertures, 1)}
    return values | {"notes": list(exposure.notes), "origin": dict(exposure.origin)}


def _threshold_meta(threshold: Threshold) -> dict[str, float]:
    values = {"THRESH": threshold.median}
    if isinstance(threshold.sigma, np.ndarray):
        values |= {"THRESHLO": threshold.sigma.min(), "THRESHHI": threshold.sigma.max()}
    return {name: round(float(value), 4) for name, value in values.items()}


# name -> function that measures
ENGINES = {"sep": _measure_with_sep, "sextractor": measure_with_sextractor}
