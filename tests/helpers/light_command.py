"""A command that takes milliseconds, for the tests of the loops over inputs and of workers.

It writes the text of an input in capitals. An input whose text begins with "kill" kills the process
that works on it, so many times as it says; "fail", "warn", "say" and "wait" do what they say.
"""

import os
import signal
import time
import warnings
from pathlib import Path

from bgoptimizer import __version__
from common import cli
from common.atomic import atomic_write
from common.batch import run_over_files
from common.command import Call, Command, Flag, Product, add_arguments
from common.reading.notice import FileWarning

COMMAND = Command(
    name="bgoptimizer",  # a program that workers can find
    about="Write an input in capitals.",
    run="light_command:run",
    arguments=(
        Flag("inputs", nargs="+"),
        Flag("-o", "--output", type=Path),
        Product("result", word="capitals"),
    ),
)


def run(call: Call) -> int:
    """Work on all inputs; what is set up is counted in a file."""
    with open("set_up.log", "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")

    def read(path: Path) -> str:
        return path.read_text("utf-8")

    def work(path: Path, text: str, files: dict[str, Path]) -> dict[str, object]:
        order, _, rest = text.partition(" ")
        with atomic_write(files["result"], call.args.overwrite) as temporary:
            if order == "kill":
                tries = path.with_suffix(".tries")
                with tries.open("a", encoding="utf-8") as file:
                    file.write("x")
                if tries.stat().st_size <= int(rest):
                    temporary.write_text("half")
                    os.kill(os.getpid(), signal.SIGKILL)
            elif order == "fail":
                raise ValueError(f"{path}: {rest}")
            elif order == "warn":
                warnings.warn(rest, FileWarning, stacklevel=1)
            elif order == "say":
                call.warn(rest)
            elif order == "wait":
                time.sleep(float(rest))
            temporary.write_text(text.upper(), encoding="utf-8")
        with atomic_write(files["parameters"], call.args.overwrite) as temporary:
            temporary.write_text(str(os.getpid()))
        return {"process": os.getpid()}

    return run_over_files(call, read, work)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def start(words: list[str]) -> int:
        parser = cli.Parser(prog=COMMAND.program)
        add_arguments(parser, COMMAND, __version__)
        return Call(COMMAND, parser.parse_args(words), __version__, {}, start).run()

    return cli.run(start, argv, tool=COMMAND.program)


if __name__ == "__main__":
    raise SystemExit(main())
