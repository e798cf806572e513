"""What `bgrem noisemap` gains for satellites among streaks, beside classical ways.

    python benchmarks/noisemap.py [--frames N] [--model M] [--quick] [--json FILE] [--picture PNG]
    python benchmarks/noisemap.py --real DIR --pictures DIR

Signal-to-noise ratio, flux and detection of injected satellites; trails; power spectra; cost of
the settings. Simulated frames of seeds that the training has not seen.
`docs/results/noisemap.md` says what is measured.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import noisemap_scenes as scenes  # noqa: E402
import noisemap_trails as trails  # noqa: E402
import numpy as np  # noqa: E402
from noisemap_peers import PEERS  # noqa: E402
from noisemap_pictures import draw_maps, draw_spectra  # noqa: E402
from noisemap_real import measure_real  # noqa: E402
from noisemap_report import (  # noqa: E402
    KINDS,
    Row,
    band_ratios,
    gains,
    print_report,
    print_table,
    select,
    summarise,
)

from bgrem.config import NoiseMapConfig  # noqa: E402

FIRST_SEED = 77_000  # training draws from 1,000,000 up
SHAPE, SMALL = (512, 512), (256, 256)  # px; of frames, and of those that the settings are tried on
NUMBER, TRAILS = 20, 9  # of each kind in a frame
OURS, TRUTH, STACKED = "noisemap", "true structure", "median of 12 frames"
SETTINGS = ((1, 1, 118), (1, 1, 120), (4, 1, 120), (20, 1, 120), (20, 1, 150), (5, 4, 150),
            (20, 10, 150))  # fmt: skip
QUICK_SETTINGS = ((1, 1, 118), (4, 1, 120), (1, 4, 150))
TILES = (128, 256)
Map = Callable[[np.ndarray], np.ndarray]


def our_map(model: Any, config: NoiseMapConfig) -> Map:
    """Return `bgrem.noisemap`'s map of a frame (H, W)."""
    from bgrem.noise_mapping.flow import noisemap

    return lambda pixels: noisemap(pixels, config, model=model).map.pixels[..., 0]


def maps_of(scene: scenes.Scene, ours: Map, stack: bool) -> dict[str, Map]:
    """Return every way to map this frame; the truth is the bound of all."""
    found = {TRUTH: lambda _: scene.frame.structure, OURS: ours, **PEERS}
    if stack:
        median = np.median(scenes.other_frames(scene), 0)
        found[STACKED] = lambda _: median
    return found


def measure_frame(scene: scenes.Scene, ways: dict[str, Map], number: int) -> dict[str, Row]:
    """Return for each way: satellites, false peaks, trails, power spectra, seconds of one map."""
    angle = scene.frame.angle if scene.frame.length else None
    lines = trails.draw_trails_for(scene.seed, scene.pixels.shape, angle, scene.noise, number)
    frames = {"plain": scene.pixels, "with": trails.add_all(scene.pixels, lines),
              "noise": trails.add_all(scene.pixels - scene.frame.structure, lines)}  # fmt: skip
    result = {}
    for name, way in ways.items():
        started = time.perf_counter()
        plain_map = way(scene.pixels)
        seconds = time.perf_counter() - started
        found_map = way(scene.with_satellites)
        plain, found = scene.pixels - plain_map, scene.with_satellites - found_map
        crossed = frames["with"] - way(frames["with"])
        result[name] = {
            "seconds": seconds,
            "satellites": scenes.satellite_rows(scene, plain, found),
            "false": scenes.false_peaks(scene, plain, plain_map).tolist()[:2000],
            "found": scenes.satellite_peaks(scene, found, found_map).tolist(),
            "trails": trails.trail_rows(
                lines, frames, {"plain": plain, "with": crossed}, scene.noise
            ),
            "spectra": [scenes.power_spectrum(one, scene.noise)
                        for one in (scene.pixels, plain, plain_map)],
        }  # fmt: skip
    return result


def try_settings(
    model: Any, config: NoiseMapConfig, first_seed: int, number: int, settings: Any
) -> list[Row]:
    """Return gain, flux kept and seconds of settings on small frames."""
    small = [scenes.make_scene(first_seed + 500 + k, SMALL, KINDS, NUMBER // 2)
             for k in range(number)]  # fmt: skip
    our_map(model, replace(config, runs=1, ddim_steps=1, tile=256, stride=192))(small[0].pixels)
    our_map(model, replace(config, runs=1, ddim_steps=1, tile=128, stride=96))(small[0].pixels)
    rows = []
    for tile in TILES:
        chosen = settings if tile == TILES[-1] else settings[:1]
        for runs, steps, depth in chosen:
            way = our_map(model, replace(config, runs=runs, ddim_steps=steps, depth=depth,
                                         tile=tile, stride=tile * 3 // 4))  # fmt: skip
            found, started = [], time.perf_counter()
            for scene in small:
                plain = scene.pixels - way(scene.pixels)
                crowded = scene.with_satellites - way(scene.with_satellites)
                found += scenes.satellite_rows(scene, plain, crowded)
            seconds = (time.perf_counter() - started) / (2 * number)
            on_streaks = gains(select(found, place="on"))
            rows.append({"runs": runs, "steps": steps, "depth": depth, "tile": tile,
                         "seconds": seconds, **gains(select(found, kind="frame")),
                         "flux kept on streaks": on_streaks.get("flux kept", np.nan)})  # fmt: skip
            print_setting(rows[-1])
    return rows


def print_setting(row: Row) -> None:
    print(f"| {row['runs']} | {row['steps']} | {row['depth']} | {row['tile']} "
          f"| {row['mean gain']:+.0%} | {row['median gain']:+.0%} | {row['flux kept']:.3f} "
          f"| {row['flux kept on streaks']:.3f} | {row['seconds']:.2f} |", flush=True)  # fmt: skip


def run_frames(args: argparse.Namespace, ours: Map) -> list[dict[str, Row]]:
    frames: list[dict[str, Row]] = []
    for seed in range(args.first_seed, args.first_seed + args.frames):
        scene = scenes.make_scene(seed, SHAPE, KINDS, NUMBER)
        if not frames:
            ours(scene.pixels)  # compiles
        frames.append(measure_frame(scene, maps_of(scene, ours, not args.quick), TRAILS))
        if args.pictures:
            mapped = ours(scene.with_satellites)
            draw_maps({"frame": scene.with_satellites, "map": mapped,
                       "residual": scene.with_satellites - mapped,
                       "map - true structure": mapped - scene.frame.structure},
                      args.pictures / f"frame_{seed}.png")  # fmt: skip
        print(f"frame {len(frames)} of {args.frames}", file=sys.stderr, flush=True)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--model", default="streaks", help="name or folder")
    parser.add_argument("--runs", type=int, default=NoiseMapConfig.runs)
    parser.add_argument("--depth", type=int, default=NoiseMapConfig.depth)
    parser.add_argument("--ddim-steps", type=int, default=NoiseMapConfig.ddim_steps)
    parser.add_argument("--setting-frames", type=int, default=4, help="0: no table of settings")
    parser.add_argument("--quick", action="store_true", help="3 frames, one run, few settings")
    parser.add_argument("--real", type=Path, metavar="DIR", help="with the frames of REAL")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, metavar="PNG", help="of the power spectra")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="of frames and maps")
    args = parser.parse_args()
    if args.quick:
        args.frames, args.runs = min(args.frames, 3), 1
        args.setting_frames = min(args.setting_frames, 1)
    from bgrem.inference.run import load_for

    config = NoiseMapConfig(
        model=args.model, runs=args.runs, depth=args.depth, ddim_steps=args.ddim_steps
    )
    model = load_for(config, "noisemap")
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    frames = run_frames(args, our_map(model, config))
    report: Row = {"frames": len(frames), "first seed": args.first_seed, "sha256": model.sha256}
    if frames:
        report["ways"] = {name: summarise(frames, name) for name in frames[0]}
        report["bands"] = {name: band_ratios(frames, name) for name in frames[0]}
        print_report(report["ways"], report["bands"])
        if args.picture:
            spectra = np.median([frame[OURS]["spectra"] for frame in frames], 0)
            ideal = np.median([frame[TRUTH]["spectra"][1] for frame in frames], 0)
            draw_spectra(spectra, ideal, args.picture)
    if args.setting_frames:
        print_table(["runs", "steps", "depth", "tile", "gain, mean", "gain, median", "flux kept",
                     "on a streak", "s"], [])  # fmt: skip
        settings = QUICK_SETTINGS if args.quick else SETTINGS
        report["settings"] = try_settings(
            model, config, args.first_seed, args.setting_frames, settings
        )
    if args.real:
        report["real"] = measure_real(args.real, our_map(model, config), args.pictures)
    if args.json:
        args.json.write_text(json.dumps(report, default=float), "utf-8")


if __name__ == "__main__":
    main()
