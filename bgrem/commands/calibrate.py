"""`bgrem calibrate`: the uncertainty of a model, fitted to fields with truth."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bgrem.commands.base import report_outputs
from bgrem.config import DenoiseConfig
from common import cli
from common.config import config_from_args

FIRST_CALIBRATION_SEED = 62_000  # of simulated fields; the seeds of the training begin at 1,000,000


def calibrate_model(args: argparse.Namespace) -> int:
    """`bgrem calibrate`: a calibration as JSON, its coverage on stdout."""
    config = config_from_args(args, DenoiseConfig)
    if bool(args.inputs) == bool(args.simulate):
        raise ValueError("give either files with observed and true pixels, or --simulate N.")
    if config.strength != 1:
        raise ValueError(f"the uncertainty is that of --strength 1. Received: {config.strength}")
    from bgrem.models import find_model
    from common.atomic import check_writable

    find_model(config.model)
    check_writable(args.output, args.overwrite)
    with cli.silenced_stderr():  # TensorFlow announces itself, whatever it is told
        from bgrem.inference.run import load_for
        from bgrem.training.calibration import calibrate, print_coverage, simulated_pairs

        model = load_for(config)
    if args.inputs:
        number, pairs = _user_pairs(args.inputs)
        origin = "the user's fields"
    else:
        number, pairs = args.simulate, simulated_pairs(args.simulate, FIRST_CALIBRATION_SEED)
        origin = f"simulated fields of the training's domain, seeds from {FIRST_CALIBRATION_SEED}"
    with cli.Progress(number, "calibrate", quiet=args.quiet or args.json) as bar:
        found, rows = calibrate(pairs, config, model, progress=bar.update)
    content = found.to_json()
    content["notes"] |= {"data": origin, "sha256": model.sha256}
    _write_json(args.output, content, args.overwrite)
    if not (args.quiet or args.json):
        print_coverage(rows)
    report_outputs(args, {
        "input": config.model, "outputs": {"calibration": args.output}, "coverage": rows,
    })  # fmt: skip
    return cli.EXIT_DONE


def _user_pairs(inputs: list[str]) -> tuple[int, Iterator[Any]]:
    """Return the number of files and their pairs, read one by one."""
    from bgrem.training.pairs import read_pair
    from common.batch import expand_inputs

    paths = expand_inputs(inputs)
    return len(paths), (read_pair(path) for path in paths)


def _write_json(path: Path, content: dict[str, Any], overwrite: bool) -> None:
    from common.atomic import atomic_write

    with atomic_write(path, overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
