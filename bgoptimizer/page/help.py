"""Areas and points drawn on the page, joined with the user's files, and written as such files."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bgoptimizer.config import GuidanceConfig
from bgoptimizer.guidance.guidance import prepare_mask
from common.atomic import atomic_write
from common.batch.outputs import OutputPlace
from common.command import Call
from common.image import AstroImage
from common.io import write_image
from common.page.marks import Marks


@dataclass(frozen=True)
class DrawnHelp:
    """The user's help for one frame: files named on the command line, and what is drawn.

    Attributes
    ----------
    call : Call
    image : AstroImage
        The frame.
    given : mapping
        Contents of the files, as `fit_background` takes them.
    place : OutputPlace
        Where outputs go.
    """

    call: Call
    image: AstroImage
    given: Mapping[str, Any]
    place: OutputPlace

    def at_start(self) -> Marks:
        """Return the points of the user's table, which can be moved then."""
        samples = self.given["samples"]
        if samples is None or not _is_table(samples):
            return Marks()
        radii = samples[:, 2] if samples.shape[1] == 3 else np.zeros(len(samples))
        rows = zip(samples[:, 0].tolist(), samples[:, 1].tolist(), radii.tolist(), strict=True)
        return Marks(points=tuple(rows))

    def help(self, marks: Marks) -> dict[str, Any]:
        """Return files and marks together, as `fit_background` takes them.

        Raises
        ------
        ValueError
            If points are added to regions.
        """
        shape = self.image.shape[:2]
        mask, objects = self.given["mask"], self.given["objects"]
        if (left_out := marks.draw("left_out", shape)) is not None:
            weights = prepare_mask(mask, self.image)
            weights = np.ones((*shape, 1), np.float32) if weights is None else weights
            mask = np.where(left_out[..., None], 0, weights).astype(np.float32)
        if (drawn := marks.draw("object", shape)) is not None:
            objects = drawn if objects is None else drawn | objects
        samples = self.given["samples"]
        if samples is None or _is_table(samples):
            samples = np.array(marks.points, float) if marks.points else None
        elif marks.points:
            raise ValueError(
                "points cannot be added to regions. Start the page without --samples, or with a "
                "table."
            )
        return {"mask": mask, "samples": samples, "objects": objects,
                "reference": self.given["reference"]}  # fmt: skip

    def keep(
        self, marks: Marks, may_replace: Callable[[Path], bool]
    ) -> tuple[dict[type, Any], list[Path]]:
        """Write what is drawn; return the settings with the files' names, and the files.

        Where nothing is drawn, the user's own files stay in the settings.
        """
        settings: GuidanceConfig = self.call.settings[GuidanceConfig]
        found, shape = self.help(marks), self.image.shape[:2]
        files: list[Path] = []
        for name, word, kind in (("mask", "Mask", "left_out"), ("objects", "Objects", "object")):
            if marks.draw(kind, shape) is None:
                continue
            file = self.place.file(f"bgDrawn{word}", ".fits").absolute()
            record = self.call.record(self.image.name, self.image.pixels)
            picture = AstroImage(np.asarray(found[name], np.float32), cards=record.cards)
            write_image(file, picture, overwrite=may_replace(file))
            settings, files = replace(settings, **{name: file}), [*files, file]
        if marks.points and marks != self.at_start():
            file = self.place.file("bgDrawnSamples", ".csv").absolute()
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([("x", "y", "radius"), *marks.points])
            with atomic_write(file, may_replace(file)) as temporary:
                temporary.write_text(text.getvalue(), encoding="utf-8")
            settings, files = replace(settings, samples=file), [*files, file]
        elif not marks.points and self.at_start().points:
            settings = replace(settings, samples=None)
        return {GuidanceConfig: settings}, files


def _is_table(samples: np.ndarray) -> bool:
    return samples.ndim == 2 and samples.dtype != bool and samples.shape[1] in (2, 3)
