"""The point-spread function at each place of a frame: of its own stars, or of PSFEx's model."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bgrem.cataloguing.profile import OVERSAMPLING, Profile, table_side
from bgrem.frame.stars import PointSpread, fit_stars
from common.robust import mad_sigma

PLACE_PX = 384  # px; within so many the profile is one
MIN_STARS = 24  # stars, for a plane through their shapes
MOST_STARS = 120  # stars; the brightest ones
CLIP = 3.0  # standard deviations; stars further off are blends
MIN_F = 6.0  # variance that a plane explains per coefficient / what is left: chance is below 1 %
MAX_WIDTH_RATIO = 1.3  # FWHM of a given model / that of the frame's stars, or its inverse
At = Callable[[float, float], Profile]


@dataclass(eq=False)
class Profiles:
    """The profile at each place, the same within `PLACE_PX`.

    Attributes
    ----------
    middle : Profile
        In the frame's centre, and everywhere where `at` is None.
    at : callable or None
        (row, column) -> profile.
    analytic : Profiles or None
        The same without what stars have beside the analytic profile.
    """

    middle: Profile
    at: At | None = None
    analytic: "Profiles | None" = None
    known: dict[tuple[int, int], Profile] = field(default_factory=dict, repr=False)

    def near(self, row: float, column: float) -> Profile:
        """Return the profile at a place."""
        if self.at is None:
            return self.middle
        key = int(row // PLACE_PX), int(column // PLACE_PX)
        if key not in self.known:
            self.known[key] = self.at(*((one + 0.5) * PLACE_PX for one in key))
        return self.known[key]

    def with_rest(self, rest: np.ndarray, step: float) -> "Profiles":
        """Return the profiles with what all stars have beside them."""
        at = None if self.at is None else lambda row, column: self.near(row, column).with_rest(
            rest, step
        )  # fmt: skip
        return Profiles(self.middle.with_rest(rest, step), at, self)


def own_profiles(
    scaled: np.ndarray, missing: np.ndarray, saturated: np.ndarray | None, spread: PointSpread
) -> Profiles:
    """Return the profiles of a frame's stars: they vary where a plane explains their shapes.

    Parameters
    ----------
    scaled, missing, saturated
        As for `bgrem.frame.stars.find_stars`.
    spread : PointSpread
        The median of all stars.
    """
    constant = Profiles(Profile.of(spread))
    places, shapes = fit_stars(scaled, missing, saturated, most=MOST_STARS)
    if len(places) < MIN_STARS:
        return constant
    height, width = scaled.shape
    # logarithm of the FWHM, and the two shears
    values = np.column_stack([np.log(shapes[:, 0]), shapes[:, 2:]])
    design = _plane(places[:, 0], places[:, 1], scaled.shape)
    planes = [_robust_plane(design, column) for column in values.T]
    if all(one is None for one in planes):
        return constant
    usual = np.array([np.log(spread.fwhm), *spread.shear])
    middle = _plane(np.array([height / 2]), np.array([width / 2]), scaled.shape)

    def at(row: float, column: float) -> Profile:
        place = (
            _plane(np.clip([row], 0, height - 1), np.clip([column], 0, width - 1), scaled.shape)
            - middle
        )
        found = usual + np.array([0.0 if one is None else float((place @ one)[0])
                                  for one in planes])  # fmt: skip
        shear = np.clip(found[1:], -0.5, 0.5)
        return Profile.of(replace(spread, fwhm=float(np.exp(found[0])), shear=tuple(shear)))

    return Profiles(constant.middle, at)


def _plane(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return 1, row and column of places, from -1 to 1 over the frame: shape (N, 3)."""
    v, u = (2 * np.asarray(one, float) / side - 1
            for one, side in zip((rows, columns), shape, strict=True))  # fmt: skip
    return np.stack([np.ones_like(v), v, u], -1)


def _robust_plane(design: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Return the coefficients of a plane, or None where it explains no more than chance."""
    use = np.ones(len(values), bool)
    for _ in range(5):
        found = np.linalg.lstsq(design[use], values[use], rcond=None)[0]
        rest = values - design @ found
        use = np.abs(rest) < CLIP * max(float(mad_sigma(rest[use])), 1e-9)
        if use.sum() < MIN_STARS:
            return None
    left = float((rest[use] ** 2).sum())
    explained = float(((values[use] - values[use].mean()) ** 2).sum()) - left
    terms = design.shape[1] - 1
    ratio = (explained / terms) / max(left / (use.sum() - terms - 1), 1e-30)
    return found if ratio > MIN_F else None


def psfex_profiles(path: Path, shape: tuple[int, ...], spread: PointSpread | None) -> Profiles:
    """Return the profiles of a model that PSFEx wrote.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        (H, W) of the frame.
    spread : PointSpread or None
        The frame's own stars, with which it must agree.

    Raises
    ------
    ValueError
        If it is no such file, or not of this frame.
    """
    import galsim
    from astropy.io import fits
    from galsim.des import DES_PSFEx

    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is no FITS file is said below
            with fits.open(path) as hdus:
                model = DES_PSFEx(hdus[1])
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise ValueError(
            f"{path}: is no model that PSFEx wrote, of X_IMAGE and Y_IMAGE. Give its .psf file."
        ) from None
    height, width = shape
    if not (0 <= model.x_zero <= width and 0 <= model.y_zero <= height):
        raise ValueError(
            f"{path}: is of a frame around x {model.x_zero:.0f}, y {model.y_zero:.0f}; this one "
            f"has {width} x {height} px. Give the model of this frame."
        )

    def at(row: float, column: float) -> Profile:
        place = galsim.PositionD(np.clip(column, 0, width - 1) + 1, np.clip(row, 0, height - 1) + 1)
        seen = model.getPSF(place)
        fwhm = float(seen.calculateFWHM(size=4 * model.basis.shape[-1]))
        side = table_side(fwhm)
        drawn = seen.drawImage(nx=side, ny=side, scale=1 / OVERSAMPLING, method="no_pixel")
        return Profile(drawn.array.astype(np.float64) * OVERSAMPLING**2, max(fwhm, 1.0))

    middle = at(height / 2, width / 2)
    if spread is not None:
        own = Profile.of(spread).width()
        ratio = middle.width() / own
        if not 1 / MAX_WIDTH_RATIO < ratio < MAX_WIDTH_RATIO:
            raise ValueError(
                f"{path}: its stars are {middle.width():.1f} px wide at half maximum, those of the "
                f"frame {own:.1f} px. Give the model of this frame."
            )
    return Profiles(middle, at)
