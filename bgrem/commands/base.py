"""What the subcommands do: files in, files out."""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from bgrem.config import DenoiseConfig, TrainConfig
from common import cli
from common.config import config_from_args

TOOL = "bgrem"  # name of the program
# options that write a further file
DENOISE_FILES = ("background", "residual", "bundle", "uncertainty", "quality", "before_after")
# tools whose files in a folder are no inputs
SKIPPED_OUTPUTS_OF = (f"{TOOL} denoise", f"{TOOL} catalog")
# flags beside the config that change the pixels: recorded and replayed with it
INPUT_FLAGS = ("hdu", "channels", "zeros", "verify", "dq")


def denoise_files(args: argparse.Namespace) -> int:
    """`bgrem denoise`: the model is loaded once, then one file after the other."""
    config: DenoiseConfig = read_settings(args, f"{TOOL} denoise", DenoiseConfig)[0]
    from bgrem.models import find_model
    from common.batch import run_files

    find_model(config.model)
    calibration = _find_calibration(args, config)
    loaded: list[Any] = []

    def work(path: Path) -> None:
        report_outputs(args, _denoise_file(path, args, config, calibration, loaded))

    return run_files(TOOL, args.inputs, args, work, DENOISE_FILES, makers=SKIPPED_OUTPUTS_OF)


def _find_calibration(args: argparse.Namespace, config: DenoiseConfig) -> Any:
    """Return the calibration for `--uncertainty`, None without."""
    if args.uncertainty is None:
        if args.calibration is not None:
            raise ValueError(f"--calibration {args.calibration}: add --uncertainty FILE.")
        return None
    if config.strength != 1:
        raise ValueError(f"--uncertainty: only with --strength 1. Received: {config.strength}")
    from bgrem.denoising.uncertainty import load_calibration
    from bgrem.models import read_description

    return load_calibration(config, read_description(config.model), args.calibration)


def read_settings(args: argparse.Namespace, tool: str, *configs: type) -> list[Any]:
    """Return the configs from flags and `--params`; fill in the `INPUT_FLAGS` of `args`."""
    replayed: dict[str, Any] = {}
    names = [{one.name for one in dataclasses.fields(config)} for config in configs]
    if args.params:
        from common.provenance import read_params

        replayed = read_params(args.params, tool, known=set(INPUT_FLAGS).union(*names))
    for name in INPUT_FLAGS:
        value = replayed.pop(name, None)
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.zeros = args.zeros or "border"
    args.verify = args.verify is not False
    return [
        config_from_args(args, config, {n: v for n, v in replayed.items() if n in mine})
        for config, mine in zip(configs, names, strict=True)
    ]


def read_input(path: Path, args: argparse.Namespace) -> Any:
    """Return the `AstroImage` of a file as the `INPUT_FLAGS` say."""
    from common.image import is_bayer
    from common.io import read_image

    image = read_image(
        path, hdu=args.hdu, channels=args.channels, zeros=args.zeros, verify=args.verify
    )
    if is_bayer(image):
        raise ValueError(
            f"{path}: a Bayer mosaic. Debayer it, or split it into its four planes, first."
        )
    return image if args.dq is None else _without_bad_pixels(image, path, args.dq)


def guard_image(image: Any, model: str, args: argparse.Namespace) -> tuple[Any, list[str]]:
    """Return the image with the keyword BGDOMAIN, and what lies outside the model's domain.

    A frame outside is a line on stderr each, or refused with `--strict`.
    """
    import sys

    from bgrem.frame.domain import domain_card, guard_domain
    from bgrem.models import read_description

    lines = guard_domain(image, read_description(model), strict=args.strict)
    if lines is None:
        return image, []
    if not args.quiet:
        for line in lines:
            print(f"{TOOL}: warning: {image.name}: {line}", file=sys.stderr)
    return image.with_pixels(image.pixels, cards=[domain_card(lines)]), lines


def name_outputs(path: Path, args: argparse.Namespace, words: dict[str, str]) -> dict[str, Path]:
    """Return option -> file for what a command always writes, and the file of its parameters.

    `words` has what each name ends in; the first is the result's, which -o may name.
    """
    from common.batch import is_image_name
    from common.io import split_suffix

    stem, suffix = split_suffix(path)
    folder, name, result = args.output or Path("."), args.prefix + stem.name, None
    if args.output is not None and is_image_name(args.output):
        result = args.output
        base, suffix = split_suffix(result)
        folder, name = base.parent, base.name
    files = {option: folder / f"{name}_{word}{suffix}" for option, word in words.items()}
    main = next(iter(words))
    files[main] = result or files[main]
    return files | {"parameters": folder / f"{name}_{words[main]}Params.json"}


def _denoise_outputs(path: Path, args: argparse.Namespace) -> dict[str, Path]:
    files = name_outputs(path, args, {"result": "denoised"})
    for option in DENOISE_FILES:
        if getattr(args, option):
            files[option] = getattr(args, option)
    if files.get("before_after", Path(".png")).name.lower().endswith(".png"):
        return files
    raise ValueError(f"{files['before_after']}: the picture is a PNG. Name it *.png.")


def _denoise_file(
    path: Path,
    args: argparse.Namespace,
    config: DenoiseConfig,
    calibration: Any,
    loaded: list[Any],
) -> dict[str, Any]:
    """Read, denoise and write one file; nothing is written before all could be."""
    start = time.perf_counter()
    from common.batch import prepare_outputs

    image = read_input(path, args)
    image, outside = guard_image(image, config.model, args)
    files = _denoise_outputs(path, args)
    prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
    with cli.silenced_stderr():  # TensorFlow announces itself, whatever it is told
        from bgrem.denoising.flow import denoise
        from bgrem.denoising.outputs import write_denoised
        from bgrem.inference.run import load_for

        if not loaded:
            loaded.append(load_for(config))
        done = denoise(image, config, model=loaded[0], twin=calibration is not None)
    write_denoised(
        path, image, done, files, args, config, loaded[0],
        outside=bool(outside), calibration=calibration,
    )  # fmt: skip
    return run_outcome(path, files, loaded[0], outside, start)


def _without_bad_pixels(image: Any, path: Path, dq: str) -> Any:
    """Return the image with the pixels that a data quality plane marks as missing."""
    import numpy as np

    from common.io import read_image

    try:
        quality = read_image(path, hdu=int(dq) if dq.isdigit() else dq, zeros="data").pixels
    except ValueError as error:
        raise ValueError(str(error).replace("--hdu", "--dq")) from None
    if quality.shape[:2] != image.shape[:2]:
        raise ValueError(f"{path}[{dq}]: shape {quality.shape[:2]}, the image {image.shape[:2]}.")
    return image.with_pixels(np.where(quality != 0, np.nan, image.pixels))


def restore_file(args: argparse.Namespace) -> int:
    """`bgrem restore`: the input of a bundle."""
    from bgrem.denoising.bundle import write_restored
    from common.batch import prepare_outputs

    prepare_outputs(
        args.input, {"result": args.output}, make_folder=False, overwrite=args.overwrite
    )
    write_restored(args.output, args.input, overwrite=args.overwrite)
    report_outputs(args, {"input": args.input, "outputs": {"result": args.output}})
    return cli.EXIT_DONE


def simulate_files(args: argparse.Namespace) -> int:
    """`bgrem simulate`: fields with truth, or a comparison with a real frame."""
    from bgrem.config import SimulateConfig
    from bgrem.simulate.optical import simulate_field
    from bgrem.simulate.write import write_field

    config = config_from_args(args, SimulateConfig, {"preset": args.preset})
    if args.compare:
        from bgrem.simulate.compare.compare import compare_command

        return compare_command(args, config)
    if args.number < 1:
        raise ValueError(f"--number must be 1 or more. Received: {args.number}")
    args.output.mkdir(parents=True, exist_ok=True)
    for number in range(args.number):
        one = dataclasses.replace(config, seed=config.seed + number)
        path = args.output / f"{one.preset}_{one.seed}.fits"
        from common.atomic import check_writable

        check_writable(path, args.overwrite)
        write_field(path, simulate_field(one), overwrite=args.overwrite)
        report_outputs(args, {"input": one.preset, "outputs": {"field": path}})
    return cli.EXIT_DONE


def train_model(args: argparse.Namespace) -> int:
    """`bgrem train`: a run folder."""
    source = args.preset or args.config
    if source is None:
        raise ValueError("no config. Give a JSON file or a name, as `bgrem train optical -o RUN`.")
    base = TrainConfig.read(source)
    values = {one.name: getattr(base, one.name) for one in dataclasses.fields(base)}
    config = config_from_args(args, TrainConfig, values)

    def report(line: str) -> None:
        if not args.quiet and not args.json:
            print(line, flush=True)

    with cli.silenced_stderr():
        from bgrem.training.run import train
    folder = train(config, args.output, report=report)
    report_outputs(args, {"input": source, "outputs": {"model": folder}})
    return cli.EXIT_DONE


def show_models(args: argparse.Namespace) -> int:
    """`bgrem models`: the registry, or one card."""
    import json

    from bgrem.models import find_model, list_models

    if args.model:
        print((find_model(args.model) / "model.json").read_text("utf-8"), end="")
        return cli.EXIT_DONE
    found = list_models()
    if args.json:
        cli.emit_json({"models": found})
        return cli.EXIT_DONE
    for name, description in found.items():
        what = description.get("domain", {}).get("what", "")
        print(json.dumps(name).strip('"').ljust(12), what)
    return cli.EXIT_DONE


def run_record(
    command: str, path: Path, image: Any, config: Any, model: Any, args: argparse.Namespace
) -> tuple[dict[str, Any], Any, list[str]]:
    """Return parameters, keywords and HISTORY lines that say what made a run's files."""
    from bgrem import __version__
    from bgrem.inference.device import describe_device, describe_engine
    from common.provenance import history_lines, provenance_cards

    parameters = dataclasses.asdict(config) | {name: getattr(args, name) for name in INPUT_FLAGS}
    cards = provenance_cards(
        command, __version__, path, pixels=image.pixels, model_sha256=model.sha256,
        seed=config.seed, device=describe_device(model), engine=describe_engine(),
    )  # fmt: skip
    return parameters, cards, history_lines(command, __version__, path, parameters)


def run_outcome(
    path: Path, files: dict[str, Path], model: Any, outside: list[str], start: float
) -> dict[str, Any]:
    """Return what `--json` says of a run that began at `start` (`time.perf_counter`)."""
    return {
        "input": path,
        "outputs": files,
        "model": model.name,
        "outside_domain": outside,
        "sha256": model.sha256,
        "seconds": round(time.perf_counter() - start, 3),
    }


def report_outputs(args: argparse.Namespace, outcome: dict[str, Any]) -> None:
    """Say what was written, as `--json` and `--quiet` want it."""
    if args.json:
        cli.emit_json(outcome)
    elif not args.quiet:
        written = ", ".join(str(file) for file in outcome["outputs"].values())
        print(f"{outcome['input']}: wrote {written}")
