"""How large the jumps are where a result depends on a yes or no: two meshes, priors, streaks.

    python benchmarks/switches.py [--parts mesh,prior,streaks] [--frames N] [--json FILE]

Every part makes both results on fields of development seeds and prints their rms difference in
units of the pixels' noise, with the errors of both against the truth.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import detection  # noqa: E402
import numpy as np  # noqa: E402
from sensitivity_constants import Constant, changed, changed_value  # noqa: E402
from sensitivity_figures import prepare_scene  # noqa: E402
from sensitivity_noisemap import measure_staring, prepare_staring, staring_length  # noqa: E402

from bgrem.simulate.optical import simulate_field  # noqa: E402

FIELD_SEED = 63_600
FIELD_SHAPE = (768, 768)
SCENE_SEED = 2000
STARING_SEED = 63_700
ROUND_EVERY = 6  # frames with round stars among those with streaks
SHORT = 20.0  # px; streaks of so many at most are looked at, longer ones are far from a switch
GATES = ("CHANCE", "ROUNDEST", "ELONGATED", "PARALLEL", "SMALLEST", "SHARE", "FEWEST", "SHORTEST",
         "NARROWEST")  # fmt: skip
NEAR = (1 / 1.25, 1.25)  # times a gate's constant: a frame whose answer changes is near
Row = dict[str, Any]


def mesh_rows(number: int) -> list[Row]:
    """Return for each field the weight of the finer mesh, errors with it at 0, 1 and as it is."""
    from bgrem.frame import background as smooth

    rows = []
    weight = smooth._wave_weight
    for k in range(number):
        for j, (kind, settings) in enumerate(detection.KINDS.items()):
            seed = FIELD_SEED + 10 * j + k
            field = simulate_field(shape=FIELD_SHAPE, seed=seed, **settings)
            sigma = np.sqrt(detection.true_variance(field))
            row: Row = {"kind": kind, "seed": seed}
            found = {}

            def spy(*args: Any, row: Row = row) -> float:
                row["weight"] = weight(*args)
                return row["weight"]

            for name, way in (("coarse", lambda *_: 0.0), ("fine", lambda *_: 1.0), ("now", spy)):
                with mock.patch.object(smooth, "_wave_weight", way):
                    found[name] = smooth.whole_image_statistics(field.observed).background
                row[name] = float(((found[name] - field.background) / sigma).std())
            row["jump"] = float(((found["fine"] - found["coarse"]) / sigma).std())
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def prior_rows(number: int) -> list[Row]:
    """Return for each scene what the prior next to the limit of averaging changes."""
    import bgoptimizer.fitting as fitting

    rows = []
    for seed in range(SCENE_SEED, SCENE_SEED + number):
        scene, kept = prepare_scene(f"scene {seed}"), {}
        choose, average = fitting.choose_priors, fitting.fit_average

        def spy(*args: Any, kept: dict = kept, average: Any = average) -> Any:
            kept["args"] = args
            return average(*args)

        with mock.patch.object(fitting, "fit_average", spy):
            model = fitting.fit_background(scene.observed)
        cells, found, grid, chosen, noise = kept["args"]
        weights = found.sky * ~found.objects
        with mock.patch("bgoptimizer.robust.smoothing.AVERAGE_MARGIN", np.inf):
            every = choose(grid, cells, weights, noise)
        best = min(row[2] for row in every)
        limit = fitting_limit()
        near = min((row for row in every if row[2] > best), default=None,
                   key=lambda row: abs(row[2] / best - limit))  # fmt: skip
        if near is None:
            continue
        with_it = [row for row in every if row in chosen or row is near]
        without = [row for row in every if row in chosen and row is not near]
        both = [average(cells, found, grid, rows_, noise)[1] for rows_ in (with_it, without)]
        pixel = noise * model.cell_factor / 1.2533  # a median of N pixels: sigma * sqrt(pi / 2N)
        truth = reduced(scene.background[..., 0], model.cell_factor)
        rows.append({
            "seed": seed, "prior": near[0], "ratio": near[2] / best,
            "jump": float((both[0] - both[1]).std() / pixel),
            "with": float((both[0] - truth).std() / pixel),
            "without": float((both[1] - truth).std() / pixel),
        })  # fmt: skip
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def fitting_limit() -> float:
    """Return the held-out error relative to the best up to which priors are averaged."""
    from bgoptimizer.robust.smoothing import AVERAGE_MARGIN

    return 1 + AVERAGE_MARGIN


def reduced(plane: np.ndarray, factor: int) -> np.ndarray:
    """Return means of the blocks of a plane."""
    from common.blocks import block_reduce

    return block_reduce(plane, factor, "mean")


def streak_rows(number: int, maps: int) -> tuple[list[Row], list[Row]]:
    """Return each frame's answer with the gates near it, and both maps of those near a gate.

    Parameters
    ----------
    number : int
        Frames whose gates are looked at.
    maps : int
        Frames of which both maps are made, at most.
    """
    from bgrem.noise_mapping import streaks
    from bgrem.noise_mapping.units import frame_level

    answers, both = [], []
    for name in staring_names(number):
        frame = prepare_staring(name)
        level, sigma = frame_level(frame[0].pixels)
        flat = ((frame[0].pixels - level) / sigma).astype(np.float32)
        usual = answer(streaks.find_streaks(flat))
        row: Row = {"frame": name, "length": length_of(name), "answer": usual, "near": {}}
        for gate in GATES:
            constant = Constant("noise map", streaks.__name__, gate)
            for factor in NEAR:
                with changed(constant, changed_value(constant.value, factor)):
                    other = answer(streaks.find_streaks(flat))
                if other != usual:
                    row["near"][gate] = other
        answers.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
        if row["near"] and len(both) < maps:
            gate, other = next(iter(row["near"].items()))
            both.append({"frame": name, "gate": gate, "answers": [usual, other]}
                        | compare_maps(frame, gate, other, flat))  # fmt: skip
            print(json.dumps(both[-1]), file=sys.stderr, flush=True)
    return answers, both


def answer(found: Any) -> str:
    """Return what `find_streaks` said."""
    return "none" if found is None else "short" if found.short else "long"


def staring_names(number: int) -> list[str]:
    """Return frames with short streaks, without any, and with round stars."""
    names = []
    for seed in range(STARING_SEED, STARING_SEED + 10 * number):
        if len(names) % ROUND_EVERY == ROUND_EVERY - 1:
            names.append(f"round {seed}")
        elif staring_length(seed) <= SHORT:
            names.append(f"staring {seed}")
        if len(names) == number:
            break
    return names


def length_of(name: str) -> float:
    """Return the length of a frame's streaks, 0 for none or round stars."""
    kind, seed = name.split()
    return 0.0 if kind == "round" else staring_length(int(seed))


def compare_maps(frame: tuple, gate: str, other: str, flat: np.ndarray) -> Row:
    """Return the rms difference of both answers' maps, and figures of both."""
    from bgrem import noisemap
    from bgrem.noise_mapping import streaks

    constant = Constant("noise map", streaks.__name__, gate)
    maps, figures = [], []
    for factor in (1.0, *NEAR):
        new = constant.value if factor == 1 else changed_value(constant.value, factor)
        with changed(constant, new):
            if factor != 1 and answer(streaks.find_streaks(flat)) != other:
                continue
            figures.append(measure_staring(frame))
            maps.append(noisemap(frame[0].pixels, runs=1, batch_size=1).map.pixels[..., 0])
    jump = ((maps[0] - maps[1]) / frame[2])[~frame[0].artefacts]
    return {
        "jump": float(np.sqrt(np.mean(np.clip(jump, -10, 10) ** 2))),
        "error": [one["error"] for one in figures[:2]],
        "kept": [np.mean(one["kept"]["on"] + one["kept"]["off"]) for one in figures[:2]],
        "trails": [float(np.mean(one["trails"])) for one in figures[:2]],
    }


def print_rows(rows: list[Row]) -> None:
    """Print a Markdown table of rows that have the same keys."""
    print("\n| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row.values()) + " |")
    sys.stdout.flush()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " / ".join(_cell(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items()) or "-"
    return str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="mesh,prior,streaks")
    parser.add_argument("--frames", type=int, default=8, help="of each kind; scenes: twice as many")
    parser.add_argument("--maps", type=int, default=10, help="frames near a gate, mapped both ways")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    report: dict[str, list[Row]] = {}
    for part in args.parts.split(","):
        if part == "mesh":
            report["mesh"] = mesh_rows(args.frames)
        elif part == "prior":
            report["prior"] = prior_rows(2 * args.frames)
        else:
            report["gates"], report["maps"] = streak_rows(10 * args.frames, args.maps)
    for rows in report.values():
        if rows:
            print_rows(rows)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1, default=float) + "\n", "utf-8")


if __name__ == "__main__":
    main()
