"""`bgrem denoise INPUT --preview`: the denoising behind the live page."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.commands.base import guard_image, silenced_engine
from bgrem.config import DenoiseConfig, InputConfig
from bgrem.denoising.flow import denoise
from bgrem.frame.normalisers import normaliser_of
from bgrem.inference.run import load_for
from bgrem.inference.tiling import TilePlan
from bgrem.models import Model
from common.batch.outputs import OutputPlace
from common.command import Call
from common.header import is_mosaic, mosaic_pattern
from common.image import AstroImage
from common.page.marks import Marks
from common.page.plane import MOST_PX, View
from common.page.session import Bench, Report

# settings that are seen first, in this order
MAIN = ("keep", "strength", "luminance", "colour", "detail", "steps", "clip", "max_sigma")
MOST_TILES_PART = 0.95  # of the progress; the rest is for background and planes


def make_bench(
    call: Call, path: Path, image: AstroImage,
    choose: Callable[[Call, AstroImage, DenoiseConfig], str],
) -> Bench:  # fmt: skip
    """Return what the page works with.

    Parameters
    ----------
    call : Call
    path : path
    image : AstroImage
        The input.
    choose : callable
        Takes call, image and config; returns the name of the model.
    """
    place = OutputPlace.of(path, call.args)
    mosaic = is_mosaic(image, call.settings[InputConfig].bayer)
    pattern = mosaic_pattern(image) or "RGGB" if mosaic else ""
    loaded: dict[tuple[str, str], Model] = {}
    whole = max(image.shape[:2]) <= MOST_PX

    def work(
        config: Any, marks: Marks, middle: tuple[float, float], report: Report
    ) -> tuple[Sequence[View], Sequence[str]]:
        report(None, "choosing the model")
        name = choose(call, image, config)
        _, outside = guard_image(call, image, name)
        part, x, y = cut_part(image, middle)
        total = _tiles(part.shape, config)
        done = 0

        def progress(tiles: int) -> None:
            nonlocal done
            done += tiles
            report(min(1.0, done / total) * MOST_TILES_PART, "denoising")

        with silenced_engine(call):
            key = (name, config.precision)
            if key not in loaded:
                report(None, "loading the model")
                loaded[key] = load_for(replace(config, model=name), call.command.word)
            report(0.0, "denoising")
            made = denoise(part, config, model=loaded[key], progress=progress, mosaic=mosaic)
        kept = normaliser_of(loaded[key].description).keeps_background
        notes = [f"model {name}", "the background is kept" if kept else "sources alone are kept"]

        def view(name: str, label: str, pixels: np.ndarray, same_sky: bool = True) -> View:
            return View(name=name, label=label, pixels=pixels, x=x, y=y, pattern=pattern,
                        same_sky=same_sky)  # fmt: skip

        views = [view("result", "Result", made.result.pixels)]
        if not kept:
            views.append(view("background", "Background", made.background.pixels, same_sky=False))
        views.append(view("residual", "Noise", made.residual.pixels))
        if not whole:  # under the result: the same pixels before
            views.append(view("detail", "", part.pixels, same_sky=False))
            height, width = part.shape[:2]
            notes.insert(0, f"{width} × {height} px around {x + width // 2}, {y + height // 2}")
        return views, [*notes, *outside]

    return Bench(
        call=call, path=path, image=image, config=DenoiseConfig, main=MAIN, verb="Denoise",
        about="Denoises the whole frame, as the command does." if whole else
              f"Denoises up to {MOST_PX} × {MOST_PX} px around the middle of the screen, at full "
              "resolution.",
        views=[View(name="input", label="Input", pixels=image.pixels, pattern=pattern)],
        work=work, folder=place.folder, stem=f"{place.stem}_denoised",
    )  # fmt: skip


def cut_part(image: AstroImage, middle: tuple[float, float]) -> tuple[AstroImage, int, int]:
    """Return at most `MOST_PX` rows and columns around x, y, and the part's first column and row.

    First column and row are even, so that a mosaic keeps its pattern.
    """
    starts = []
    for place, length in zip(middle[::-1], image.shape[:2], strict=True):
        start = min(max(0, round(place) - MOST_PX // 2), max(0, length - MOST_PX))
        starts.append(start // 2 * 2)
    y, x = starts
    pixels = image.pixels[y : y + MOST_PX, x : x + MOST_PX]
    border = image.zero_border
    if border is not None:
        border = border[y : y + MOST_PX, x : x + MOST_PX]
    return replace(image, pixels=pixels, zero_border=border), x, y


def _tiles(shape: tuple[int, ...], config: DenoiseConfig) -> int:
    """Return how many tiles all channels have."""
    height, width, channels = shape
    return channels * len(TilePlan((height, width), config.tile, config.overlap).starts())
