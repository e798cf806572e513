"""The command `bgoptimizer`: files in, corrected files, models, masks and pictures out."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bgoptimizer import __version__
from bgoptimizer.config import BackgroundConfig, GuidanceConfig, InputConfig
from common import cli
from common.command import Call, Command, Flag, Product, add_arguments

TOOL = "bgoptimizer"  # name of the program
COMMAND = Command(
    name=TOOL,
    about="Fit the sky background of linear FITS or XISF images and remove it. Writes "
          "<stem>_bgSubtracted (_bgDivided, _bgCorrected), <stem>_bgModel, <stem>_bgMask (file "
          "and PNG) and <stem>_bgParams.json.",
    run="bgoptimizer.command:run",
    arguments=(
        Flag("inputs", nargs="+", metavar="INPUT [OUTPUT_DIR]", help="images, folders or patterns"),
        Flag("-o", "--output", type=Path,
             help="folder for the outputs, or file name of the result"),
        GuidanceConfig,
        Flag("--sequence", action="store_true",
             help="the inputs are aligned frames of one field: find their objects together"),
        Flag("-c", "--compress", action="store_true",
             help="lz4hc and byte shuffling in XISF outputs"),
        Flag("-p", "--preview", action="store_true",
             help="live page in the browser: stretch, objects, points, settings, then the fit"),
        Flag("--preview-png", type=Path, metavar="PNG",
             help="no fit: write stretch and mask as a PNG"),
        Product("result", reproducible=False),  # its sentence depends on the operation
        Product("model", "this is the background model", reproducible=False),
        Product("sigma", "this is the standard deviation of the background model",
                reproducible=False),
        Product("mask", "this is the weight of each pixel in the fit (0 = left out)",
                reproducible=False),
        Product("before_after", reproducible=False, metavar="PNG",
                help="write a picture: before, model, after"),
        Product("animation", reproducible=False, metavar="GIF", help="write the rounds of the fit "
                                                                     "as an animation"),
        Flag("--save-mask", action=argparse.BooleanOptionalAction, default=True,
             help="write what was used for the fit as a file and a picture (default: yes)"),
        InputConfig,
    ),
    configs={BackgroundConfig: "fit", GuidanceConfig: "", InputConfig: ""},
    single_files=("preview_png",),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # The matrices are small: with more threads BLAS spends its time waiting (2 to 4 times the CPU)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are not ours
    return cli.run(_run, argv, tool=TOOL)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = cli.Parser(prog=TOOL, description=COMMAND.about)
    add_arguments(parser, COMMAND, __version__)
    return parser


def _run(words: list[str]) -> int:
    return Call(COMMAND, build_parser().parse_args(words), __version__, {}, _run).run()


if __name__ == "__main__":
    sys.exit(main())
