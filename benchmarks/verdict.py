"""What the verdict of `bgrem denoise` says of a frame, beside what the truth says.

    python benchmarks/verdict.py [--fields N] [--kinds survey,glow] [--json FILE]
    python benchmarks/verdict.py --seconds       # time of the verdict on 4 megapixels

For each kind of field, the project's own and those of `outside_fields`: false detections per
megapixel of `bgrem catalog` at its own threshold, as the verdict estimates them (BGFALSE) and as
they are; the part of the stars of S/N 5 and 10 that is found on the denoised frame and by
SExtractor's default, of the injected stars (BGFOUND, BGFOUNDS) and of the field's own; and how many
fields the verdict warned of. Medians over fields.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import detection  # noqa: E402
import numpy as np  # noqa: E402
import outside_fields  # noqa: E402

from bgrem.cataloguing.threshold import find_threshold  # noqa: E402
from bgrem.config import DenoiseConfig  # noqa: E402
from bgrem.denoising.flow import denoise  # noqa: E402
from bgrem.frame.sources import Frame  # noqa: E402
from bgrem.frame.stars import measure_point_spread  # noqa: E402
from bgrem.inference.run import load_for  # noqa: E402
from bgrem.validation import metrics  # noqa: E402
from bgrem.validation.checks.sweeps import (  # noqa: E402
    SEXTRACTOR_THRESHOLD,
    default_finder,
    denoised_finder,
)
from bgrem.validation.frames import Planes  # noqa: E402
from bgrem.validation.verdict import VERDICT_SNRS, judge_frame  # noqa: E402
from common.image import AstroImage  # noqa: E402

FIRST_SEED = 97_000  # choices were made on seeds of 60,000 to 63,999
NEAR_SNR = 1.12  # factor around an S/N within which a source of the field counts as of that S/N
LARGE_SHAPE = (2048, 2048)


def found_of_truth(score: metrics.Score, truth: dict[str, np.ndarray]) -> float:
    """Return the part of the field's stars near `VERDICT_SNRS` that has a detection."""
    found = np.isin(np.arange(len(truth["snr"])), score.partner)
    parts = []
    for snr in VERDICT_SNRS:
        near = (truth["snr"] > snr / NEAR_SNR) & (truth["snr"] < snr * NEAR_SNR)
        near &= truth["half_light_radius"] == 0
        parts.append(found[near].mean() if near.any() else np.nan)
    return float(np.mean(parts))


def judge(field: Any, runner: Any) -> dict[str, Any]:
    """Return what the verdict says of a field, and what the truth says."""
    image = AstroImage(field.observed)
    done = runner(image)
    verdict = judge_frame(image, done, runner)
    pixels = field.observed.astype(np.float64)
    planes = Planes(pixels, *(
        np.asarray(one[..., 0], np.float64)
        for one in (done.result.pixels, done.background.pixels, done.sigma)
    ))  # fmt: skip
    threshold = find_threshold(
        Frame.of(planes.pixels - planes.background, planes.result, planes.sigma, None)
    ).median
    ours = denoised_finder(planes, measure_point_spread(planes.scaled, planes.missing))(threshold)
    theirs = default_finder(planes)(SEXTRACTOR_THRESHOLD)
    judged = getattr(field, "judged", lambda places: places)
    scores = [metrics.score(judged(one), field.catalogue, field.fwhm) for one in (ours, theirs)]
    area = pixels.size / 1e6
    return {
        "BGFALSE": verdict.false, "false": scores[0].false / area,
        "false, SExtractor": scores[1].false / area,
        "BGFOUND": verdict.found, "found": found_of_truth(scores[0], field.catalogue),
        "BGFOUNDS": verdict.found_sextractor,
        "found, SExtractor": found_of_truth(scores[1], field.catalogue),
        "warned": float(bool(verdict.problems)), "problems": list(verdict.problems),
    }  # fmt: skip


def print_seconds(runner: Any) -> None:
    """Print the time that a verdict takes on a field of 4 megapixels."""
    survey = detection.KINDS["survey"]
    field = detection.simulate_field(shape=LARGE_SHAPE, seed=FIRST_SEED, **survey)
    image = AstroImage(field.observed)
    clocks = []
    done = runner(image)
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        judge_frame(image, done, runner)
        clocks.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, processor = np.median(clocks, 0)
    print(f"verdict on {image.shape[0]} x {image.shape[1]} px: {wall:.1f} s, of processors "
          f"{processor:.1f} s (medians of three)")  # fmt: skip


def main() -> None:
    kinds = detection.KINDS | outside_fields.KINDS
    parser = detection.field_parser(__doc__, FIRST_SEED, kinds)
    parser.add_argument("--seconds", action="store_true", help="time on 4 megapixels alone")
    parser.add_argument("--json", type=Path, help="write the figures of all fields")
    args = parser.parse_args()
    config = DenoiseConfig(model=args.model)
    model = load_for(config)

    def runner(pixels: Any) -> Any:
        return denoise(pixels, config, model=model)

    if args.seconds:
        print_seconds(runner)
        return
    rows: list[dict[str, Any]] = []
    for kind in args.kinds.split(","):
        draw = detection.draw_fields if kind in detection.KINDS else detection.draw_outside
        fields = [judge(field, runner) for _, field in draw(args, kind, detection.SHAPE)]
        rows += [{"field": kind} | field for field in fields]
        names = [name for name in fields[0] if name not in ("warned", "problems")]
        if len({row["field"] for row in rows}) == 1:
            print("| field | " + " | ".join(names) + " | warned |\n|" + " --- |" * (2 + len(names)))
        middle = [f"{np.median([field[name] for field in fields]):.2f}" for name in names]
        warned = f"{sum(field['warned'] for field in fields):.0f} of {len(fields)}"
        print(f"| {kind} | " + " | ".join(middle) + f" | {warned} |", flush=True)
        for text in sorted({text for field in fields for text in field["problems"]}):
            print(f"{kind}: {text}", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
