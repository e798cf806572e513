"""`python -m bgrem.demo DIR`: simulate fields, run the systems by command, count detections."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bgrem import cli
from bgrem.frame import detect
from bgrem.frame.background import sep_mesh
from bgrem.validation import metrics
from common.io import read_image
from common.progress.steps import shown_command, step

Finder = Callable[[float], detect.Detections]

DEMO_SEED = 2024  # of the simulated field
DEMO_SIDE_PX = 768  # px; side of the field
DEMO_FIELD: dict[str, Any] = {"preset": "meerlicht", "stars": 2000.0}
SEXTRACTOR_MESH_PX = 64  # px; BACK_SIZE of SExtractor
DEMO_SWEEP = (12.0, 1.2)  # sigma of the filtered image; first and last threshold
DEMO_SWEEP_DENOISED = (12.0, 0.02)  # sigma of the observed image; a denoised one has little noise
DEMO_PICTURE = "before_after.png"  # name of the file
DEMO_SOURCES = "sources.png"  # name of the file
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
    with step(f"simulate {args.side} x {args.side} px of a survey, its sources known"):
        field = simulate_field(shape=(args.side, args.side), seed=DEMO_SEED, **DEMO_FIELD)
        write_field(folder / "field.fits", field, overwrite=True)
    command = ["denoise", str(folder / "field.fits"), "-o", str(folder)]
    command += ["--before-after", str(folder / DEMO_PICTURE), "--overwrite", "--quiet"]
    start = time.perf_counter()
    with step(shown_command("bgrem", command[:2])):
        code = cli.main(command)
    seconds = time.perf_counter() - start
    if code:
        return code
    result = read_image(folder / "field_denoised.fits", hdu="OBSERVED").pixels[..., 0]
    with step("count true and false detections, before and after"):
        finders = find_before(field.observed), find_after(field.observed, result)
        before, after = (
            metrics.roc_curve(finder, field.catalogue, field.fwhm, limits)
            for finder, limits in zip(finders, (DEMO_SWEEP, DEMO_SWEEP_DENOISED), strict=True)
        )
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
    from bgrem.demo_systems import draw_sources, enhance_demo, noisemap_demo, picture_demo

    few, found = metrics.FALSE_SHARES[0] * number, []
    titles = ("SExtractor's defaults", "after bgrem denoise")
    for title, finder, curve in zip(titles, finders, (before, after), strict=True):
        one = finder(metrics.threshold_at_false(curve, few))
        score = metrics.score(one, field.catalogue, field.fwhm)
        found.append((f"{title}: {score.true} true, {score.false} false in the whole field", one))
    draw_sources(field.observed, found, folder / DEMO_SOURCES)
    for part in (picture_demo, enhance_demo, noisemap_demo):
        if code := part(folder, args.side):
            return code
    print(f"\nlook at  {folder / DEMO_PICTURE}  before, denoised, the noise")
    print(f"         {folder / DEMO_SOURCES}  sources found before and after, circled")
    print(f"         {folder / 'picture.png'}  a nebula, its noise taken out, the noise")
    print(f"         {folder / 'enhanced.png'}  a short exposure, enhanced, a long exposure")
    print(f"         {folder / 'noisemap.png'}  a raw frame, its map, the satellites that remain")
    return 0


def find_before(observed: np.ndarray) -> Finder:
    """Return what finds sources as SExtractor's default settings do, at a threshold in sigma."""
    background = sep_mesh(observed, SEXTRACTOR_MESH_PX)
    flat, noise = observed - background.back(), background.rms()
    kernel = detect.SEXTRACTOR_KERNEL
    filtered = noise * np.sqrt((kernel**2).sum()) / kernel.sum()
    return lambda threshold: detect.detect_with_sep(flat, threshold, noise=filtered)


def find_after(observed: np.ndarray, result: np.ndarray) -> Finder:
    """Return what finds sources on the denoised image, at a threshold in sigma of the observed."""
    noise = sep_mesh(observed, SEXTRACTOR_MESH_PX).rms()
    return lambda threshold: detect.detect_with_sep(
        result, threshold, noise=noise, **detect.DENOISED_OPTIONS
    )


def _row(*cells: str) -> str:
    return "".join(f"{cell:>16}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
