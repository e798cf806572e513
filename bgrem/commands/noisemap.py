"""`bgrem noisemap`: raw frames less the map of their structures, the map, and its noise."""

from bgrem.commands.base import Products, run_system
from bgrem.config import NoiseMapConfig
from bgrem.models import Model
from bgrem.noise_mapping.flow import noisemap
from common.command import Call
from common.image import AstroImage
from common.progress import Passes


def run(call: Call) -> int:
    """Map all inputs."""
    config: NoiseMapConfig = call.settings[NoiseMapConfig]

    def make(image: AstroImage, model: Model) -> Products:
        done = noisemap(image, config, model=model, progress=Passes(call.reporter.done))
        parts = {"map": done.map, "deviation": done.deviation, "rms": done.rms}
        return {"result": done.residual, **parts}, []

    return run_system(call, config, make)
