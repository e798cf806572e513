"""Satellites and trails on staring frames that another program draws: `bgrem noisemap`, peers.

    python benchmarks/noisemap_outside.py [--frames N] [--first-seed S] [--kinds WORD] [--json FILE]

Six kinds of frame (`noisemap_outside_scenes.py`). The true structure, which no map can beat, is
printed beside. Seeds from 4,000 are for development, those from 9,000 for the table of results.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import noisemap_outside_scenes as scenes  # noqa: E402
import noisemap_peers as peers  # noqa: E402
import numpy as np  # noqa: E402
import sep  # noqa: E402
from scipy import ndimage, optimize  # noqa: E402

FIRST_SEED = 9_000
FILTER = 0.6  # px, sigma of the matched filter
NEAR = 1.5  # px, largest distance of a detection to its satellite
APERTURE = 3.0  # px, radius in which a satellite's light is summed
ALARM = 5.0  # sigma
MESH, RING = 32, (5, 11)  # px, of the plain local noise
END = 0.2  # px, aim for the ends of trails
OURS, TRUTH = "noisemap", "true structure"
Map = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]  # frame -> map, its noise
Row = dict[str, Any]


def ways_for(scene: scenes.Scene, ours: Map) -> dict[str, Map]:
    """Return every way to map this frame; the truth is the bound of all."""

    def peer(way: peers.Map) -> Map:
        return lambda pixels: (way(pixels), None)

    return {
        TRUTH: lambda _: (scene.structure, scene.sigma),
        OURS: ours,
        "rows, columns, mesh": peer(peers.destriped),
        "opening along streaks": peer(peers.opened),
    }


def our_map() -> Map:
    """Return `bgrem.noisemap` with its defaults."""
    from bgrem.config import NoiseMapConfig
    from bgrem.inference.run import load_for
    from bgrem.noise_mapping.flow import noisemap

    model = load_for(NoiseMapConfig(), "noisemap")

    def found(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        done = noisemap(pixels.astype(np.float32), model=model)
        return done.map.pixels[..., 0].astype(float), done.rms.pixels[..., 0].astype(float)

    return found


def significance(residual: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """Return the matched filter of points over its noise: the map's own, or a plain local one.

    The local one is the larger of a mesh's and the rms of a ring around: else every streak that a
    peer leaves is an alarm.
    """
    filtered = ndimage.gaussian_filter(residual, FILTER)
    local = sep.Background(np.ascontiguousarray(filtered), bw=MESH, bh=MESH)
    if noise is None:
        flat = filtered - local.back()
        inner, outer = (side**2 * ndimage.uniform_filter(flat**2, side) for side in RING)
        ring = np.sqrt(np.maximum(outer - inner, 0) / (RING[1] ** 2 - RING[0] ** 2))
        return flat / np.maximum(np.maximum(ring, local.rms()), 1e-9)
    white = 1 / (2 * np.sqrt(np.pi) * FILTER)  # of the noise is left by the filter
    return (filtered - np.median(filtered)) / (white * np.where(noise > 0, noise, np.inf))


def measure(scene: scenes.Scene, way: Map) -> Row:
    """Return alarms, significance and light of satellites, light and ends of trails."""
    started = time.perf_counter()
    plain_map, plain_noise = way(scene.pixels)
    seconds = time.perf_counter() - started
    found_map, found_noise = way(scene.with_satellites)
    plain, found = scene.pixels - plain_map, scene.with_satellites - found_map
    edge = np.s_[scenes.EDGE : -scenes.EDGE, scenes.EDGE : -scenes.EDGE]
    peaks = significance(plain, plain_noise)
    alarms = np.sort(peaks[edge][(peaks == ndimage.maximum_filter(peaks, 3))[edge]])[::-1]
    near = np.hypot(*np.mgrid[-2:3, -2:3]) <= NEAR
    highest = ndimage.maximum_filter(significance(found, found_noise), footprint=near)
    kept, put = found - plain, scene.with_satellites - scene.pixels
    satellites = []
    for x, y, peak, place in scene.satellites:
        light = [sep.sum_circle(one, [x], [y], APERTURE)[0][0] for one in (kept, put)]
        satellites.append((peak, place, float(highest[round(y), round(x)]), light[0] / light[1]))
    kept = scene.with_trails - way(scene.with_trails)[0] - plain
    trails = []
    for (start, end, width, kind), light in zip(scene.trails, scene.trail_light, strict=True):
        area = ndimage.binary_dilation(light > 0.05 * light.max(), iterations=3)
        shift = ends_shift(kept, start, end, width, light.max()) if kind == "across" else np.nan
        trails.append((kind, float(kept[area].sum() / light[area].sum()), shift))
    return {"alarms": alarms[:3000].tolist(), "satellites": satellites, "trails": trails,
            "seconds": seconds}  # fmt: skip


def ends_shift(kept: np.ndarray, start, end, width, peak) -> float:
    """Return the larger shift of both ends of the line that fits best, px; infinity: no fit."""
    low = np.floor(np.minimum(start, end)).astype(int) - 8
    high = np.ceil(np.maximum(start, end)).astype(int) + 9
    stamp = kept[low[1] : high[1], low[0] : high[0]] / peak

    def difference(p: np.ndarray) -> np.ndarray:
        return (p[5] * scenes.line_light(p[:2], p[2:4], abs(p[4]), stamp.shape) - stamp).ravel()

    truth = np.concatenate([start - low, end - low, [width, 1.0]])
    guess = truth + np.array([0.5, -0.4, -0.3, 0.5, 0.2, -0.1])
    done = optimize.least_squares(difference, guess, max_nfev=40)
    shifts = np.hypot(*(done.x[:4] - truth[:4]).reshape(2, 2).T)
    return float(shifts.max()) if done.success else np.inf


def summarise(rows: list[Row]) -> Row:
    """Return the figures of a way on frames of a kind."""
    alarms = np.sort(np.concatenate([row["alarms"] for row in rows]))[::-1]
    threshold = alarms[len(rows)]  # one false alarm per frame
    satellites = [one for row in rows for one in row["satellites"]]
    trails = [one for row in rows for one in row["trails"]]
    result: Row = {
        "found": [float(np.mean([s > threshold for p, _, s, _ in satellites if p == peak]))
                  for peak in scenes.PEAKS],
        "threshold": float(threshold),
        "alarms": int((alarms > ALARM).sum()),
        "seconds": float(np.median([row["seconds"] for row in rows])),
    }  # fmt: skip
    for place in ("off", "on"):
        kept = [light for _, where, _, light in satellites if where == place]
        result[place] = quantiles(kept)
    for kind in ("across", "long", "narrow"):
        result[kind] = quantiles([light for one, light, _ in trails if one == kind])
    shifts = [shift for kind, _, shift in trails if kind == "across"]
    result["ends"] = float(np.mean(np.array(shifts) < END))
    return result


def quantiles(values: list[float]) -> list[float]:
    """Return median and tenth percentile."""
    return [float(np.quantile(values, q)) if values else np.nan for q in (0.5, 0.1)]


def print_rows(kind: str, ways: dict[str, Row]) -> None:
    for name, row in ways.items():
        found = " / ".join(f"{100 * share:.0f}" for share in row["found"])
        kept = " | ".join("{:.0f}, {:.0f}".format(*(100 * value for value in row[place]))
                          for place in ("off", "on", "across", "long", "narrow"))  # fmt: skip
        print(f"| {kind} | {name} | {found} | {row['threshold']:.1f} | {row['alarms']} | {kept} "
              f"| {100 * row['ends']:.0f} | {row['seconds']:.1f} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=6, help="of each kind")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--kinds", default="", help="only kinds that contain this word")
    parser.add_argument("--ways", default="", help="only maps that contain this word")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    ours, report = our_map(), {}
    print("| frames | map | 5 / 8 / 15 sigma detected (%) | threshold (sigma) | alarms above 5 "
          "| light kept off streaks (%; median, 10th percentile) | on streaks | trails across "
          "| long trails along | narrow trails along | ends within 0.2 px (%) | s |")  # fmt: skip
    print("| --- | --- " + "| --: " * 10 + "|")
    for kind in scenes.KINDS:
        if args.kinds not in kind:
            continue
        rows: dict[str, list[Row]] = {}
        for seed in range(args.first_seed, args.first_seed + args.frames):
            scene = scenes.make_scene(kind, seed)
            for name, way in ways_for(scene, ours).items():
                if args.ways in name:
                    rows.setdefault(name, []).append(measure(scene, way))
        report[kind] = {name: summarise(found) for name, found in rows.items()}
        print_rows(kind, report[kind])
    if args.json:
        args.json.write_text(json.dumps(report), "utf-8")


if __name__ == "__main__":
    main()
