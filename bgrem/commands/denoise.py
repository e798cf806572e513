"""`bgrem denoise`: images without background and noise, and on request what was taken off."""

from pathlib import Path

from bgrem.commands.base import Source, run_network, source_record
from bgrem.config import DenoiseConfig, InputConfig
from bgrem.denoising.flow import Denoised, denoise
from bgrem.denoising.outputs import DenoisedRun, measured_cards, write_denoised
from bgrem.denoising.uncertainty import Calibration, load_calibration
from bgrem.models import Model, find_model, read_description
from common.batch import Files, name_products
from common.command import Call
from common.image import AstroImage


def run(call: Call) -> int:
    """Denoise all inputs."""
    config: DenoiseConfig = call.settings[DenoiseConfig]
    find_model(config.model)
    calibration = _find_calibration(call, config)

    def make(image: AstroImage, model: Model) -> Denoised:
        return denoise(image, config, model=model, twin=calibration is not None)

    def write(source: Source, done: Denoised) -> None:
        cards = measured_cards(done, config.strength)
        named = call.args.calibration
        write_denoised(DenoisedRun(
            image=source.image, done=done, files=source.files,
            record=source_record(call, source, config.seed, cards), outside=bool(source.outside),
            channels=call.settings[InputConfig].channels, calibration=calibration,
            calibration_name=named.name if named else "",
        ))  # fmt: skip

    return run_network(call, config, make, write, name=_name_files)


def _find_calibration(call: Call, config: DenoiseConfig) -> Calibration | None:
    """Return the calibration for `--uncertainty`, None without."""
    given = call.args.calibration
    if call.args.uncertainty is None:
        if given is not None:
            raise ValueError(f"--calibration {given}: add --uncertainty FILE.")
        return None
    if config.strength != 1:
        raise ValueError(f"--uncertainty: only with --strength 1. Received: {config.strength}")
    return load_calibration(config, read_description(config.model), given)


def _name_files(call: Call, path: Path) -> Files:
    files = name_products(call, path)
    picture = files.get("before_after", Path(".png"))
    if not picture.name.lower().endswith(".png"):
        raise ValueError(f"{picture}: the picture is a PNG. Name it *.png.")
    return files
