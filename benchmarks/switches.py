"""How large the jumps are where a result depends on a yes or no: the sky, priors, streaks.

    python benchmarks/switches.py [--parts mesh,prior,streaks] [--frames N] [--json FILE]

Every part makes both results on fields of development seeds and prints their rms difference in
units of the pixels' noise, with the errors of both against the truth.
"""

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import detection  # noqa: E402
import numpy as np  # noqa: E402
from sensitivity_constants import changed, constants_of, variants  # noqa: E402
from sensitivity_figures import prepare_scene  # noqa: E402
from sensitivity_groups import OFF, SWITCHED_OFF  # noqa: E402
from sensitivity_noisemap import (  # noqa: E402
    CLIP,
    measure_staring,
    prepare_staring,
    staring_length,
)

from bgrem.simulate.optical import simulate_field  # noqa: E402

FIELD_SEED = 63_600
FIELD_SHAPE = (768, 768)
SCENE_SEED = 2000
STARING_SEED = 63_700
ROUND_EVERY = 6  # frames with round stars among those with streaks
MAX_SHORT_PX = 20.0  # px; longer streaks are far from a gate
# gates that say "none"; all of them open, every frame has streaks
OPEN = ("MIN_CORRELATION_SCATTER", "MIN_CORRELATION_RATIO", "MIN_PARALLEL_OBJECTS",
        "MIN_PARALLEL_SHARE", "MIN_USABLE_LENGTH_PX", "MIN_USABLE_LENGTH_WIDTHS")  # fmt: skip
NAMES = {0.8: "-20 %", 1.25: "+25 %", SWITCHED_OFF: "off"}
PROTECTION = "bgrem.noise_mapping.protection"
Row = dict[str, Any]


def mesh_rows(number: int) -> list[Row]:
    """Return for each field the local surface's weight, errors with it at 0, 1 and as it is."""
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

            for name, way in (("mesh", lambda *_: 0.0), ("local", lambda *_: 1.0), ("now", spy)):
                with mock.patch.object(smooth, "_wave_weight", way):
                    found[name] = smooth.whole_image_statistics(field.observed).background
                row[name] = float(((found[name] - field.background) / sigma).std())
            row["jump"] = float(((found["local"] - found["mesh"]) / sigma).std())
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def prior_rows(number: int) -> list[Row]:
    """Return for each scene what the prior next to the limit of averaging changes."""
    from bgoptimizer import fit_background
    from bgoptimizer.robust import fit as fitting
    from bgoptimizer.robust.plans import Choice, plan_channel
    from bgoptimizer.robust.smoothing import choose_priors
    from bgoptimizer.robust.tasks import solve

    rows = []
    for seed in range(SCENE_SEED, SCENE_SEED + number):
        scene, kept = prepare_scene(f"scene {seed}"), {}

        def spy(*args: Any, kept: dict = kept) -> Any:
            kept["plan"], kept["grid"] = plan_channel(*args), args[1]
            return kept["plan"]

        with mock.patch.object(fitting, "plan_channel", spy):
            model = fit_background(scene.observed)
        plan, grid, noise = kept["plan"], kept["grid"], kept["plan"].noise
        weights = plan.found.sky * ~plan.found.objects
        sky = plan.chosen[0].sky
        with mock.patch("bgoptimizer.robust.smoothing.AVERAGE_MARGIN", np.inf):
            every = choose_priors(grid, plan.values - sky.values, weights, noise)
        best = min(row[2] for row in every)
        limit = fitting_limit()
        near = min((row for row in every if row[2] > best), default=None,
                   key=lambda row: abs(row[2] / best - limit))  # fmt: skip
        if near is None:
            continue
        others = [row for row in every if row[2] <= best * limit and row is not near]
        both = []
        for rows_ in ([*others, near], others):
            one = replace(plan, chosen=[Choice(*row, sky) for row in rows_])
            part = one.surface(solve(grid, one.tasks(), fitting.LAST_ROUNDS))
            both.append(part.values)
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


def gate_rows(number: int) -> list[Row]:
    """Return for each frame which gates change the answer of `find_streaks`, and to what.

    Every frame is looked at alone and with satellites and trails.
    """
    from bgrem.noise_mapping import streaks
    from bgrem.noise_mapping.units import frame_level

    gates = [one for one in constants_of("noise map")
             if one.module == streaks.__name__ and one.label in OFF[one.module]]  # fmt: skip
    rows = []
    for name in staring_names(number):
        scene = prepare_staring(name)[0]
        for pixels in (scene.pixels, scene.with_satellites):
            level, sigma = frame_level(pixels)
            flat = ((pixels - level) / sigma).astype(np.float32)
            usual = answer(streaks.find_streaks(flat))
            row: Row = {"frame": name, "length": length_of(name), "answer": usual, "changes": {}}
            for gate in gates:
                for factor, new in variants(gate).items():
                    with changed(gate, new):
                        other = answer(streaks.find_streaks(flat))
                    if other != usual:
                        row["changes"].setdefault(gate.label, {})[NAMES[factor]] = other
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def gate_summary(rows: list[Row]) -> list[Row]:
    """Return how many answers each gate changes, and how many of those become right or wrong.

    Right is to find streaks where there are any, and none where there are none; whether they are
    called short is not judged.
    """

    def right(row: Row, found: str) -> bool:
        return (found != "none") == (row["length"] > 0)

    gates = sorted({gate for row in rows for gate in row["changes"]})
    found = [{"gate": "as it is", "variant": "", "frames": len(rows), "changed": 0,
              "right": sum(right(row, row["answer"]) for row in rows), "made right": 0,
              "made wrong": 0}]  # fmt: skip
    for gate in gates:
        for variant in NAMES.values():
            part = [(row, row["changes"][gate][variant]) for row in rows
                    if variant in row["changes"].get(gate, {})]  # fmt: skip
            made = [right(row, other) - right(row, row["answer"]) for row, other in part]
            found.append({"gate": gate, "variant": variant, "frames": len(rows),
                          "changed": len(part), "right": found[0]["right"] + sum(made),
                          "made right": made.count(1), "made wrong": made.count(-1)})  # fmt: skip
    return found


def answer(found: Any) -> str:
    """Return what `find_streaks` said."""
    return "none" if found is None else "short" if found.short else "long"


def staring_names(number: int) -> list[str]:
    """Return frames with short streaks, without any, and with round stars."""
    names: list[str] = []
    for seed in range(STARING_SEED, STARING_SEED + 10 * number):
        if len(names) % ROUND_EVERY == ROUND_EVERY - 1:
            names.append(f"round {seed}")
        elif staring_length(seed) <= MAX_SHORT_PX:
            names.append(f"staring {seed}")
        if len(names) == number:
            break
    return names


def length_of(name: str) -> float:
    """Return the length of a frame's streaks, 0 for none or round stars."""
    kind, seed = name.split()
    return 0.0 if kind == "round" else staring_length(int(seed))


def map_rows(gates: list[Row], maps: int) -> list[Row]:
    """Return the rms difference of both maps of frames near a gate, and figures of both.

    Parameters
    ----------
    gates : list of dict
        What `gate_rows` has found.
    maps : int
        Frames at most.
    """
    from bgrem import noisemap
    from bgrem.noise_mapping import streaks

    rows: list[Row] = []
    for row in gates[::2]:  # frames without satellites
        near = [
            (gate, found) for gate, changes in row["changes"].items()
            for variant, found in changes.items() if variant != NAMES[SWITCHED_OFF]
        ]  # fmt: skip
        if not near or len(rows) == maps:
            continue
        frame, maps_, figures = prepare_staring(row["frame"]), [], []
        for wanted in (row["answer"], near[0][1]):
            with mock.patch(f"{PROTECTION}.find_streaks", forced(streaks.find_streaks, wanted)):
                figures.append(measure_staring(frame))
                maps_.append(noisemap(frame[0].pixels, runs=1, batch_size=1).map.pixels[..., 0])
        jump = ((maps_[0] - maps_[1]) / frame[2])[~frame[0].artefacts]
        rows.append({
            "frame": row["frame"], "length": row["length"], "gates": [one for one, _ in near],
            "answers": [row["answer"], near[0][1]],
            "jump": float(np.sqrt(np.mean(np.clip(jump, -CLIP, CLIP) ** 2))),
            "error": [one["error"] for one in figures],
            "flux error": [float(np.mean(np.minimum(np.abs(np.array(
                one["kept"]["on"] + one["kept"]["off"]) - 1), 1))) for one in figures],
            "trails": [float(np.mean(one["trails"])) for one in figures],
        })  # fmt: skip
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def forced(find: Any, wanted: str) -> Any:
    """Return `find_streaks` with another answer: every gate open, then "none" or short or not."""

    def other(flat: np.ndarray) -> Any:
        if wanted == "none":
            return None
        with ExitStack() as stack:
            for gate in constants_of("noise map"):
                if gate.label in OPEN:
                    stack.enter_context(changed(gate, OFF[gate.module][gate.label]))
            found = find(flat)
        return replace(found, short=wanted == "short")

    return other


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
            found = gate_rows(10 * args.frames)
            report["gates"] = gate_summary(found)
            report["maps"] = map_rows(found, args.maps)
            report["frames"] = found
    for name, rows in report.items():
        if name == "frames":
            continue
        if rows:
            print_rows(rows)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1, default=float) + "\n", "utf-8")


if __name__ == "__main__":
    main()
