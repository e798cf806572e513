"""Measure `bgoptimizer` on kinds of sky that its own simulator does not draw.

    python benchmarks/background_unseen.py [--kinds cirrus,comet] [--seeds 8000:8003] [--no-peers]
    python benchmarks/background_unseen.py --peers FILE     # peers of a former run, if it has them

Errors are rms of model minus truth in per cent of the noise of a sky pixel, the mean of each
channel removed, over all valid pixels / outside objects. Peers are tuned for each scene by the
truth. "True map" is our fit with the true object map; the oracle also has the best prior and
stiffness. Recall is the share of cells with objects that the map has, "false" the share of sky that
it calls object.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before NumPy is loaded
    os.environ.setdefault(_name, "1")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
from background_kinds import KINDS, SHAPE, KindScene, draw_kind  # noqa: E402
from peers import peer_methods  # noqa: E402

from bgoptimizer import BackgroundConfig, fit_background  # noqa: E402
from bgoptimizer.cells import cell_noise  # noqa: E402
from bgoptimizer.robust import fit, plans  # noqa: E402
from bgoptimizer.robust.mask import ObjectMap, recognise_objects, robust_fit  # noqa: E402
from bgoptimizer.robust.smoothing import STIFFNESSES, Grid  # noqa: E402
from common.blocks import block_reduce  # noqa: E402
from common.image import AstroImage  # noqa: E402
from common.io import mark_missing  # noqa: E402

FIRST_SEED = 8000  # of the table; choices were made on seeds from 3000
LEVELS = (0.05, 0.2, 1.0, 4.0)  # noise; light above it is an object for the oracle, the best counts
MAP_LEVEL = 0.5  # noise; the same for recall and for the true map
MOST_OBJECTS = 0.9  # of the frame; with more the true map is of no use
FIXED_PEER = "polynomial degree 5 clip -3+1.5"  # one setting for all scenes
Score = tuple[float, float]


def score(model: np.ndarray, scene: KindScene) -> Score:
    """Return rms errors in per cent of the noise, means removed: all valid pixels, outside."""
    every, outside = [], []
    for c in range(scene.background.shape[-1]):
        error = 100 * (model[..., c].astype(np.float64) - scene.background[..., c]) / scene.noise
        every.append(error[scene.valid].var())
        sky = error[scene.valid & (scene.objects[..., c] < MAP_LEVEL * scene.noise)]
        outside.append(sky.var() if sky.size else np.nan)
    return float(np.sqrt(np.mean(every))), float(np.sqrt(np.nanmean(outside)))


def pedestal(model: np.ndarray, scene: KindScene) -> float:
    """Return the mean error in per cent of the noise, of the channel where it is largest."""
    error = 100 * (model - scene.background)[scene.valid] / scene.noise
    return float(np.abs(error.mean(0)).max())


def image_of(scene: KindScene) -> AstroImage:
    """Return the scene as the reader gives it: zeros at the border are missing."""
    return mark_missing(AstroImage(scene.observed, scene.name), "border")


def true_maps(scene: KindScene, factor: int, level: float) -> list[np.ndarray]:
    """Return where cells have light above a level, in noise: one (h, w) for each channel."""
    return [block_reduce(scene.objects[..., c], factor, "mean") > level * scene.noise
            for c in range(scene.objects.shape[-1])]  # fmt: skip


@contextmanager
def known_map(maps: list[np.ndarray]) -> Iterator[None]:
    """Let the fit have the true object maps, channel by channel."""
    queue = iter(maps)

    def recognise(cells: np.ndarray, *others: Any) -> ObjectMap:
        found, true = recognise_objects(cells, *others), next(queue) & np.isfinite(cells)
        if true.mean() > MOST_OBJECTS:  # nothing would be left to fit
            return found
        return ObjectMap(found.sky, true, found.floor, found.rounds)

    plans.recognise_objects = recognise
    try:
        yield
    finally:
        plans.recognise_objects = recognise_objects


def oracle(scene: KindScene, fitted: Any) -> Score:
    """Return the smallest errors of any prior, stiffness and level of the true map."""
    factor, every, outside = fitted.cell_factor, [], []
    for c in range(scene.background.shape[-1]):
        cells = fitted.cells[..., c]
        grid = Grid(*cells.shape, round(fit.POINTS_PER_HEIGHT**2 * cells.shape[1] / len(cells)), 3)
        present = np.isfinite(cells)
        filled = np.where(present, cells, np.median(cells[present]))
        truth = block_reduce(scene.background[..., c], factor, "mean")
        light = block_reduce(scene.objects[..., c], factor, "mean") / scene.noise
        noise = cell_noise(cells)
        sky = recognise_objects(cells, grid, noise).sky
        best = [np.inf, np.inf]
        for level in LEVELS:
            weights = sky * (light < level)
            if weights.mean() < 0.01:
                continue
            for prior in grid.priors.values():
                for stiffness in STIFFNESSES:
                    surface, _ = robust_fit(prior, filled, weights, stiffness, noise, rounds=2)
                    error = 100 * (surface.values - truth) / scene.noise
                    best[0] = min(best[0], float(error[present].var()))
                    far = error[present & (light < MAP_LEVEL)]
                    best[1] = min(best[1], float(far.var()) if far.size else np.inf)
        every.append(best[0])
        outside.append(best[1])
    finite = [one for one in outside if np.isfinite(one)]
    return float(np.sqrt(np.mean(every))), float(np.sqrt(np.mean(finite or [np.nan])))


def measure(scene: KindScene, *, full: bool) -> dict[str, Any]:
    """Return the figures of our fit on one scene; `full`: those of the oracles, too."""
    image = image_of(scene)
    start = time.process_time()
    fitted = fit_background(image, BackgroundConfig())
    seconds = time.process_time() - start
    model = fitted.evaluate()
    row: dict[str, Any] = {"ours": score(model, scene), "pedestal": pedestal(model, scene)}
    maps = np.stack(true_maps(scene, fitted.cell_factor, MAP_LEVEL), -1)
    present = np.isfinite(fitted.cells)
    found, true = fitted.objects & present, maps & present
    row["recall"] = float(found[true].mean()) if true.any() else np.nan
    row["false"] = float(found[~maps & present].mean()) if (~maps & present).any() else np.nan
    row["seconds"] = seconds
    if full:
        with known_map(true_maps(scene, fitted.cell_factor, MAP_LEVEL)):
            row["true map"] = score(fit_background(image, BackgroundConfig()).evaluate(), scene)
        row["oracle"] = oracle(scene, fitted)
    return row


def peers_of(scene: KindScene, quick: bool) -> dict[str, Score]:
    """Return the errors of each peer's setting."""
    pixels, found = image_of(scene).pixels, {}
    for name, peer in peer_methods(quick).items():
        try:
            planes = [peer(pixels[..., c]) for c in range(pixels.shape[-1])]
            found[name] = score(np.stack(planes, -1), scene)
        except (ImportError, ValueError, ArithmeticError, OSError, np.linalg.LinAlgError) as error:
            print(f"*** {scene.name}: {name} failed: {error}", file=sys.stderr)
    return found


def _ratio(rows: list[dict[str, Any]], one: str, other: str) -> str:
    ratios = np.array([np.divide(row[one], row[other]) for row in rows if other in row])
    if not len(ratios):
        return "not measured"
    parts = [
        " / ".join(f"{value:.2f}" for value in values)
        for values in (
            np.nanmedian(ratios, 0),
            np.nanquantile(ratios, 0.9, 0),
            np.nanmax(ratios, 0),
        )
    ]
    return "median {}, nine in ten below {}, worst {}".format(*parts)


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Print a row for each kind, medians over its scenes, then the ratios over all scenes."""
    columns = ("ours", "best peer", "fixed peer", "true map", "oracle")
    names = [name for name in columns if name in rows[0]]
    print("| kind | " + " | ".join(names) + " | pedestal | recall | false |")
    print("|" + " --- |" * (len(names) + 4))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        cells = [" / ".join(f"{v:.1f}" for v in np.nanmedian([r[n] for r in own], 0))
                 for n in names]  # fmt: skip
        cells += [f"{np.nanmedian([r[n] for r in own]):.{d}f}"
                  for n, d in (("pedestal", 1), ("recall", 2), ("false", 2))]  # fmt: skip
        print(f"| {kind} | " + " | ".join(cells) + " |")
    for other in names[1:]:
        print(f"\nours over {other}, {len(rows)} scenes: {_ratio(rows, 'ours', other)}")
    print(f"\n{np.median([row['seconds'] for row in rows]):.2f} CPU s for a fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=";".join(KINDS), help="separated by ;")
    parser.add_argument("--seeds", default=f"{FIRST_SEED}:{FIRST_SEED + 2}", help="from:to")
    parser.add_argument("--shape", type=int, nargs=2, default=SHAPE)
    parser.add_argument(
        "--peers", type=Path, help="JSON that keeps the peers' and oracles' figures"
    )
    parser.add_argument("--no-peers", action="store_true", help="neither peers nor oracles")
    parser.add_argument("--all-peers", action="store_true", help="slow ones too")
    parser.add_argument("--json", type=Path, help="write all rows")
    args = parser.parse_args()
    kept = json.loads(args.peers.read_text()) if args.peers and args.peers.exists() else {}
    rows = []
    first, last = map(int, args.seeds.split(":"))
    for kind in args.kinds.split(";"):
        for seed in range(first, last):
            scene = draw_kind(kind, seed, tuple(args.shape))
            known = kept.get(scene.name, {})
            row = measure(scene, full=not args.no_peers and not known)
            if not args.no_peers:
                if not known:
                    known = {name: row.pop(name) for name in ("true map", "oracle")}
                    known["peers"] = peers_of(scene, not args.all_peers)
                    kept[scene.name] = known
                    if args.peers:
                        args.peers.write_text(json.dumps(kept))
                best = np.nanmin(list(known["peers"].values()), axis=0)
                row |= {"best peer": best.tolist(), "true map": known["true map"],
                        "oracle": known["oracle"]}  # fmt: skip
                if FIXED_PEER in known["peers"]:
                    row["fixed peer"] = known["peers"][FIXED_PEER]
            rows.append({"kind": kind, "seed": seed} | row)
            print(f"{scene.name}: {row['ours']}", file=sys.stderr, flush=True)
    print_tables(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
