"""Validate a model on a frame: inject, denoise, check, report. The whole flow on one screen."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.config import CatalogConfig, DenoiseConfig, ValidateConfig
from bgrem.frame.domain import FrameProperties, check_domain, measure_frame
from bgrem.frame.normalisers import normaliser_of
from bgrem.frame.stars import (
    MIN_FAINT_STAR_PEAK_SIGMA,
    MIN_STARS_FOR_PSF,
    PointSpread,
    find_stars,
    measure_point_spread,
)
from bgrem.frame.truth import FieldTruth
from bgrem.models import Model
from bgrem.validation.checks.detection import check_detection
from bgrem.validation.checks.fluxes import check_fluxes
from bgrem.validation.checks.halos import check_halos
from bgrem.validation.checks.noise import check_noise
from bgrem.validation.checks.pixels import check_pixels
from bgrem.validation.checks.result import CheckResult
from bgrem.validation.checks.truth import check_truth
from bgrem.validation.frames import Examination, Planes, own_noise, surrogate_noise
from bgrem.validation.injection import inject_sources
from common.image import AstroImage
from common.progress import Passes
from common.provenance import datasum

PIXELS_PER_INJECTION = 2000  # px for each injected source: they crowd the frame by little
Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Validation:
    """What `validate` gives.

    Attributes
    ----------
    results : list of CheckResult
    properties : FrameProperties
    warnings : list of str
        What of the frame lies outside the model's training domain.
    notes : list of str
        What was assumed, left out or cut.
    facts : dict
        Frame, point-spread function, model, settings.
    """

    results: list[CheckResult]
    properties: FrameProperties
    warnings: list[str]
    notes: list[str]
    facts: dict[str, Any]


def validate(
    image: AstroImage | np.ndarray,
    config: ValidateConfig | None = None,
    *,
    denoising: DenoiseConfig | None = None,
    model: Model | None = None,
    truth: FieldTruth | None = None,
    report: Report | None = None,
    progress: Callable[[float], None] | None = None,
    **settings: Any,
) -> Validation:
    """Return what a model does to a frame: found sources, fluxes, noise, faint light.

    Parameters
    ----------
    image : AstroImage or array, shape (H, W) or (H, W, 1)
        Linear pixels; missing ones are NaN.
    config : ValidateConfig, optional
        `settings` change its fields: ``validate(image, repeats=2)``.
    denoising : DenoiseConfig, optional
        How to denoise; its seed is that of the injected sources too.
    model : Model, optional
        A loaded model; default: the one that `denoising.model` names.
    truth : FieldTruth, optional
        Of a simulated frame.
    report : callable, optional
        Called with a line at each step.
    progress : callable, optional
        Called with what is done, from 0 to 1: each frame to denoise and each check is a step.

    Raises
    ------
    ValueError
        If the image has several channels or nothing to measure, or has too few stars for its
        point-spread function and no width is given.
    """
    from bgrem.inference.run import load_for

    config = replace(config or ValidateConfig(), **settings)
    denoising = denoising or DenoiseConfig()
    image = image if isinstance(image, AstroImage) else AstroImage(np.asarray(image))
    if image.shape[-1] != 1:
        raise ValueError(f"{image.name}: has 3 channels, one is examined. Add --channels 1.")
    model = model or load_for(denoising)
    tell = report or (lambda line: None)
    properties = measure_frame(image)
    notes: list[str] = []
    area = _middle(image.shape[:2], config, notes)
    if truth is not None:
        truth = _cut_truth(truth, area)
    steps = _Steps(progress, frames=1 + config.repeats + 2)
    exam = _examine(image, area, config, denoising, model, truth, notes, tell, steps)
    results = []
    for number, (name, check) in enumerate(CHECKS.items()):
        tell(name)
        results += check(exam)
        steps.check_done(number + 1)
    facts = _facts(image, exam, denoising, model)
    return Validation(
        results, properties, check_domain(properties, model.description), notes, facts
    )


class _Steps:
    """Tells how much of a validation is done; the frames of the checks themselves belong to them.

    Parameters
    ----------
    tell : callable or None
        Takes what is done, from 0 to 1.
    frames : int
        That are denoised before the checks, at most.
    """

    def __init__(self, tell: Callable[[float], None] | None, frames: int) -> None:
        self._tell = tell or (lambda done: None)
        self._frames, self._number = frames, frames + len(CHECKS)
        self._denoised = 0

    def frame(self) -> Passes:
        """Return what counts the tiles of the next frame."""
        first = min(self._denoised, self._frames)
        self._denoised += 1
        if first == self._frames:  # a frame of a check
            return Passes(lambda done: None)
        return Passes(lambda done: self._tell((first + done) / self._number))

    def check_done(self, number: int) -> None:
        """Say that so many checks are done."""
        self._denoised = self._frames
        self._tell((self._frames + number) / self._number)


CHECKS: Mapping[str, Callable[[Examination], list[CheckResult]]] = {
    "detection": check_detection,
    "fluxes": check_fluxes,
    "noise": check_noise,
    "halos": check_halos,
    "pixels": check_pixels,
    "truth": check_truth,
}


def result_names(config: ValidateConfig, *, with_truth: bool) -> list[str]:
    """Return the names of the results that `validate` will give."""
    names = ["detection", "noise_only", "fluxes", "noise", "pixels", "maps"]
    names += ["halos"] if config.halos else []
    return names + (["truth_detection", "truth"] if with_truth else [])


def _middle(
    shape: tuple[int, int], config: ValidateConfig, notes: list[str]
) -> tuple[slice, slice]:
    """Return rows and columns of the part that is examined."""
    side = max(shape) if config.full else config.side
    if max(shape) > side:
        notes.append(f"examined is the middle of the frame, {min(shape[1], side)} x "
                     f"{min(shape[0], side)} px; --full takes all of it")  # fmt: skip
    low = [max(0, (length - side) // 2) for length in shape]
    return slice(low[0], low[0] + side), slice(low[1], low[1] + side)


def _cut_truth(truth: FieldTruth, area: tuple[slice, slice]) -> FieldTruth:
    """Return the truth of a part of the frame."""
    sources = truth.sources[area]
    x, y = truth.catalogue["x"] - area[1].start, truth.catalogue["y"] - area[0].start
    height, width = sources.shape
    inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    catalogue = {name: column[inside] for name, column in truth.catalogue.items()}
    return FieldTruth(sources, catalogue | {"x": x[inside], "y": y[inside]})


def _examine(
    image: AstroImage, area: tuple[slice, slice], config: ValidateConfig,
    denoising: DenoiseConfig, model: Model, truth: FieldTruth | None, notes: list[str],
    tell: Report, steps: _Steps,
) -> Examination:  # fmt: skip
    """Return the examination: the frame, its point-spread function, all frames made from it."""
    from bgrem.denoising.flow import denoise
    from bgrem.frame.exposure import find_exposure
    from common.header import header_of

    def to_planes(pixels: np.ndarray) -> Planes:
        done = denoise(
            AstroImage(pixels[..., None], image.name), denoising, model=model,
            progress=steps.frame(),
        )  # fmt: skip
        parts = (done.result.pixels, done.background.pixels, done.sigma)
        result, background, sigma = (part[..., 0].astype(np.float64) for part in parts)
        capped = float("nan") if done.capped is None else float(done.capped.mean())
        return Planes(pixels, result, background, sigma, capped)

    tell("the frame as it is")
    planes = to_planes(image.pixels[..., 0][area].astype(np.float64))
    known = CatalogConfig(gain=config.gain, saturate=config.saturate)
    exposure = find_exposure(header_of(image), known)
    counts = normaliser_of(model.description).is_counts
    gain = 1.0 if counts else exposure.gain
    if gain is None:
        notes.append("no GAIN: injected sources have no photon noise of their own (--gain)")
    if exposure.saturate is None and config.fwhm is None:
        notes.append("no SATURATE: the brightest twentieth of the stars is left out of the "
                     "point-spread function (--saturate)")  # fmt: skip
    spread = _point_spread(image.name, planes, exposure.saturate, config, notes)
    exam = Examination(
        planes, to_planes, spread, gain, config, denoising.seed, exposure.saturate, counts,
        truth=truth,
    )  # fmt: skip
    _fill(exam, tell)
    return exam


def _point_spread(
    name: str, planes: Planes, saturation: float | None, config: ValidateConfig, notes: list[str]
) -> PointSpread:
    """Return the frame's point-spread function, measured or as wide as the user says."""
    full = None if saturation is None else np.nan_to_num(planes.pixels) >= saturation
    spread = measure_point_spread(planes.scaled, planes.missing, full)
    if config.fwhm is not None:
        if config.fwhm > min(planes.pixels.shape) / 8:
            raise ValueError(
                f"{name}: a frame of {planes.pixels.shape} is too small for a FWHM of "
                f"{config.fwhm:g} px. Give a smaller --fwhm."
            )
        return replace(spread or PointSpread(config.fwhm), fwhm=config.fwhm, stars=0)
    if spread is None:
        number = len(find_stars(planes.scaled, planes.missing, full))
        raise ValueError(
            f"{name}: too few clear stars (unsaturated, alone, a peak above "
            f"{MIN_FAINT_STAR_PEAK_SIGMA:g} sigma) for the point-spread function: {number} found, "
            f"{MIN_STARS_FOR_PSF} with a profile that can be fitted are needed. Give --fwhm PX."
        )
    if spread.stars < 10:
        notes.append(f"the point-spread function rests on {spread.stars} stars")
    return spread


def _fill(exam: Examination, tell: Report) -> None:
    """Make the frames with injected sources and those of noise."""
    planes, config = exam.planes, exam.config
    number = config.injections or max(10, round(exam.megapixels * 1e6 / PIXELS_PER_INJECTION))
    for repeat in range(config.repeats):
        tell(f"injected sources, {repeat + 1} of {config.repeats}")
        injection = inject_sources(
            planes.pixels, planes.sigma, exam.spread, number=number, gain=exam.gain,
            inflation=exam.inflation, rng=exam.rng(1, repeat),
        )  # fmt: skip
        exam.injected.append((injection, exam.denoise(injection.pixels)))
    tell("frames of noise")

    def denoised(noise: np.ndarray) -> Planes:
        # gaps as in the frame: false detections are counted on the measured area
        return exam.denoise(np.where(planes.missing, np.nan, noise))

    if exam.counts:
        drawn = exam.rng(2).poisson(np.maximum(planes.background, 0)).astype(float)
    else:
        noise = own_noise(planes, exam.rng(2))
        exam.noise.append(denoised(planes.background - planes.sigma * noise))
        drawn = planes.background + planes.sigma * surrogate_noise(noise, exam.rng(3))
    exam.noise.append(denoised(drawn))


def _facts(
    image: AstroImage, exam: Examination, denoising: DenoiseConfig, model: Model
) -> dict[str, Any]:
    """Return what the report says of frame, model and settings."""
    height, width = exam.planes.pixels.shape
    return {
        "frame": Path(image.name).name,
        "datasum": str(datasum(image.pixels)),
        "examined": f"{width} x {height} px",
        "model": model.name,
        "model sha256": model.sha256,
        "point-spread function": asdict(exam.spread),
        "gain": exam.gain,
        "inflation of a matched filter's noise": exam.inflation,
        "denoising": asdict(denoising),
        "validation": asdict(exam.config),
    }
