"""`bgoptimizer INPUT --preview`: the fit behind the live page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bgoptimizer.config import BackgroundConfig
from bgoptimizer.correct import correct_background
from bgoptimizer.fitting import fit_background
from bgoptimizer.page.help import DrawnHelp
from common.batch.outputs import OutputPlace
from common.command import Call
from common.header import is_mosaic, mosaic_pattern
from common.image import AstroImage
from common.page.marks import Marks
from common.page.plane import View
from common.page.session import Bench, Report

# settings that are seen first, in this order
MAIN = ("protect", "operation", "objective", "delinearization_quantile", "threshold_min",
        "threshold_max", "pedestal", "control_points")  # fmt: skip
KINDS = {"object": "Object", "left_out": "Leave out"}
FIT_PART = 0.7  # of the progress; the rest is for the correction and the pictures
# controls of the stretch -> settings of the published method
STRETCHED = {
    "quantile": "delinearization_quantile",
    "low": "threshold_min",
    "high": "threshold_max",
}


def make_bench(call: Call, path: Path, image: AstroImage, given: Mapping[str, Any]) -> Bench:
    """Return what the page works with.

    Parameters
    ----------
    call : Call
    path : path
    image : AstroImage
        The input.
    given : mapping
        The user's files, as `fit_background` takes them.
    """
    place = OutputPlace.of(path, call.args)
    drawn = DrawnHelp(call, image, given, place)
    config = call.settings[BackgroundConfig]
    pattern = mosaic_pattern(image) or "RGGB" if is_mosaic(image, config.bayer) else ""

    def view(name: str, label: str, pixels: np.ndarray, same_sky: bool = True) -> View:
        return View(name=name, label=label, pixels=pixels, pattern=pattern, same_sky=same_sky)

    def work(
        config: Any, marks: Marks, middle: tuple[float, float], report: Report
    ) -> tuple[Sequence[View], Sequence[str]]:
        report(None, "fitting the background")
        model = fit_background(
            image, config, **drawn.help(marks),
            progress=lambda done: report(FIT_PART * done, "fitting the background"),
        )  # fmt: skip
        report(FIT_PART, "correcting the image")
        correction = correct_background(image, model)
        report(0.9, "drawing")
        objects = model.enlarge(np.asarray(model.objects.any(-1, keepdims=True), np.float32))
        made = (
            view("background", "Background", correction.model.pixels, same_sky=False),
            view("result", "Result", correction.result.pixels),
            View(name="mask", label="Mask", pixels=np.clip(objects, 0, 1), is_mask=True),
        )
        left_out = f"left out of the fit: {100 * float(model.objects.any(-1).mean()):.0f} %"
        return made, [left_out, *model.notes, *correction.notes]

    return Bench(
        call=call, path=path, image=image, config=BackgroundConfig, main=MAIN,
        verb="Fit background", about="Fits the whole frame, as the command does.",
        views=[view("input", "Input", image.pixels)], work=work, kinds=KINDS,
        marks=drawn.at_start(), folder=place.folder, stem=f"{place.stem}_bg",
        keep_marks=drawn.keep, stretched=STRETCHED,
    )  # fmt: skip
