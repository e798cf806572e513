"""`python -m bgrem.demo DIR`: simulate fields, run the systems by command, count detections."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bgrem import cli
from bgrem.frame import detect
from bgrem.frame.background import sep_mesh
from bgrem.validation import metrics
from common.io import read_image

DEMO_SEED = 2024  # of the simulated field
DEMO_SIDE_PX = 768  # px; side of the field
DEMO_FIELD: dict[str, Any] = {"preset": "meerlicht", "stars": 2000.0}
SEXTRACTOR_MESH_PX = 64  # px; BACK_SIZE of SExtractor
DEMO_SWEEP = (12.0, 1.2)  # sigma of the filtered image; first and last threshold
DEMO_SWEEP_DENOISED = (12.0, 0.02)  # sigma of the observed image; a denoised one has little noise
DEMO_PICTURE = "before_after.png"  # name of the file
DEMO_TABLE = "table.txt"  # name of the file


def main(argv: Sequence[str] | None = None) -> int:
    """Fill a folder with files, a picture and a table; return the exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m bgrem.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="made if missing; files in it are replaced")
    parser.add_argument(
        "--side", type=int, default=DEMO_SIDE_PX, help="of the field (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    folder = args.folder
    from bgrem.simulate.optical import simulate_field
    from bgrem.simulate.write import write_field

    folder.mkdir(parents=True, exist_ok=True)
    print(f"simulating {args.side} x {args.side} px of a survey whose sources are known")
    field = simulate_field(shape=(args.side, args.side), seed=DEMO_SEED, **DEMO_FIELD)
    write_field(folder / "field.fits", field, overwrite=True)
    command = ["denoise", str(folder / "field.fits"), "-o", str(folder)]
    command += ["--before-after", str(folder / DEMO_PICTURE), "--overwrite", "--quiet"]
    print("bgrem", *command)
    start = time.perf_counter()
    code = cli.main(command)
    seconds = time.perf_counter() - start
    if code:
        return code
    result = read_image(folder / "field_denoised.fits", hdu="OBSERVED").pixels[..., 0]
    before, after = detection_curves(field.observed, result, field.catalogue, field.fwhm)
    number = metrics.listed_number(field.catalogue)
    lines = [_row("false", "true before", "true after", "after : before")]
    for share in metrics.FALSE_SHARES:
        old, new = (metrics.true_at_false(curve, share * number) for curve in (before, after))
        allowed = f"{share * number:.1f} ({100 * share:g} %)"
        ratio = f"{new / old:.2f}" if old else "-"
        lines.append(_row(allowed, f"{old:.0f}", f"{new:.0f}", ratio))
    lines += [
        "",
        f"Numbers of detections; {number} sources have {metrics.MIN_LISTED_SNR:g} sigma or more.",
    ]
    lines += ["before: default settings of SExtractor (the library sep), the threshold lowered"]
    lines += ["until so many are false; after: the same on the denoised image, without filter and"]
    lines += [f"with finer deblending. {seconds:.0f} s for the command, with TensorFlow's start."]
    (folder / DEMO_TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("", *lines, "", sep="\n")
    from bgrem.demo_systems import enhance_demo, noisemap_demo, picture_demo

    for part in (picture_demo, enhance_demo, noisemap_demo):
        if code := part(folder, args.side):
            return code
    print("\nopen, in", folder, "\n ", DEMO_PICTURE, "picture.png enhanced.png noisemap.png")
    return 0


def detection_curves(
    observed: np.ndarray, result: np.ndarray, truth: Mapping[str, np.ndarray], fwhm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (threshold, true, false) of a sweep over the observed image and over the denoised.

    Parameters
    ----------
    observed, result : array, shape (H, W)
    truth : mapping of array
        `SimulatedField.catalogue`.
    fwhm : float
        Of the point-spread function, in pixels.
    """
    background = sep_mesh(observed, SEXTRACTOR_MESH_PX)
    flat, noise = observed - background.back(), background.rms()
    kernel = detect.SEXTRACTOR_KERNEL
    filtered = noise * np.sqrt((kernel**2).sum()) / kernel.sum()

    def before(threshold: float) -> detect.Detections:
        return detect.detect_with_sep(flat, threshold, noise=filtered)

    def after(threshold: float) -> detect.Detections:
        return detect.detect_with_sep(result, threshold, noise=noise, **detect.DENOISED_OPTIONS)

    return (
        metrics.roc_curve(before, truth, fwhm, DEMO_SWEEP),
        metrics.roc_curve(after, truth, fwhm, DEMO_SWEEP_DENOISED),
    )


def _row(*cells: str) -> str:
    return "".join(f"{cell:>16}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
