"""True positives at equal false positives: denoised against SExtractor and a matched filter.

    python benchmarks/detection.py [--fields N] [--kinds survey,crowded] [--json FILE]
    python benchmarks/detection.py --outside     # fields that no simulator of `bgrem` has drawn

Every figure is a ratio of true positives, summed over fields, where the false ones reach 0.5, 2
and 5 % of the truth list; errors are bootstrapped over fields. `docs/results/detection.md` says
more.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import outside_fields  # noqa: E402
from ratios import bootstrap_ratio  # noqa: E402
from scipy import ndimage  # noqa: E402
from sextractor import detect_with_sextractor  # noqa: E402

from bgrem.cataloguing.flow import DENOISED_FLAG_SHARP, catalog  # noqa: E402
from bgrem.config import DenoiseConfig  # noqa: E402
from bgrem.frame import detect, sextractor_run  # noqa: E402
from bgrem.frame.stars import measure_point_spread  # noqa: E402
from bgrem.simulate.optical import SimulatedField, simulate_field  # noqa: E402
from bgrem.validation import metrics  # noqa: E402
from bgrem.validation.checks.sweeps import Finder, denoised_finder  # noqa: E402
from bgrem.validation.frames import Planes  # noqa: E402

Denoiser = Callable[[np.ndarray], Planes]
FIRST_SEED = 70_000  # training draws from 1,000,000 up
FIRST_OUTSIDE_SEED = 90_000  # choices were made on seeds of 60,000 to 63,999
SHAPE = (1024, 1024)
# name: conditions; none is a field of the training
KINDS: dict[str, dict[str, Any]] = {
    "survey": {"preset": "meerlicht", "stars": 2000.0},
    "crowded": {"preset": "meerlicht", "stars": 5000.0, "galaxies": 30.0},
    "galaxies": {"preset": "decam", "stars": 300.0, "galaxies": 2500.0},
    "sharp": {"preset": "ztf", "fwhm": 2.1, "stars": 2000.0},
    "moonlit": {"preset": "meerlicht", "stars": 2000.0, "sky": 15e3, "gradient": 0.25},
    "wavy": {"preset": "meerlicht", "stars": 2000.0, "sky": 15e3, "gradient": 0.25, "waves": 0.02},
}
SWEEP = (12.0, 1.2)  # sigma of the filtered image
SWEEP_DENOISED = (12.0, 0.02)  # sigma of the observed image: little noise is left
TUNED_MESHES = (32, 64, 128)
TRACKS = "cosmic rays"  # kind whose marked tracks count for no method
MARK_GROWTH_PX = 3  # px around a marked source, where other methods may place it
TUNED_WIDTHS = (0.7, 1.0, 1.3)  # of the filter, in FWHM of the stars


def curves(field: Any, denoiser: Any, *, sextractor: bool) -> dict[str, np.ndarray]:
    """Return the curve of each method on one field."""
    import sep

    truth, fwhm = field.catalogue, field.fwhm
    pixels = field.observed.astype(np.float64)

    def sweep(find: Any, thresholds: tuple[float, float] = SWEEP) -> np.ndarray:
        judged = getattr(field, "judged", lambda places: places)
        return metrics.roc_curve(lambda t: judged(find(t)), truth, fwhm, thresholds)

    found: dict[str, np.ndarray] = {}
    meshes = {m: sep.Background(pixels, bw=m, bh=m, fw=3, fh=3) for m in TUNED_MESHES}

    def with_sep(mesh: int, kernel: np.ndarray, contrast: float) -> np.ndarray:
        flat, noise = pixels - meshes[mesh].back(), meshes[mesh].rms()
        noise *= np.sqrt((kernel**2).sum()) / kernel.sum()
        options = {"noise": noise, "kernel": kernel, "contrast": contrast}
        return sweep(lambda t: detect.detect_with_sep(flat, t, **options))

    plain, low = detect.SEXTRACTOR_CONTRAST, detect.DENOISED_OPTIONS["contrast"]
    found["sep default"] = with_sep(64, detect.SEXTRACTOR_KERNEL, plain)
    found["sep default deblending"] = with_sep(64, detect.SEXTRACTOR_KERNEL, low)
    for mesh in TUNED_MESHES:
        for width in TUNED_WIDTHS:
            kernel = detect.gaussian_kernel(width * fwhm)
            found[f"sep mesh {mesh} filter {width}"] = with_sep(mesh, kernel, plain)
            if mesh == TUNED_MESHES[1]:
                found[f"sep deblending filter {width}"] = with_sep(mesh, kernel, low)
    sigma = np.sqrt(true_variance(field))
    significance = detect.matched_filter(pixels, field.background, sigma, field.point_spread)
    found["matched filter"] = sweep(lambda t: detect.detect_peaks(significance, t))
    planes = denoiser(field.observed)
    result, noise = planes.result, planes.sigma
    found["ours, catalog"] = sweep(catalog_finder(planes), SWEEP_DENOISED)
    found["ours, sep"] = sweep(
        lambda t: detect.detect_with_sep(result, t, noise=noise, **detect.DENOISED_OPTIONS),
        SWEEP_DENOISED,
    )
    if sextractor:
        middle = float(np.median(noise))
        kept = np.sqrt((detect.SEXTRACTOR_KERNEL**2).sum()) / detect.SEXTRACTOR_KERNEL.sum()
        found["SExtractor default"] = sweep(lambda t: detect_with_sextractor(pixels, t * kept))
        found["ours, SExtractor"] = sweep(
            lambda t: detect_with_sextractor(
                result, t * middle, relative=False, background=False, **detect.DENOISED_OPTIONS
            ), SWEEP_DENOISED,
        )  # fmt: skip
    return found


def true_variance(field: SimulatedField | outside_fields.OutsideField) -> np.ndarray:
    """Return the variance of sky, dark current and read noise in ADU², shape (H, W)."""
    if isinstance(field, outside_fields.OutsideField):
        return field.variance
    instrument = field.instrument
    electrons = (field.background.astype(np.float64) - instrument.bias) * instrument.gain
    return (electrons + instrument.read_noise**2) / instrument.gain**2


def table(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return one row per kind, engine and share of false positives."""
    rows = []
    for kind, fields in results.items():
        names = list(fields[0]["true"])
        tuned = [n for n in names if n.startswith("sep ") and "deblending" not in n]
        deblended = [n for n in names if n.startswith("sep ")]
        for engine in ("catalog", "sep", "SExtractor"):
            if f"ours, {engine}" not in names:
                continue
            for share in metrics.FALSE_SHARES:
                true = {n: np.array([one["true"][n][str(share)] for one in fields]) for n in names}
                ours, matched = true[f"ours, {engine}"], true["matched filter"]
                default = true[f"{'sep' if engine == 'catalog' else engine} default"]
                ratios = {
                    "default": (ours, default),
                    "tuned": (ours, np.max([true[n] for n in tuned], axis=0)),  # on each field
                    "deblended": (ours, np.max([true[n] for n in deblended], axis=0)),
                    "matched": (ours, matched),
                    "matched to default": (matched, default),
                }
                row = {"kind": kind, "engine": engine, "share": share, "ours": ours.sum()}
                row["listed"] = sum(one["listed"] for one in fields)
                rows.append(row | {n: bootstrap_ratio(*r) for n, r in ratios.items()})
    return rows


def print_table(rows: list[dict[str, Any]]) -> None:
    head = ("field", "engine", "false", "true", ": default", ": tuned",
            ": tuned, deblending too", ": matched filter", "matched : default")  # fmt: skip
    print(" | ".join(("", *head, "")).strip())
    print("|" + " --- |" * len(head))
    for row in rows:
        cells = [row["kind"], row["engine"], f"{100 * row['share']:g} %",
                 f"{row['ours']:.0f} of {row['listed']}"]  # fmt: skip
        for name in ("default", "tuned", "deblended", "matched", "matched to default"):
            ratio, error = row[name]
            cells.append(f"{ratio:.3f} ± {error:.3f}" if np.isfinite(ratio) else "others find none")
        print("| " + " | ".join(cells) + " |")


def field_parser(about: str, first_seed: int, kinds: dict[str, Any]) -> argparse.ArgumentParser:
    """Return the flags of a benchmark on simulated fields."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--fields", type=int, default=4, help="of each kind")
    parser.add_argument("--kinds", default=",".join(kinds), help=f"of {', '.join(kinds)}")
    parser.add_argument("--first-seed", type=int, default=first_seed)
    parser.add_argument("--model", default="optical")
    return parser


def draw_fields(
    args: argparse.Namespace, kind: str, shape: tuple[int, int]
) -> Iterator[tuple[int, SimulatedField]]:
    """Give seed and field, `args.fields` times."""
    for number in range(args.fields):
        seed = args.first_seed + 100 * list(KINDS).index(kind) + number
        yield seed, simulate_field(shape=shape, seed=seed, **KINDS[kind])


def draw_outside(
    args: argparse.Namespace, kind: str, shape: tuple[int, int]
) -> Iterator[tuple[int, outside_fields.OutsideField]]:
    """Give seed and field of a kind of `outside_fields`, `args.fields` times."""
    for seed in range(args.first_seed, args.first_seed + args.fields):
        yield seed, outside_fields.draw_field(kind, shape, seed)


def use_outside_fields(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Set the kinds and the first seed of `outside_fields`, where others are not given."""
    if args.kinds == parser.get_default("kinds"):
        args.kinds = ",".join(outside_fields.KINDS)
    if args.first_seed == FIRST_SEED:
        args.first_seed = FIRST_OUTSIDE_SEED


def make_denoiser(args: argparse.Namespace, **settings: Any) -> Denoiser:
    """Return what denoises a frame (H, W)."""
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.inference.run import load_for

    config = DenoiseConfig(model=args.model, **settings)
    model = load_for(config)

    def denoiser(pixels: np.ndarray) -> Planes:
        done = denoise(pixels, config, model=model)
        planes = (one[..., 0] for one in (done.result.pixels, done.background.pixels, done.sigma))
        return Planes(pixels.astype(np.float64), *planes)

    return denoiser


def without_tracks(field: outside_fields.OutsideField) -> outside_fields.OutsideField:
    """Return a field in which nothing counts, for any method, at what `bgrem catalog` marks."""
    made = catalog(field.observed, denoising=DenoiseConfig(steps=1))
    sharp = np.flatnonzero(np.asarray(made.table["DENOISED_FLAG"]) & DENOISED_FLAG_SHARP)
    numbers = np.asarray(made.table["NUMBER"])[sharp]
    marked = ndimage.binary_dilation(np.isin(made.segmentation, numbers), iterations=MARK_GROWTH_PX)
    return replace(field, marked=marked)


def catalog_finder(planes: Planes) -> Finder:
    """Return what `bgrem catalog` detects, against the threshold in the frame's own noise."""
    return denoised_finder(planes, measure_point_spread(planes.scaled, planes.missing))


def main() -> None:
    parser = field_parser(__doc__, FIRST_SEED, KINDS)
    parser.add_argument("--outside", action="store_true", help="kinds of `outside_fields`")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--no-sextractor", action="store_true", help="the library sep only")
    parser.add_argument("--json", type=Path, help="write all curves and the table")
    args = parser.parse_args()
    if args.outside:
        use_outside_fields(args, parser)
    denoiser = make_denoiser(args, **({"steps": args.steps} if args.steps else {}))
    sextractor = not args.no_sextractor and sextractor_run.find_sextractor() is not None
    if not sextractor and not args.no_sextractor:
        print(
            f"SExtractor is missing, its rows too: {sextractor_run.INSTALL_SEXTRACTOR}",
            file=sys.stderr,
        )
    results: dict[str, list[dict[str, Any]]] = {}
    for kind in args.kinds.split(","):
        fields = draw_outside if args.outside else draw_fields
        for seed, field in fields(args, kind, SHAPE):
            start = time.perf_counter()
            if kind == TRACKS:
                field = without_tracks(field)
            found = curves(field, denoiser, sextractor=sextractor)
            listed = metrics.listed_number(field.catalogue)
            true = {
                name: {str(s): metrics.true_at_false(curve, s * listed)
                       for s in metrics.FALSE_SHARES}
                for name, curve in found.items()
            }  # fmt: skip
            results.setdefault(kind, []).append({
                "seed": seed, "listed": listed, "true": true,
                "curves": {name: curve.tolist() for name, curve in found.items()},
            })  # fmt: skip
            print(f"{kind} {seed}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    rows = table(results)
    print_table(rows)
    if args.json:
        args.json.write_text(json.dumps({"table": rows, "fields": results}, default=float))


if __name__ == "__main__":
    main()
