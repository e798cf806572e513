"""Errors of sums in apertures: the scatter of empty ones, and what neighbours' fits add."""

import numpy as np

from bgrem.cataloguing.blends import FittedLight
from bgrem.cataloguing.measure import Columns
from bgrem.cataloguing.scatter import aperture_scatter
from bgrem.config import CatalogConfig
from bgrem.frame.sources import Frame
from common.scratch import map_rows

KRON_QUANTILES = (0.05, 0.5, 0.95)  # of the Kron ellipses' radii, for which the scatter is measured


def fitted_errors(
    columns: Columns, frame: Frame, fit: FittedLight, config: CatalogConfig
) -> Columns:
    """Return FLUXERR_AUTO and FLUXERR_APER with all that the frame itself shows.

    The noise of the pixels grows by the scatter of sums over empty circles of the same size:
    correlated pixels, unlisted sources, the background. Then comes what the fit says of the part of
    a source's light that its neighbours may have.

    Parameters
    ----------
    columns : dict of array, shape (N, ...)
        Of `bgrem.cataloguing.measure.measure_sources`.
    frame : Frame
    fit : FittedLight
    config : CatalogConfig
        Apertures.
    """
    fitted = fit.fitted
    rest = map_rows(
        lambda signal, model, *levels: signal - model - sum(levels),
        frame.signal, fitted.model, fit.level, fit.shared,
    )  # fmt: skip
    use = map_rows(np.logical_not, frame.missing, dtype=bool)
    places = columns["Y_DENOISED"], columns["X_DENOISED"]
    with np.errstate(invalid="ignore"):
        shared = np.nan_to_num(np.maximum(fitted.error**2 - fitted.alone**2, 0))
    kron = columns["KRON_RADIUS"] * np.sqrt(columns["A_DENOISED"] * columns["B_DENOISED"])
    radii = np.unique(
        np.concatenate([np.array(config.apertures) / 2, np.quantile(kron, KRON_QUANTILES)])
    )
    scatter = np.stack(
        [aperture_scatter(rest, frame.variance, use, places, one) for one in radii]
    )  # (radii, N)

    def grown(error: np.ndarray, radius: np.ndarray, part: float) -> np.ndarray:
        above = np.clip(np.searchsorted(radii, radius), 1, max(1, len(radii) - 1))
        below, above = above - 1, np.minimum(above, len(radii) - 1)
        step = np.maximum(radii[above] - radii[below], 1e-9)
        weight = np.clip((radius - radii[below]) / step, 0, 1)
        each = np.arange(len(radius))
        factor = (1 - weight) * scatter[below, each] + weight * scatter[above, each]
        return np.asarray(np.sqrt((factor * error) ** 2 + part**2 * shared))

    aper = np.stack([
        grown(columns["FLUXERR_APER"][:, k], np.full(len(kron), size / 2),
              fit.profiles.middle.light_inside(size / 2))
        for k, size in enumerate(config.apertures)
    ], -1)  # fmt: skip
    return {"FLUXERR_AUTO": grown(columns["FLUXERR_AUTO"], kron, 1.0), "FLUXERR_APER": aper}
