"""Measure `bgoptimizer` and its peers on scenes whose background is known.

    python benchmarks/background.py [--scenes DIR | --random N] [--uncertainty] [--json FILE]

Every figure of a table is the rms of (model - truth) after removing the mean of each channel, in
1e-5 of full scale: over all valid pixels / outside objects. `docs/results/background.md` says more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
USER_ENVIRONMENT = dict(os.environ)  # what our command is timed in
for _name, _value in THREADS.items():  # before NumPy is loaded: one method does not wait for cores
    os.environ.setdefault(_name, _value)
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from peers import peer_methods  # noqa: E402

from bgoptimizer import BackgroundConfig, fit_background, make_scene  # noqa: E402
from common.image import AstroImage  # noqa: E402
from common.io import mark_missing  # noqa: E402

FIRST_SEED = 1000  # development used 0...39
OBJECT_LEVEL = 3e-4  # light above this is an object: half a sigma of a usual stack's noise
OURS = ("ours", "original")
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
    names = [n for n in next(iter(scenes.values())) if n not in OURS]
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
    add("--markdown", action="store_true", help="print only the tables")
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
