"""How often the uncertainty of a denoised pixel holds, on fields that it was not calibrated on.

    python benchmarks/uncertainty.py [--fields N] [--kinds survey,crowded] [--calibration JSON]
    python benchmarks/uncertainty.py --outside --fields 2   # fields of another simulator

Share of pixels whose |truth - result| is within SIGMA68 and SIGMA95, of all pixels and by the
brightest signal within 5x5 px. 68.27 and 95.45 % are right.
"""

import json
import os
import sys
from pathlib import Path

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
from bgrem.denoising.uncertainty import load_calibration  # noqa: E402
from bgrem.inference.run import load_for  # noqa: E402
from bgrem.models import read_description  # noqa: E402
from bgrem.training.calibration import (  # noqa: E402
    coverage_table,
    print_coverage,
    sample_pair,
    saturated_truth,
)

FIRST_SEED = 79_000  # calibration: 62,000 up; training: 1,000,000 up
SHAPE = (512, 512)
UNCERTAINTY_SEEDS = 500  # beyond those of the other benchmarks
PIXELS = 10_000  # of each field and range of signal


def main() -> None:
    parser = field_parser(__doc__, FIRST_SEED, KINDS)
    parser.add_argument("--calibration", type=Path, help="default: the model's own")
    parser.add_argument("--json", type=Path, help="write the tables")
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
            samples.append(sample_pair(pair, config, model, number=PIXELS, seed=seed))
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
