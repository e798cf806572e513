"""The command `bgrem`: it says which learned tools this version has (none yet)."""

import argparse
import sys
from collections.abc import Sequence

from bgrem import __version__
from common import cli

TOOL = "bgrem"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return cli.run(_run, argv, tool=TOOL)


def _run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=TOOL,
        description="Learned tools that denoise survey images. This version has none of them yet; "
        "the background of a single image is fitted and removed by the command bgoptimizer.",
    )
    parser.add_argument("command", nargs="*", help="a tool to run (none in this version)")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    args, _ = parser.parse_known_args(argv)  # flags of tools to come give the same one line
    if args.command:
        raise ValueError(
            f"{args.command[0]}: bgrem {__version__} has no such tool yet. "
            "Use bgoptimizer to remove a background."
        )
    parser.print_help()
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main())
