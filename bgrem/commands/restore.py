"""`bgrem restore`: the input of a bundle."""

from bgrem.denoising.bundle import write_restored
from common import cli
from common.batch import prepare_outputs
from common.command import Call


def run(call: Call) -> int:
    """Write the input of a bundle."""
    args, files = call.args, {"result": call.args.output}
    prepare_outputs(args.input, files, make_folder=False, overwrite=args.overwrite)
    write_restored(args.output, args.input, overwrite=args.overwrite)
    call.report({"input": args.input, "outputs": files})
    return cli.EXIT_DONE
