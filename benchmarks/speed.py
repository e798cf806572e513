"""Time and memory of `bgrem`, as ratios in one run.

    python benchmarks/speed.py [--only PART ...] [--side 2048] [--repeat 3] [--json FILE]

- published: six steps over a frame. Our way (tiles of 576 px at most, compiled, the machine's quick
  precision) against the same network as the published script runs it (tiles of 256 px with the
  middle 200 kept, float32, eager, `tf.pad`, batch 10, the embedding spread over the tile). Peak
  memory of frames with 4 and 16 times the tiles.
- systems: all three systems with their defaults: megapixels per second, and the part of a plain
  convolution's operations per second that their networks reach (3 x 3, 64 channels to 64, in the
  same precision, in the same run).
- runtimes: the five networks in Keras, ONNX Runtime and OpenVINO, float32, with the same weights.
- operations: operations per second of the five networks, over the best plain convolution with as
  many channels as one of theirs.
- scaling: time of one step of the denoiser over frames of several sides (--sides).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks.speed_networks import (  # noqa: E402
    operations,
    operations_per_pixel,
    plain_convolution,
    plain_operations,
    print_operations,
    print_runtimes,
    print_scaling,
    runtimes,
    scaling,
    take_turns,
)

PUBLISHED_TILE, PUBLISHED_KEPT, PUBLISHED_BATCH = 256, 200, 10
STEPS = 6


def frame(side: int) -> np.ndarray:
    """Return noise of width 1 with a few stars: contents do not change the time."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 1, (side, side)).astype(np.float32)
    pixels[rng.integers(0, side, 200), rng.integers(0, side, 200)] += 100
    return pixels


def published_way(network: object, pixels: np.ndarray) -> np.ndarray:
    """Run the network as the published script does: eager, float32, `tf.pad` before each 3x3.

    There the embedding is spread over the tile and convolved with the image; ours adds what comes
    of that. A kernel that is the dense layer's in its middle and 0 around gives the same values.
    """
    import tensorflow as tf

    from bgrem.networks.diffusion import denoise_steps
    from bgrem.networks.layers import SymmetricPadding
    from bgrem.networks.schedule import CosineSchedule

    dense = network.get_layer("time")
    spread = tf.pad(dense.kernel.value[None, None], [[1, 1], [1, 1], [0, 0], [0, 0]])

    def planes(self: object, embedding: tf.Tensor, **_: object) -> tf.Tensor:
        tile = tf.broadcast_to(embedding, (len(embedding), PUBLISHED_TILE, PUBLISHED_TILE, 32))
        tile = tf.pad(tile, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
        return tf.nn.conv2d(tile, spread, 1, "VALID") + self.bias

    def padded(self: SymmetricPadding, x: tf.Tensor) -> tf.Tensor:
        return tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")

    ours, SymmetricPadding.call = SymmetricPadding.call, padded
    dense_call, dense.call = dense.call, planes.__get__(dense)
    try:
        margin = (PUBLISHED_TILE - PUBLISHED_KEPT) // 2
        side = pixels.shape[0]
        count = -(-side // PUBLISHED_KEPT)
        image = np.pad(pixels, [(margin, count * PUBLISHED_KEPT - side + margin)] * 2, "symmetric")
        starts = [
            (i * PUBLISHED_KEPT, j * PUBLISHED_KEPT) for i in range(count) for j in range(count)
        ]
        out = np.zeros((count * PUBLISHED_KEPT,) * 2, np.float32)

        def predict(noisy: np.ndarray, variance: np.ndarray) -> np.ndarray:
            return network((tf.constant(noisy), tf.constant(variance)), training=False).numpy()

        for first in range(0, len(starts), PUBLISHED_BATCH):
            part = starts[first : first + PUBLISHED_BATCH]
            tiles = np.stack([
                image[i : i + PUBLISHED_TILE, j : j + PUBLISHED_TILE] for i, j in part
            ])[..., None]  # fmt: skip
            *_, clean = denoise_steps(tiles, predict, STEPS, CosineSchedule(0.01, 0.98))
            for (i, j), tile in zip(part, clean, strict=True):
                kept = tile[margin:-margin, margin:-margin, 0]
                out[i : i + PUBLISHED_KEPT, j : j + PUBLISHED_KEPT] = kept
    finally:
        SymmetricPadding.call, dense.call = ours, dense_call
    return out[:side, :side]


def our_way(model: object, pixels: np.ndarray) -> np.ndarray:
    from bgrem.denoising.flow import denoise

    return denoise(pixels, model=model, steps=STEPS, clip=False).result.pixels[..., 0]


def peak_memory(side: int, name: str) -> float:
    """Return the peak of resident memory in MB of a process that denoises one frame."""
    code = (
        "import sys, resource; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np; from benchmarks.speed import frame, our_way\n"
        "from bgrem.inference.run import load_for; from bgrem.config import DenoiseConfig\n"
        "model = load_for(DenoiseConfig(model=sys.argv[3]))\n"
        "our_way(model, frame(512))\n"
        "our_way(model, frame(int(sys.argv[2])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(side), name], capture_output=True, text=True,
        check=True, cwd=ROOT,
    )  # fmt: skip
    return float(ended.stdout.splitlines()[-1])


def systems(side: int, repeat: int, names: dict[str, str]) -> list[dict[str, object]]:
    """Return time, megapixels per second and share of a plain convolution for each system."""
    from bgrem.config import DenoiseConfig, EnhanceConfig, NoiseMapConfig
    from bgrem.denoising.flow import denoise
    from bgrem.enhancing.flow import enhance
    from bgrem.inference.device import automatic_precision
    from bgrem.inference.run import load_for
    from bgrem.noise_mapping.flow import noisemap

    policy = "mixed_bfloat16" if automatic_precision() == "bfloat16" else "float32"
    convolution = plain_convolution(policy)

    def plain_speed() -> float:
        return plain_operations() / median(take_turns({"": convolution}, 10)[""])

    pixels = frame(side)
    counts = 400 + 20 * pixels
    found = []
    for task, run, config, image, options in (
        ("denoise", denoise, DenoiseConfig(model=names["denoise"]), pixels, {}),
        ("enhance", enhance, EnhanceConfig(model=names["enhance"]), counts, {"gain": 1.0}),
        ("noisemap", noisemap, NoiseMapConfig(model=names["noisemap"]), pixels, {}),
    ):
        model = load_for(config, task)
        run(image, config, model=model, **options)  # compiles
        passes = evaluations(task, config)
        seconds: list[float] = []
        plain: list[float] = []
        for _ in range(repeat):
            plain.append(plain_speed())
            start = time.perf_counter()
            run(image, config, model=model, **options)
            seconds.append(time.perf_counter() - start)
        done = operations_per_pixel(model.network) * passes * side**2
        found.append({
            "task": task, "seconds": median(seconds), "passes": passes,
            "megapixels_per_second": side**2 / 1e6 / median(seconds),
            "share_of_plain_convolution": median(
                done / s / p for s, p in zip(seconds, plain, strict=True)
            ),
        })  # fmt: skip
    return found


def evaluations(task: str, config: object) -> int:
    """Return how often the network sees each pixel, overlaps aside."""
    if task == "denoise":
        return config.steps
    if task == "enhance":
        return 1
    return config.runs * config.ddim_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=2048, help="of the frame in pixels")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, in turns")
    parser.add_argument("--model", default="optical")
    parser.add_argument("--enhance-model", default="hst")
    parser.add_argument("--noisemap-model", default="streaks")
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=PARTS, help="parts")
    parser.add_argument("--sides", type=int, nargs="*", default=[512, 1024, 2048, 4096],
                        metavar="PX", help="of the frames of the part scaling")  # fmt: skip
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = {name: PARTS[name](args) for name in args.only}
    if args.json:
        args.json.write_text(json.dumps(result), "utf-8")


def measure_systems(args: argparse.Namespace) -> list[dict[str, object]]:
    """Measure and print all three systems with their defaults."""
    names = {
        "denoise": args.model, "enhance": args.enhance_model, "noisemap": args.noisemap_model,
    }  # fmt: skip
    found = systems(args.side // 2, args.repeat, names)
    print(f"| command | s for {args.side // 2} x {args.side // 2} px | Mpx/s | passes "
          "| share of a plain convolution |\n|---|---|---|---|---|")  # fmt: skip
    for row in found:
        print(f"| {row['task']} | {row['seconds']:.1f} | {row['megapixels_per_second']:.2f} | "
              f"{row['passes']} | {100 * row['share_of_plain_convolution']:.0f} % |")  # fmt: skip
    return found


def measure_runtimes(args: argparse.Namespace) -> list[dict[str, object]]:
    """Measure and print Keras, ONNX Runtime and OpenVINO with the same weights."""
    found = runtimes(args.repeat)
    print_runtimes(found)
    return found


def measure_operations(args: argparse.Namespace) -> list[dict[str, object]]:
    """Measure and print what part of a plain convolution's operations the networks reach."""
    from bgrem.inference.device import automatic_precision

    policies = ["float32"]
    if automatic_precision() == "bfloat16":
        policies.append("mixed_bfloat16")
    found = operations(args.repeat, policies)
    print_operations(found)
    return found


def measure_scaling(args: argparse.Namespace) -> list[dict[str, float]]:
    """Measure and print how the time of one step of the denoiser grows with the frame."""
    from bgrem.config import DenoiseConfig
    from bgrem.denoising.flow import denoise
    from bgrem.inference.run import load_for

    config = DenoiseConfig(model=args.model, steps=1)
    model = load_for(config)
    found = scaling(
        lambda pixels: denoise(pixels, config, model=model), frame, args.sides, args.repeat
    )
    print_scaling(found)
    return found


def against_published(args: argparse.Namespace) -> dict[str, object]:
    """Measure and print our way beside the published one."""
    from bgrem.config import DenoiseConfig
    from bgrem.inference.device import automatic_precision
    from bgrem.inference.run import load_for
    from bgrem.models import load_model

    pixels = frame(args.side)
    model = load_for(DenoiseConfig(model=args.model))
    plain = load_model(args.model).network
    our_way(model, frame(1024))  # compiles
    seconds: dict[str, list[float]] = {"ours": [], "published": []}
    for _ in range(args.repeat):
        for name, run in (
            ("ours", lambda: our_way(model, pixels)),
            ("published", lambda: published_way(plain, pixels)),
        ):
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    ours, published = median(seconds["ours"]), median(seconds["published"])
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["published"], strict=True)]
    memory = {side: peak_memory(side, args.model) for side in (1024, 2048, 4096)}
    result = {
        "side": args.side, "precision": automatic_precision(), "seconds": seconds,
        "ratio": median(ratios), "megapixels_per_second": args.side**2 / 1e6 / ours,
        "peak_memory_mb": memory,
    }  # fmt: skip
    print(f"six steps over {args.side} x {args.side} px, {result['precision']}: {ours:.1f} s, "
          f"{result['megapixels_per_second']:.2f} Mpx/s")  # fmt: skip
    print(f"the same network as published: {published:.1f} s; ratio {result['ratio']:.1f} "
          f"(runs: {', '.join(f'{r:.1f}' for r in ratios)})")  # fmt: skip
    for side, peak in memory.items():
        arrays = side**2 * 4 / 2**20
        print(f"peak memory, {side} x {side} px: {peak:.0f} MB (one plane {arrays:.0f} MB)")
    return result


# part -> what measures and prints it
PARTS = {
    "published": against_published,
    "systems": measure_systems,
    "runtimes": measure_runtimes,
    "operations": measure_operations,
    "scaling": measure_scaling,
}

if __name__ == "__main__":
    main()
