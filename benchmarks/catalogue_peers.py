"""Peers of `catalogue_outside.py` that fit profiles: photutils, sep-x, crowdsource; and the oracle.

Each is given the true profile. The oracle is given the true places and the true sky, too: it is
what the noise and the overlap of sources alone cost, whoever searches.
"""

import numpy as np
from outside_fields import OutsideField

from bgrem.cataloguing.profile import OVERSAMPLING, Profile, table_side
from bgrem.cataloguing.psf import fit_block_by_block
from bgrem.cataloguing.varying import Profiles
from bgrem.frame.background import sep_mesh
from bgrem.frame.sources import Frame

STAMP_PX = 25  # px; of the profile that peers fit
SIGMA = 5.0  # threshold of peers whose guide has it

Columns = dict[str, np.ndarray]


def true_profile(field: OutsideField) -> Profile:
    """Return the profile that the pixels of a field see."""
    side = table_side(field.fwhm)
    drawn = field.seen.drawImage(nx=side, ny=side, scale=1 / OVERSAMPLING, method="no_pixel")
    return Profile(drawn.array.astype(float) * OVERSAMPLING**2, field.fwhm)


def true_stamp(field: OutsideField, side: int = STAMP_PX) -> np.ndarray:
    """Return the light of a star in the middle of a pixel, of 1 in all; (side, side)."""
    drawn = field.seen.drawImage(nx=side, ny=side, scale=1.0, method="no_pixel")
    return np.ascontiguousarray(drawn.array, float)


def oracle(field: OutsideField) -> Columns:
    """Return FLUX_PSF and FLUXERR_PSF of all true sources: true places, sky, profile, variance."""
    truth = field.catalogue
    signal = field.observed.astype(float) - field.background
    frame = Frame.of(signal, field.sources, np.sqrt(field.variance), field.gain)
    found = fit_block_by_block(
        frame, ~frame.missing, truth["x"], truth["y"], Profiles(true_profile(field)), rounds=1
    )
    return {"FLUX_PSF": found.flux, "FLUXERR_PSF": found.error}


def _flat(field: OutsideField) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.ascontiguousarray(field.observed, np.float64)
    mesh = sep_mesh(pixels, 64)
    return pixels - mesh.back(), mesh.rms()


def photutils_profiles(field: OutsideField) -> Columns:
    """PSFPhotometry of photutils at the places of its DAOStarFinder, both as in its guide."""
    from photutils.detection import DAOStarFinder
    from photutils.psf import ImagePSF, PSFPhotometry

    flat, noise = _flat(field)
    error = np.sqrt(noise**2 + np.maximum(flat, 0) / field.gain)
    finder = DAOStarFinder(SIGMA * float(np.median(noise)), field.fwhm)
    fitter = PSFPhotometry(ImagePSF(true_stamp(field)), (7, 7), finder=finder,
                           aperture_radius=field.fwhm)  # fmt: skip
    table = fitter(flat, error=error)
    return {"XWIN_IMAGE": np.asarray(table["x_fit"]) + 1,
            "YWIN_IMAGE": np.asarray(table["y_fit"]) + 1,
            "FLUX_PSF": np.asarray(table["flux_fit"]),
            "FLUXERR_PSF": np.asarray(table["flux_err"])}  # fmt: skip


def sep_x_profiles(field: OutsideField) -> Columns:
    """psf_extract of sep-x: peaks of the matched filter, fitted, and twice again on the rest."""
    import sep_x

    flat, noise = _flat(field)
    found = sep_x.psf_extract(
        flat, SIGMA, sep_x.PSF(true_stamp(field), fwhm=field.fwhm), err=noise, gain=field.gain,
        mode="peaks", peak_iterations=3,
    )  # fmt: skip
    names = found.dtype.names
    error = next(one for one in ("flux_err", "fluxerr", "eflux") if one in names)
    return {"XWIN_IMAGE": found["x"] + 1, "YWIN_IMAGE": found["y"] + 1,
            "FLUX_PSF": found["flux"], "FLUXERR_PSF": found[error]}  # fmt: skip


def crowdsource_profiles(field: OutsideField) -> Columns:
    """fit_im of crowdsource (Schlafly et al. 2018), which finds the sky itself."""
    from crowdsource import crowdsource_base, psf

    flat, noise = _flat(field)
    weight = 1 / np.sqrt(noise**2 + np.maximum(flat, 0) / field.gain)
    stars, *_ = crowdsource_base.fit_im(
        flat.astype("f4"), psf.SimplePSF(true_stamp(field, 39)), weight=weight.astype("f4"),
        nskyx=3, nskyy=3, refit_psf=False, threshold=SIGMA,
    )  # fmt: skip
    return {"XWIN_IMAGE": stars["y"] + 1.0, "YWIN_IMAGE": stars["x"] + 1.0,
            "FLUX_PSF": stars["flux"].astype(float),
            "FLUXERR_PSF": stars["dflux"].astype(float)}  # fmt: skip


# name -> what fits profiles, where it is installed
PROFILE_PEERS = {
    "photutils": photutils_profiles,
    "sep-x": sep_x_profiles,
    "crowdsource": crowdsource_profiles,
}
