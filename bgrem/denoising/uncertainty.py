"""How far a denoised pixel may be from the truth: half-widths that hold 68 and 95 % of the errors.

The logarithm of each quantile is a sum of squares of what is seen around a pixel; a shift for each
range of brightness then makes the shares right on fields that the function was not fitted to
(conformalised quantile regression: Romano, Patterson and Candès 2019; the ranges are Mondrian
groups: Vovk, Gammerman and Shafer 2005). `bgrem.training.calibration` fits both.
"""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.config import DenoiseConfig
from bgrem.denoising.flow import Denoised
from common import scratch
from common.atomic import atomic_write
from common.checked.json_files import entry, number_list, read_json
from common.fits.planes import append_plane, is_plain_fits
from common.image import AstroImage
from common.io import write_image
from common.scratch import row_blocks, with_halo

INTERVAL_LEVELS = (0.6827, 0.9545)  # share of the errors within one and two standard deviations
INTERVAL_HDUS = ("SIGMA68", "SIGMA95")  # HDU names of the two planes
SIGNAL_EDGES = (0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)  # sigma; of the ranges of the signal
SIGNAL_SQUARE_PX = 5  # px; the signal of a pixel is the brightest one in this square
SURROUNDINGS_PX = (
    80  # px; how far a feature reaches: Gaussians of 1.5 and 16 px, one after the other
)
FEATURE_COUNT = 10  # of `describe_surroundings`
MIN_SIGNAL = 0.02  # sigma; what is fainter is no light, its logarithm would be noise
MAX_ENTRY = 1e6  # size of the numbers of a calibration; fitted ones are below 100
MIN_SPREAD = 1e-7  # of a feature; the fit has 1e-6 at least
MAX_LOG = 80.0  # logarithm of a half-width; float32 ends at 88, the fits of fields below 10
ROWS_AT_ONCE = 256  # rows: all terms of a large frame would fill the memory
CALIBRATED_SETTINGS = ("steps", "clip")  # of `DenoiseConfig`: what a calibration holds for


@dataclass(frozen=True, eq=False)
class Calibration:
    """What turns features into half-widths; `F` features give `T` = 1 + 2 F terms.

    Attributes
    ----------
    settings : dict
        `CALIBRATED_SETTINGS` with which the fields were denoised.
    middle, spread : array, shape (F,)
        Mean and standard deviation of the features.
    weights : array, shape (2, T)
        Of the terms, for each of `INTERVAL_LEVELS`.
    centres : array, shape (R,)
        Logarithm of the median signal of each range.
    shifts : array, shape (2, R)
        Added at the centres; in between they are interpolated.
    notes : dict
        Fields and coverage, for the card.
    """

    settings: dict[str, Any]
    middle: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    centres: np.ndarray
    shifts: np.ndarray
    notes: dict[str, Any]

    def half_widths(self, features: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Return both half-widths in units of the noise, shape (2, N).

        Parameters
        ----------
        features : array, shape (F, N)
        signal : array, shape (N,)
        """
        terms = design((features - self.middle[:, None]) / self.spread[:, None])
        place = np.log(np.maximum(signal, 1e-9))
        widths = [
            np.exp(np.minimum(weights @ terms + np.interp(place, self.centres, shifts), MAX_LOG))
            for weights, shifts in zip(self.weights, self.shifts, strict=True)
        ]
        return np.stack([widths[0], np.maximum(*widths)])

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes, rounded to six digits."""
        arrays = {
            name: np.vectorize(lambda x: float(f"{x:.6g}"))(getattr(self, name)).tolist()
            for name in ("middle", "spread", "weights", "centres", "shifts")
        }
        return {"settings": self.settings, "notes": self.notes, **arrays}

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> "Calibration":
        """Return a calibration; ValueError where the entries are not those of one."""
        try:
            settings = entry(values, "settings", dict, where)
            notes = entry(values, "notes", dict, where, default={})
            middle = number_list(values, "middle", where, most=MAX_ENTRY, least=-MAX_ENTRY)
            terms = len(design(np.zeros((len(middle), 1))))
            centres = number_list(values, "centres", where, most=MAX_ENTRY, least=-MAX_ENTRY)
            arrays = {
                "middle": middle,
                "spread": number_list(values, "spread", where, most=MAX_ENTRY, least=MIN_SPREAD,
                                      length=len(middle)),
                "weights": _two_lists(values, "weights", terms, where),
                "centres": centres,
                "shifts": _two_lists(values, "shifts", len(centres), where),
            }  # fmt: skip
            if not centres or sorted(set(centres)) != centres:
                raise ValueError(f"{where}: centres do not rise.")
        except ValueError as error:
            raise ValueError(
                f"{str(error).rstrip('.')}: this is not a calibration. Make one with "
                "`bgrem calibrate`."
            ) from None
        return cls(settings, notes=notes, **{n: np.array(a, float) for n, a in arrays.items()})


def _two_lists(values: dict[str, Any], key: str, length: int, where: str) -> list[list[float]]:
    """Return the numbers of both levels."""
    both = dict(zip(("0", "1"), entry(values, key, list, where, least=2, most=2), strict=True))
    return [
        number_list(both, one, f"{where}: {key}", most=MAX_ENTRY, least=-MAX_ENTRY, length=length)
        for one in both
    ]


def load_calibration(
    config: DenoiseConfig, description: dict[str, Any], path: str | os.PathLike[str] | None = None
) -> Calibration:
    """Return the calibration of a file, else of the model's card, for these settings.

    Raises
    ------
    ValueError
        If there is none, or it holds for other weights or settings.
    """
    where = str(path) if path else f"the card of {config.model}"
    values = description.get("uncertainty")
    if path:
        values = read_json(Path(path), "is not a readable calibration")
    if values is None:
        raise ValueError(f"{where}: has no calibration. Make one with `bgrem calibrate`.")
    found = Calibration.from_json(values, where)
    if len(found.middle) != FEATURE_COUNT:
        raise ValueError(f"{where}: the calibration is of another version. Make it anew with "
                         "`bgrem calibrate`.")  # fmt: skip
    if found.notes.get("sha256") != description.get("sha256"):
        raise ValueError(f"{where}: the calibration is for other weights than {config.model}.")
    for name in ("normalisation", "minimum"):
        if getattr(config, name) is not None:
            raise ValueError(f"{where}: no calibration holds with --{name}. Leave it out.")
    wanted = {name: getattr(config, name) for name in CALIBRATED_SETTINGS}
    if found.settings != wanted:
        raise ValueError(
            f"{where}: the calibration is for {found.settings}, not for {wanted}. "
            "Make one with `bgrem calibrate` and these settings."
        )
    return found


def denoised_uncertainty(done: Denoised, calibration: Calibration) -> np.ndarray:
    """Return half-widths around the result, shape (2, H, W, C), float32, in the image's units.

    Parameters
    ----------
    done : Denoised
        Of ``denoise(image, twin=True)`` with the whole strength.
    calibration : Calibration

    Returns
    -------
    array
        `INTERVAL_LEVELS` of the errors lie within; NaN where the input is missing. Where
        `max_sigma` has left the input at least its noise and twice that.
    """
    height, width, channels = done.sigma.shape
    found = scratch.empty((2, height, width, channels), np.float32)
    planes = (done.result.pixels, done.residual.pixels, done.twin, done.sigma, done.capped)
    for channel in range(channels):
        for rows in row_blocks(done.sigma.shape, found, *planes):
            wide, inner = with_halo(rows, SURROUNDINGS_PX, height)
            features, signal = describe_surroundings(done, channel, wide)
            sigma = done.sigma[rows, :, channel]
            widths = np.empty((2, *sigma.shape), np.float32)
            for top in range(0, len(sigma), ROWS_AT_ONCE):
                part = slice(top, min(top + ROWS_AT_ONCE, len(sigma)))
                block = features[:, inner][:, part].reshape(len(features), -1).astype(float)
                some = calibration.half_widths(block, signal[inner][part].ravel())
                widths[:, part] = some.reshape(2, -1, width)
            widths *= sigma
            if done.capped is not None:
                noise = np.stack([sigma, 2 * sigma])
                capped = done.capped[rows, :, channel]
                widths = np.where(capped, np.maximum(widths, noise), widths)
            missing = ~np.isfinite(done.result.pixels[rows, :, channel])
            found[:, rows, :, channel] = np.where(missing, np.nan, widths)
    return found


def write_uncertainty(
    path: Path, narrow: AstroImage, wide: np.ndarray, header: Any, *, overwrite: bool = False
) -> None:
    """Write both half-widths as SIGMA68 and SIGMA95, or SIGMA68 alone.

    Parameters
    ----------
    path : path
        A plain FITS file gets both; .fits.fz, .fits.gz and .xisf hold one image, SIGMA68.
    narrow : AstroImage
        SIGMA68 with the cards that its file is to have.
    wide : array, shape (H, W, C)
        SIGMA95.
    header : astropy.io.fits.Header
        WCS and other keywords of the input, for SIGMA95.
    """
    first = ("EXTNAME", INTERVAL_HDUS[0], "half-width that holds 68.27 % of the errors")
    narrow = narrow.with_pixels(narrow.pixels, cards=[first])
    if not is_plain_fits(path):
        write_image(path, narrow, overwrite=overwrite)
        return
    second = ("COMMENT", "half-width that holds 95.45 % of the errors", "")
    with atomic_write(path, overwrite) as temporary:
        write_image(temporary, narrow, overwrite=True)
        append_plane(temporary, INTERVAL_HDUS[1], wide, header, [second])


def describe_surroundings(
    done: Denoised, channel: int = 0, rows: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Return features, shape (F, H, W), and signal, shape (H, W), both float32, of one channel.

    Of some rows alone where they are given: those at their ends lack `SURROUNDINGS_PX`.

    Light on scales from one pixel to sixteen says what is there; what was taken off, smoothed,
    says what may be hidden in it; the twin, what other noise makes of the same sources.
    """
    if done.twin is None:
        raise ValueError("the uncertainty needs denoise(..., twin=True).")
    sigma = done.sigma[rows, :, channel]

    def scaled(pixels: np.ndarray) -> np.ndarray:
        return np.nan_to_num(pixels[rows, :, channel] / sigma).astype(np.float32)

    light, removed = scaled(done.result.pixels), scaled(done.residual.pixels)
    change = np.abs(light - scaled(done.twin))
    missing = ~np.isfinite(done.result.pixels[rows, :, channel])
    change[missing] = 0  # there is no light there, and a twin is
    smooth = ndimage.gaussian_filter
    left = np.abs(smooth(removed, 1.5))
    features = np.empty((FEATURE_COUNT, *light.shape), np.float32)
    planes = itertools.chain(
        [light], (smooth(light, scale) for scale in (1, 2.5, 6, 16)),
        [left, smooth(left, 16)], (smooth(change, scale) for scale in (1, 2.5, 8)),
    )  # fmt: skip
    for feature, plane in zip(features, planes, strict=True):
        np.log(np.maximum(plane, 0) + np.float32(MIN_SIGNAL), out=feature)
    signal = ndimage.maximum_filter(light, SIGNAL_SQUARE_PX)
    return features, signal


def design(features: np.ndarray) -> np.ndarray:
    """Return 1, the features and their squares, shape (T, N).

    Products of different features fit the fields of the calibration better, and others worse.
    """
    return np.concatenate([np.ones_like(features[:1]), features, features**2])
