"""`bgrem simulate PRESET --compare FRAME`: the noise of a simulated field beside a real one's."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bgrem.config import SimulateConfig
from bgrem.simulate.compare.compare import NoiseComparison, compare_noise, draw_comparison
from bgrem.simulate.compare.match import MatchedField, match_field
from bgrem.simulate.compare.measure import measure_frame
from common import cli
from common.atomic import check_writable
from common.command import Call
from common.io import read_image
from common.progress import events

MAX_COMPARED_SIDE_PX = 2048  # px; of larger frames the middle is taken
MAX_HEADER_NOISE_ERROR = 0.15  # relative; a gain is seldom known better than to ten per cent


@dataclass(frozen=True, eq=False)
class FrameReport:
    """A comparison and what is said of it."""

    file: Path
    picture: Path | None
    comparison: NoiseComparison
    matched: MatchedField
    notes: list[str]
    troubles: list[str]

    def text(self) -> str:
        """Return the table of distances, and what they mean."""
        frame, config = self.comparison.frame, self.matched.config
        density = len(frame.fluxes) / frame.megapixels
        fwhm = "preset's" if config.fwhm is None else f"{config.fwhm:.2f} px"
        lines = [
            f"{self.file.name} against a simulated {config.preset} field, seed {config.seed}",
            f"frame: level {frame.level:.5g}, noise {frame.noise:.4g}, FWHM {fwhm}, "
            f"{density:.0f} sources per megapixel",
            *(f"note: {note}" for note in self.notes),
            "",
            f"{'measure':<38}{'frame':>10}{'simulated':>11}{'distance':>10}{'limit':>8}",
        ]
        for one in self.comparison.differences:
            numbers = (one.frame, one.simulated, one.distance, one.limit)
            values = [f"{v:.3g}" if np.isfinite(v) else "-" for v in numbers]
            mark = "  differs" if one.differs else ""
            lines.append(
                f"{one.measure:<38}{values[0]:>10}{values[1]:>11}{values[2]:>10}{values[3]:>8}"
                f"{mark}"
            )
        lines += ["", *(f"trouble: {trouble}" for trouble in self.troubles)]
        if not self.troubles:
            lines.append("no trouble: all distances are within their limits")
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """Return the same for programs."""
        frame = self.comparison.frame
        differences = self.comparison.differences
        return {
            "input": self.file,
            "frame": {"level": frame.level, "noise": frame.noise,
                      "expected_noise": self.matched.expected_noise,
                      "sources": len(frame.fluxes), "megapixels": frame.megapixels},
            "config": asdict(self.matched.config),
            "instrument": asdict(self.matched.instrument),
            "notes": self.notes,
            "differences": [asdict(d) | {"differs": d.differs} for d in differences],
            "troubles": self.troubles,
            "outputs": {"picture": self.picture} if self.picture else {},
        }  # fmt: skip


def compare_with_frame(call: Call, config: SimulateConfig) -> int:
    """Print the distances, draw the picture."""
    args = call.args
    if args.picture:
        check_writable(args.picture, args.overwrite)
    image = read_image(args.compare, hdu=args.hdu)
    pixels, notes = _middle(image.pixels)
    header = getattr(image.carrier, "header", None)
    matched = match_field(pixels, measure_frame(pixels), config, header)
    comparison = compare_noise(pixels, matched.pixels)
    troubles, noise = comparison.troubles, comparison.frame.noise
    if abs(matched.expected_noise / noise - 1) > MAX_HEADER_NOISE_ERROR:
        troubles.insert(
            0,
            f"gain and read noise of the header give a noise of "
            f"{matched.expected_noise:.4g}, measured is {noise:.4g}: scaled, stacked or resampled, "
            "or the level holds a bias",
        )
    if args.picture:
        draw_comparison(comparison, args.compare.name, matched, args.picture, args.overwrite)
    report = FrameReport(
        args.compare, args.picture, comparison, matched, [*notes, *matched.notes], troubles
    )
    if args.json:
        events.emit("result", report.json())
    else:
        call.say(report.text())
    return cli.EXIT_DONE


def _middle(pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the middle of the first plane, and notes on what was left out."""
    notes, plane = [], pixels[..., 0].astype(np.float64)
    if pixels.shape[2] > 1:
        notes.append("the frame has several planes: the first")
    if max(plane.shape) > MAX_COMPARED_SIDE_PX:
        notes.append(
            f"the frame is large: its middle of at most {MAX_COMPARED_SIDE_PX} x "
            f"{MAX_COMPARED_SIDE_PX} px"
        )
        top, left = (max(0, (side - MAX_COMPARED_SIDE_PX) // 2) for side in plane.shape)
        plane = plane[top : top + MAX_COMPARED_SIDE_PX, left : left + MAX_COMPARED_SIDE_PX]
    return plane, notes
