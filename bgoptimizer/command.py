"""What the command does with each file: read, fit, correct, write."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bgoptimizer import pictures
from bgoptimizer.config import BackgroundConfig, GuidanceConfig, InputConfig
from bgoptimizer.correct import Correction, correct_background
from bgoptimizer.fitting import find_sequence_objects, fit_guided
from bgoptimizer.guidance.files import read_objects, read_samples
from bgoptimizer.guidance.guidance import prepare_guidance, prepare_mask
from bgoptimizer.model import BackgroundModel
from bgoptimizer.page.bench import make_bench
from common import cli
from common.batch import Files, OutputPlace, input_paths, is_image_name, run_over_files
from common.command import Call
from common.image import AstroImage
from common.io import read_image, write_image
from common.page.server import one_input, serve

# operation -> what the name of the result ends in
NAMES = {"subtract": "Subtracted", "divide": "Divided", "auto": "Corrected"}
Found = tuple[AstroImage, dict[str, Any]]  # an input and the user's help as `fit_background` has it


def run(call: Call) -> int:
    """Fit all inputs, draw their previews, or show one on the live page."""
    _split_output(call)
    args, config = call.args, call.settings[BackgroundConfig]
    descends = config.objective == "original" or config.solver == "descent"

    def read(path: Path) -> Found:
        return read_with_help(call, path)

    if args.preview:
        path = one_input(call)
        image, given = read(path)
        return serve(make_bench(call, path, image, given))

    def preview(path: Path, found: Found, files: Files) -> dict[str, Any]:
        image, given = found
        weights = prepare_mask(given["mask"], image)
        pictures.preview(image, weights, files["preview"], overwrite=args.overwrite)
        return {"notes": []}

    def fit(path: Path, found: Found, files: Files) -> dict[str, Any]:
        image, given = found
        # TensorFlow announces itself at import and at its first compilation, whatever it is told
        with cli.silenced_stderr() if descends else nullcontext():
            guidance = replace(prepare_guidance(image, **given), objects=shared)
            model = fit_guided(image, config, guidance, call.reporter.done)
        correction = correct_background(image, model)
        model = replace(model, notes=(*model.notes, *found_in, *correction.notes))
        call.reporter.status("saving", "Saving", input=path, output=files["result"])
        _write(call, image, model, correction, files)
        return {
            "notes": list(model.notes),
            "constant": correction.constant,
            "objects": model.objects.mean((0, 1)),
        }

    shared = None
    found_in: tuple[str, ...] = ()
    if args.sequence:
        if args.watch:
            raise ValueError("--sequence: not with --watch. It needs all frames at the start.")
        paths = input_paths(call)
        if len(paths) < 2:
            raise ValueError("--sequence: give two or more images of one field.")
        found = ((image, prepare_guidance(image, **given)) for image, given in map(read, paths))
        shared = find_sequence_objects(found, config)
        found_in = (f"objects from the median of {len(paths)} frames",)
    stills = bool(args.preview_png)
    return run_over_files(
        call, read, preview if stills else fit, name=_name_preview if stills else _name_files,
        timed=not stills,
    )  # fmt: skip


def read_with_help(call: Call, path: Path) -> Found:
    """Return an image, and what the user's files say of it."""
    settings = call.settings[InputConfig]
    image = read_image(
        path, hdu=settings.hdu, channels=settings.channels, zeros=settings.zeros,
        verify=settings.verify,
    )  # fmt: skip
    return image, _read_help(call.settings[GuidanceConfig], image)


def _split_output(call: Call) -> None:
    """Take the output folder from the positionals: it is the original's second one."""
    args = call.args
    if args.output is None and len(args.inputs) == 2 and not is_image_name(Path(args.inputs[1])):
        args.output = Path(args.inputs.pop())
    elif args.output is None and len(args.inputs) > 1:
        raise ValueError("several inputs: name the folder for the outputs with -o DIR.")


def _name_preview(call: Call, path: Path) -> Files:
    return {"preview": call.args.preview_png}


def _name_files(call: Call, path: Path) -> Files:
    place, config = OutputPlace.of(path, call.args), call.settings[BackgroundConfig]
    verb = NAMES[config.operation]
    files = {
        "result": place.result or place.file(f"bg{verb}"),
        "model": place.file("bgModel"),
        "parameters": place.file("bgParams", ".json"),
    }
    if call.args.save_mask:
        files["mask"] = place.file("bgMask")
        files["mask_picture"] = place.file("bgMask", ".png")
    if config.uncertainty:
        files["sigma"] = place.file("bgSigma")
    given = {option: getattr(call.args, option) for option in ("before_after", "animation")}
    return files | {option: file for option, file in given.items() if file}


def _read_help(guides: GuidanceConfig, image: AstroImage) -> dict[str, Any]:
    """Return what the user's files say of an image, as `fit_background` takes it."""
    mask, samples, objects, reference = (
        getattr(guides, name) for name in ("mask", "samples", "objects", "reference")
    )
    return {
        # pixels in the file's own units; missing ones are left out (0)
        "mask": None if mask is None else np.nan_to_num(read_image(mask, zeros="data").pixels),
        "samples": None if samples is None else read_samples(samples, image),
        "objects": None if objects is None else read_objects(objects, image),
        "reference": None if reference is None else read_image(reference),
    }


def _write(
    call: Call, image: AstroImage, model: BackgroundModel, correction: Correction, files: Files
) -> None:
    """Write all files of one input."""
    record = call.record(image.name, image.pixels, notes=model.notes, seed=model.config.seed)
    plain = AstroImage(image.pixels, name=image.name, carrier=image.carrier)
    verb = "divided by" if correction.operation == "divide" else "minus"
    products = {"result": correction.result, "model": correction.model}
    if "sigma" in files and (sigma := model.sigma()) is not None:
        products["sigma"] = plain.with_pixels(sigma)
    if "mask" in files:
        used = np.clip(model.used.min(-1, keepdims=True), 0, 1)
        products["mask"] = plain.with_pixels(model.enlarge(used, np.float32))
    for option, product in products.items():
        sentence = f"this is the input {verb} its background model" if option == "result" else ""
        write_image(
            files[option], record.carried(option, product, sentence), overwrite=record.overwrite,
            compress=call.args.compress and files[option].suffix.lower() == ".xisf",
        )  # fmt: skip
    _draw(image, model, correction, files, record.overwrite)
    record.write_parameters(files["parameters"])


def _draw(
    image: AstroImage, model: BackgroundModel, correction: Correction, files: Files, again: bool
) -> None:
    """Write the pictures that are asked for."""
    if "mask_picture" in files:
        pictures.object_map(image, model, files["mask_picture"], overwrite=again)
    if file := files.get("before_after"):
        pictures.before_after(image, correction.model, correction.result, file, overwrite=again)
    if "animation" in files:
        pictures.animation(image, model, files["animation"], overwrite=again)
