"""Measure `bgoptimizer` and its peers on scenes whose background is known.

    python benchmarks/background.py [--scenes DIR | --random N] [--uncertainty] [--json FILE]

Every figure of a table is the rms of (model - truth) after removing the mean of each channel, in
1e-5 of full scale: over all valid pixels / outside objects. `benchmarks/README.md` says more.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
USER_ENVIRONMENT = dict(os.environ)  # what our command is timed in
for _name, _value in THREADS.items():  # before NumPy is loaded: one method does not wait for cores
    os.environ.setdefault(_name, _value)
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from scipy import ndimage  # noqa: E402
from scipy.interpolate import RBFInterpolator, make_interp_spline  # noqa: E402

from bgoptimizer import BackgroundConfig, fit_background, make_scene  # noqa: E402
from common.image import AstroImage  # noqa: E402
from common.io import mark_missing  # noqa: E402

FIRST_SEED = 1000  # development used 0...39
OBJECT_LEVEL = 3e-4  # light above this is an object: half a sigma of a usual stack's noise
CELL_ROWS = 125  # blocks down the frame for the sample fits: as many as our own
KNOT_ROWS = 125  # a polynomial or thin plate is drawn through so many rows
OURS = ("ours", "original")
MESH_NOTE = "source-extractor is not installed: its rows are missing. apt install source-extractor"
Score = tuple[float, float]


@dataclass(frozen=True)
class TruthScene:
    """Observed pixels, true background and objects (H, W, C), valid pixels (H, W)."""

    name: str
    observed: np.ndarray
    background: np.ndarray
    objects: np.ndarray
    valid: np.ndarray


def folder_scenes(folder: Path) -> Iterator[TruthScene]:
    names = sorted(p.name[: -len("_truth.npy")] for p in folder.glob("*_truth.npy"))
    if not names:
        raise SystemExit(f"{folder}: no NAME_truth.npy. Expected NAME{{,_truth,_neb,_valid}}.npy.")
    for name in names:
        parts = [np.load(folder / f"{name}{end}.npy") for end in ("", "_truth", "_neb", "_valid")]
        yield TruthScene(name, *map(np.atleast_3d, parts[:3]), parts[3])


def random_scenes(count: int, shape: tuple[int, int]) -> Iterator[TruthScene]:
    """Every third scene is RGB, every fourth has a border."""
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        channels, border = (3 if seed % 3 == 0 else 1), seed % 4 == 1
        scene = make_scene(seed, shape=shape, channels=channels, border=border)
        kind = scene.description.split(" over ")[0]
        name = f"{seed} {'rgb' if channels == 3 else 'mono'} {kind}{' border' if border else ''}"
        yield TruthScene(name, scene.observed, scene.background, scene.objects, scene.valid)


def score(model: np.ndarray, scene: TruthScene) -> Score:
    """Return rms errors in 1e-5, means removed: (all valid pixels, outside objects)."""
    every, outside = [], []
    for c in range(scene.background.shape[-1]):
        error = model[..., c].astype(np.float64) - scene.background[..., c]
        every.append(error[scene.valid].var())
        sky = error[scene.valid & (scene.objects[..., c] < OBJECT_LEVEL)]
        outside.append(sky.var() if sky.size else np.nan)
    return 1e5 * float(np.sqrt(np.mean(every))), 1e5 * float(np.sqrt(np.nanmean(outside)))


def coverage(scene: TruthScene) -> dict[str, float]:
    """Return the shares of valid pixels whose error is at most the sigma map's value."""
    fitted = fit_background(_image(scene), BackgroundConfig(uncertainty=20))
    error, sigma = fitted.evaluate(np.float64) - scene.background, fitted.sigma()
    valid = scene.valid
    centred = error - error[valid].mean(axis=0)
    sky = valid[..., None] & (scene.objects < OBJECT_LEVEL)
    return {
        "absolute": float((np.abs(error) <= sigma)[valid].mean()),
        "mean_removed": float((np.abs(centred) <= sigma)[valid].mean()),
        "absolute_outside": float((np.abs(error) <= sigma)[sky].mean()),
        "median_sigma": 1e5 * float(np.median(sigma[valid])),
    }


def _image(scene: TruthScene) -> AstroImage:
    """Return the scene as the reader gives it: zeros at the border are missing."""
    return mark_missing(AstroImage(scene.observed, scene.name), "border")


def ours(scene: TruthScene, objective: str) -> np.ndarray:
    return fit_background(_image(scene), BackgroundConfig(objective=objective)).evaluate()


def sep_mesh(plane: np.ndarray, size: int) -> np.ndarray:
    import sep

    missing = np.isnan(plane)
    data = np.ascontiguousarray(np.nan_to_num(plane), np.float32)
    return sep.Background(data, mask=missing, bw=size, bh=size, fw=3, fh=3).back()


def photutils_mesh(plane: np.ndarray, size: int) -> np.ndarray:
    from astropy.stats import SigmaClip
    from photutils.background import Background2D, SExtractorBackground

    missing = np.isnan(plane)
    return Background2D(
        np.nan_to_num(plane), size, coverage_mask=missing if missing.any() else None,
        filter_size=3, exclude_percentile=90, sigma_clip=SigmaClip(3.0),
        bkg_estimator=SExtractorBackground(),
    ).background  # fmt: skip


def source_extractor(plane: np.ndarray, size: int) -> np.ndarray:
    """Return Debian's check image BACKGROUND; missing pixels have weight 0."""
    from astropy.io import fits

    missing = np.isnan(plane)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        fits.writeto(path / "image.fits", np.nan_to_num(plane).astype(np.float32))
        (path / "empty.sex").touch()
        (path / "columns.param").write_text("NUMBER\n")
        command = [
            "source-extractor", "image.fits", "-c", "empty.sex", "-CATALOG_TYPE", "NONE",
            "-PARAMETERS_NAME", "columns.param", "-FILTER", "N", "-VERBOSE_TYPE", "QUIET",
            "-DETECT_THRESH", "1e6", "-BACK_SIZE", str(size), "-BACK_FILTERSIZE", "3",
            "-CHECKIMAGE_TYPE", "BACKGROUND", "-CHECKIMAGE_NAME", "background.fits",
        ]  # fmt: skip
        if missing.any():
            fits.writeto(path / "weight.fits", (~missing).astype(np.float32))
            command += ["-WEIGHT_TYPE", "MAP_WEIGHT", "-WEIGHT_IMAGE", "weight.fits"]
        subprocess.run(command, cwd=path, check=True, capture_output=True)
        return fits.getdata(path / "background.fits").astype(np.float32)


def cell_medians(plane: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return medians (h, w) of square cells, NaN where half is missing, and their centres."""
    rows, columns = (-(-n // side) for n in plane.shape)
    padding = [(0, rows * side - plane.shape[0]), (0, columns * side - plane.shape[1])]
    cells = np.pad(plane, padding, constant_values=np.nan)
    cells = cells.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, -1)
    present = np.isfinite(cells)
    whole, usable = present.all(-1), present.mean(-1) >= 0.5
    medians = np.full((rows, columns), np.nan)
    medians[whole] = np.median(cells[whole], axis=-1)
    if (part := usable & ~whole).any():
        medians[part] = np.nanmedian(cells[part], axis=-1)
    return medians, (np.arange(rows) + 0.5) * side, (np.arange(columns) + 0.5) * side


def draw_surface(values: np.ndarray, y: np.ndarray, x: np.ndarray, shape) -> np.ndarray:
    """Return a smooth surface known at y * x as an image: a cubic along each axis."""
    across = make_interp_spline(x, values, axis=1)(np.arange(shape[1]) + 0.5)
    return make_interp_spline(y, across, axis=0)(np.arange(shape[0]) + 0.5).astype(np.float32)


def _knots(shape) -> tuple[np.ndarray, np.ndarray]:
    counts = (KNOT_ROWS, max(8, round(KNOT_ROWS * shape[1] / shape[0])))
    return tuple(np.linspace(0, n, count) for n, count in zip(shape, counts, strict=True))


def _basis(y: np.ndarray, x: np.ndarray, shape, degree: int) -> np.ndarray:
    """Chebyshev products up to a total degree at points (N,), shape (N, terms)."""
    u, v = 2 * y / shape[0] - 1, 2 * x / shape[1] - 1
    terms = np.polynomial.chebyshev.chebvander2d(u, v, [degree, degree])
    i, j = np.mgrid[: degree + 1, : degree + 1].reshape(2, -1)
    return terms[:, i + j <= degree]


def clipped_polynomial(values, y, x, shape, degree: int, upper: float):
    """Fit by least squares, leave out residuals beyond -3 and +upper sigma, repeat."""
    basis = _basis(y, x, shape, degree)
    keep = np.ones(len(values), bool)
    for _ in range(30):
        solution = np.linalg.lstsq(basis[keep], values[keep], rcond=None)[0]
        residual = values - basis @ solution
        centre = np.median(residual[keep])
        sigma = 1.4826 * np.median(np.abs(residual[keep] - centre))
        new = (residual > centre - 3 * sigma) & (residual < centre + upper * sigma)
        if (new == keep).all() or new.sum() < 3 * basis.shape[1]:
            break
        keep = new
    return solution, residual, sigma


def polynomial(plane: np.ndarray, degree: int, upper: float) -> np.ndarray:
    medians, rows, columns = cell_medians(plane, max(1, min(plane.shape) // CELL_ROWS))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    good = np.isfinite(medians)
    solution = clipped_polynomial(medians[good], y[good], x[good], plane.shape, degree, upper)[0]
    rows, columns = _knots(plane.shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    values = (_basis(y.ravel(), x.ravel(), plane.shape, degree) @ solution).reshape(y.shape)
    return draw_surface(values, rows, columns, plane.shape)


def thin_plate(plane: np.ndarray, boxes: int, tolerance: float, smoothing: float) -> np.ndarray:
    """Draw a thin plate through sample boxes that are not brighter than their surroundings.

    As DBE and its kin do: boxes on a regular grid, those above a robust second-degree trend by
    more than `tolerance` sigma are rejected.
    """
    side = max(1, min(plane.shape) // CELL_ROWS)
    cells, rows, columns = cell_medians(plane, side)
    group = max(1, round(cells.shape[0] / boxes))
    medians, y, x = cell_medians(cells, group)
    y, x = np.meshgrid(y * side, x * side, indexing="ij")
    good = np.isfinite(medians)
    values, y, x = medians[good], y[good], x[good]
    _, residual, sigma = clipped_polynomial(values, y, x, plane.shape, 2, 2.0)
    keep = residual < tolerance * sigma
    scale, unit = max(float(np.std(values[keep])), 1e-12), plane.shape[0]
    spline = RBFInterpolator(
        np.stack([y, x], -1)[keep] / unit, values[keep] / scale, smoothing=smoothing
    )
    rows, columns = _knots(plane.shape)
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    drawn = scale * spline(points.reshape(-1, 2) / unit).reshape(points.shape[:2])
    return draw_surface(drawn, rows, columns, plane.shape)


def rolling_ball(plane: np.ndarray, radius: float) -> np.ndarray:
    """Roll scikit-image's ball under the smoothed cells; its radius is in cells."""
    from skimage.restoration import rolling_ball as roll

    cells, rows, columns = cell_medians(plane, max(1, min(plane.shape) // CELL_ROWS))
    nearest = ndimage.distance_transform_edt(
        np.isnan(cells), return_distances=False, return_indices=True
    )
    smooth = ndimage.gaussian_filter(cells[tuple(nearest)], 2)
    scale = radius / max(float(np.ptp(smooth)), 1e-12)
    return draw_surface(roll(smooth * scale, radius=radius) / scale, rows, columns, plane.shape)


def peer_methods(quick: bool) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return every peer's settings as 'family setting'."""
    methods: dict[str, Callable] = {}
    for size in (32, 64, 128, 256):
        methods[f"sep {size}"] = partial(sep_mesh, size=size)
    for size in () if quick else (64, 128):
        methods[f"photutils {size}"] = partial(photutils_mesh, size=size)
    if shutil.which("source-extractor"):
        for size in (64, 128, 256):
            methods[f"SExtractor {size}"] = partial(source_extractor, size=size)
    else:
        print(f"*** {MESH_NOTE}", file=sys.stderr)
    for degree in (1, 2, 4, 6):
        for upper in (3.0, 1.5):
            name = f"polynomial degree {degree} clip -3+{upper:g}"
            methods[name] = partial(polynomial, degree=degree, upper=upper)
    for boxes in (10, 20):
        for tolerance in (1.0, 2.5):
            for smoothing in (0.0, 0.01):
                name = f"thin-plate {boxes} rows tolerance {tolerance:g} smoothing {smoothing:g}"
                methods[name] = partial(
                    thin_plate, boxes=boxes, tolerance=tolerance, smoothing=smoothing
                )
    for radius in (40, 100):
        methods[f"rolling-ball {radius}"] = partial(rolling_ball, radius=radius)
    return methods


def measure_scene(scene: TruthScene, peers: dict[str, Callable], original: bool) -> dict:
    """Return {method: (all, outside)}; a peer that fails has NaN and says so."""
    scores = {"ours": score(ours(scene, "robust"), scene)}
    if original:
        scores["original"] = score(ours(scene, "original"), scene)
    pixels = _image(scene).pixels
    for name, peer in peers.items():
        try:
            planes = [peer(pixels[..., c]) for c in range(pixels.shape[-1])]
            scores[name] = score(np.stack(planes, -1), scene)
        except (ImportError, ValueError, ArithmeticError, OSError, np.linalg.LinAlgError,
                subprocess.CalledProcessError) as failure:  # fmt: skip
            print(f"*** {scene.name}: {name} failed: {failure}", file=sys.stderr)
            scores[name] = (np.nan, np.nan)
    return scores


def best_of(scores: dict[str, Score], family: str = "") -> Score:
    """Return the smallest of each figure over the settings of a family, or of all peers."""
    rows = [s for n, s in scores.items() if n not in OURS and n.split()[0].startswith(family)]
    return tuple(np.nanmin(rows, axis=0)) if np.isfinite(rows).any() else (np.nan, np.nan)


def run_command(path: Path, objective: str) -> dict[str, float]:
    """Run our command on a file; return CPU seconds, wall seconds and peak MB of its process."""
    code = "import sys; from bgoptimizer.cli import main; sys.exit(main())"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, str(path), "-o", folder, "--overwrite"]
        start = time.perf_counter()
        child = subprocess.Popen(
            [*command, "--objective", objective],
            env={**USER_ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        peak = 0
        while True:
            # VmHWM: ru_maxrss would count this program's own memory before the exec
            status = Path(f"/proc/{child.pid}/status")
            lines = status.read_text().splitlines() if status.exists() else []
            peak = max([peak] + [int(n.split()[1]) for n in lines if n.startswith("VmHWM")])
            pid, code_, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        child.returncode = os.waitstatus_to_exitcode(code_)
    if child.returncode:
        raise RuntimeError(f"bgoptimizer --objective {objective} ended with {child.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    wall = time.perf_counter() - start
    return {"cpu_s": cpu, "wall_s": wall, "peak_mb": (peak or usage.ru_maxrss) / 1024}


def measure_cost(original: bool) -> dict[str, dict]:
    """Return cost of the command on a 2000x3000 file, mono and RGB."""
    from astropy.io import fits

    if not (ROOT / "bgoptimizer" / "cli.py").exists():
        print("*** bgoptimizer/cli.py does not exist: CPU and memory not measured", file=sys.stderr)
        return {}
    costs: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, channels in (("mono", 1), ("rgb", 3)):
            scene = make_scene(FIRST_SEED, shape=(2000, 3000), channels=channels)
            path = Path(folder) / f"{name}.fits"
            fits.writeto(path, np.squeeze(np.moveaxis(scene.observed, -1, 0)))
            for objective in ("robust", "original") if original else ("robust",):
                try:
                    costs[f"{name} {objective}"] = run_command(path, objective)
                except RuntimeError as failure:
                    print(f"*** {failure}", file=sys.stderr)
    return costs


def _pair(figures: Score, digits: int = 1) -> str:
    return " / ".join("-" if np.isnan(f) else f"{f:.{digits}f}" for f in figures)


def _table(header: list[str], rows: list[list[str]], markdown: bool) -> str:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    edge, between = ("| ", " | ") if markdown else ("", "  ")

    def line(row: list[str]) -> str:
        cells = [f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in
                 enumerate(zip(row, widths, strict=True))]  # fmt: skip
        return edge + between.join(cells) + edge[::-1]

    rule = [line(["-" * w for w in widths])]
    return "\n".join([line(header), *rule, *map(line, rows)])


def print_results(results: dict, markdown: bool) -> None:
    """Print scores, coverage and cost, whatever was measured."""
    if results["scenes"]:
        print_scores(results["scenes"], markdown)
    if results["coverage"]:
        columns = list(next(iter(results["coverage"].values())))
        rows = [
            [n, *(f"{100 * row[c]:.0f} %" for c in columns[:-1]), f"{row[columns[-1]]:.1f}"]
            for n, row in results["coverage"].items()
        ]
        titles = [c.replace("_", " ") for c in columns[:-1]] + ["median sigma (1e-5)"]
        print("\n" + _table(["errors within sigma", *titles], rows, markdown))
    print_cost(results["cost"], markdown)


def print_scores(scenes: dict, markdown: bool) -> None:
    """Print scene by family (each family tuned per scene) and our ratio to the best peer."""
    methods = next(iter(scenes.values()))
    families = list(dict.fromkeys(n.split()[0] for n in methods if n not in OURS))
    own = [n for n in OURS if n in methods]
    rows, ratios = [], []
    for name, scores in scenes.items():
        best = best_of(scores)
        ratios.append(np.divide(scores["ours"], best))
        cells = [_pair(scores[n]) for n in own] + [_pair(best)]
        cells += [_pair(best_of(scores, f)) for f in families]
        rows.append([name, *cells, _pair(ratios[-1], 2)])
    print(_table(["scene", *own, "best peer", *families, "ours : best peer"], rows, markdown))
    ahead = np.sum(np.less_equal(ratios, 1), axis=0)
    both = int(np.less_equal(ratios, 1).all(axis=1).sum())
    print(
        f"\nOurs : best peer (tuned per scene), {len(ratios)} scenes: "
        f"median {_pair(np.nanmedian(ratios, axis=0), 2)}, "
        f"worst {_pair(np.nanmax(ratios, axis=0), 2)}; "
        f"ahead in {ahead[0]} / {ahead[1]}, on both in {both}."
    )
    print_single_settings(scenes)


def print_single_settings(scenes: dict) -> None:
    """Print the peer settings that come nearest with one setting for all scenes."""
    names = [n for n in next(iter(scenes.values())) if n != "ours"]
    ratio = {n: [np.divide(s["ours"], s[n]) for s in scenes.values()] for n in names}
    middle = {n: np.exp(np.nanmean(np.log(r), axis=0)) for n, r in ratio.items()}
    nearest = sorted(names, key=lambda n: -np.nan_to_num(np.prod(middle[n])))[:3]
    text = "; ".join(f"{n} {_pair(middle[n], 2)}" for n in nearest)
    print(f"\nOurs : one peer setting for all scenes (geometric mean), nearest three: {text}.")


def print_cost(cost: dict, markdown: bool) -> None:
    if not cost:
        return
    rows = [
        [name, f"{row['cpu_s']:.1f}", f"{row['wall_s']:.1f}", f"{row['peak_mb']:.0f}"]
        for name, row in cost.items()
    ]
    print("\n" + _table(["command, 2000x3000", "CPU s", "wall s", "peak MB"], rows, markdown))
    for name in ("mono", "rgb"):
        pair = [cost.get(f"{name} {o}", {}).get("cpu_s") for o in ("original", "robust")]
        if all(pair):
            times = pair[0] / pair[1]
            print(f"\n{name}: `--objective original` takes {times:.1f} times the CPU seconds.")


def print_every_setting(results: dict) -> None:
    for name, scores in results["scenes"].items():
        print(f"\n{name}")
        print("\n".join(f"  {method:<48} {_pair(pair):>16}" for method, pair in scores.items()))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--scenes", type=Path, help="folder of NAME.npy, NAME_{truth,neb,valid}.npy")
    add("--random", type=int, help="so many random scenes (12 without --scenes); 0: none")
    add("--shape", type=int, nargs=2, default=(1000, 1500), help="of random scenes (1000 1500)")
    add("--quick", action="store_true", help="3 scenes, without photutils and the original")
    add("--no-original", action="store_true", help="without --objective original")
    add("--no-cost", action="store_true", help="without CPU time and memory of the command")
    add("--uncertainty", action="store_true", help="coverage of the sigma map too")
    add("--markdown", action="store_true", help="print only the tables of benchmarks/README.md")
    add("--json", type=Path, metavar="FILE", help="write every figure")
    add("--from-json", type=Path, metavar="FILE", help="print the tables of a former run")
    return parser.parse_args()


def measure(args: argparse.Namespace) -> dict[str, dict]:
    original = not (args.no_original or args.quick)
    peers = peer_methods(args.quick)
    sources: list[Iterator[TruthScene]] = [folder_scenes(args.scenes)] if args.scenes else []
    count = args.random if args.random is not None else (0 if args.scenes else 12)
    sources.append(random_scenes(count, tuple(args.shape)))
    results: dict[str, dict] = {"scenes": {}, "coverage": {}, "cost": {}}
    for source in sources:
        for scene in islice(source, 3 if args.quick else None):
            start = time.perf_counter()
            results["scenes"][scene.name] = measure_scene(scene, peers, original)
            if args.uncertainty:
                results["coverage"][scene.name] = coverage(scene)
            print(f"{scene.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if not args.no_cost:
        results["cost"] = measure_cost(original)
    return results


def main() -> None:
    args = parse_arguments()
    results = json.loads(args.from_json.read_text()) if args.from_json else measure(args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if not args.markdown:
        print_every_setting(results)
        print()
    print_results(results, args.markdown)


if __name__ == "__main__":
    main()
