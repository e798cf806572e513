"""`bgrem enhance`: exposures as longer ones would show them."""

from bgrem.commands.base import Products, run_system
from bgrem.config import EnhanceConfig
from bgrem.enhancing.flow import enhance
from bgrem.models import Model
from common.command import Call
from common.image import AstroImage, Card
from common.progress import Passes


def run(call: Call) -> int:
    """Enhance all inputs."""
    config: EnhanceConfig = call.settings[EnhanceConfig]

    def make(image: AstroImage, model: Model) -> Products:
        done = enhance(image, config, model=model, progress=Passes(call.reporter.done))
        cards: list[Card] = [("BGRATIO", config.ratio, "looks so many times as long as EXPTIME")]
        if config.cosmic_rays:
            number = int(done.cosmic_rays.sum())
            cards.append(("BGNCOSMI", number, "pixels of cosmic rays replaced"))
        return {"result": done.result}, cards

    return run_system(call, config, make)
