"""What the user's help gives: a reference, points of sky, a sequence, more or less protection.

    python benchmarks/background_guided.py [--kinds "cirrus;narrowband"] [--seeds 8000:8002]

Scenes of `background_kinds`. Errors in per cent of the noise with the mean removed, all pixels and
outside objects, in the geometric mean over the seeds; beside them the same without help.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import numpy as np  # noqa: E402
from background_kinds import SHAPE, KindScene, draw_kind  # noqa: E402
from background_unseen import FIRST_SEED, MAP_LEVEL, Score, image_of, score  # noqa: E402

from bgoptimizer import BackgroundConfig, fit_background, fit_sequence  # noqa: E402
from common.image import AstroImage  # noqa: E402

KINDS = ("cirrus", "cirrus, galaxy", "Milky Way", "narrowband", "dome", "reflection",
         "large galaxy", "dark nebula")  # fmt: skip
REFERENCE_LIGHT = 3.0  # of the reference, relative to the frame: longer exposures elsewhere
REFERENCE_NOISE = 0.7  # of the frame's noise
SAMPLES = 30  # points that a user would set by hand
FRAMES = 8  # of a sequence
TILT = 40.0  # noise; range of the further gradient of each frame of a sequence


def reference_of(scene: KindScene, seed: int) -> AstroImage:
    """Return a longer exposure of the same field under a flat sky."""
    rng = np.random.default_rng([seed, 5])
    light = REFERENCE_LIGHT * scene.objects
    noise = rng.normal(0, REFERENCE_NOISE * scene.noise, light.shape)
    return AstroImage((light + noise + 0.1).astype(np.float32))


def samples_of(scene: KindScene, seed: int) -> np.ndarray:
    """Return points of sky (N, 2) as a user would set them: where there is no light."""
    rng = np.random.default_rng([seed, 6])
    free = scene.valid & (scene.objects.max(-1) < MAP_LEVEL * scene.noise)
    y, x = np.nonzero(free if free.any() else scene.valid)
    chosen = rng.choice(len(x), min(SAMPLES, len(x)), replace=False)
    return np.stack([x, y], -1)[chosen].astype(float)


def with_reference(scene: KindScene, seed: int) -> Score:
    reference = reference_of(scene, seed)
    return score(fit_background(image_of(scene), reference=reference).evaluate(), scene)


def with_samples(scene: KindScene, seed: int) -> Score:
    samples = samples_of(scene, seed)
    return score(fit_background(image_of(scene), samples=samples).evaluate(), scene)


def in_a_sequence(scene: KindScene, seed: int) -> Score:
    """Return the errors of the first of several frames that have gradients of their own."""
    rng = np.random.default_rng([seed, 7])
    height, width = scene.valid.shape
    v, u = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    frames = [image_of(scene)]
    for _ in range(FRAMES - 1):
        tilt = TILT * scene.noise * (rng.normal() * v + rng.normal() * u + rng.normal() * u * v)
        noise = rng.normal(0, scene.noise, scene.observed.shape)
        clean = scene.background + scene.objects + tilt[..., None] + noise
        pixels = np.where(scene.valid[..., None], clean, np.nan).astype(np.float32)
        frames.append(AstroImage(pixels, f"{scene.name} {len(frames)}"))
    return score(next(fit_sequence(frames)).evaluate(), scene)


def protecting(protect: str) -> Callable[[KindScene, int], Score]:
    def fitted(scene: KindScene, seed: int) -> Score:
        config = BackgroundConfig(protect=protect)
        return score(fit_background(image_of(scene), config).evaluate(), scene)

    return fitted


HELP: dict[str, Callable[[KindScene, int], Score]] = {
    "none": protecting("normal"),
    "reference": with_reference,
    "samples": with_samples,
    "sequence": in_a_sequence,
    "protect strong": protecting("strong"),
    "protect weak": protecting("weak"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=";".join(KINDS), help="separated by ;")
    parser.add_argument("--seeds", default=f"{FIRST_SEED}:{FIRST_SEED + 2}", help="from:to")
    parser.add_argument("--shape", type=int, nargs=2, default=SHAPE)
    parser.add_argument("--help-of", default=";".join(HELP), help="separated by ;")
    parser.add_argument("--json", type=Path, help="write all errors")
    args = parser.parse_args()
    first, last = map(int, args.seeds.split(":"))
    chosen = args.help_of.split(";")
    found: dict[str, Any] = {}
    print("| kind | " + " | ".join(chosen) + " |\n| --- " + "| --- " * len(chosen) + "|")
    for kind in args.kinds.split(";"):
        scenes = [(draw_kind(kind, seed, tuple(args.shape)), seed) for seed in range(first, last)]
        found[kind] = {name: [HELP[name](*one) for one in scenes] for name in chosen}
        cells = (np.exp(np.log(found[kind][name]).mean(0)) for name in chosen)
        print(f"| {kind} | " + " | ".join("{:.1f} / {:.1f}".format(*one) for one in cells) + " |",
              flush=True)  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
