"""What `bgrem validate` does: a frame in, a folder with a report out."""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from bgrem import __version__
from bgrem.commands.base import (
    INPUT_FLAGS,
    TOOL,
    guard_image,
    read_input,
    read_settings,
    report_outputs,
)
from bgrem.config import DenoiseConfig, ValidateConfig
from common import cli

VALIDATE_COMMAND = f"{TOOL} validate"  # recorded as the tool that made the report
PARAMETERS_FILE = "validateParams.json"  # name of the file in the report's folder


def validate_file(args: argparse.Namespace) -> int:
    """`bgrem validate`: nothing is written before all is measured."""
    start = time.perf_counter()
    config, denoising = read_settings(args, VALIDATE_COMMAND, ValidateConfig, DenoiseConfig)
    from bgrem.validation.report import check_report_folder, report_names

    names = [*report_names(config, with_truth=args.truth is not None), PARAMETERS_FILE]
    check_report_folder(args.output, names, overwrite=args.overwrite)
    image = read_input(args.input, args)
    image, _ = guard_image(image, denoising.model, args)
    truth = _truth(args.truth, image)

    def tell(line: str) -> None:
        if not args.quiet and not args.json:
            print(f"{line} …", flush=True)

    with cli.silenced_stderr():  # TensorFlow announces itself, whatever it is told
        from bgrem.inference.run import load_for
        from bgrem.validation.flow import validate
        from bgrem.validation.report import write_report

        model = load_for(denoising)
        done = validate(image, config, denoising=denoising, model=model, truth=truth, report=tell)
    files = write_report(
        args.output, done, extra={PARAMETERS_FILE: _parameters(args, config, denoising)},
        overwrite=args.overwrite,
    )  # fmt: skip
    goals = [one for result in done.results for one in result.measures if one.wanted]
    report_outputs(args, {
        "input": args.input,
        "outputs": {"report": files["report.html"], "figures": files["report.json"]},
        "goals": len(goals),
        "missed": [one.name for one in goals if one.passed is False],
        "undecided": [one.name for one in goals if one.passed is None],
        "outside_domain": done.warnings,
        "model": model.name,
        "sha256": model.sha256,
        "seconds": round(time.perf_counter() - start, 3),
    })  # fmt: skip
    return cli.EXIT_DONE


def _truth(path: Path | None, image: Any) -> Any:
    """Return the truth of a file of `bgrem simulate`, checked against the image."""
    if path is None:
        return None
    from bgrem.frame.truth import read_truth

    truth = read_truth(path)
    if truth.sources.shape != image.shape[:2]:
        raise ValueError(
            f"{path}: SOURCES has the shape {truth.sources.shape}, the image {image.shape[:2]}. "
            "Give the truth of this image."
        )
    return truth


def _parameters(
    args: argparse.Namespace, config: ValidateConfig, denoising: DenoiseConfig
) -> bytes:
    from common.provenance import params_text

    parameters = {name: getattr(args, name) for name in INPUT_FLAGS}
    parameters |= dataclasses.asdict(config) | dataclasses.asdict(denoising)
    text = params_text(PARAMETERS_FILE, VALIDATE_COMMAND, __version__, args.input, parameters)
    return text.encode("utf-8")
