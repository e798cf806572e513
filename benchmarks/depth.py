"""How deep a catalogue goes: the S/N at which completeness and purity first fall by a tenth.

    python benchmarks/depth.py [--outside] [--fields N] [--kinds survey,wavy] [--json FILE]

The library sep detects on both sides: on the frame with SExtractor's defaults, on the denoised one
as `bgrem` advises. Both may have false detections of 2 % of the truth list. The gain in depth is
2.5 log10 of the ratio of the two S/N. A tenth of what holds for sources above S/N 20: blends cost
dense fields some of those too. A centroid's error is its distance from the true place.
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

from bgrem.frame import detect  # noqa: E402
from bgrem.frame.background import sep_mesh  # noqa: E402
from bgrem.validation import metrics  # noqa: E402

SHARE = 0.02  # false detections / sources of the truth list
LIMIT = 0.9  # of the share among bright sources
BRIGHT_SNR = 20.0  # S/N; of bright sources
EDGES = np.geomspace(2, 40, 20)  # S/N; bins of 17 %
FEW = 10  # sources; a bin with fewer says nothing
CENTROID_SNR = (5.0, 10.0)  # S/N of the sources whose centroids are compared
METHODS = ("SExtractor", "bgrem")


def first_below(snr: np.ndarray, good: np.ndarray) -> float:
    """Return the S/N at which a share first falls to the limit, from bright sources down."""
    bright = good[snr > BRIGHT_SNR]
    if len(bright) < FEW:
        return float("nan")
    limit = LIMIT * float(np.mean(bright))
    number = np.histogram(snr, EDGES)[0]
    share = np.histogram(snr[good], EDGES)[0] / np.maximum(number, 1)
    middle = np.sqrt(EDGES[1:] * EDGES[:-1])
    usable = np.flatnonzero(number >= FEW)[::-1]
    below = np.flatnonzero(share[usable] < limit)
    if not len(usable) or not len(below) or below[0] == 0:
        return float("nan")
    low, high = usable[below[0]], usable[below[0] - 1]
    part = (limit - share[low]) / (share[high] - share[low])
    return float(np.exp(np.log(middle[low]) + part * np.log(middle[high] / middle[low])))


def sources_of(field: Any, denoiser: Any) -> dict[str, dict[str, np.ndarray]]:
    """Return what each method finds on one field at equal false detections."""
    pixels, truth = field.observed.astype(np.float64), field.catalogue
    grid, kernel = sep_mesh(pixels, 64), detect.SEXTRACTOR_KERNEL
    flat = pixels - grid.back()
    filtered = grid.rms() * np.sqrt((kernel**2).sum()) / kernel.sum()
    planes = denoiser(field.observed)
    finders = {
        "SExtractor": (lambda t: detect.detect_with_sep(flat, t, noise=filtered), detection.SWEEP),
        "bgrem": (detection.catalog_finder(planes), detection.SWEEP_DENOISED),
    }
    sigma = np.sqrt(detection.true_variance(field))
    significance = detect.matched_filter(pixels, field.background, sigma, field.point_spread)
    found = {}
    for name, (finder, ends) in finders.items():
        curve = metrics.roc_curve(finder, truth, field.fwhm, ends)
        allowed = SHARE * metrics.listed_number(truth)
        one = finder(metrics.threshold_at_false(curve, allowed))
        score = metrics.score(one, truth, field.fwhm)
        partner, true = score.partner[score.partner >= 0], score.partner >= 0
        y, x = (np.clip(np.rint(place).astype(int), 0, side - 1)
                for place, side in zip((one.y, one.x), pixels.shape, strict=True))  # fmt: skip
        distance = np.hypot(one.x[true] - truth["x"][partner], one.y[true] - truth["y"][partner])
        asked = (truth["snr"][partner] > CENTROID_SNR[0]) & (
            truth["snr"][partner] < CENTROID_SNR[1]
        )
        found[name] = {
            "snr": truth["snr"], "found": np.isin(np.arange(len(truth["snr"])), partner),
            "measured": significance[y, x], "true": true, "distance": distance[asked],
        }  # fmt: skip
    return found


def row_of(kind: str, fields: list[dict[str, dict[str, np.ndarray]]]) -> dict[str, Any]:
    """Return the figures of a kind of field."""
    row: dict[str, Any] = {"field": kind}
    for name in METHODS:
        every = {key: np.concatenate([one[name][key] for one in fields]) for key in fields[0][name]}
        row[f"complete, {name}"] = first_below(every["snr"], every["found"])
        row[f"pure, {name}"] = first_below(every["measured"], every["true"])
        row[f"centroid, {name}"] = float(np.median(every["distance"]))
    ratio = row["complete, SExtractor"] / row["complete, bgrem"]
    row["deeper by, mag"] = float(2.5 * np.log10(ratio))
    return row


def main() -> None:
    parser = detection.field_parser(__doc__, detection.FIRST_SEED, detection.KINDS)
    parser.add_argument("--outside", action="store_true", help="kinds of `outside_fields`")
    parser.add_argument("--json", type=Path, help="write the table")
    args = parser.parse_args()
    draw = detection.draw_fields
    if args.outside:
        detection.use_outside_fields(args, parser)
        draw = detection.draw_outside
    denoiser = detection.make_denoiser(args)
    rows = []
    for kind in args.kinds.split(","):
        fields = [sources_of(one, denoiser) for _, one in draw(args, kind, detection.SHAPE)]
        rows.append(row_of(kind, fields))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for row in rows:
        cells = [row[name] if isinstance(row[name], str) else f"{row[name]:.2f}" for name in names]
        print("| " + " | ".join(cells) + " |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
