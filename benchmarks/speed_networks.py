"""Parts of `benchmarks/speed.py`: runtimes, operations a second, size of the frame."""

import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from bgrem.inference.exported import compare_outputs, export_model
from bgrem.models import list_models, load_model
from bgrem.networks.onnx_network import RUNTIMES

TILE_PX, TILES = 576, 2  # as the commands' defaults
PLAIN_PX, PLAIN_TILES = 256, 4  # of a plain convolution with 64 channels
NUMBERS = {"enhance": 2.0}  # second input of a network: ratio of exposure times, else
NOISE_VARIANCE = 0.3  # a variance


def inputs_of(card: dict, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch as the commands make it; counts maps have tiles as small as in training."""
    tile = card["tile"] if card.get("background") == "poisson" else TILE_PX
    number = TILES * (TILE_PX // tile) ** 2
    noisy = rng.normal(0, 1, (number, tile, tile, 1)).astype(np.float32)
    second = NUMBERS.get(card.get("task", "denoise"), NOISE_VARIANCE)
    return noisy, np.full((number, 1, 1, 1), second, np.float32)


def take_turns(
    runs: dict[str, Callable[[], object]], repeat: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:  # fmt: skip
    """Return the seconds of each of some functions, which are called in turns after a first time.

    So a load of the machine that changes slowly falls out of their ratios.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeat + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if turn:  # the first time compiles
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], slow: str, quick: str) -> float:
    """Return the median of how many times as long one takes, turn by turn."""
    return median(a / b for a, b in zip(seconds[slow], seconds[quick], strict=True))


def runtimes(repeat: int) -> list[dict[str, object]]:
    """Return megapixels per second of each model's network, of float32, in each runtime."""
    found = []
    for name, card in list_models().items():
        noisy, second = inputs_of(card, np.random.default_rng(0))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            keras_model, _ = export_model(name, path)
            models = {"keras": keras_model}
            models |= {one: load_model(path, runtime=one) for one in RUNTIMES}
            difference = compare_outputs(keras_model, path)
            seconds = take_turns(
                {one: partial(model.predict, noisy, second) for one, model in models.items()},
                repeat,
            )
        found.append({
            "model": name, "pixels": noisy.size, "difference": difference,
            "megapixels_per_second": {
                one: noisy.size / 1e6 / median(times) for one, times in seconds.items()
            },
            "times_keras": {one: ratio(seconds, "keras", one) for one in RUNTIMES},
        })  # fmt: skip
    return found


def print_runtimes(rows: Iterable[dict]) -> None:
    print("| model | " + " | ".join(("keras, Mpx/s", *(f"{one}, Mpx/s" for one in RUNTIMES)))
          + " | " + " | ".join(f"{one} / keras" for one in RUNTIMES)
          + " | difference |\n" + "|---" * (3 + 2 * len(RUNTIMES)) + "|")  # fmt: skip
    for row in rows:
        figures = [f"{one:.2f}" for one in row["megapixels_per_second"].values()]
        figures += [f"{one:.2f}" for one in row["times_keras"].values()]
        print(f"| {row['model']} | {' | '.join(figures)} | {row['difference']:.0e} |")


def operations_per_pixel(network: object, side: int = TILE_PX) -> float:
    """Return the floating-point operations of convolutions and attention for one input pixel.

    Those of attention grow with the number of pixels of a tile, whose side it is.
    """
    import keras

    inputs = [keras.Input((side, side, 1)), keras.Input((1, 1, 1))]
    fixed = keras.models.clone_model(network, input_tensors=inputs)
    total = 0
    for layer in fixed.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose)):
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            place = layer.input if transposed else layer.output
            total += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(place.shape[1:3]))
        elif type(layer).__name__ == "SpatialAttention":
            pixels, channels = int(np.prod(layer.output.shape[1:3])), layer.output.shape[-1]
            total += 8 * pixels * channels**2 + 4 * pixels**2 * channels
    return total / side**2


def plain_convolution(policy: str, channels: int = 64) -> Callable[[], object]:
    """Return a plain 3x3 convolution as a function to time."""
    import keras

    kind = "bfloat16" if "16" in policy else "float32"
    image = keras.Input((None, None, channels), dtype=kind)
    layer = keras.layers.Conv2D(channels, 3, padding="same", dtype=policy)
    network = keras.Model(image, layer(image))
    side = plain_side(channels)
    pixels = keras.ops.ones((PLAIN_TILES, side, side, channels), kind)
    network.compile(jit_compile=False)
    return lambda: network.predict_on_batch(pixels)


def plain_operations(channels: int = 64) -> int:
    """Return the floating-point operations of one call of it."""
    return PLAIN_TILES * plain_side(channels) ** 2 * 2 * 9 * channels**2


def plain_side(channels: int) -> int:
    """Return its side: as many operations as with 64 channels, on a tile at most."""
    return min(TILE_PX, PLAIN_PX * 64 // channels)


def channels_of(network: object) -> list[int]:
    """Return the numbers of channels that its 3x3 convolutions give."""
    import keras

    layers = (one for one in network.layers if type(one) is keras.layers.Conv2D)
    return sorted({one.filters for one in layers if one.kernel_size == (3, 3)})


def operations(repeat: int, policies: Iterable[str]) -> list[dict[str, object]]:
    """Return the operations per second of each network, over the best plain convolution.

    Best among those with as many channels as a convolution of the network has, from that number
    to the same; they and the network are timed in turns.
    """
    found = []
    for policy in policies:
        for name, card in list_models().items():
            model = load_model(name, dtype=policy)
            noisy, second = inputs_of(card, np.random.default_rng(0))
            widths = channels_of(model.network)
            runs: dict[str, Callable[[], object]] = {
                str(width): plain_convolution(policy, width) for width in widths
            }
            seconds = take_turns(runs | {name: partial(model.predict, noisy, second)}, repeat)
            done = operations_per_pixel(model.network, noisy.shape[1]) * noisy.size
            plain = {width: plain_operations(width) / median(seconds[str(width)])
                     for width in widths}  # fmt: skip
            best = max(plain, key=plain.__getitem__)
            reached = done / plain_operations(best) * ratio(seconds, str(best), name)
            found.append({
                "model": name, "precision": model.precision, "operations": done / noisy.size,
                "per_second": done / median(seconds[name]), "best_channels": best,
                "plain_per_second": plain[best], "share": reached,
            })  # fmt: skip
    return found


def print_operations(rows: Iterable[dict]) -> None:
    print("| model | precision | kFLOP a pixel | GFLOP/s | best plain convolution, GFLOP/s "
          "(channels) | share |\n" + "|---" * 6 + "|")  # fmt: skip
    for row in rows:
        print(f"| {row['model']} | {row['precision']} | {row['operations'] / 1e3:.0f} | "
              f"{row['per_second'] / 1e9:.0f} | {row['plain_per_second'] / 1e9:.0f} "
              f"({row['best_channels']}) | {100 * row['share']:.0f} % |")  # fmt: skip


def scaling(
    run: Callable[[np.ndarray], object], frame: Callable[[int], np.ndarray], sides: Iterable[int],
    repeat: int,
) -> list[dict[str, float]]:  # fmt: skip
    """Return the time of frames of several sides, each over the smallest one's of its turn.

    Seconds are those of the processor: other work on the machine does not count.
    """
    sides = sorted(sides)
    runs = {str(side): partial(run, frame(side)) for side in sides}
    seconds = take_turns(runs, repeat, time.process_time)
    smallest = sides[0]
    return [
        {
            "side": side, "seconds": median(seconds[str(side)]),
            "times_as_long": ratio(seconds, str(side), str(smallest)),
            "times_the_pixels": (side / smallest) ** 2,
        }
        for side in sides
    ]  # fmt: skip


def print_scaling(rows: Iterable[dict]) -> None:
    print("| side, px | CPU s | times as long | times the pixels | time a pixel, relative |\n"
          + "|---" * 5 + "|")  # fmt: skip
    for row in rows:
        print(f"| {row['side']} | {row['seconds']:.1f} | {row['times_as_long']:.1f} | "
              f"{row['times_the_pixels']:.0f} | "
              f"{row['times_as_long'] / row['times_the_pixels']:.2f} |")  # fmt: skip
