"""`bgrem denoise`: images without background and noise, and on request what was taken off."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.commands.base import Source, read_input, run_network, source_record
from bgrem.commands.page.denoise import make_bench
from bgrem.config import SURVEY_MODEL, CatalogConfig, DenoiseConfig, InputConfig
from bgrem.denoising.flow import Denoised, denoise
from bgrem.denoising.outputs import DenoisedRun, measured_cards, write_denoised
from bgrem.denoising.uncertainty import Calibration, load_calibration
from bgrem.frame.domain import COMPARE_ADVICE
from bgrem.frame.exposure import find_exposure
from bgrem.frame.normalisers import normaliser_of
from bgrem.frame.picture.choice import choose_settings, reason_to_keep
from bgrem.models import Model, find_model, read_description
from bgrem.validation.verdict import Verdict, judge_frame, judged_pixels
from common.batch import Files, name_products
from common.command import Call
from common.header import header_of, is_mosaic
from common.image import AstroImage
from common.io import stores_integers
from common.page.server import one_input, serve
from common.progress import Passes


def run(call: Call) -> int:
    """Denoise all inputs, or show one on the live page."""
    config: DenoiseConfig = call.settings[DenoiseConfig]
    find_model(config.model)
    if call.args.preview:
        path = one_input(call)
        image = read_input(path, call.settings[InputConfig], mosaics=True)
        return serve(make_bench(call, path, image, choose_model))
    calibration = _find_calibration(call, config)

    def model_for(image: AstroImage) -> str:
        return choose_model(call, image, config)

    def make(image: AstroImage, model: Model) -> tuple[Denoised, Verdict | None]:
        judged = _is_judged(call, config, model)
        share = image.pixels.size / (image.pixels.size + judged_pixels(image.shape) * judged)
        with call.reporter.part(0, share):
            done = denoise(
                image, config, model=model, twin=calibration is not None,
                mosaic=is_mosaic(image, call.settings[InputConfig].bayer),
                progress=Passes(call.reporter.done),
            )  # fmt: skip
        if not judged:
            return done, None
        call.reporter.status("judging", "Judging the result", input=image.name)
        with call.reporter.part(share, 1):
            return done, _judge(call, image, done, config, model, calibration)

    def write(source: Source, made: tuple[Denoised, Verdict | None]) -> dict[str, Any]:
        done, verdict = made
        kept = normaliser_of(source.model.description).keeps_background
        cards = measured_cards(done, config.strength, kept=kept)
        if verdict is not None:
            cards += verdict.cards()
            _warn(call, source.image.name, verdict)
        named = call.args.calibration
        write_denoised(DenoisedRun(
            image=source.image, done=done, files=source.files,
            record=source_record(call, source, config.seed, cards), outside=bool(source.outside),
            channels=call.settings[InputConfig].channels, calibration=calibration,
            calibration_name=named.name if named else "",
            widening=(verdict and verdict.widening) or 1.0, integers=call.args.integers,
        ))  # fmt: skip
        if done.binning > 1 and config.binning == 0:
            call.warn(
                f"{source.image.name}: sources are so wide that sums of {done.binning} x "
                f"{done.binning} pixels are denoised; --binning 1 takes single ones", "info",
            )  # fmt: skip
        return {"verdict": None if verdict is None else verdict.facts(),
                "keep": "background" if kept else "sources"}  # fmt: skip

    return run_network(call, config, make, write, name=_name_files, model_for=model_for)


def choose_model(call: Call, image: AstroImage, config: DenoiseConfig) -> str:
    """Return the model for an image; say where its background is kept without being asked.

    Raises
    ------
    ValueError
        If the image has no sources alone, or half-widths are wanted of a picture.
    """
    if call.args.integers and not stores_integers(image):
        raise ValueError(f"{image.name}: stores no integers. Leave --integers out.")
    mosaic = is_mosaic(image, call.settings[InputConfig].bayer)
    if mosaic and config.keep == "sources":
        raise ValueError(
            f"{image.name}: a Bayer mosaic. Debayer it, or split it into its planes, first. "
            "--no-bayer takes it for a mono image, --keep background takes the noise alone."
        )
    reason = ""
    if config.keep == "auto" and config.model == SURVEY_MODEL:
        reason = reason_to_keep(image, mosaic=mosaic)
        config = replace(config, keep="background" if reason else "sources")
    chosen = choose_settings(image, config, mosaic=mosaic)
    kept = normaliser_of(read_description(chosen.model)).keeps_background
    if mosaic and not kept:
        raise ValueError(f"{image.name}: a Bayer mosaic, for which {chosen.model} is not made.")
    if kept and call.args.uncertainty is not None:
        raise ValueError(
            f"{image.name}: half-widths are of sources without background. Add --keep sources."
        )
    if reason:
        line = f"{image.name}: {reason}: the background is kept; --keep sources takes it off"
        call.warn(line, "info")
    return chosen.model


def _is_judged(call: Call, config: DenoiseConfig, model: Model) -> bool:
    """Return whether a verdict is wanted, and the result can be measured.

    It cannot at a strength below 1, where the background is kept, and for published preprocessing,
    which has none.
    """
    normaliser = normaliser_of(model.description)
    measures = not (normaliser.subtracts_tile_median or normaliser.keeps_background)
    return call.args.verdict and measures and config.strength == 1


def _judge(
    call: Call, image: AstroImage, done: Denoised, config: DenoiseConfig, model: Model,
    calibration: Calibration | None,
) -> Verdict | None:  # fmt: skip
    """Return the verdict on the frame; None where it has one value alone."""
    normaliser, passed = normaliser_of(model.description), 0

    def denoiser(pixels: np.ndarray) -> Denoised:
        nonlocal passed
        found = denoise(pixels, config, model=model, twin=calibration is not None)
        passed += pixels.size
        call.reporter.done(passed / judged_pixels(image.shape))
        return found

    exposure = find_exposure(header_of(image), CatalogConfig())
    gain = 1.0 if normaliser.is_counts else exposure.gain
    if config.minimum is not None:
        image = image.with_pixels(np.maximum(image.pixels, config.minimum))
    verdict = judge_frame(
        image, done, denoiser,
        gain=gain if gain is not None and gain > 0 else None, saturate=exposure.saturate,
        counts=normaliser.is_counts, calibration=calibration, seed=config.seed,
    )  # fmt: skip
    if verdict is not None and verdict.problems and call.args.strict:
        raise ValueError(
            f"{image.name}: {'; '.join(verdict.problems)}. Compare with the original (bgrem "
            "validate), or leave --strict out."
        )
    return verdict


def _warn(call: Call, name: str, verdict: Verdict) -> None:
    """Print what speaks against the result, one line each."""
    for problem in verdict.problems:
        call.warn(f"{name}: {problem}; {COMPARE_ADVICE}")
    if verdict.widening is not None and verdict.widening > 1:
        line = f"{name}: the half-widths were too narrow and are multiplied by"
        call.warn(f"{line} {verdict.widening:.2f}", "info")


def _find_calibration(call: Call, config: DenoiseConfig) -> Calibration | None:
    """Return the calibration for `--uncertainty`, None without."""
    given = call.args.calibration
    if call.args.uncertainty is None:
        if given is not None:
            raise ValueError(f"--calibration {given}: add --uncertainty FILE.")
        return None
    if config.strength != 1:
        raise ValueError(f"--uncertainty: only with --strength 1. Received: {config.strength}")
    return load_calibration(config, read_description(config.model), given)


def _name_files(call: Call, path: Path) -> Files:
    files = name_products(call, path)
    picture = files.get("before_after", Path(".png"))
    if not picture.name.lower().endswith(".png"):
        raise ValueError(f"{picture}: the picture is a PNG. Name it *.png.")
    return files
