"""The command `bgrem`: one subcommand for each tool."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bgrem import __version__
from bgrem.config import DenoiseConfig, EnhanceConfig, NoiseMapConfig, SimulateConfig
from common import cli

TOOL = "bgrem"
# they write no parameter file that could be replayed
WITHOUT_PARAMETERS = ("restore", "reproduce", "models", "simulate", "train", "calibrate")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are not ours
    return cli.run(_run, argv, tool=TOOL)


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog=TOOL, description="Learned tools that remove background and noise from images."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (add_flags, _, description) in COMMANDS.items():
        first = description.split(". ")[0].rstrip(".")
        command = commands.add_parser(name, help=first, description=description)
        add_flags(command)
        cli.add_common_flags(command, __version__, replays=name not in WITHOUT_PARAMETERS)
    return parser


def _run(argv: list[str]) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return cli.DONE
    return COMMANDS[args.command][1](args)


def _input_flags(parser: argparse.ArgumentParser) -> None:
    """Add what decides on the pixels that are read: `bgrem.commands.INPUT_FLAGS`."""
    add = parser.add_argument
    add("-i", "--hdu", help="HDU number or EXTNAME (FITS), image number (XISF)")
    add("--channels", type=_numbers, metavar="0,1,2", help="planes to read, one or three")
    add("--zeros", choices=("border", "all", "data"),
        help="which exact zeros are missing pixels (default: border)")  # fmt: skip
    add("--dq", metavar="HDU", help="HDU of a data quality plane; not 0: missing")
    add("--no-verify", dest="verify", action="store_const", const=False,
        help="read despite wrong checksums")  # fmt: skip


def _image_flags(parser: argparse.ArgumentParser) -> None:
    """Add inputs and outputs of a command that makes images of images."""
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="images, folders or patterns")
    add("-o", "--output", type=Path, help="folder for the outputs, or file name of the result")
    add("-p", "--prefix", default="", help="text before the names of the outputs")
    _input_flags(parser)
    add("--strict", action="store_true", help="refuse frames outside the model's training domain")


def _denoise_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _image_flags(parser)
    add("--background", type=Path, metavar="FILE", help="write the smooth background")
    add("--residual", type=Path, metavar="FILE", help="write the removed noise")
    add("--bundle", type=Path, metavar="FITS",
        help="write SCI, BKG, RESIDUAL and DQ, for `bgrem restore`")  # fmt: skip
    add("--uncertainty", type=Path, metavar="FILE",
        help="write half-widths of the errors, SIGMA68 and SIGMA95; twice the time")  # fmt: skip
    add("--calibration", type=Path, metavar="JSON",
        help="file of `bgrem calibrate` (default: the model's own calibration)")  # fmt: skip
    add("--quality", type=Path, metavar="FITS", help="write the quality plane")
    add("--before-after", type=Path, metavar="PNG", help="write a picture: before, removed, after")
    cli.add_config_flags(parser.add_argument_group("method"), DenoiseConfig)  # type: ignore[arg-type]


def _denoise(args: argparse.Namespace) -> int:
    from bgrem.commands import denoise_files

    return denoise_files(args)


def _enhance_flags(parser: argparse.ArgumentParser) -> None:
    _image_flags(parser)
    cli.add_config_flags(parser.add_argument_group("method"), EnhanceConfig)  # type: ignore[arg-type]


def _enhance(args: argparse.Namespace) -> int:
    from bgrem.system_commands import enhance_files

    return enhance_files(args)


def _noisemap_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _image_flags(parser)
    add("--map", type=Path, metavar="FILE", help="name of the map (default: <stem>_map)")
    add("--deviation", type=Path, metavar="FILE",
        help="name of the runs' standard deviation (default: <stem>_deviation)")  # fmt: skip
    add("--rms", type=Path, metavar="FILE",
        help="name of the residual's noise, left-overs of streaks included: detect against it, in "
        "SExtractor as WEIGHT_TYPE MAP_RMS (default: <stem>_rms)")  # fmt: skip
    cli.add_config_flags(parser.add_argument_group("method"), NoiseMapConfig)  # type: ignore[arg-type]


def _noisemap(args: argparse.Namespace) -> int:
    from bgrem.system_commands import noisemap_files

    return noisemap_files(args)


def _calibrate_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("inputs", nargs="*", metavar="PAIR",
        help="fields with truth, as `bgrem train --files` takes them")  # fmt: skip
    add("--simulate", type=int, metavar="N", help="number of simulated fields instead of files")
    add("-o", "--output", type=Path, required=True, metavar="JSON", help="file of the calibration")
    cli.add_config_flags(parser.add_argument_group("denoising"), DenoiseConfig)  # type: ignore[arg-type]


def _calibrate(args: argparse.Namespace) -> int:
    from bgrem.calibration_command import calibrate_model

    return calibrate_model(args)


def _reproduce_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", type=Path, metavar="FILE",
        help="file of `bgrem denoise`, `enhance`, `noisemap` or (FITS) `catalog`")  # fmt: skip
    add("--input", type=Path, help="its input (default: beside FILE, or in this folder)")
    add("--print", dest="only_print", action="store_true", help="print the command, run nothing")


def _reproduce(args: argparse.Namespace) -> int:
    from bgrem.reproduce import reproduce_file

    return reproduce_file(args)


def _restore_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", type=Path, metavar="BUNDLE", help="file of `bgrem denoise --bundle`"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="file name of the restored image"
    )


def _restore(args: argparse.Namespace) -> int:
    from bgrem.commands import restore_file

    return restore_file(args)


def _validate_flags(parser: argparse.ArgumentParser) -> None:
    from bgrem.config import ValidateConfig

    add = parser.add_argument
    add("input", type=Path, metavar="INPUT", help="image of one channel")
    add("-o", "--output", type=Path, required=True, metavar="REPORT_DIR",
        help="folder for report.html, report.json and pictures")  # fmt: skip
    add("--truth", type=Path, metavar="FITS",
        help="truth of a simulated input: the file of `bgrem simulate`")  # fmt: skip
    add("--strict", action="store_true", help="refuse a frame outside the model's training domain")
    _input_flags(parser)
    cli.add_config_flags(parser.add_argument_group("examination"), ValidateConfig)  # type: ignore[arg-type]
    cli.add_config_flags(parser.add_argument_group("denoising"), DenoiseConfig)  # type: ignore[arg-type]


def _validate(args: argparse.Namespace) -> int:
    from bgrem.validate_command import validate_file

    return validate_file(args)


def _simulate_flags(parser: argparse.ArgumentParser) -> None:
    from bgrem.simulate.presets import PRESETS

    parser.add_argument("preset", metavar="PRESET", help=f"one of {', '.join(PRESETS)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("."), help="folder")
    parser.add_argument("--number", type=int, default=1, help="number of fields; seeds count up")
    parser.add_argument("--compare", type=Path, metavar="FITS",
        help="write no field: compare a simulated one with this real frame's noise")  # fmt: skip
    parser.add_argument("--picture", type=Path, metavar="PNG", help="picture of the comparison")
    parser.add_argument("--hdu", help="HDU of the real frame")
    cli.add_config_flags(parser.add_argument_group("field"), SimulateConfig)  # type: ignore[arg-type]


def _simulate(args: argparse.Namespace) -> int:
    from bgrem.commands import simulate_files

    return simulate_files(args)


def _train_flags(parser: argparse.ArgumentParser) -> None:
    from bgrem.config import CONFIGS, TrainConfig

    known = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.json")))
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=f"JSON file, or one of {known}")
    parser.add_argument("-o", "--output", type=Path, required=True,
        help="folder of the run; a run that was stopped is continued")  # fmt: skip
    parser.add_argument("--preset", metavar="NAME", help="the same as CONFIG: --preset paper")
    cli.add_config_flags(parser.add_argument_group("changes of the config"), TrainConfig)  # type: ignore[arg-type]


def _train(args: argparse.Namespace) -> int:
    from bgrem.commands import train_model

    return train_model(args)


def _models_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="print the card of this model")


def _models(args: argparse.Namespace) -> int:
    from bgrem.commands import show_models

    return show_models(args)


def _catalog_flags(parser: argparse.ArgumentParser) -> None:
    from bgrem.config import CatalogConfig

    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="images, folders or patterns")
    add("-o", "--output", type=Path,
        help="catalogue, or folder for <stem>_catalog<format> (default: this folder)")  # fmt: skip
    add("--format", default=".fits", metavar="SUFFIX",
        help="format in a folder: .fits, .ldac or .cat (FITS-LDAC), .vot or .xml (VOTable), "
        ".ecsv, .csv, .reg (DS9 regions) (default: .fits)")  # fmt: skip
    add("--segmentation", type=Path, metavar="FITS", help="write the segmentation map")
    add("--denoised", type=Path, metavar="FILE",
        help="detect on this denoised image or bundle; no network runs")  # fmt: skip
    add("--strict", action="store_true", help="refuse frames outside the model's training domain")
    _input_flags(parser)
    cli.add_config_flags(parser.add_argument_group("catalogue"), CatalogConfig)  # type: ignore[arg-type]
    cli.add_config_flags(parser.add_argument_group("denoising"), DenoiseConfig)  # type: ignore[arg-type]


def _catalog(args: argparse.Namespace) -> int:
    from bgrem.catalog_command import catalog_files

    return catalog_files(args)


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected planes such as 0,1,2, got {text!r}")
    return tuple(int(part) for part in text.split(","))


Flags = Callable[[argparse.ArgumentParser], None]
COMMANDS: dict[str, tuple[Flags, Callable[[argparse.Namespace], int], str]] = {
    "denoise": (_denoise_flags, _denoise,
        "Remove background and noise from survey images. Writes <prefix><stem>_denoised and "
        "<stem>_denoisedParams.json; sources keep their place and units."),
    "enhance": (_enhance_flags, _enhance,
        "Make an exposure look several times as long. Writes <prefix><stem>_enhanced and "
        "<stem>_enhancedParams.json; fluxes keep their place and units."),
    "noisemap": (_noisemap_flags, _noisemap,
        "Map streaks, banding and sky of a raw frame, so that satellites remain. Writes "
        "<prefix><stem>_residual, <stem>_map, <stem>_deviation, <stem>_rms and "
        "<stem>_residualParams.json."),
    "catalog": (_catalog_flags, _catalog,
        "Find sources on the denoised image and measure them on the original. Writes a catalogue "
        "with SExtractor's columns, and its settings as JSON."),
    "validate": (_validate_flags, _validate,
        "Test a model on your own frame. Injects stars, galaxies and halos (--seed draws them), "
        "compares with SExtractor, measures noise; writes a folder with report.html, report.json "
        "and pictures."),
    "calibrate": (_calibrate_flags, _calibrate,
        "Fit the uncertainty of a model to fields with truth. One half of them gives the "
        "calibration, the other half the coverage that is printed."),
    "restore": (_restore_flags, _restore, "Restore the input of a bundle, pixel for pixel."),
    "reproduce": (_reproduce_flags, _reproduce,
        "Repeat the run that made a file, and compare the pixels. Exit code 0: identical, 1: not."),
    "simulate": (_simulate_flags, _simulate,
        "Simulate fields with truth. Writes <preset>_<seed>.fits with the extensions OBSERVED, "
        "SOURCES, BACKGROUND, NOISE and CATALOGUE."),
    "train": (_train_flags, _train,
        "Train or fine-tune a model on simulations or on own fields. The folder gets weights, "
        "history, checkpoint and card."),
    "models": (_models_flags, _models, "List the models of the package."),
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
