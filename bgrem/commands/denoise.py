"""`bgrem denoise`: images without background and noise, and on request what was taken off."""

from pathlib import Path
from typing import Any

import numpy as np

from bgrem.commands.base import Source, run_network, source_record
from bgrem.config import CatalogConfig, DenoiseConfig, InputConfig
from bgrem.denoising.flow import Denoised, denoise
from bgrem.denoising.outputs import DenoisedRun, measured_cards, write_denoised
from bgrem.denoising.uncertainty import Calibration, load_calibration
from bgrem.frame.domain import COMPARE_ADVICE
from bgrem.frame.exposure import find_exposure
from bgrem.frame.normalisers import normaliser_of
from bgrem.models import Model, find_model, read_description
from bgrem.validation.verdict import Verdict, judge_frame
from common import cli
from common.batch import Files, name_products
from common.command import Call
from common.header import header_of
from common.image import AstroImage


def run(call: Call) -> int:
    """Denoise all inputs."""
    config: DenoiseConfig = call.settings[DenoiseConfig]
    find_model(config.model)
    calibration = _find_calibration(call, config)

    def make(image: AstroImage, model: Model) -> tuple[Denoised, Verdict | None]:
        done = denoise(image, config, model=model, twin=calibration is not None)
        return done, _judge(call, image, done, config, model, calibration)

    def write(source: Source, made: tuple[Denoised, Verdict | None]) -> dict[str, Any]:
        done, verdict = made
        cards = measured_cards(done, config.strength)
        if verdict is not None:
            cards += verdict.cards()
            _warn(call, source.image.name, verdict)
        named = call.args.calibration
        write_denoised(DenoisedRun(
            image=source.image, done=done, files=source.files,
            record=source_record(call, source, config.seed, cards), outside=bool(source.outside),
            channels=call.settings[InputConfig].channels, calibration=calibration,
            calibration_name=named.name if named else "",
            widening=(verdict and verdict.widening) or 1.0,
        ))  # fmt: skip
        return {"verdict": None if verdict is None else verdict.facts()}

    return run_network(call, config, make, write, name=_name_files)


def _judge(
    call: Call, image: AstroImage, done: Denoised, config: DenoiseConfig, model: Model,
    calibration: Calibration | None,
) -> Verdict | None:  # fmt: skip
    """Return the verdict on the frame; None if none is wanted, or the result is no measure of it.

    That is so at a strength below 1, and for published preprocessing, which has no background.
    """
    normaliser = normaliser_of(model.description)
    if not call.args.verdict or config.strength != 1 or normaliser.subtracts_tile_median:
        return None
    exposure = find_exposure(header_of(image), CatalogConfig())
    gain = 1.0 if normaliser.is_counts else exposure.gain
    if config.minimum is not None:
        image = image.with_pixels(np.maximum(image.pixels, config.minimum))
    verdict = judge_frame(
        image, done,
        lambda pixels: denoise(pixels, config, model=model, twin=calibration is not None),
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
    if call.args.quiet:
        return
    for problem in verdict.problems:
        line = f"{call.command.program}: warning: {name}: {problem}; {COMPARE_ADVICE}"
        cli.put(line, error=True)
    if verdict.widening is not None and verdict.widening > 1:
        line = f"{name}: the half-widths were too narrow and are multiplied by"
        cli.put(f"{call.command.program}: {line} {verdict.widening:.2f}", error=True)


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
