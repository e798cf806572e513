"""`bgrem catalog`: images in, catalogues out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.cataloguing.files import catalog_suffix, write_catalog, write_segmentation
from bgrem.cataloguing.flow import Catalog, catalog, require_one_channel
from bgrem.commands.base import guard_image, read_input, silenced_engine
from bgrem.config import CatalogConfig, DenoiseConfig, InputConfig
from bgrem.denoising.bundle import BUNDLE_PARTS
from bgrem.denoising.flow import Denoised
from bgrem.frame.background import whole_image_statistics
from bgrem.frame.sky.remainder import with_remainder
from bgrem.inference.device import describe_device
from bgrem.inference.run import load_for
from bgrem.models import Model, find_model, read_description
from common.batch import Files, refuse_one_name, run_over_files
from common.command import Call, RunRecord
from common.header import header_of
from common.image import AstroImage, Card
from common.io import read_image, split_suffix
from common.progress import Passes
from common.provenance import datasum, parse_history

DENOISE_COMMAND = "bgrem denoise"  # BGTOOL of a denoised image of this toolkit
FITS_SUFFIXES = (".fits", ".fit", ".fts")  # of plain FITS files


def run(call: Call) -> int:
    """Catalogue all inputs; the model is loaded once."""
    args, config = call.args, call.settings[CatalogConfig]
    denoising: DenoiseConfig = call.settings[DenoiseConfig]
    if args.denoised is None:
        find_model(denoising.model)
    loaded: list[Model] = []

    def read(path: Path) -> AstroImage:
        return read_input(path, call.settings[InputConfig])

    def work(path: Path, image: AstroImage, files: Files) -> dict[str, Any]:
        done: Denoised | None = None
        outside: list[str] = []
        if args.denoised is not None:
            done = read_denoised(args.denoised, image, call.settings[InputConfig], denoising)
        else:
            image, outside = guard_image(call, image, denoising.model)
        with silenced_engine(call) as raised:
            if done is None and image.shape[-1] == 1 and not loaded:
                loaded.append(load_for(denoising))
            model = loaded[0] if loaded else None
            found = catalog(
                image, config, denoising=denoising, done=done, model=model, psf=args.psf,
                progress=Passes(call.reporter.done),
            )  # fmt: skip
        meta = found.table.meta
        more = [str(one.message).rstrip(".") for one in raised if one.category is UserWarning]
        notes = [*meta["notes"], *more]
        if notes:
            call.warn(f"{image.name}: {'; '.join(notes)}", "info")
        origins = [f"{name} is from {origin}" for name, origin in meta["origin"].items()]
        _write(_record(call, path, image, [*origins, *notes], model), image, found, files)
        return {
            "sources": len(found.table),
            "threshold": meta["THRESH"],
            "threshold_from": meta["origin"]["threshold"],
            "flagged": int((found.table["DENOISED_FLAG"] > 0).sum()),
            "missing": notes,
            "outside_domain": outside,
            "model": None if model is None else model.name,
            "sha256": None if model is None else model.sha256,
        }

    weights = "" if args.denoised else str(read_description(denoising.model).get("sha256", ""))
    return run_over_files(
        call, read, work, name=_name_files, refuse_several=_refuse_several, made_with=weights
    )


def _refuse_several(call: Call, number: int) -> None:
    if not _is_folder(call.args.output):
        raise ValueError(f"--output {call.args.output}: {number} inputs need a folder.")
    refuse_one_name(call, number)


def _is_folder(output: Path | None) -> bool:
    return output is None or output.is_dir() or not output.suffix


def _name_files(call: Call, path: Path) -> Files:
    args, result = call.args, call.args.output
    catalog_suffix(Path(f"x{args.format}"))
    if _is_folder(result):
        name = f"{split_suffix(path)[0].name}_catalog{args.format}"
        result = (args.output or Path(".")) / name
    catalog_suffix(result)  # refuses unknown ones
    parameters = f"{result.stem}_{result.suffix[1:]}Params.json"
    files = {"catalogue": result, "parameters": result.with_name(parameters)}
    if args.segmentation:
        if args.segmentation.suffix.lower() not in FITS_SUFFIXES:
            raise ValueError(
                f"{args.segmentation}: a segmentation map is a plain FITS file. Name it *.fits."
            )
        files["segmentation"] = args.segmentation
    return files


def read_denoised(
    path: Path, image: AstroImage, settings: InputConfig, denoising: DenoiseConfig
) -> Denoised:
    """Return an existing denoised image as `Denoised`: a bundle, or a plain image.

    The noise, and for a plain image the smooth background, are measured on the original.

    Raises
    ------
    ValueError
        If its shape is not the original's, or its header says that it was made from other pixels,
        or with a strength below 1; or if the image has several channels.
    """
    bundle = _has_hdu(path, BUNDLE_PARTS[0])
    result = read_image(
        path, hdu="SCI" if bundle else settings.hdu, channels=settings.channels, zeros="data"
    )
    if result.shape != image.shape:
        raise ValueError(f"{path}: shape {result.shape}, that of the image is {image.shape}.")
    _refuse_other_origin(path, result, image)
    require_one_channel(image)
    found = whole_image_statistics(
        image.pixels[..., 0], mesh=denoising.mesh, mask_sigma=denoising.mask_sigma
    )
    if bundle:
        background = read_image(path, hdu=BUNDLE_PARTS[0], zeros="data")
    else:
        missing, sources = image.missing[..., 0], result.pixels[..., 0]
        scaled = np.where(missing, 0, found.forward(image.pixels[..., 0]))
        rest = with_remainder(found, scaled, sources / found.sigma, missing, mesh=denoising.mesh)
        background = image.with_pixels(rest.background)
    residual = image.pixels - result.pixels - background.pixels
    sigma = np.asarray(found.sigma)[..., None]
    return Denoised(result, background, image.with_pixels(residual), sigma)


def _refuse_other_origin(path: Path, result: AstroImage, image: AstroImage) -> None:
    """Raise ValueError where the header of a denoised image contradicts its use."""
    header = header_of(result)
    if header.get("BGTOOL") != DENOISE_COMMAND:
        return  # of another program, which may denoise as well
    if str(header.get("BGDATSUM")) != str(datasum(image.pixels)):
        raise ValueError(f"{path}: was made from other pixels than those of {image.name}.")
    lines = [str(line) for line in header.get("HISTORY", ())]
    settings = parse_history(lines, DENOISE_COMMAND)[2]
    if float(settings.get("strength", 1)) != 1:
        raise ValueError(
            f"{path}: has background left (strength {settings['strength']}). Denoise it anew."
        )


def _has_hdu(path: Path, name: str) -> bool:
    from common.fits.parts import scanned_file

    if path.suffix.lower() not in FITS_SUFFIXES or not path.is_file():
        return False
    with scanned_file(path) as (_, hdus):
        return any(one.name == name for one in hdus)


def _record(
    call: Call, path: Path, image: AstroImage, notes: list[str], model: Model | None
) -> RunRecord:
    """Return what the files say: what was detected on, or the network that ran."""
    cards: list[Card] = list(image.cards)  # they come first
    made: dict[str, Any] = {"seed": call.settings[DenoiseConfig].seed}
    if (denoised := call.args.denoised) is not None:
        notes = [*notes, f"detected on {denoised.name}, no network was run"]
        cards.append(("BGDENOIS", denoised.name, "what was detected on"))
    elif model is not None:
        made |= {"model_sha256": model.sha256, "device": describe_device(model),
                 "engine": model.engine}  # fmt: skip
    record = call.record(path, image.pixels, notes=notes, **made)
    return replace(record, cards=(*cards, *record.cards))


def _write(record: RunRecord, image: AstroImage, found: Catalog, files: Files) -> None:
    for option, write, what in (
        ("catalogue", write_catalog, found.table),
        ("segmentation", write_segmentation, found.segmentation),
    ):
        if option in files:
            write(
                files[option], what, header=header_of(image), cards=record.cards_of(option),
                history=record.history_of(option), overwrite=record.overwrite,
            )  # fmt: skip
    record.write_parameters(files["parameters"])
