"""Train the recognition of objects, with Keras.

    python -m bgoptimizer.recognition.train WEIGHTS.npz [--frames N] [--epochs N]

Frames are drawn by `bgoptimizer.recognition.scenes`; 300 of them are kept for validation. With the
defaults two cores take about half an hour.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from bgoptimizer.recognition.features import FEATURES, cell_features, halve
from bgoptimizer.recognition.network import WIDTHS
from bgoptimizer.recognition.scenes import OBJECT_LIGHT, SHAPE, draw_frame
from bgoptimizer.robust.mask import find_stars_of_channels
from common.atomic import atomic_write

VALIDATION = 300  # frames
BATCH = 8
RATE = 2e-3  # highest learning rate
Examples = tuple[np.ndarray, np.ndarray, np.ndarray]


def example(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what the network sees of one channel, the share of an object, and what counts."""
    frame = draw_frame(seed)
    cells, present = frame.cells, np.isfinite(frame.cells).all(-1)
    stars = find_stars_of_channels(cells, present)
    channel = int(np.random.default_rng(seed).integers(cells.shape[-1]))
    seen = cell_features(cells, stars, frame.factor)[channel]
    light = halve(frame.light[..., channel])
    share = 1 / (1 + (OBJECT_LIGHT / np.maximum(light, 1e-6)) ** 2)
    counts = halve(present) > 0.5
    pad = [(0, side // 2 - length) for side, length in zip(SHAPE, light.shape, strict=True)]
    return (np.pad(seen, [*pad, (0, 0)]).astype(np.float16), np.pad(share, pad).astype(np.float16),
            np.pad(counts, pad))  # fmt: skip


def build() -> Any:
    """Return the network that `bgoptimizer.recognition.network.forward` computes."""
    import keras
    from keras import layers

    def block(x: Any, width: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        return x

    image = keras.Input((None, None, FEATURES))
    x, skips = image, []
    for level, width in enumerate(WIDTHS):
        x = block(x, width)
        if level < len(WIDTHS) - 1:
            skips.append(x)
            x = layers.AveragePooling2D(2)(x)
    for width, skip in zip(WIDTHS[-2::-1], skips[::-1], strict=True):
        x = layers.UpSampling2D(2, interpolation="nearest")(x)
        x = block(layers.Concatenate()([x, skip]), width)
    return keras.Model(image, layers.Conv2D(1, 1)(x))


def fit(network: Any, examples: Examples, epochs: float) -> None:
    """Train, mirrored at random; print the losses."""
    import keras
    import tensorflow as tf

    seen, share, counts = examples
    steps = int(epochs * (len(seen) - VALIDATION) / BATCH)
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(RATE, steps, alpha=0.01),
        weight_decay=1e-4, clipnorm=1.0,
    )  # fmt: skip
    optimizer.build(network.trainable_variables)

    def loss(x: Any, y: Any, w: Any) -> Any:
        each = tf.nn.sigmoid_cross_entropy_with_logits(y, network(x)[..., 0])
        return tf.reduce_sum(each * w) / tf.reduce_sum(w)

    @tf.function
    def step(x: Any, y: Any, w: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(x, y, w)
        gradients = tape.gradient(value, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return value

    check = tf.function(loss)

    def batch(index: Any, *axes: int) -> list[Any]:
        parts = (np.flip(one[index], axes) for one in (seen, share, counts))
        return [tf.constant(one.astype(np.float32)) for one in parts]

    rng, start, losses = np.random.default_rng(0), time.perf_counter(), []
    for k in range(1, steps + 1):
        axes = [axis for axis in (1, 2) if rng.random() < 0.5]
        losses.append(float(step(*batch(rng.integers(VALIDATION, len(seen), BATCH), *axes))))
        if k % 500 == 0 or k == steps:
            held = [float(check(*batch(slice(i, i + 20)))) for i in range(0, VALIDATION, 20)]
            seconds = time.perf_counter() - start
            means = f"loss {np.mean(losses[-500:]):.4f}, held out {np.mean(held):.4f}"
            print(f"step {k} of {steps}: {means}, {seconds:.0f} s", flush=True)


def main() -> None:
    """Draw frames, train, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="file for the weights")
    parser.add_argument("--frames", type=int, default=11_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--start-from", type=Path, help="weights to go on with")
    args = parser.parse_args()
    parts = []
    for seed in range(args.first_seed, args.first_seed + args.frames):
        parts.append(example(seed))
        if (seed + 1) % 500 == 0:
            print(f"frame {seed + 1 - args.first_seed} of {args.frames}", flush=True)
    network = build()
    if args.start_from is not None:
        with np.load(args.start_from) as file:
            network.set_weights([file[name].astype(np.float32) for name in sorted(file)])
    seen, share, counts = (np.stack(part) for part in zip(*parts, strict=True))
    fit(network, (seen, share, counts), args.epochs)
    arrays = {f"w{k:02}": one.astype(np.float16) for k, one in enumerate(network.get_weights())}
    with atomic_write(args.output, overwrite=True) as temporary:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)


if __name__ == "__main__":
    main()
