"""The domain guard: what a frame is like, and whether a model was trained for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from bgrem.config import CatalogConfig
from bgrem.frame.background import sep_mesh
from bgrem.frame.noise import neighbour_correlation
from bgrem.frame.stars import measure_point_spread
from common.image import AstroImage, Card
from common.robust import ROUNDED_FWHM_PER_SIGMA, darker_half

DOMAIN_WINDOW_PX = 512  # px; side of the parts that stand for a large frame
DOMAIN_WINDOWS = 4  # parts that stand for a large frame
DOMAIN_MESH_PX = 64  # px; of the quick background
MIN_DOMAIN_SIDE_PX = 8  # px; of a frame, and of its meshes
MAX_STARS_FOR_DOMAIN = 16  # stars fitted in all parts: their median is good to a few per cent
DENSITY_MARGIN_SIGMA = 2.0  # standard deviations that a count may lie outside by chance
FWHM_MARGIN = 0.08  # relative; widths vary by this much over a field
MIN_BRIGHT_SHARE = 1e-4  # of the pixels; a single star does not make a frame bright
DENSITY_SIGMA = 5.0  # sigma of a matched filter: the sources that the model card counts
NOT_MEASURABLE = float("nan")  # value of a property that the frame does not give


@dataclass(frozen=True)
class FrameProperties:
    """What the domain guard compares; NaN is unknown.

    Attributes
    ----------
    level, noise : float
        Medians of background and of the noise's standard deviation, in the frame's units.
    mean : float
        Of all pixels, in the frame's units.
    fwhm : float
        Of the stars, in pixels.
    stars, megapixels : float
        Number of sources above 5 sigma of a matched filter, on so much area. Blends count once,
        so it is a lower limit where stars are dense.
    brightest : float
        Signal-to-noise ratio of the bright pixels: all but one in `MIN_BRIGHT_SHARE` are fainter.
    sky_electrons : float
        Electrons that give the noise, without read noise.
    saturated_share : float
        Part of the pixels at or above the header's saturation.
    noise_correlation : float
        Of neighbouring pixels without source.
    """

    level: float = NOT_MEASURABLE
    noise: float = NOT_MEASURABLE
    mean: float = NOT_MEASURABLE
    fwhm: float = NOT_MEASURABLE
    stars: float = NOT_MEASURABLE
    megapixels: float = NOT_MEASURABLE
    brightest: float = NOT_MEASURABLE
    sky_electrons: float = NOT_MEASURABLE
    saturated_share: float = NOT_MEASURABLE
    noise_correlation: float = NOT_MEASURABLE

    @property
    def star_density(self) -> float:
        """Sources above 5 sigma per megapixel."""
        return self.stars / self.megapixels if self.megapixels > 0 else NOT_MEASURABLE


def measure_frame(image: AstroImage) -> FrameProperties:
    """Return the properties of a frame; of a colour image those of its middle channel.

    Of a frame above some 1 megapixel four windows are measured, so that it takes a second at most.
    Nothing is raised: what cannot be measured is NaN.

    Parameters
    ----------
    image : AstroImage
        Linear pixels. Gain, read noise and saturation are taken from its header, if there.
    """
    from bgrem.frame.exposure import find_exposure
    from common.header import header_of

    exposure = find_exposure(header_of(image), CatalogConfig())
    plane = image.pixels[..., image.shape[-1] // 2]
    windows = _windows(plane)
    parts = [
        _measure_window(one, exposure.saturate, MAX_STARS_FOR_DOMAIN // len(windows))
        for one in windows
    ]
    found = {
        name: _median([getattr(part, name) for part in parts])
        for name in ("level", "noise", "mean", "fwhm", "noise_correlation")
    }
    stars, area = (np.nansum([getattr(p, n) for p in parts]) for n in ("stars", "megapixels"))
    brightest, sky = NOT_MEASURABLE, NOT_MEASURABLE
    if found["noise"] > 0:
        bright = np.concatenate([part[np.isfinite(part)] for part in windows])
        top = float(np.quantile(bright, 1 - MIN_BRIGHT_SHARE))
        brightest = (top - found["level"]) / found["noise"]
    if exposure.gain is not None:
        read_noise = exposure.read_noise or 0.0
        sky = max((found["noise"] * exposure.gain) ** 2 - read_noise**2, 0.0)
    share = NOT_MEASURABLE
    if exposure.saturate is not None:
        share = float(np.mean(plane >= exposure.saturate))
    return FrameProperties(
        stars=float(stars), megapixels=float(area), brightest=brightest, sky_electrons=sky,
        saturated_share=share, **found,
    )  # fmt: skip


def _median(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else NOT_MEASURABLE


def _windows(plane: np.ndarray) -> list[np.ndarray]:
    """Return the whole plane, or windows spread over its measured part."""
    if plane.size <= DOMAIN_WINDOWS * DOMAIN_WINDOW_PX**2:
        return [plane]
    sides = [min(DOMAIN_WINDOW_PX, side) for side in plane.shape]
    corners = [
        (row, column)
        for row in range(0, plane.shape[0] - sides[0] + 1, sides[0])
        for column in range(0, plane.shape[1] - sides[1] + 1, sides[1])
    ]
    windows = [plane[r : r + sides[0], c : c + sides[1]] for r, c in corners]
    measured = np.array([np.isfinite(window[::4, ::4]).mean() for window in windows])
    usable = np.flatnonzero(measured >= min(0.8, float(measured.max())))
    # away from the first and the last, which lie in corners
    places = (np.arange(DOMAIN_WINDOWS) + 0.5) / DOMAIN_WINDOWS * len(usable)
    return [windows[usable[k]] for k in sorted({int(place) for place in places})]


def _measure_window(window: np.ndarray, saturation: float | None, stars: int) -> FrameProperties:
    """Return the properties of one window (width of so many stars), NaN where it has no noise."""
    missing = ~np.isfinite(window)
    if missing.all() or min(window.shape) < MIN_DOMAIN_SIDE_PX:
        return FrameProperties()
    pixels = np.ascontiguousarray(np.where(missing, np.median(window[~missing]), window), float)
    grid = sep_mesh(pixels, DOMAIN_MESH_PX, missing, least=MIN_DOMAIN_SIDE_PX)
    noise, mean = float(np.median(grid.rms())), float(np.mean(window[~missing]))
    if not noise > 0:
        return FrameProperties(mean=mean)
    scaled = np.where(missing, 0, (pixels - grid.back()) / noise)
    full = None if saturation is None else np.nan_to_num(window) >= saturation
    spread = measure_point_spread(scaled, missing, full, most=stars)
    fwhm = NOT_MEASURABLE if spread is None else spread.fwhm
    return FrameProperties(
        level=float(np.median(grid.back())), noise=noise, mean=mean, fwhm=fwhm,
        stars=_count_stars(scaled, 3.0 if spread is None else fwhm),
        megapixels=float((~missing).sum() / 1e6),
        noise_correlation=neighbour_correlation(scaled, missing),
    )  # fmt: skip


def _count_stars(scaled: np.ndarray, fwhm: float) -> float:
    """Return the number of peaks above 5 sigma of a Gaussian matched filter."""
    smooth = ndimage.gaussian_filter(scaled, fwhm / ROUNDED_FWHM_PER_SIGMA)
    middle, noise = darker_half(smooth)  # of noise, also where stars are dense
    peaks = smooth == ndimage.maximum_filter(smooth, 3)
    return float((peaks & (smooth - middle > DENSITY_SIGMA * noise)).sum())


@dataclass(frozen=True)
class _Rule:
    """The words of one entry of a card; what helps where the frame has less, and where more."""

    short: str
    what: str
    unit: str
    if_less: str
    if_more: str


def _value_and_error(key: str, found: FrameProperties) -> tuple[float, float]:
    """Return what the frame has for an entry of the card, and how far chance may take it."""
    if key == "stars_above_5_sigma_per_megapixel":
        chance = (
            DENSITY_MARGIN_SIGMA * np.sqrt(found.stars + 1) / found.megapixels
            if found.megapixels
            else 0.0
        )
        return found.star_density, float(chance)
    if key == "fwhm_px":
        return found.fwhm, FWHM_MARGIN * found.fwhm
    names = {
        "sky_electrons": "sky_electrons",
        "signal_to_noise_of_pixels": "brightest",
        "noise_correlation_of_neighbours": "noise_correlation",
        "saturated_share": "saturated_share",
        "counts_per_pixel": "mean",
    }
    value = getattr(found, names[key])
    return value, 0.05 if key == "noise_correlation_of_neighbours" else 0.1 * abs(value)


COMPARE_ADVICE = "compare with the original (bgrem validate)"  # what a message recommends
DOMAIN_RULES = {
    "fwhm_px": _Rule("FWHM", "stars have a FWHM of", "px", COMPARE_ADVICE, "bin the frame"),
    "stars_above_5_sigma_per_megapixel": _Rule(
        "stars", "sources above 5 sigma are", "per megapixel", COMPARE_ADVICE, COMPARE_ADVICE),
    "sky_electrons": _Rule(
        "sky", "the sky's noise stands for", "electrons per pixel",
        f"check GAIN, or {COMPARE_ADVICE}", f"check GAIN, or {COMPARE_ADVICE}"),
    "signal_to_noise_of_pixels": _Rule(
        "brightness", "the brightest pixels have a signal-to-noise ratio of", "",
        COMPARE_ADVICE, "mask the brightest stars (--dq)"),
    "noise_correlation_of_neighbours": _Rule(
        "noise", "the noise of neighbouring pixels is correlated by", "",
        "take the frame before sharpening or compression",
        "take the frame before resampling or smoothing"),
    "saturated_share": _Rule(
        "saturation", "the saturated part of the pixels is", "",
        COMPARE_ADVICE, "mask saturated stars (--dq)"),
    "counts_per_pixel": _Rule(
        "counts", "the mean level is", "counts per pixel",
        "choose another band or bin the map", "choose another band"),
}  # fmt: skip


def check_domain(found: FrameProperties, description: Mapping[str, Any]) -> list[str]:
    """Return what lies outside a model's training domain: one line each, none if all is inside.

    Parameters
    ----------
    found : FrameProperties
        NaN is unknown and not compared.
    description : mapping
        model.json. Entries of `domain` that are [low, high] and known to `DOMAIN_RULES` are
        compared.
    """
    card = description.get("domain", {})
    lines = []
    for key, rule in DOMAIN_RULES.items():
        if not isinstance(limits := card.get(key), (list, tuple)) or len(limits) != 2:
            continue
        value, error = _value_and_error(key, found)
        low, high = limits
        if not np.isfinite(value) or low - error <= value <= high + error:
            continue
        lines.append(
            f"{rule.short}: {rule.what} {value:.3g}{rule.unit and ' ' + rule.unit}, the model "
            f"was trained for {low:g} to {high:g}; {rule.if_less if value < low else rule.if_more}"
        )
    return lines


def guard_domain(
    image: AstroImage, description: Mapping[str, Any], *, strict: bool = False
) -> list[str] | None:
    """Return what of a frame lies outside a model's training domain, as `check_domain`.

    None: the model's card has nothing to compare with.

    Raises
    ------
    ValueError
        If something does and `strict` is on.
    """
    if not any(key in description.get("domain", {}) for key in DOMAIN_RULES):
        return None
    lines = check_domain(measure_frame(image), description)
    if lines and strict:
        raise ValueError(
            f"{image.name}: outside the model's training domain ({'; '.join(lines)}). "
            "Choose another model, or leave --strict out."
        )
    return lines


def domain_card(lines: list[str]) -> Card:
    """Return the keyword BGDOMAIN for the lines of `check_domain`."""
    short = ", ".join(line.split(":")[0] for line in lines)
    return ("BGDOMAIN", f"outside: {short}" if lines else "inside", "model's training domain")
