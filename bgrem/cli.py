"""The command `bgrem`: one subcommand for each record of `bgrem.commands`."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from bgrem import __version__
from bgrem.commands import COMMANDS
from common import cli, command
from common.command import Call, Command

TOOL = "bgrem"  # name of the program
ABOUT = "Learned tools that remove background and noise from images."


def main(argv: Sequence[str] | None = None, commands: Mapping[str, Command] = COMMANDS) -> int:
    """Run the command and return its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are not ours

    def run(words: list[str]) -> int:
        parser = build_parser(commands)
        args = parser.parse_args(words)
        if args.command is None:
            parser.print_help()
            return cli.EXIT_DONE
        return Call(commands[args.command], args, __version__, commands, run).run()

    return cli.run(run, argv, tool=TOOL)


def build_parser(commands: Mapping[str, Command] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return command.build_parser(TOOL, ABOUT, __version__, commands)


if __name__ == "__main__":
    sys.exit(main())
