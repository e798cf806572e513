"""`bgrem simulate`: fields with truth, or a comparison with a real frame."""

import dataclasses

from bgrem.config import SimulateConfig
from bgrem.simulate.optical import simulate_field
from bgrem.simulate.write import write_field
from common import cli
from common.atomic import check_writable
from common.command import Call


def run(call: Call) -> int:
    """Write fields, or compare one."""
    args, config = call.args, call.settings[SimulateConfig]
    if args.compare:
        from bgrem.commands.compare_noise import compare_with_frame

        return compare_with_frame(call, config)
    if args.number < 1:
        raise ValueError(f"--number must be 1 or more. Received: {args.number}")
    args.output.mkdir(parents=True, exist_ok=True)
    fields = [dataclasses.replace(config, seed=config.seed + k) for k in range(args.number)]
    paths = [args.output / f"{one.preset}_{one.seed}.fits" for one in fields]
    for path in paths:
        check_writable(path, args.overwrite)
    for one, path in zip(fields, paths, strict=True):
        write_field(path, simulate_field(one), overwrite=args.overwrite)
        call.report({"input": one.preset, "outputs": {"field": path}})
    return cli.EXIT_DONE
