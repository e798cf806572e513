"""The command `bgoptimizer`: files in, corrected files, models, masks and pictures out."""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bgoptimizer import __version__
from bgoptimizer.config import BackgroundConfig
from common import cli

TOOL = "bgoptimizer"
# flags beside the config that change the pixels: recorded and replayed with it
INPUT_FLAGS = {"mask": Path, "hdu": str, "channels": tuple, "zeros": str, "verify": bool}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # The matrices are small: with more threads BLAS spends its time waiting (2 to 4 times the CPU)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up lines are not ours
    return cli.run(_run, argv, tool=TOOL)


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog=TOOL,
        description="Fit the sky background of linear FITS or XISF images and remove it. Writes "
        "<stem>_bgSubtracted (or _bgDivided), <stem>_bgModel, <stem>_bgMask (file and PNG) and "
        "<stem>_bgParams.json.",
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT [OUTPUT_DIR]", help="images, folders or patterns")
    add("-o", "--output", type=Path, help="folder for the outputs, or file name of the result")
    add("-m", "--mask", type=Path, help="mask image: 1 = use, 0 = leave out, between: weight")
    add("-c", "--compress", action="store_true", help="lz4hc and byte shuffling in XISF outputs")
    add("-p", "--preview", action="store_true", help="no fit: write stretch and mask as a PNG")
    add("--preview-png", type=Path, metavar="PNG", help="name of that PNG; no fit")
    add("--before-after", type=Path, metavar="PNG", help="write a picture: before, model, after")
    add("--animation", type=Path, metavar="GIF", help="write the rounds of the fit as an animation")
    add("--save-mask", action=argparse.BooleanOptionalAction, default=True,
        help="write what was used for the fit as a file and a picture (default: yes)")  # fmt: skip
    add("--hdu", help="HDU number or EXTNAME (FITS), image number (XISF)")
    add("--channels", type=_numbers, metavar="0,1,2", help="planes to read, one or three")
    add("--zeros", choices=("border", "all", "data"),
        help="which exact zeros are missing pixels (default: border)")  # fmt: skip
    add("--verify", action=argparse.BooleanOptionalAction,
        help="refuse files with wrong checksums (default: yes)")  # fmt: skip
    cli.add_config_flags(parser.add_argument_group("fit"), BackgroundConfig)  # type: ignore[arg-type]
    cli.add_common_flags(parser, __version__)
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _run(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    inputs = _inputs_and_output(args)
    replayed: dict[str, Any] = {}
    if args.params:
        from common.provenance import read_params

        known = [*INPUT_FLAGS, *(one.name for one in dataclasses.fields(BackgroundConfig))]
        replayed = read_params(args.params, TOOL, known=known)
    for name, kind in INPUT_FLAGS.items():
        value = replayed.pop(name, None)
        if getattr(args, name) is None and value is not None:
            setattr(args, name, kind(value))
    args.zeros = args.zeros or "border"
    args.verify = args.verify is not False
    config = cli.config_from_args(args, BackgroundConfig, replayed)

    from common.batch import run_files

    single = ("before_after", "animation", "preview_png")
    return run_files(
        TOOL, inputs, args, lambda path: _report(args, _process(path, args, config)), single,
        makers=(TOOL,),
    )  # fmt: skip


def _inputs_and_output(args: argparse.Namespace) -> list[str]:
    """Split the positionals: the original's second one is the output folder."""
    from common.batch import is_image_name

    inputs = list(args.inputs)
    if args.output is None and len(inputs) == 2 and not is_image_name(Path(inputs[1])):
        args.output = Path(inputs.pop())
    elif args.output is None and len(inputs) > 1:
        raise ValueError("several inputs: name the folder for the outputs with -o DIR.")
    return inputs


def _outputs(path: Path, args: argparse.Namespace, config: BackgroundConfig) -> dict[str, Path]:
    """All files of a run; `result` may carry a name of the user's."""
    from common.batch import is_image_name
    from common.io import split_suffix

    stem, suffix = split_suffix(path)
    folder, name = args.output or Path("."), stem.name
    verb = "Divided" if config.operation == "divide" else "Subtracted"
    result = None
    if args.output is not None and is_image_name(args.output):
        result = args.output
        base, suffix = split_suffix(args.output)
        folder, name = base.parent, base.name
    if args.preview or args.preview_png:
        return {"preview": args.preview_png or folder / f"{name}_bgPreview.png"}
    files = {
        "result": result or folder / f"{name}_bg{verb}{suffix}",
        "model": folder / f"{name}_bgModel{suffix}",
        "parameters": folder / f"{name}_bgParams.json",
    }
    if args.save_mask:
        files["mask"] = folder / f"{name}_bgMask{suffix}"
        files["mask_picture"] = folder / f"{name}_bgMask.png"
    if config.uncertainty:
        files["sigma"] = folder / f"{name}_bgSigma{suffix}"
    for option in ("before_after", "animation"):
        if getattr(args, option):
            files[option] = getattr(args, option)
    return files


def _read_mask(path: Path) -> Any:
    """Pixels of a mask file in its own units; missing ones are left out (0)."""
    import numpy as np

    from common.io import read_image

    return np.nan_to_num(read_image(path, zeros="data").pixels)


def _process(path: Path, args: argparse.Namespace, config: BackgroundConfig) -> dict[str, Any]:
    """Read, fit, correct and write one file; nothing is written before all could be."""
    start = time.perf_counter()
    from common.batch import prepare_outputs
    from common.io import read_image

    image = read_image(
        path, hdu=args.hdu, channels=args.channels, zeros=args.zeros, verify=args.verify
    )
    mask = None if args.mask is None else _read_mask(args.mask)
    files = _outputs(path, args, config)
    prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
    if "preview" in files:
        from bgoptimizer import pictures
        from bgoptimizer.fitting import prepare_mask

        weights = prepare_mask(mask, image)
        pictures.preview(image, weights, files["preview"], overwrite=args.overwrite)
        return {"input": path, "outputs": files, "notes": []}

    from bgoptimizer.correct import correct_background
    from bgoptimizer.fitting import fit_background

    # TensorFlow announces itself at import and at its first compilation, whatever it is told
    with cli.silenced_stderr() if config.objective == "original" else nullcontext():
        model = fit_background(image, config, mask=mask)
    correction = correct_background(image, model)
    _write(image, model, correction, files, args)
    return {
        "input": path,
        "outputs": files,
        "notes": list(model.notes),
        "constant": correction.constant,
        "objects": model.objects.mean((0, 1)),
        "seconds": round(time.perf_counter() - start, 3),
    }


def _write(image, model, correction, files, args) -> None:
    import numpy as np

    from common.image import AstroImage
    from common.io import write_image
    from common.provenance import history_lines, provenance_cards, write_params

    parameters = dataclasses.asdict(model.config)
    parameters |= {name: getattr(args, name) for name in INPUT_FLAGS}
    history = history_lines(TOOL, __version__, image.name, parameters, notes=model.notes)
    cards = provenance_cards(
        TOOL, __version__, image.name, pixels=image.pixels, seed=model.config.seed
    )

    def save(kind: str, pixels_of: AstroImage, what: str) -> None:
        full = pixels_of.with_pixels(
            pixels_of.pixels, cards=cards, history=[*history, f"{TOOL}: {what}"]
        )
        compress = args.compress and files[kind].suffix.lower() == ".xisf"
        write_image(files[kind], full, overwrite=args.overwrite, compress=compress)

    def carried(pixels: np.ndarray) -> AstroImage:
        plain = AstroImage(image.pixels, name=image.name, carrier=image.carrier)
        return plain.with_pixels(pixels)

    verb = "divided by" if model.config.operation == "divide" else "minus"
    save("result", correction.result, f"this is the input {verb} its background model")
    save("model", correction.model, "this is the background model")
    if "sigma" in files:
        save(
            "sigma",
            carried(model.sigma()),
            "this is the standard deviation of the background model",
        )
    if "mask" in files:
        used = model.enlarge(np.clip(model.used.min(-1, keepdims=True), 0, 1)).astype(np.float32)
        save("mask", carried(used), "this is the weight of each pixel in the fit (0 = left out)")
    if {"mask_picture", "before_after", "animation"} & set(files):
        from bgoptimizer import pictures

        again = {"overwrite": args.overwrite}
        if "mask_picture" in files:
            pictures.object_map(image, model, files["mask_picture"], **again)
        if "before_after" in files:
            pictures.before_after(
                image, correction.model, correction.result, files["before_after"], **again
            )
        if "animation" in files:
            pictures.animation(image, model, files["animation"], **again)
    write_params(
        files["parameters"], TOOL, __version__, image.name, parameters, overwrite=args.overwrite
    )


def _report(args: argparse.Namespace, outcome: dict[str, Any]) -> dict[str, Any]:
    if args.json:
        cli.emit_json(outcome)
    elif not args.quiet:
        written = ", ".join(str(file) for file in outcome["outputs"].values())
        notes = "".join(f" ({note})" for note in outcome["notes"])
        print(f"{outcome['input']}: wrote {written}{notes}")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
