"""`bgrem validate`: a frame in, a folder with a report out."""

import time
from pathlib import Path

from bgrem.commands.base import guard_image, read_input, silenced_engine
from bgrem.config import DenoiseConfig, InputConfig, ValidateConfig
from bgrem.frame.truth import FieldTruth, read_truth
from bgrem.inference.run import load_for
from bgrem.validation.completeness import completeness_suffix, write_completeness
from bgrem.validation.flow import validate
from bgrem.validation.report import check_report_folder, report_names, write_report
from common import cli
from common.atomic import check_writable
from common.command import Call
from common.image import AstroImage
from common.provenance import params_text

PARAMETERS_FILE = "validateParams.json"  # name of the file in the report's folder


def run(call: Call) -> int:
    """Validate a model on a frame; nothing is written before all is measured."""
    start, args = time.perf_counter(), call.args
    config, denoising = call.settings[ValidateConfig], call.settings[DenoiseConfig]
    names = [*report_names(config, with_truth=args.truth is not None), PARAMETERS_FILE]
    check_report_folder(args.output, names, overwrite=args.overwrite)
    if args.completeness is not None:
        completeness_suffix(args.completeness)
        check_writable(args.completeness, args.overwrite)
    image = read_input(args.input, call.settings[InputConfig])
    image, _ = guard_image(call, image, denoising.model)
    truth = _truth(args.truth, image)
    with call.reporter as reporter, silenced_engine(call):
        reporter.done(0.0)
        model = load_for(denoising)
        done = validate(
            image, config, denoising=denoising, model=model, truth=truth,
            report=lambda line: call.say(f"{line} …"), progress=reporter.done,
        )  # fmt: skip
    parameters = params_text(
        PARAMETERS_FILE, call.command.name, call.version, args.input, call.parameters
    )
    files = write_report(
        args.output, done, extra={PARAMETERS_FILE: parameters.encode("utf-8")},
        overwrite=args.overwrite,
    )  # fmt: skip
    outputs = {"report": files["report.html"], "figures": files["report.json"]}
    if args.completeness is not None:
        write_completeness(args.completeness, done, overwrite=args.overwrite)
        outputs["completeness"] = args.completeness
    goals = [one for result in done.results for one in result.measures if one.wanted]
    call.report({
        "input": args.input,
        "outputs": outputs,
        "goals": len(goals),
        "missed": [one.name for one in goals if one.passed is False],
        "undecided": [one.name for one in goals if one.passed is None],
        "outside_domain": done.warnings,
        "model": model.name,
        "sha256": model.sha256,
        "seconds": round(time.perf_counter() - start, 3),
    })  # fmt: skip
    return cli.EXIT_DONE


def _truth(path: Path | None, image: AstroImage) -> FieldTruth | None:
    """Return the truth of a file of `bgrem simulate`, checked against the image."""
    if path is None:
        return None
    truth = read_truth(path)
    if truth.sources.shape != image.shape[:2]:
        raise ValueError(
            f"{path}: SOURCES has the shape {truth.sources.shape}, the image {image.shape[:2]}. "
            "Give the truth of this image."
        )
    return truth
