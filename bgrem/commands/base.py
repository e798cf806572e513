"""What the subcommands share: read a frame, guard the model's domain, run a network over files."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.config import DenoiseConfig, EnhanceConfig, InputConfig, NoiseMapConfig
from bgrem.frame.domain import domain_card, guard_domain
from bgrem.inference.device import describe_device
from bgrem.inference.exported import ExportNotice
from bgrem.inference.run import load_for
from bgrem.models import Model, read_description, require_task
from bgrem.networks.gpu import DeviceWarning
from common import cli
from common.batch import Files, name_products, run_over_files
from common.command import Call, RunRecord
from common.header import is_mosaic, mosaic_pattern
from common.image import AstroImage, Card
from common.io import read_image, write_image
from common.progress import events
from common.reading.notice import FileWarning

# lines for the user while a network runs
ENGINE_WARNINGS = (DeviceWarning, FileWarning, ExportNotice)
# what a system gives: option of its file -> image, and further keywords for all files
Products = tuple[Mapping[str, AstroImage], list[Card]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One input of a command with a network.

    Attributes
    ----------
    path : path
    image : AstroImage
        With the keyword of the domain guard.
    outside : list of str
        What lies outside of the model's domain.
    model : Model
    files : dict of path
        Option -> output.
    """

    path: Path
    image: AstroImage
    outside: list[str]
    model: Model
    files: Files


def read_input(path: Path, settings: InputConfig, *, mosaics: bool = False) -> AstroImage:
    """Return the image of a file, its bad pixels marked as missing.

    A mosaic of colour filters is refused, unless `mosaics` allows those of 2x2 filters.
    """
    image = read_image(
        path, hdu=settings.hdu, channels=settings.channels, zeros=settings.zeros,
        verify=settings.verify,
    )  # fmt: skip
    pattern = mosaic_pattern(image)
    if is_mosaic(image, settings.bayer) and not (mosaics and len(pattern) <= 4):
        kind = f"mosaic of the colour filters {pattern}" if len(pattern) > 4 else "Bayer mosaic"
        raise ValueError(
            f"{path}: a {kind}. Debayer it, or split it into its planes, first. --no-bayer takes "
            "it for a mono image."
        )
    return image if settings.dq is None else _without_bad_pixels(image, path, settings.dq)


def _without_bad_pixels(image: AstroImage, path: Path, dq: str) -> AstroImage:
    """Return the image with the pixels that a data quality plane marks as missing."""
    try:
        quality = read_image(path, hdu=int(dq) if dq.isdigit() else dq, zeros="data").pixels
    except ValueError as error:
        raise ValueError(str(error).replace("--hdu", "--dq")) from None
    if quality.shape[:2] != image.shape[:2]:
        raise ValueError(f"{path}[{dq}]: shape {quality.shape[:2]}, the image {image.shape[:2]}.")
    return image.with_pixels(np.where(quality != 0, np.nan, image.pixels))


def guard_image(call: Call, image: AstroImage, model: str) -> tuple[AstroImage, list[str]]:
    """Return the image with the keyword BGDOMAIN, and what lies outside the model's domain.

    A frame outside is a line on stderr each, or refused with `--strict`.
    """
    lines = guard_domain(image, read_description(model), strict=call.args.strict)
    if lines is None:
        return image, []
    for line in lines:
        call.warn(f"{image.name}: {line}")
    return image.with_pixels(image.pixels, cards=[domain_card(lines)]), lines


@contextmanager
def silenced_engine(call: Call) -> Iterator[list[warnings.WarningMessage]]:
    """Drop what TensorFlow writes on stderr meanwhile; warnings of GPU and files follow it.

    Gives the list of all warnings that are raised inside.
    """
    with warnings.catch_warnings(record=True) as raised:
        for kind in ENGINE_WARNINGS:
            warnings.simplefilter("always", kind)
        try:
            with cli.silenced_stderr():  # TensorFlow announces itself, whatever it is told
                yield raised
        finally:
            for one in raised:
                if issubclass(one.category, ENGINE_WARNINGS):
                    line = str(one.message).rstrip(".")
                    level = "info" if one.category is ExportNotice else "warning"
                    call.warn(f"{line}.", level)


def run_network(
    call: Call,
    config: DenoiseConfig | EnhanceConfig | NoiseMapConfig,
    make: Callable[[AstroImage, Model], Any],
    write: Callable[[Source, Any], Mapping[str, Any] | None],
    *,
    name: Callable[[Call, Path], Files] = name_products,
    model_for: Callable[[AstroImage], str] | None = None,
) -> int:
    """Run a command with a network: it is loaded once, then one file after the other.

    Parameters
    ----------
    call : Call
    config : dataclass
        With the model.
    make : callable
        Takes image and model, returns what `write` writes.
    write : callable
        Takes a `Source` and what was made. Returns what ``--json`` says beside the model, if
        anything.
    name : callable
        As `run_over_files` takes it.
    model_for : callable, optional
        Image -> name of the model; then mosaics of 2x2 colour filters are read, too. Default:
        the config's for all.
    """
    loaded: dict[str, Model] = {}

    def read(path: Path) -> tuple[AstroImage, list[str], str]:
        image = read_input(path, call.settings[InputConfig], mosaics=model_for is not None)
        chosen = config.model if model_for is None else model_for(image)
        return *guard_image(call, image, chosen), chosen

    def work(path: Path, found: tuple[AstroImage, list[str], str], files: Files) -> dict[str, Any]:
        image, outside, chosen = found
        with silenced_engine(call):
            if chosen not in loaded:
                loaded[chosen] = load_for(replace(config, model=chosen), call.command.word)
            model = loaded[chosen]
            events.emit("info", topic="model", name=model.name, device=describe_device(model))
            made = make(image, model)
        call.reporter.status("saving", "Saving", input=path, output=files["result"])
        source = Source(path=path, image=image, outside=outside, model=model, files=files)
        more = write(source, made) or {}
        facts = {"model": model.name, "outside_domain": outside, "sha256": model.sha256}
        return facts | dict(more)

    made_with = str(read_description(config.model).get("sha256", ""))
    return run_over_files(call, read, work, name=name, made_with=made_with)


def run_system(
    call: Call,
    config: EnhanceConfig | NoiseMapConfig,
    make: Callable[[AstroImage, Model], Products],
) -> int:
    """Run a command whose products are images: `make` gives them and further keywords."""
    require_task(config.model, call.command.word)

    def write(source: Source, made: Products) -> None:
        products, cards = made
        record = source_record(call, source, config.seed, cards)
        for option, image in products.items():
            carried = record.carried(option, image)
            write_image(source.files[option], carried, overwrite=record.overwrite)
        record.write_parameters(source.files["parameters"])

    return run_network(call, config, make, write)


def source_record(call: Call, source: Source, seed: int, cards: list[Card]) -> RunRecord:
    """Return what the files of an input say; `cards` are further keywords."""
    return call.record(
        source.path, source.image.pixels, cards=cards, model_sha256=source.model.sha256,
        seed=seed, device=describe_device(source.model), engine=source.model.engine,
    )  # fmt: skip
