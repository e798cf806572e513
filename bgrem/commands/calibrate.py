"""`bgrem calibrate`: the uncertainty of a model, fitted to fields with truth."""

import json
from collections.abc import Iterator
from typing import Any

from bgrem.commands.base import silenced_engine
from bgrem.config import DenoiseConfig
from bgrem.inference.run import load_for
from bgrem.models import find_model
from bgrem.training.calibration import calibrate, print_coverage, simulated_pairs
from bgrem.training.pairs import read_pair
from common import cli
from common.atomic import atomic_write, check_writable
from common.batch import expand_inputs
from common.command import Call
from common.progress import Passes

FIRST_CALIBRATION_SEED = 62_000  # of simulated fields; the seeds of the training begin at 1,000,000


def run(call: Call) -> int:
    """Write a calibration as JSON; its coverage goes to stdout."""
    args, config = call.args, call.settings[DenoiseConfig]
    if bool(args.inputs) == bool(args.simulate):
        raise ValueError("give either files with observed and true pixels, or --simulate N.")
    if config.strength != 1:
        raise ValueError(f"the uncertainty is that of --strength 1. Received: {config.strength}")
    find_model(config.model)
    check_writable(args.output, args.overwrite)
    with silenced_engine(call):
        model = load_for(config)
    if args.inputs:
        number, pairs = _user_pairs(args.inputs)
        origin = "the user's fields"
    else:
        number, pairs = args.simulate, simulated_pairs(args.simulate, FIRST_CALIBRATION_SEED)
        origin = f"simulated fields of the training's domain, seeds from {FIRST_CALIBRATION_SEED}"
    with call.reporter as reporter:
        fields = Passes(reporter.done)
        fields.begin(number)
        found, rows = calibrate(pairs, config, model, progress=fields)
    content = found.to_json()
    content["notes"] |= {"data": origin, "sha256": model.sha256}
    with atomic_write(args.output, args.overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if not (args.quiet or args.json):
        print_coverage(rows)
    call.report({
        "input": config.model, "outputs": {"calibration": args.output}, "coverage": rows,
    })  # fmt: skip
    return cli.EXIT_DONE


def _user_pairs(inputs: list[str]) -> tuple[int, Iterator[Any]]:
    """Return the number of files and their pairs, read one by one."""
    paths = expand_inputs(inputs)
    return len(paths), (read_pair(path) for path in paths)
