"""Short exposures made longer: Astro U-net's metrics, invented sources, fluxes, windows.

    python benchmarks/enhance.py [--fields N] [--kinds deep,cluster] [--ratios 2,5] [--json FILE]

`bgrem enhance` and classical denoisers on simulated fields of Hubble's WFC3/UVIS, compared with the
long exposure and with the light without noise. `docs/results/enhance.md` says more.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
from enhance_checks import (  # noqa: E402
    flux_bias,
    noise_only,
    print_fluxes,
    print_noise_only,
    print_strides,
    strides,
)
from exposures import (  # noqa: E402
    INPUT,
    MATCH,
    OURS,
    SETTINGS,
    Denoiser,
    Found,
    Pair,
    Row,
    Settings,
    another_long_exposure,
    classical_denoisers,
    draw_pair,
    find_sources,
    keep_noise,
    light_in_circles,
    match,
    our_denoiser,
    plain,
    print_cells,
    print_head,
    timed,
    with_error,
)
from ratios import bootstrap_ratio  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from bgrem.config import EnhanceConfig  # noqa: E402
from bgrem.simulate.hubble import HUBBLE_KINDS, HubbleField, simulate_hubble_field  # noqa: E402
from bgrem.validation import metrics  # noqa: E402
from bgrem.validation.checks.truth import TRUTH_HISTOGRAM_RANGE  # noqa: E402

FIRST_SEED = 76_000  # training draws from 1,000,000 up; choices are made on 60,000 to 60,499
SIDE, QUICK_SIDE = 768, 512
RATIOS, QUICK_RATIOS = "2,3,4,5", "2,5"
NOISES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ANOTHER, PIXELS = "another long exposure", "pixels"
# sums over all fields' sources that are divided by each other, as the paper's are
POOLED = {
    "RFE": ("errors", "measured"), "|RFE|": ("absolute", "measured"),
    "|RFE| common": ("absolute common", "measured common"), "TPR": ("true", "listed"),
    "F": ("true twice", "found and listed"),
}  # fmt: skip
KEYS = ("settings", "ratio", "image")
REAL_SNR, REAL_LIGHT = 1.0, 0.5  # of the long exposure; share of what the image shows
STRIDES, QUICK_STRIDES = (32, 64, 128, 192, 224, 256), (64, 192, 256)


def draw_fields(args: argparse.Namespace) -> list[HubbleField]:
    """Return the fields; no two share their conditions, which the seed draws."""
    return [
        simulate_hubble_field(
            args.first_seed + 100 * list(HUBBLE_KINDS).index(kind) + number,
            (args.side,) * 2,
            kind=kind,
        )
        for kind in args.kinds.split(",")
        for number in range(args.fields)
    ]


def judge_pair(
    pair: Pair,
    denoisers: dict[str, Denoiser],
    noises: tuple[float, ...],
    chosen: dict[str, Settings],
) -> list[Row]:
    """Return rows for the input and for each denoiser and each part of the noise that is kept.

    One of its pixels and one for each of SExtractor's settings.
    """
    images = {INPUT: (pair.short * pair.ratio, 0.0), ANOTHER: (another_long_exposure(pair), 0.0)}
    for name, denoiser in denoisers.items():
        clean, seconds = timed(denoiser, pair)
        for noise in noises:
            images[f"{name}, noise {noise:g}"] = keep_noise(pair, clean, noise), seconds
    common = {"kind": pair.field.kind, "seed": pair.field.seed, "ratio": pair.ratio}
    rows = []
    for name, (image, seconds) in images.items():
        row = common | {"image": name, "settings": PIXELS, "seconds": seconds}
        rows.append(row | pixel_metrics(image, pair))
    for label, settings in chosen.items():
        # drizzled images, the paper's, have the sky taken off
        flat = {name: image - np.median(pair.sky) for name, (image, _) in images.items()}
        reference = find_sources(pair.long - np.median(pair.sky), settings)
        start = find_sources(flat[INPUT], settings, scale=pair.ratio)
        for name, image in flat.items():
            found = start if name == INPUT else find_sources(image, settings)
            judged = judge_sources(image, found, pair, reference, start)
            rows.append(common | {"image": name, "settings": label} | judged)
    return rows


def judge_sources(
    image: np.ndarray, found: Found, pair: Pair, reference: Found, start: Found
) -> Row:
    """Return the metrics of the sources of one image.

    Parameters
    ----------
    image : array, shape (H, W)
        Electrons of the long exposure.
    found, reference, start : Found
        What was found on it, on the long exposure and on the input.
    """
    partner, before = match(found, reference), match(start, reference)
    true, false = int((partner >= 0).sum()), np.flatnonzero(partner < 0)
    real, chance = real_among(found, false, image, pair)
    _, mine, theirs = np.intersect1d(partner, before, return_indices=True)
    both = partner[mine] >= 0
    mine, theirs = mine[both], theirs[both]
    star = partner[mine]
    ratios = [signal_to_noise(found, mine) / signal_to_noise(*one)
              for one in ((start, theirs), (reference, star))]  # fmt: skip
    return {
        **flux_errors(found, partner, reference, star),
        "SNR_f": ratios[0], "SNR : long": ratios[1], "true": true, "listed": len(reference["x"]),
        "true twice": 2 * true, "found and listed": len(found["x"]) + len(reference["x"]),
        "false": len(false), "real": real, "chance": chance,
    }  # fmt: skip


def pixel_metrics(image: np.ndarray, pair: Pair) -> Row:
    """Return PSNR, SSIM and the divergence of the histograms against the long exposure.

    The last two are of pixels within `TRUTH_HISTOGRAM_RANGE`, as in `bgrem validate`: over the
    full range a bright star hides all else.
    """
    low, high = TRUTH_HISTOGRAM_RANGE
    truth, mine = ((one - pair.sky) / pair.long_sigma for one in (pair.long, image))
    cut = [np.clip(one, low, high) for one in (truth, mine)]
    return {
        "PSNR": metrics.peak_signal_to_noise(pair.long, image),
        "SSIM": metrics.structural_similarity(cut[0], cut[1], high - low),
        "KL": metrics.histogram_divergence(truth, mine, low=low, high=high),
    }


def flux_errors(found: Found, partner: np.ndarray, reference: Found, common: np.ndarray) -> Row:
    """Return sums of the relative flux error (equation 25) and of its absolute value, per cent.

    And how many they are of; the same for the stars in `common`, which were found on the input too.
    """
    index = np.flatnonzero(partner >= 0)
    index = index[reference["flux"][partner[index]] > 0]
    error = 100 * (1 - found["flux"][index] / reference["flux"][partner[index]])
    shared = np.isin(partner[index], common)
    return {
        "errors": float(error.sum()), "absolute": float(abs(error).sum()), "measured": len(error),
        "absolute common": float(abs(error[shared]).sum()), "measured common": int(shared.sum()),
    }  # fmt: skip


def signal_to_noise(found: Found, index: np.ndarray) -> float:
    """Return equation 26 of some sources."""
    if not len(index):
        return float("nan")
    background = float(np.median(found["background"][index]))
    return metrics.mean_signal_to_noise(found["flux"][index], found["error"][index], background)


def real_among(found: Found, false: np.ndarray, image: np.ndarray, pair: Pair) -> tuple[int, int]:
    """Return how many detections are real, though the long exposure does not show them.

    Real: a source of the simulation is within `MATCH`, or the light without noise stands out over
    its surroundings by `REAL_LIGHT` of what the image has there. The second number is of the same
    detections elsewhere, 30 px away: those that are real by chance.
    """
    x, y = found["x"][false], found["y"][false]
    catalogue = pair.field.catalogue
    seen = pair.snr() >= REAL_SNR
    places = np.column_stack([catalogue["x"][seen], catalogue["y"][seen]])
    shown = light_in_circles(image, x, y, 2.0, (5.0, 9.0))
    sides = image.shape[::-1]
    numbers = []
    for step in (0, 30):
        x_there, y_there = (x + step) % sides[0], (y + step) % sides[1]
        light = light_in_circles(pair.sources, x_there, y_there, 2.0, (5.0, 9.0))
        real = (light > 0) & (light >= REAL_LIGHT * shown)
        if len(places):
            real |= cKDTree(places).query(np.column_stack([x_there, y_there]))[0] <= MATCH
        numbers.append(int(real.sum()))
    return numbers[0], numbers[1]


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def summarise(rows: list[Row]) -> list[Row]:
    """Return one row per ratio, image and settings: means over fields, and what is in `POOLED`."""
    summary: list[Row] = []
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for one in sorted(rows, key=lambda row: row["ratio"]):
        groups.setdefault(tuple(one[name] for name in KEYS), []).append(one)
    for key, mine in groups.items():
        row: Row = dict(zip(KEYS, key, strict=True)) | {"fields": len(mine)}
        columns = {name: np.array([one[name] for one in mine], float)
                   for name in mine[0].keys() - {*KEYS, "kind", "seed"}}  # fmt: skip
        for name, values in columns.items():
            values = values[np.isfinite(values)]
            row[name] = _mean(values)
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            row[f"{name} error"] = float(error)
        for name, (upper, lower) in POOLED.items() if row["settings"] != PIXELS else ():
            value, error = bootstrap_ratio(columns[upper], columns[lower])
            row[name] = value if columns[lower].sum() else np.nan
            row[f"{name} error"] = error if len(mine) > 1 else np.nan
        summary.append(row)
    inputs = {
        row["ratio"]: row for row in summary if row["settings"] == PIXELS and row["image"] == INPUT
    }
    for row in summary:
        if row["settings"] == PIXELS:
            row["KL : input"] = row["KL"] / inputs[row["ratio"]]["KL"]
    return summary


def print_pixels(rows: list[Row], megapixels: float) -> None:
    print_head(("ratio", "pixels", "PSNR", "SSIM", "KL", "KL : input", "s per Mpx"))
    for row in rows:
        if row["settings"] == PIXELS:
            print_cells([
                f"{row['ratio']:g}", row["image"], plain(row["PSNR"], 1), plain(row["SSIM"], 3),
                plain(row["KL"], 4), plain(row["KL : input"], 2),
                plain(row["seconds"] / megapixels or np.nan, 1),
            ])  # fmt: skip


def print_sources(rows: list[Row], label: str, megapixels: float) -> None:
    print_head(("ratio", f"sources, {label} settings", "RFE %", "mean absolute RFE %",
                "same, found on the input", "TPR %", "F", "SNR_f", "SNR : long", "true per Mpx",
                "false per Mpx", "real of the false (by chance) %"))  # fmt: skip
    for row in rows:
        if row["settings"] != label:
            continue
        shares = "-"
        if row["false"]:
            real, chance = (100 * row[name] / row["false"] for name in ("real", "chance"))
            shares = f"{real:.0f} ({chance:.0f})"
        print_cells([
            f"{row['ratio']:g}", row["image"], with_error(row["RFE"], row["RFE error"], 2),
            plain(row["|RFE|"], 2), plain(row["|RFE| common"], 2),
            with_error(100 * row["TPR"], 100 * row["TPR error"]).lstrip("+"), plain(row["F"], 3),
            with_error(row["SNR_f"], row["SNR_f error"], 2).lstrip("+"),
            plain(row["SNR : long"], 2), plain(row["true"] / megapixels, 0),
            plain(row["false"] / megapixels, 0), shares,
        ])  # fmt: skip


def print_tables(summary: list[Row], args: argparse.Namespace) -> None:
    megapixels = args.side**2 / 1e6
    print_pixels(summary, megapixels)
    for label in args.chosen:
        print_sources(summary, label, megapixels)


def print_checks(args: argparse.Namespace, fields: list[HubbleField], ours: Denoiser) -> Row:
    """Run and print the three checks; return their figures."""
    config = args.config
    ends = (args.ratios[0], args.ratios[-1])
    empty = [row for ratio in ends for row in noise_only(fields[:3], ratio, ours, config.noise)]
    print_noise_only(empty)
    bias = [row for ratio in ends for row in flux_bias(fields, ratio, ours, config.noise)]
    print_fluxes(bias)
    speed = strides(draw_pair(fields[0], args.ratios[0]), config,
                    QUICK_STRIDES if args.quick else STRIDES)  # fmt: skip
    print_strides(speed)
    return {"noise only": empty, "fluxes": bias, "strides": speed}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=2, help="of each kind")
    parser.add_argument(
        "--kinds", default=",".join(HUBBLE_KINDS), help=f"of {', '.join(HUBBLE_KINDS)}"
    )
    parser.add_argument("--ratios", help=f"of exposure times; default {RATIOS}")
    parser.add_argument("--side", type=int, help=f"of a field, px; default {SIDE}")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--model", default="hst")
    parser.add_argument("--settings", default=",".join(SETTINGS), help="of SExtractor")
    parser.add_argument(
        "--threshold", type=float, help="SExtractor's DETECT_THRESH; default: the settings'"
    )
    parser.add_argument("--noise", type=float, help="that is kept; default: the command's")
    parser.add_argument("--sweep-noise", action="store_true", help="only ours, for many --noise")
    parser.add_argument("--no-peers", action="store_true", help="without classical denoisers")
    parser.add_argument("--no-checks", action="store_true", help="only the table of metrics")
    parser.add_argument("--quick", action="store_true",
                        help="one small field of each kind, two ratios, no BM3D")  # fmt: skip
    parser.add_argument("--by-kind", action="store_true", help="tables for each kind, too")
    parser.add_argument("--json", type=Path, help="write every figure")
    args = parser.parse_args()
    args.fields = 1 if args.quick else args.fields
    args.side = args.side or (QUICK_SIDE if args.quick else SIDE)
    given = args.ratios or (QUICK_RATIOS if args.quick else RATIOS)
    args.ratios = [float(one) for one in given.split(",")]
    args.chosen = {name: SETTINGS[name] for name in args.settings.split(",")}
    if args.threshold is not None:
        args.chosen = {name: replace(one, threshold=args.threshold)
                       for name, one in args.chosen.items()}  # fmt: skip
    args.config = EnhanceConfig(model=args.model)
    if args.noise is not None:
        args.config = replace(args.config, noise=args.noise)
    return args


def main() -> None:
    args = read_arguments()
    ours = our_denoiser(args.config)
    denoisers: dict[str, Denoiser] = {OURS: ours}
    noises: tuple[float, ...] = (args.config.noise, 0.0)
    if args.sweep_noise:
        noises = NOISES
    elif not args.no_peers:
        denoisers |= classical_denoisers(quick=args.quick)
    fields = draw_fields(args)
    ours(draw_pair(fields[0], args.ratios[0]))  # compiles
    rows: list[Row] = []
    for field in fields:
        for ratio in args.ratios:
            start = time.perf_counter()
            pair = draw_pair(field, ratio)
            rows += judge_pair(pair, denoisers, noises, args.chosen)
            print(f"{field.kind} {field.seed}, ratio {ratio:g}: "
                  f"{time.perf_counter() - start:.0f} s", file=sys.stderr)  # fmt: skip
    summary = summarise(rows)
    print_tables(summary, args)
    if args.by_kind:
        for kind in args.kinds.split(","):
            print(f"\n**{kind}**")
            print_tables(summarise([row for row in rows if row["kind"] == kind]), args)
    figures: Row = {"metrics": summary, "fields": rows}
    if not (args.sweep_noise or args.no_checks):
        figures |= print_checks(args, fields, ours)
    if args.json:
        args.json.write_text(json.dumps(figures), "utf-8")


if __name__ == "__main__":
    main()
