"""`bgrem train`: a run folder."""

import dataclasses

from bgrem.config import TrainConfig
from common import cli
from common.command import Call
from common.config import config_from_args


def run(call: Call) -> int:
    """Train a model, or go on where a run was stopped."""
    args = call.args
    source = args.preset or args.config
    if source is None:
        raise ValueError("no config. Give a JSON file or a name, as `bgrem train optical -o RUN`.")
    base = TrainConfig.read(source)
    values = {one.name: getattr(base, one.name) for one in dataclasses.fields(base)}
    config = config_from_args(args, TrainConfig, values)
    with cli.silenced_stderr():  # Keras loads its backend
        from bgrem.training.run import train
    with call.reporter as reporter:
        reporter.done(0.0)
        folder = train(config, args.output, report=call.say, progress=reporter.done)
        reporter.done(1.0)
    call.report({"input": source, "outputs": {"model": folder}})
    return cli.EXIT_DONE
