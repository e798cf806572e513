"""`bgrem noisemap`: raw frames less the map of their structures, the map, its noise, detections."""

from dataclasses import replace
from typing import Any

from bgrem.cataloguing.files import catalog_suffix, write_catalog
from bgrem.commands.base import Source, run_network, source_record
from bgrem.config import NoiseMapConfig
from bgrem.models import Model, require_task
from bgrem.noise_mapping.detections import carried_cards, write_regions
from bgrem.noise_mapping.flow import NoiseMap, noisemap
from common.atomic import atomic_write
from common.command import Call, RunRecord
from common.header import header_of
from common.image import AstroImage
from common.io import write_image
from common.progress import Passes


def run(call: Call) -> int:
    """Map all inputs."""
    config: NoiseMapConfig = call.settings[NoiseMapConfig]
    require_task(config.model, call.command.word)
    if call.args.detections is not None:
        catalog_suffix(call.args.detections)  # refuses unknown ones before the work

    def make(image: AstroImage, model: Model) -> tuple[NoiseMap, Any]:
        done = noisemap(image, config, model=model, progress=Passes(call.reporter.done))
        return done, done.detections(config.false_alarms) if call.args.detections else None

    def write(source: Source, made: tuple[NoiseMap, Any]) -> dict[str, Any]:
        done, table = made
        record = source_record(call, source, config.seed, [])
        images = {"result": done.residual, "map": done.map, "deviation": done.deviation,
                  "rms": done.rms}  # fmt: skip
        for option, image in images.items():
            carried = record.carried(option, image)
            write_image(source.files[option], carried, overwrite=record.overwrite)
        if table is not None:
            _write_detections(record, source, table)
        record.write_parameters(source.files["parameters"])
        return {} if table is None else {"detections": len(table)}

    return run_network(call, config, make, write)


def _write_detections(record: RunRecord, source: Source, table: Any) -> None:
    """Write the table in the format of its suffix, with the header's times."""
    path = source.files["detections"]
    if path.suffix.lower() == ".reg":
        with atomic_write(path, record.overwrite) as temporary:
            write_regions(temporary, table)
        return
    threshold = ("BGTHRESH", float(table.meta["threshold"]), "least SNR of a detection")
    cards = [*carried_cards(source.image), *source.image.cards, threshold]
    record = replace(record, cards=(*cards, *record.cards))
    plain = table.copy(copy_data=False)
    plain.meta.clear()
    write_catalog(
        path, plain, header=header_of(source.image), cards=record.cards_of("detections"),
        history=record.history_of("detections"), overwrite=record.overwrite,
    )  # fmt: skip
