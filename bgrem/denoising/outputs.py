"""What `bgrem denoise` writes: the result, and on request its parts; each says what made it."""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bgrem import __version__
from bgrem.commands.base import run_record
from bgrem.config import DenoiseConfig
from bgrem.denoising.bundle import write_bundle
from bgrem.denoising.flow import Denoised
from bgrem.denoising.quality import quality_plane, write_quality
from bgrem.denoising.uncertainty import Calibration, denoised_uncertainty, write_uncertainty
from bgrem.models import Model
from common.header import SATURATION_KEYWORDS, header_number, header_of
from common.image import AstroImage, Card
from common.io import write_image
from common.provenance import write_params

if TYPE_CHECKING:
    from astropy.io import fits

DENOISE_COMMAND = "bgrem denoise"  # recorded in the header as the tool that made the file


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One denoised image and what its files are made from.

    Attributes
    ----------
    image, done
        Input and result.
    files : dict of path
        Option -> file.
    outside : bool
        Whether the frame lies outside of the model's domain.
    calibration, calibration_name
        For the half-widths; the name is empty where it is the model's own.
    cards, history
        What made the files.
    header : astropy.io.fits.Header
        Of the input.
    channels : tuple of int or None
        Planes of the input that the image holds, None: all.
    """

    image: AstroImage
    done: Denoised
    files: dict[str, Path]
    outside: bool
    calibration: Calibration | None
    calibration_name: str
    cards: tuple[Card, ...]
    history: list[str]
    header: "fits.Header"
    channels: tuple[int, ...] | None
    overwrite: bool

    def carried(self, option: str, part: AstroImage) -> AstroImage:
        """Return a part with the cards and the history of its file."""
        what = ("BGPART", option, "which of the run's files this is")
        notes = [*self.history, f"{DENOISE_COMMAND}: {OUTPUT_PARTS[option][0]}"]
        return part.with_pixels(part.pixels, cards=[*self.cards, what], history=notes)

    def quality(self) -> np.ndarray:
        """Return the quality plane."""
        saturation = header_number(self.header, SATURATION_KEYWORDS)
        return quality_plane(self.image, self.done, saturation=saturation, outside=self.outside)


def write_denoised(
    path: Path,
    image: AstroImage,
    done: Denoised,
    files: dict[str, Path],
    args: argparse.Namespace,
    config: DenoiseConfig,
    model: Model,
    *,
    outside: bool,
    calibration: Calibration | None,
) -> None:
    """Write all files of one input and its parameters; `Run` says what the arguments are."""
    parameters, cards, history = run_record(DENOISE_COMMAND, path, image, config, model, args)
    cards += measured_cards(done, config.strength)
    run = Run(
        image=image, done=done, files=files, outside=outside, calibration=calibration,
        calibration_name=args.calibration.name if args.calibration else "",
        cards=cards, history=history,
        header=header_of(image), channels=args.channels, overwrite=args.overwrite,
    )  # fmt: skip
    for option, (_, write) in OUTPUT_PARTS.items():
        if option in files:
            write(run, files[option])
    if "before_after" in files:
        from bgrem.denoising.pictures import before_after

        before_after(image, done, files["before_after"], overwrite=args.overwrite)
    write_params(
        files["parameters"],
        DENOISE_COMMAND,
        __version__,
        path,
        parameters,
        overwrite=args.overwrite,
    )


def measured_cards(done: Denoised, strength: float = 1.0) -> tuple[Card, ...]:
    """Return BGNOISE and BGLEVEL in the image's units; of a colour image numbered by channel.

    The level is unknown with `strength` 0, where no background is taken off.
    """
    planes: dict[str, tuple[np.ndarray, str]] = {
        "BGNOISE": (done.sigma, "measured noise of a pixel (median)")
    }
    if strength > 0:
        background = done.background.pixels / strength
        planes["BGLEVEL"] = (background, "measured level of the background (median)")
    cards: list[Card] = []
    for keyword, (plane, words) in planes.items():
        for channel in range(plane.shape[-1]):
            number = str(channel + 1) if plane.shape[-1] > 1 else ""
            median = float(np.nanmedian(plane[..., channel]))
            cards.append((keyword + number, float(f"{median:.6g}"), words))
    return tuple(cards)


def _write_result(run: Run, file: Path) -> None:
    write_image(file, run.carried("result", run.done.result), overwrite=run.overwrite)


def _write_background(run: Run, file: Path) -> None:
    write_image(file, run.carried("background", run.done.background), overwrite=run.overwrite)


def _write_residual(run: Run, file: Path) -> None:
    write_image(file, run.carried("residual", run.done.residual), overwrite=run.overwrite)


def _write_bundle(run: Run, file: Path) -> None:
    result = run.carried("bundle", run.done.result)
    write_bundle(
        file, run.done, result, run.quality(), channels=run.channels, overwrite=run.overwrite
    )


def _write_uncertainty(run: Run, file: Path) -> None:
    if run.calibration is None:
        raise ValueError(f"{file}: half-widths need a calibration.")
    widths = denoised_uncertainty(run.done, run.calibration)
    narrow = run.carried("uncertainty", run.image.with_pixels(widths[0]))
    if run.calibration_name:
        name = ("BGCALIB", run.calibration_name, "calibration of the half-widths")
        narrow = narrow.with_pixels(narrow.pixels, cards=[name])
    write_uncertainty(file, narrow, widths[1], run.header, overwrite=run.overwrite)


def _write_quality(run: Run, file: Path) -> None:
    image = run.carried("quality", run.image)
    write_quality(file, image, run.quality(), run.header, overwrite=run.overwrite)


# option, also the file's BGPART: what the file says of itself, how it is written
OUTPUT_PARTS: dict[str, tuple[str, Callable[[Run, Path], None]]] = {
    "result": ("this is the input without background and noise", _write_result),
    "background": ("this is the smooth background", _write_background),
    "residual": ("this is the noise that was taken off", _write_residual),
    "bundle": ("this is the denoised image with what was taken off", _write_bundle),
    "uncertainty": ("half-widths that hold 68 and 95 % of the errors", _write_uncertainty),
    "quality": ("these are the bits of the quality plane", _write_quality),
}
