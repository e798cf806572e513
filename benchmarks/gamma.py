"""γ-ray counts: mean counts of denoised patches, sources at equal false positives, real maps.

    python benchmarks/gamma.py [--patches N] [--steps 1,6] [--real DIR] [--json FILE]

Patches of 64x64 px of ten years at 1-2 GeV with Poisson noise, of seeds that the training has not
seen. `docs/results/gamma.md` says more.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from ratios import bootstrap_ratio  # noqa: E402
from sextractor import detect_with_sextractor  # noqa: E402

from bgrem.frame import detect, sextractor_run  # noqa: E402
from bgrem.frame.counts import counts_statistics  # noqa: E402
from bgrem.frame.detect import Detections  # noqa: E402
from bgrem.simulate.gamma import GammaPatch, king_profile, simulate_patch  # noqa: E402
from bgrem.validation import metrics  # noqa: E402

FIRST_SEED = 80_000  # training draws from 1,000,000 up
SHAPE = (64, 64)
SKIES = {"whole sky": None, "plane": 10.0}  # largest latitude of the centres
BINS = 5  # of patches, from faint to bright, with equally many in each
GROUP = 25  # patches that make one field of the bootstrap
GAP = 32  # px between the patches of a group
WIDTHS = (1.0, 1.5)  # of a tuned filter, in FWHM
HIGHEST, LOWEST = 20.0, 0.05  # thresholds
RADIUS = 2.3  # px; the profile's containment of 68 % on the real maps, and about its FWHM
NEAR = 3.0  # px, 0.3 degrees: partner of a catalogued source
REAL = {
    "Galactic centre, 10-500 GeV, 5 years": "fermi_gc_counts.fits.gz",
    "Galactic plane, above 50 GeV": "fermi_2fhl_plane_counts.fits",
}
UNPAIRED = (5, 10, 20, 40)
Find = Callable[[float], Detections]
Denoise = Callable[[np.ndarray, int, bool], tuple[np.ndarray, np.ndarray]]


def make_patches(
    sky: str, number: int, first_seed: int, exposure: float | None
) -> list[GammaPatch]:
    """Return patches of held-out seeds."""
    limit = SKIES[sky]
    patches = []
    for seed in range(first_seed, first_seed + number):
        drawn = np.random.default_rng([seed, 19]).uniform(-1, 1)
        latitude = None if limit is None else limit * float(drawn)
        patches.append(simulate_patch(seed, SHAPE, latitude=latitude, exposure=exposure))
    return patches


def mean_counts(patches: list[GammaPatch], denoiser: Denoise, steps: int) -> list[dict[str, Any]]:
    """Return denoised to true counts in bins of the true ones."""
    truth = np.array([patch.sources.mean() for patch in patches])
    ours, unclipped = (
        np.array([denoiser(patch.observed, steps, clip)[0].mean() for patch in patches])
        for clip in (True, False)
    )
    rows = []
    for number, members in enumerate(np.array_split(np.argsort(truth), BINS), 1):
        rows.append({
            "bin": number, "patches": len(members), "truth": float(truth[members].mean()),
            "denoised": float(ours[members].mean()),
            "ratio": bootstrap_ratio(ours[members], truth[members]),
            "unclipped": bootstrap_ratio(unclipped[members], truth[members]),
        })  # fmt: skip
    return rows


def mosaic(parts: list[np.ndarray], gap: float = 0.0) -> np.ndarray:
    """Return patches side by side with `GAP` between them: one call finds the sources of all."""
    return np.hstack([np.pad(one, ((0, 0), (0, GAP)), constant_values=gap) for one in parts])


def mosaic_truth(patches: list[GammaPatch]) -> dict[str, np.ndarray]:
    """Return the catalogues of many patches, as `mosaic` places them."""
    names = ("x", "y", "snr", "half_light_radius")
    truth = {n: np.concatenate([one.catalogue[n] for one in patches]) for n in names}
    number = np.repeat(np.arange(len(patches)), [len(one.catalogue["x"]) for one in patches])
    return truth | {"x": truth["x"] + (SHAPE[1] + GAP) * number}


def subtract_mesh(pixels: np.ndarray, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """Return counts less SExtractor's background, and their noise."""
    import sep

    data = pixels.astype(np.float64)
    grid = sep.Background(data, bw=mesh, bh=mesh, fw=3, fh=3)
    return data - grid.back(), np.maximum(grid.rms(), 1e-3)


def find_with_sep(parts: list[tuple[np.ndarray, np.ndarray]], kernel: np.ndarray) -> Find:
    flat, noise = mosaic([one[0] for one in parts]), mosaic([one[1] for one in parts], 1.0)
    return lambda t: detect.detect_with_sep(flat, t, noise=noise, kernel=kernel)


def find_with_sextractor(patches: list[GammaPatch]) -> Find:
    """Return SExtractor as it is, with its own background, patch by patch."""

    def find(threshold: float) -> Detections:
        found = [detect_with_sextractor(one.observed, threshold) for one in patches]
        x = [one.x + (SHAPE[1] + GAP) * k for k, one in enumerate(found)]
        y, flux = ([getattr(one, name) for one in found] for name in ("y", "flux"))
        return Detections(*(np.concatenate(part) for part in (x, y, flux)))

    return find


def peers(patches: list[GammaPatch], *, sextractor: bool) -> dict[str, Find]:
    """Return the methods on counts."""
    meshes = {m: [subtract_mesh(one.observed, m) for one in patches] for m in (16, 32, 64)}
    found = {"sep default": find_with_sep(meshes[64], detect.SEXTRACTOR_KERNEL)}
    fwhm = float(np.median([one.fwhm for one in patches]))
    for mesh, parts in meshes.items():
        for width in WIDTHS:
            kernel = detect.gaussian_kernel(width * fwhm)
            found[f"sep mesh {mesh} filter {width}"] = find_with_sep(parts, kernel)
    significance = mosaic([
        detect.matched_filter(one.observed, one.emission, np.sqrt(one.emission),
                              one.point_spread[12:-12, 12:-12])
        for one in patches
    ])  # fmt: skip
    found["matched filter"] = lambda t: detect.detect_peaks(significance, t)
    if sextractor:
        found["SExtractor default"] = find_with_sextractor(patches)
    return found


def ours(
    patches: list[GammaPatch], denoiser: Denoise, steps: int, *, sextractor: bool
) -> dict[str, Find]:
    """Return the engines on denoised patches; thresholds are in units of the counts' noise."""
    parts = [denoiser(one.observed, steps, True) for one in patches]
    found = {"ours, sep": find_with_sep(parts, detect.SEXTRACTOR_KERNEL)}
    if sextractor:
        pixels = mosaic([result / np.median(noise) for result, noise in parts])
        found["ours, SExtractor"] = lambda t: detect_with_sextractor(
            pixels, t, relative=False, background=False
        )
    return found


def count_true(patches: list[GammaPatch], methods: dict[str, Find]) -> dict[str, list[float]]:
    """Return each method's correct sources where the false ones reach each share of the list."""
    truth = mosaic_truth(patches)
    fwhm = float(np.median([one.fwhm for one in patches]))
    number = metrics.listed_number(truth)
    true = {}
    for name, find in methods.items():
        curve = metrics.roc_curve(find, truth, fwhm, (HIGHEST, LOWEST))
        true[name] = [metrics.true_at_false(curve, s * number) for s in metrics.FALSE_SHARES]
    return true


def ratio(mine: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return a ratio of sums over groups with its error, where no group has nothing to compare."""
    if not theirs.sum():
        return np.inf, np.nan
    value, error = bootstrap_ratio(mine, theirs)
    return value, error if theirs.all() else np.nan


def compare(
    groups: list[list[GammaPatch]], found: list[dict[str, list[float]]], *, sextractor: bool
) -> list[dict[str, Any]]:
    """Return one row per engine and share of false positives."""
    listed = sum(metrics.listed_number(mosaic_truth(one)) for one in groups)
    rows = []
    for k, share in enumerate(metrics.FALSE_SHARES):
        sums = {name: np.array([one[name][k] for one in found]) for name in found[0]}
        tuned = np.max([values for name, values in sums.items() if "mesh" in name], axis=0)
        for engine in ("sep", "SExtractor") if sextractor else ("sep",):
            mine, default = sums[f"ours, {engine}"], sums[f"{engine} default"]
            matched = sums["matched filter"]
            rows.append({
                "engine": engine, "false": f"{100 * share:g} %", "listed": listed,
                "ours": float(mine.sum()), "default alone": float(default.sum()),
                "ours : default": ratio(mine, default), "ours : tuned sep": ratio(mine, tuned),
                "ours : matched filter": ratio(mine, matched),
                "matched filter : default": ratio(matched, default),
            })  # fmt: skip
    return rows


def real_map(folder: Path, name: str, denoiser: Denoise, steps: int) -> list[dict[str, Any]]:
    """Return catalogued sources that are found, at equal numbers of detections without one."""
    from astropy.io import fits

    with fits.open(folder / name) as hdus:
        image = next(hdu for hdu in hdus if hdu.is_image and hdu.data is not None)
        pixels, header = image.data.astype(np.float32), image.header
    table = fits.getdata(folder / "fermi_2fhl_catalog.fits", 1)
    longitude = (table["GLON"] - header["CRVAL1"] + 180) % 360 - 180
    x = longitude / header["CDELT1"] + header["CRPIX1"] - 1
    y = (table["GLAT"] - header["CRVAL2"]) / header["CDELT2"] + header["CRPIX2"] - 1
    inside = (x > 0) & (x < pixels.shape[1] - 1) & (y > 0) & (y < pixels.shape[0] - 1)
    x, y = x[inside].astype(float), y[inside].astype(float)
    truth = {"x": x, "y": y, "snr": np.full(len(x), np.inf),
             "half_light_radius": np.full(len(x), 2 * NEAR)}  # fmt: skip
    result, noise = denoiser(pixels, steps, True)
    level = counts_statistics(pixels)
    significance = detect.matched_filter(
        pixels, level.background, level.sigma, king_profile(RADIUS)
    )

    def sep_on(flat: np.ndarray, sigma: np.ndarray, kernel: np.ndarray) -> Find:
        return lambda t: detect.detect_with_sep(flat, t, noise=sigma, kernel=kernel)

    mesh = subtract_mesh(pixels, 64)
    methods: dict[str, Find] = {
        "sep on counts": sep_on(*mesh, detect.SEXTRACTOR_KERNEL),
        "sep on counts, filter": sep_on(*mesh, detect.gaussian_kernel(RADIUS)),
        "matched filter over our level": lambda t: detect.detect_peaks(significance, t),
        "ours, sep": sep_on(result, noise, detect.SEXTRACTOR_KERNEL),
    }
    rows = []
    for method, find in methods.items():
        curve = [(0, 0, 0)]
        for threshold in np.geomspace(1000, 0.02, 80):
            found = find(threshold)
            matched = metrics.score(found, truth, 1.0)
            curve.append((len(found), matched.true, matched.false))
            if matched.false > 2 * UNPAIRED[-1]:
                break
        for allowed in UNPAIRED:
            best = max((row for row in curve if row[2] <= allowed), key=lambda row: row[1])
            rows.append({
                "method": method, "allowed": allowed, "catalogued": len(x),
                "detections": best[0], "paired": best[1], "unpaired": best[2],
            })  # fmt: skip
    return rows


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a Markdown table."""

    def cell(value: Any) -> str:
        if isinstance(value, tuple):
            return f"{value[0]:.3f} ± {value[1]:.3f}"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    print(f"\n{title}\n\n| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(cell(value) for value in row.values()) + " |")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=200, help="of each sky")
    parser.add_argument("--groups", type=int, default=4, help=f"of {GROUP}, to find sources in")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--exposure", type=float, help="in ten years; default: 0.7 to 1.5")
    parser.add_argument("--model", default="gamma")
    parser.add_argument("--steps", default="1,6", help="diffusion steps")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--no-sextractor", action="store_true", help="the library sep only")
    parser.add_argument("--real", type=Path, metavar="DIR", help="folder of the real maps")
    parser.add_argument("--json", type=Path, help="write all tables")
    args = parser.parse_args()
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.inference.run import load_for

    config = DenoiseConfig(model=args.model, precision=args.precision)
    model = load_for(config)

    def denoiser(pixels: np.ndarray, steps: int, clip: bool) -> tuple[np.ndarray, np.ndarray]:
        done = denoise(pixels, config, model=model, steps=steps, clip=clip)
        return done.result.pixels[..., 0], done.sigma[..., 0]

    sextractor = not args.no_sextractor and sextractor_run.find_sextractor() is not None
    if not sextractor and not args.no_sextractor:
        print(
            f"SExtractor is missing, its rows too: {sextractor_run.INSTALL_SEXTRACTOR}",
            file=sys.stderr,
        )
    tables: dict[str, list[dict[str, Any]]] = {}

    def add(title: str, rows: list[dict[str, Any]]) -> None:
        tables[title] = rows
        print_table(title, rows)

    all_steps = [int(part) for part in args.steps.split(",")]
    for number, sky in enumerate(SKIES):
        seed = args.first_seed + 10_000 * number
        patches = make_patches(sky, args.patches, seed, args.exposure)
        groups = [patches[GROUP * k : GROUP * (k + 1)] for k in range(args.groups)]
        alone = [count_true(one, peers(one, sextractor=sextractor)) for one in groups]
        for steps in all_steps:
            add(f"mean counts, {sky}, steps {steps}", mean_counts(patches, denoiser, steps))
            found = [
                before | count_true(one, ours(one, denoiser, steps, sextractor=sextractor))
                for before, one in zip(alone, groups, strict=True)
            ]
            if groups:
                rows = compare(groups, found, sextractor=sextractor)
                add(f"sources, {sky}, steps {steps}", rows)
    if args.real:
        for name, file in REAL.items():
            for steps in all_steps:
                add(f"{name}, steps {steps}", real_map(args.real, file, denoiser, steps))
    if args.json:
        args.json.write_text(json.dumps(tables, indent=1), "utf-8")


if __name__ == "__main__":
    main()
