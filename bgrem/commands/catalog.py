"""What `bgrem catalog` does: images in, catalogues out."""

import argparse
import dataclasses
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from bgrem import __version__
from bgrem.cataloguing.files import catalog_suffix
from bgrem.commands.base import (
    INPUT_FLAGS,
    SKIPPED_OUTPUTS_OF,
    TOOL,
    guard_image,
    read_input,
    read_settings,
    report_outputs,
)
from bgrem.config import CatalogConfig, DenoiseConfig
from common import cli
from common.image import Card

CATALOG_COMMAND = f"{TOOL} catalog"  # recorded in the header as the tool that made the file


def catalog_files(args: argparse.Namespace) -> int:
    """`bgrem catalog`: the model is loaded once, then one file after the other."""
    config, denoising = read_settings(args, CATALOG_COMMAND, CatalogConfig, DenoiseConfig)
    from bgrem.models import find_model
    from common.batch import expand_inputs, leave_out_files_of, run_files

    if args.denoised is None:
        find_model(denoising.model)
    paths = expand_inputs(
        args.inputs, leave_out_files_of(SKIPPED_OUTPUTS_OF, TOOL, quiet=args.quiet)
    )
    if len(paths) > 1 and not _is_folder(args.output):
        raise ValueError(f"--output {args.output}: {len(paths)} inputs need a folder.")
    loaded: list[Any] = []

    def work(path: Path) -> None:
        report_outputs(args, _catalog_file(path, args, config, denoising, loaded))

    return run_files(TOOL, paths, args, work, ("denoised", "segmentation"))


def _is_folder(output: Path | None) -> bool:
    return output is None or output.is_dir() or not output.suffix


def _outputs(path: Path, args: argparse.Namespace) -> dict[str, Path]:
    from common.io import split_suffix

    result = args.output
    catalog_suffix(Path(f"x{args.format}"))
    if _is_folder(result):
        name = f"{split_suffix(path)[0].name}_catalog{args.format}"
        result = (args.output or Path(".")) / name
    catalog_suffix(result)  # refuses unknown ones
    parameters = f"{result.stem}_{result.suffix[1:]}Params.json"
    files = {"catalogue": result, "parameters": result.with_name(parameters)}
    if args.segmentation:
        if args.segmentation.suffix.lower() not in (".fits", ".fit", ".fts"):
            raise ValueError(
                f"{args.segmentation}: a segmentation map is a plain FITS file. Name it *.fits."
            )
        files["segmentation"] = args.segmentation
    return files


def _catalog_file(
    path: Path, args: argparse.Namespace, config: CatalogConfig, denoising: DenoiseConfig,
    loaded: list[Any],
) -> dict[str, Any]:  # fmt: skip
    """Read, denoise, measure and write one file; nothing is written before all could be."""
    start = time.perf_counter()
    from common.batch import prepare_outputs

    image = read_input(path, args)
    files = _outputs(path, args)
    prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
    done: Any = None
    outside: list[str] = []
    if args.denoised is not None:
        done = read_denoised(args.denoised, image, args, denoising)
    else:
        image, outside = guard_image(image, denoising.model, args)
    # TensorFlow announces itself, whatever it is told
    with cli.silenced_stderr(), warnings.catch_warnings(record=True) as raised:
        from bgrem.cataloguing.flow import catalog

        if done is None and image.shape[-1] == 1 and not loaded:
            from bgrem.inference.run import load_for

            loaded.append(load_for(denoising))
        model = loaded[0] if loaded else None
        found = catalog(image, config, denoising=denoising, done=done, model=model)
    notes = found.table.meta["notes"]
    notes += [str(one.message).rstrip(".") for one in raised if one.category is UserWarning]
    if notes and not args.quiet:
        print(f"{TOOL}: {image.name}: {'; '.join(notes)}", file=sys.stderr)
    _write(path, image, found, files, args, (config, denoising), model)
    return {
        "input": path,
        "outputs": files,
        "sources": len(found.table),
        "threshold": found.table.meta["THRESH"],
        "threshold_from": found.table.meta["origin"]["threshold"],
        "flagged": int((found.table["DENOISED_FLAG"] > 0).sum()),
        "missing": notes,
        "outside_domain": outside,
        "model": None if model is None else model.name,
        "sha256": None if model is None else model.sha256,
        "seconds": round(time.perf_counter() - start, 3),
    }


def read_denoised(
    path: Path, image: Any, args: argparse.Namespace, denoising: DenoiseConfig
) -> Any:
    """Return an existing denoised image as `Denoised`: a bundle, or a plain image.

    The noise, and for a plain image the smooth background, are measured on the original.

    Raises
    ------
    ValueError
        If its shape is not the original's, or its header says that it was made from other pixels,
        or with a strength below 1.
    """
    import numpy as np

    from bgrem.denoising.bundle import BUNDLE_PARTS
    from bgrem.denoising.flow import Denoised
    from bgrem.frame.background import whole_image_statistics
    from common.io import read_image

    bundle = _has_hdu(path, BUNDLE_PARTS[0])
    result = read_image(
        path, hdu="SCI" if bundle else args.hdu, channels=args.channels, zeros="data"
    )
    if result.shape != image.shape:
        raise ValueError(f"{path}: shape {result.shape}, that of the image is {image.shape}.")
    _refuse_other_origin(path, result, image)
    if image.shape[-1] > 1:
        return Denoised(result, result, result, result.pixels)  # `catalog` refuses it
    found = whole_image_statistics(image.pixels[..., 0], mesh=denoising.mesh)
    background = image.with_pixels(found.background)
    if bundle:
        background = read_image(path, hdu=BUNDLE_PARTS[0], zeros="data")
    residual = image.pixels - result.pixels - background.pixels
    sigma = np.asarray(found.sigma)[..., None]
    return Denoised(result, background, image.with_pixels(residual), sigma)


def _refuse_other_origin(path: Path, result: Any, image: Any) -> None:
    """Raise ValueError where the header of a denoised image contradicts its use."""
    from common.header import header_of
    from common.provenance import datasum, parse_history

    header = header_of(result)
    tool = "bgrem denoise"
    if header.get("BGTOOL") != tool:
        return  # of another program, which may denoise as well
    if str(header.get("BGDATSUM")) != str(datasum(image.pixels)):
        raise ValueError(f"{path}: was made from other pixels than those of {image.name}.")
    settings = parse_history([str(line) for line in header.get("HISTORY", ())], tool)[2]
    if float(settings.get("strength", 1)) != 1:
        raise ValueError(
            f"{path}: has background left (strength {settings['strength']}). Denoise it anew."
        )


def _has_hdu(path: Path, name: str) -> bool:
    from astropy.io import fits

    if path.suffix.lower() not in (".fits", ".fit", ".fts") or not path.is_file():
        return False
    with fits.open(path) as hdus:
        return name in hdus


def _write(path, image, found, files, args, configs, model) -> None:
    from bgrem.cataloguing.files import write_catalog, write_segmentation
    from bgrem.inference.device import describe_device, describe_engine
    from common.header import header_of
    from common.provenance import history_lines, provenance_cards, write_params

    parameters = {name: getattr(args, name) for name in INPUT_FLAGS}
    for config in configs:
        parameters |= dataclasses.asdict(config)
    notes = [f"{name} is from {origin}" for name, origin in found.table.meta["origin"].items()]
    notes += found.table.meta["notes"]
    if args.denoised is not None:
        notes.append(f"detected on {args.denoised.name}, no network was run")
    made: dict[str, Any] = {"seed": configs[1].seed}
    cards: tuple[Card, ...] = ()
    if args.denoised is not None:
        cards = (("BGDENOIS", args.denoised.name, "what was detected on"),)
    else:
        made |= {"model_sha256": model.sha256, "device": describe_device(model),
                 "engine": describe_engine()}  # fmt: skip
    cards += provenance_cards(CATALOG_COMMAND, __version__, path, pixels=image.pixels, **made)
    carried = {
        "header": header_of(image),
        "history": history_lines(CATALOG_COMMAND, __version__, path, parameters, notes=notes),
        "overwrite": args.overwrite,
    }  # fmt: skip
    for part, write, what in (
        ("catalogue", write_catalog, found.table),
        ("segmentation", write_segmentation, found.segmentation),
    ):
        if part in files:
            mine = ("BGPART", part, "which of the run's files this is")
            write(files[part], what, cards=(*image.cards, *cards, mine), **carried)
    write_params(
        files["parameters"],
        CATALOG_COMMAND,
        __version__,
        path,
        parameters,
        overwrite=args.overwrite,
    )
