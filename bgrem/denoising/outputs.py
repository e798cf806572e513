"""What `bgrem denoise` writes: the result, and on request its parts; each says what made it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bgrem.denoising.bundle import write_bundle
from bgrem.denoising.flow import Denoised
from bgrem.denoising.quality import quality_plane, write_quality
from bgrem.denoising.uncertainty import Calibration, denoised_uncertainty, write_uncertainty
from common.command import RunRecord
from common.header import SATURATION_KEYWORDS, header_number, header_of
from common.image import AstroImage, Card
from common.io import write_image
from common.scratch import sample_of


@dataclass(frozen=True, kw_only=True, eq=False)
class DenoisedRun:
    """One denoised image and what its files are made from.

    Attributes
    ----------
    image, done
        Input and result.
    files : dict of path
        Option -> file.
    record : RunRecord
        What made the files.
    outside : bool
        Whether the frame lies outside of the model's domain.
    channels : tuple of int or None
        Planes of the input that the image holds, None: all.
    calibration, calibration_name
        For the half-widths; the name is empty where it is the model's own.
    widening : float
        By how much the half-widths are multiplied: the verdict has found them too narrow.
    integers : bool
        Whether the result is rounded to the integers of its source.
    """

    image: AstroImage
    done: Denoised
    files: dict[str, Path]
    record: RunRecord
    outside: bool
    channels: tuple[int, ...] | None
    calibration: Calibration | None
    calibration_name: str
    widening: float = 1.0
    integers: bool = False

    def quality(self) -> np.ndarray:
        """Return the quality plane."""
        saturation = header_number(header_of(self.image), SATURATION_KEYWORDS)
        return quality_plane(self.image, self.done, saturation=saturation, outside=self.outside)


def write_denoised(run: DenoisedRun) -> None:
    """Write all files of one input and its parameters."""
    for option, write in WRITERS.items():
        if option in run.files:
            write(run, option, run.files[option])
    run.record.write_parameters(run.files["parameters"])


def measured_cards(done: Denoised, strength: float = 1.0, *, kept: bool = False) -> list[Card]:
    """Return BGNOISE and BGLEVEL in the image's units; of a colour image numbered by channel.

    BGBIN follows where sums of pixels were denoised.
    The level is unknown with `strength` 0, where no background is taken off. Where the background
    is `kept`, BGKEEP says so.
    """
    planes: dict[str, tuple[np.ndarray, str]] = {
        "BGNOISE": (done.sigma, "measured noise of a pixel (median)")
    }
    if strength > 0 and not kept:
        planes["BGLEVEL"] = (
            done.background.pixels, "measured level of the background (median)"
        )  # fmt: skip
    cards: list[Card] = []
    if done.binning > 1:
        cards.append(("BGBIN", done.binning, "[pix] side of the sums that were denoised"))
    if kept:
        cards.append(("BGKEEP", "background", "what stays beside the sources"))
    for keyword, (plane, words) in planes.items():
        for channel in range(plane.shape[-1]):
            number = str(channel + 1) if plane.shape[-1] > 1 else ""
            median = float(np.nanmedian(sample_of(plane[..., channel])))
            if keyword == "BGLEVEL":
                median /= strength
            cards.append((keyword + number, float(f"{median:.6g}"), words))
    return cards


def _write_part(run: DenoisedRun, option: str, file: Path) -> None:
    image = run.record.carried(option, getattr(run.done, option))
    integers = run.integers and option == "result"
    write_image(file, image, overwrite=run.record.overwrite, integers=integers)


def _write_bundle(run: DenoisedRun, option: str, file: Path) -> None:
    result = run.record.carried(option, run.done.result)
    write_bundle(
        file, run.done, result, run.quality(), channels=run.channels,
        overwrite=run.record.overwrite,
    )  # fmt: skip


def _write_uncertainty(run: DenoisedRun, option: str, file: Path) -> None:
    if run.calibration is None:
        raise ValueError(f"{file}: half-widths need a calibration.")
    widths = run.widening * denoised_uncertainty(run.done, run.calibration)
    narrow = run.record.carried(option, run.image.with_pixels(widths[0]))
    if run.calibration_name:
        name = ("BGCALIB", run.calibration_name, "calibration of the half-widths")
        narrow = narrow.with_pixels(narrow.pixels, cards=[name])
    if run.widening > 1:
        card = ("BGWIDEN", round(run.widening, 3), "factor of the half-widths, by the verdict")
        narrow = narrow.with_pixels(narrow.pixels, cards=[card])
    header = header_of(run.image)
    write_uncertainty(file, narrow, widths[1], header, overwrite=run.record.overwrite)


def _write_quality(run: DenoisedRun, option: str, file: Path) -> None:
    image = run.record.carried(option, run.image)
    header = header_of(run.image)
    write_quality(file, image, run.quality(), header, overwrite=run.record.overwrite)


def _write_before_after(run: DenoisedRun, option: str, file: Path) -> None:
    from bgrem.denoising.pictures import before_after

    before_after(run.image, run.done, file, overwrite=run.record.overwrite)


# option of a product -> how it is written
WRITERS: dict[str, Callable[[DenoisedRun, str, Path], None]] = {
    "result": _write_part,
    "background": _write_part,
    "residual": _write_part,
    "bundle": _write_bundle,
    "uncertainty": _write_uncertainty,
    "quality": _write_quality,
    "before_after": _write_before_after,
}
