"""How near the smooth background and its noise are to the truth, beside SExtractor's meshes.

    python benchmarks/sky.py [--fields N] [--kinds wavy,"bright sky"] [--json FILE]

Errors are in units of the noise of a pixel: rms over the frame, and the mean, a pedestal that
all fluxes get. The noise is the measured one over the true one. Medians over the fields. "bgrem" is
what `bgrem denoise` and `bgrem catalog` take off; before the network it lacks what that removes.
The unlisted light is that of the sources too faint for the truth list, over all pixels: a method
that knows all the others and takes the mean of what is left has its mean wrong by that.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import detection  # noqa: E402
import numpy as np  # noqa: E402
import outside_fields  # noqa: E402

from bgrem.denoising.flow import denoise  # noqa: E402
from bgrem.frame.background import sep_mesh, whole_image_statistics  # noqa: E402
from bgrem.validation import metrics  # noqa: E402

MESHES = (32, 64)  # px, of SExtractor


def errors(field: Any) -> dict[str, float]:
    """Return the errors of all methods on one field."""
    pixels, sigma = field.observed.astype(np.float64), np.sqrt(detection.true_variance(field))
    found = whole_image_statistics(pixels)
    done = denoise(field.observed, steps=1, keep="sources")
    skies = {
        "bgrem": (done.background.pixels[..., 0], done.sigma[..., 0]),
        "before the network": (found.background, found.sigma),
    }
    for mesh in MESHES:
        grid = sep_mesh(pixels, mesh)
        skies[f"mesh {mesh}"] = grid.back(), grid.rms()
    row = {"unlisted light": unlisted_light(field) / float(np.median(sigma))}
    for name, (sky, noise) in skies.items():
        error = (sky - field.background) / sigma
        row[f"{name}: rms"] = float(np.sqrt(np.mean(error**2)))
        row[f"{name}: mean"] = float(error.mean())
        row[f"{name}: noise"] = float(np.median(noise / sigma))
    return row


def unlisted_light(field: Any) -> float:
    """Return the mean over the frame of the light of sources below the truth list's S/N, in ADU."""
    truth = field.catalogue
    height, width = field.observed.shape
    inside = (truth["x"] > -0.5) & (truth["x"] < width) & (truth["y"] > -0.5)
    faint = inside & (truth["y"] < height) & (truth["snr"] < metrics.MIN_LISTED_SNR)
    return float(truth.get("drawn", truth["flux"])[faint].sum() / (height * width))


def main() -> None:
    kinds = detection.KINDS | outside_fields.KINDS
    parser = detection.field_parser(__doc__, detection.FIRST_SEED, kinds)
    parser.add_argument("--json", type=Path, help="write the errors of all fields")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in args.kinds.split(","):
        draw = detection.draw_fields if kind in detection.KINDS else detection.draw_outside
        fields = [errors(field) for _, field in draw(args, kind, detection.SHAPE)]
        rows += [{"field": kind} | field for field in fields]
        middle = {name: np.median([field[name] for field in fields]) for name in fields[0]}
        if len({row["field"] for row in rows}) == 1:
            print("| field | " + " | ".join(middle) + " |\n|" + " --- |" * (1 + len(middle)))
        print(f"| {kind} | " + " | ".join(f"{value:.3f}" for value in middle.values()) + " |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
