"""`bgrem enhance` and `bgrem noisemap`: files in, files out."""

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bgrem import __version__
from bgrem.commands.base import (
    guard_image,
    name_outputs,
    read_input,
    read_settings,
    report_outputs,
    run_outcome,
    run_record,
)
from bgrem.config import EnhanceConfig, NoiseMapConfig
from common import cli
from common.image import AstroImage, Card

TOOL = "bgrem"  # name of the program
# what a run gives: option of its file -> image, and further keywords for all files
Products = tuple[Mapping[str, AstroImage], list[Card]]


@dataclasses.dataclass(frozen=True)
class System:
    """One command: its config, its files, and the function that makes them.

    Attributes
    ----------
    task : str
        Name of the command and of the models that it takes.
    config : type
    words : dict
        Option -> what its file's name ends in; the first is the result's, which -o may name.
    meanings : dict
        Option -> what the file says of itself.
    run : callable
        (image, config, model) -> `Products`.
    """

    task: str
    config: type
    words: dict[str, str]
    meanings: dict[str, str]
    run: Callable[[AstroImage, Any, Any], Products]

    @property
    def command(self) -> str:
        """The command as the user types it."""
        return f"{TOOL} {self.task}"


def run_system(args: argparse.Namespace, system: System) -> int:
    """Run one command: the model is loaded once, then one file after the other."""
    config = read_settings(args, system.command, system.config)[0]
    from bgrem.models import require_task
    from common.batch import run_files

    require_task(config.model, system.task)
    loaded: list[Any] = []

    def work(path: Path) -> None:
        report_outputs(args, _run_file(path, args, system, config, loaded))

    single = [option for option in system.words if option != "result"]
    return run_files(TOOL, args.inputs, args, work, single, makers=(system.command,))


def _outputs(path: Path, args: argparse.Namespace, system: System) -> dict[str, Path]:
    files = name_outputs(path, args, system.words)
    return {option: getattr(args, option, None) or file for option, file in files.items()}


def _run_file(
    path: Path, args: argparse.Namespace, system: System, config: Any, loaded: list[Any]
) -> dict[str, Any]:
    """Read one file, run the system, write its files; nothing is written before all could be."""
    start = time.perf_counter()
    from common.batch import prepare_outputs

    image = read_input(path, args)
    image, outside = guard_image(image, config.model, args)
    files = _outputs(path, args, system)
    prepare_outputs(path, files, make_folder=args.output is not None, overwrite=args.overwrite)
    with cli.silenced_stderr():  # TensorFlow announces itself, whatever it is told
        from bgrem.inference.run import load_for

        if not loaded:
            loaded.append(load_for(config, system.task))
        products, cards = system.run(image, config, loaded[0])
    _write(path, image, products, cards, files, args, system, config, loaded[0])
    return run_outcome(path, files, loaded[0], outside, start)


def _write(path, image, products, more, files, args, system, config, model) -> None:
    """Write all files of one input and its parameters."""
    from common.io import write_image
    from common.provenance import write_params

    parameters, cards, history = run_record(system.command, path, image, config, model, args)
    for option, product in products.items():
        what = ("BGPART", option, "which of the run's files this is")
        notes = [*history, f"{system.command}: {system.meanings[option]}"]
        carried = product.with_pixels(product.pixels, cards=[*cards, *more, what], history=notes)
        write_image(files[option], carried, overwrite=args.overwrite)
    write_params(
        files["parameters"], system.command, __version__, path, parameters,
        overwrite=args.overwrite,
    )  # fmt: skip


def _enhance(image: AstroImage, config: EnhanceConfig, model: Any) -> Products:
    from bgrem.enhancing.flow import enhance

    done = enhance(image, config, model=model)
    cards: list[Card] = [("BGRATIO", config.ratio, "looks so many times as long as EXPTIME")]
    if config.cosmic_rays:
        cards.append(("BGNCOSMI", int(done.cosmic_rays.sum()), "pixels of cosmic rays replaced"))
    return {"result": done.result}, cards


def _noisemap(image: AstroImage, config: NoiseMapConfig, model: Any) -> Products:
    from bgrem.noise_mapping.flow import noisemap

    done = noisemap(image, config, model=model)
    parts = {"map": done.map, "deviation": done.deviation, "rms": done.rms}
    return {"result": done.residual, **parts}, []


ENHANCE_SYSTEM = System(
    "enhance", EnhanceConfig, {"result": "enhanced"},
    {"result": "this is the input as a longer exposure would show it"}, _enhance,
)  # fmt: skip
NOISEMAP_SYSTEM = System(
    "noisemap", NoiseMapConfig,
    {"result": "residual", "map": "map", "deviation": "deviation", "rms": "rms"},
    {
        "result": "this is the input less the map of its structures",
        "map": "this is the map of the input's structures",
        "deviation": "this is the standard deviation of the runs",
        "rms": "this is the noise of the residual, left-overs of streaks included",
    },
    _noisemap,
)  # fmt: skip


def enhance_files(args: argparse.Namespace) -> int:
    """`bgrem enhance`."""
    return run_system(args, ENHANCE_SYSTEM)


def noisemap_files(args: argparse.Namespace) -> int:
    """`bgrem noisemap`."""
    return run_system(args, NOISEMAP_SYSTEM)
