"""How often the uncertainty of a denoised pixel holds, on fields that it was not calibrated on.

    python benchmarks/uncertainty.py [--fields N] [--kinds survey,crowded] [--calibration JSON]
    python benchmarks/uncertainty.py --outside --fields 2   # fields of another simulator

Share of pixels whose |truth - result| is within SIGMA68 and SIGMA95, of all pixels and by the
brightest signal within 5x5 px. 68.27 and 95.45 % are right. With `--verdict` the half-widths grow
where the verdict of `bgrem denoise` finds them too narrow, as the command makes them.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import outside_fields  # noqa: E402
from detection import (  # noqa: E402
    FIRST_OUTSIDE_SEED,
    KINDS,
    draw_fields,
    draw_outside,
    field_parser,
)

from bgrem.config import DenoiseConfig  # noqa: E402
from bgrem.denoising.flow import denoise  # noqa: E402
from bgrem.denoising.uncertainty import load_calibration  # noqa: E402
from bgrem.inference.run import load_for  # noqa: E402
from bgrem.models import read_description  # noqa: E402
from bgrem.training.calibration import (  # noqa: E402
    coverage_table,
    print_coverage,
    sample_pair,
    saturated_truth,
)
from bgrem.validation.verdict import judge_frame  # noqa: E402
from common.image import AstroImage  # noqa: E402

FIRST_SEED = 79_000  # calibration: 62,000 up; training: 1,000,000 up
SHAPE = (512, 512)
UNCERTAINTY_SEEDS = 500  # beyond those of the other benchmarks
PIXELS = 10_000  # of each field and range of signal


def growth_of(pixels: Any, config: DenoiseConfig, model: Any, calibration: Any) -> float:
    """Return by how much the verdict makes the half-widths grow."""

    def run(planes: Any) -> Any:
        return denoise(planes, config, model=model, twin=True)

    image = AstroImage(pixels)
    verdict = judge_frame(image, run(image), run, calibration=calibration)
    return (verdict and verdict.widening) or 1.0


def main() -> None:
    parser = field_parser(__doc__, FIRST_SEED, KINDS)
    parser.add_argument("--calibration", type=Path, help="default: the model's own")
    parser.add_argument("--json", type=Path, help="write the tables")
    parser.add_argument("--verdict", action="store_true", help="half-widths grow as in the command")
    parser.add_argument("--outside", action="store_true", help="kinds of `outside_fields`")
    args = parser.parse_args()
    if args.outside and args.first_seed == FIRST_SEED:
        args.first_seed = FIRST_OUTSIDE_SEED + UNCERTAINTY_SEEDS
    if args.outside and args.kinds == parser.get_default("kinds"):
        args.kinds = ",".join(outside_fields.KINDS)
    config = DenoiseConfig(model=args.model)
    model = load_for(config)
    calibration = load_calibration(config, read_description(args.model), args.calibration)
    tables, everything = {}, []
    for kind in args.kinds.split(","):
        samples = []
        draw = draw_outside if args.outside else draw_fields
        for seed, field in draw(args, kind, SHAPE):
            truth = field.sources if args.outside else saturated_truth(field)
            pair = (field.observed, truth)
            sample = sample_pair(pair, config, model, number=PIXELS, seed=seed)
            if args.verdict:
                growth = growth_of(field.observed, config, model, calibration)
                print(f"{kind} {seed}: half-widths times {growth:.3f}", flush=True)
                sample = replace(sample, error=sample.error / growth)
            samples.append(sample)
        tables[kind] = coverage_table(samples, calibration)
        everything += samples
        print_coverage(tables[kind], title=f"{kind}: signal")
        print(flush=True)
    tables["together"] = coverage_table(everything, calibration)
    print_coverage(tables["together"], title="all kinds: signal")
    if args.json:
        args.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
