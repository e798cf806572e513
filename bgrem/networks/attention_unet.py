"""The networks: U-Nets that say what of an image is background or noise."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from bgrem.networks.layers import (
    AsinhCompression,
    JoinConstant,
    SinusoidalEmbedding,
    SymmetricPadding,
)
from bgrem.networks.residual_unet import residual_unet


def _double_convolution(x: Any, width: int, name: str) -> Any:
    for part in "ab":
        x = SymmetricPadding(name=f"{name}{part}_padding")(x)
        x = layers.Conv2D(width, 3, kernel_initializer="he_normal", name=f"{name}{part}")(x)
        x = layers.LeakyReLU(0.2, name=f"{name}{part}_leaky")(x)
    return x


def _attention_gate(gate: Any, skip: Any, name: str) -> Any:
    """Weigh the skip connection by what the deeper level makes of it."""
    width = skip.shape[-1]
    both = []
    for part, x in (("gate", gate), ("skip", skip)):
        x = layers.Conv2D(width, 1, name=f"{name}_{part}")(x)
        both.append(layers.BatchNormalization(name=f"{name}_{part}_norm")(x))
    x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")(both))
    x = layers.Conv2D(width, 1, activation="sigmoid", name=f"{name}_weight")(x)
    return layers.Multiply(name=f"{name}_product")([skip, x])


def attention_unet(
    widths: tuple[int, ...] = (16, 32, 64, 128),
    bottleneck: int = 256,
    softening: float = 3.0,
    gated_levels: int = 2,
) -> keras.Model:
    """Return the network of BGRem: (noisy, noise_variance) -> predicted background.

    Inputs are (B, H, W, 1) in units of the noise, H and W multiples of 2**len(widths), and
    (B, 1, 1, 1); the output is (B, H, W, 1), float32. Per level two 3x3 convolutions with
    symmetric padding and LeakyReLU, max-pooling, transposed convolutions, and attention gates
    (Oktay et al. 2018) at the deepest decoder levels.

    The embedding is spread over the tile and concatenated with the image; as symmetric padding
    keeps a constant plane constant, the first convolution sees of it one sum per output channel:
    a dense layer added to that convolution gives the same functions for a third of the cost.

    Parameters
    ----------
    widths : tuple of int
        Channels of the encoder's levels: (16, 32, 64, 128) narrow, (32, 64, 128, 256) wide.
    bottleneck : int
        Channels of the deepest level: 256 narrow, 512 wide.
    softening : float
        See `AsinhCompression`.
    gated_levels : int
        How many of the deepest decoder levels have an attention gate.
    """
    noisy = keras.Input((None, None, 1), name="noisy", dtype="float32")
    variance = keras.Input((1, 1, 1), name="noise_variance", dtype="float32")
    x = AsinhCompression(softening, name="compress")(noisy)
    x = layers.Conv2D(widths[0], 1, name="image")(x)
    embedding = SinusoidalEmbedding(name="embedding")(variance)
    x = SymmetricPadding(name="down0a_padding")(x)
    x = layers.Conv2D(widths[0], 3, kernel_initializer="he_normal", name="down0a")(x)
    x = layers.Add(name="with_time")([x, layers.Dense(widths[0], name="time")(embedding)])
    x = layers.LeakyReLU(0.2, name="down0a_leaky")(x)
    x = SymmetricPadding(name="down0b_padding")(x)
    x = layers.Conv2D(widths[0], 3, kernel_initializer="he_normal", name="down0b")(x)
    x = layers.LeakyReLU(0.2, name="down0b_leaky")(x)
    skips = [x]
    for level, width in enumerate(widths[1:], 1):
        x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
        x = _double_convolution(x, width, f"down{level}")
        skips.append(x)
    x = layers.MaxPooling2D(2, name="pool_bottleneck")(x)
    x = _double_convolution(x, bottleneck, "bottleneck")
    for level in reversed(range(len(widths))):
        x = layers.Conv2DTranspose(
            widths[level], 3, strides=2, padding="same", kernel_initializer="he_normal",
            name=f"up{level}",
        )(x)  # fmt: skip
        skip = skips[level]
        if level >= len(widths) - gated_levels:
            skip = _attention_gate(x, skip, f"attention{level}")
        x = layers.Concatenate(name=f"join{level}")([x, skip])
        x = _double_convolution(x, widths[level], f"out{level}")
    # the prediction is subtracted from bright pixels: bfloat16 would leave steps there
    predicted = layers.Conv2D(1, 1, dtype="float32", name="background")(x)
    return keras.Model([noisy, variance], predicted, name="attention_unet")


def exposure_unet(
    widths: tuple[int, ...] = (16, 32, 64, 128), bottleneck: int = 256, softening: float = 3.0
) -> keras.Model:
    """Return the network of Astro U-net: (noisy, exposure_ratio) -> what a longer exposure lacks.

    Inputs are (B, H, W, 1) in units of the noise, H and W multiples of 2**len(widths), and
    (B, 1, 1, 1); the output is (B, H, W, 1), float32: `noisy` less that is the exposure
    `exposure_ratio` times as long. The ratio is a constant plane at the bottom of the U
    (Vojtekova et al. 2021, Sect. 3.2); theirs starts with 32 channels.

    Parameters
    ----------
    widths, bottleneck, softening
        As in `attention_unet`.
    """
    noisy = keras.Input((None, None, 1), name="noisy", dtype="float32")
    ratio = keras.Input((1, 1, 1), name="exposure_ratio", dtype="float32")
    x = AsinhCompression(softening, name="compress")(noisy)
    skips = []
    for level, width in enumerate(widths):
        x = _double_convolution(x, width, f"down{level}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
    x = _double_convolution(x, bottleneck, "bottleneck")
    x = JoinConstant(name="with_ratio")([x, ratio])
    for level in reversed(range(len(widths))):
        x = layers.Conv2DTranspose(
            widths[level], 2, strides=2, kernel_initializer="he_normal", name=f"up{level}"
        )(x)
        x = layers.Concatenate(name=f"join{level}")([x, skips[level]])
        x = _double_convolution(x, widths[level], f"out{level}")
    lacking = layers.Conv2D(1, 1, dtype="float32", name="noise")(x)
    return keras.Model([noisy, ratio], lacking, name="exposure_unet")


def narrow(**options: Any) -> keras.Model:
    """Return the network of the published inference script, 2.1 million parameters."""
    return attention_unet((16, 32, 64, 128), 256, **options)


def wide(**options: Any) -> keras.Model:
    """Return the network of the published training script, 8.5 million parameters."""
    return attention_unet((32, 64, 128, 256), 512, **options)


def gamma(**options: Any) -> keras.Model:
    """Return the published network for 64x64 γ-ray patches."""
    return attention_unet((16, 16, 16, 32), 256, **options)


def initialise(network: keras.Model, seed: int) -> None:
    """Draw the start weights with NumPy: the same ones on every backend.

    he_normal for kernels, 0 for offsets and means, 1 for scales and variances.
    """
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        shape = tuple(weight.shape)
        name = weight.path.rsplit("/", 1)[-1]
        if name.endswith("kernel"):
            inputs = int(np.prod(shape[:-1]))
            if len(shape) == 4 and "/up" in f"/{weight.path}":
                inputs = shape[0] * shape[1] * shape[3] // 4  # stride 2: a quarter of the taps
            value = np.clip(rng.normal(size=shape), -2, 2) * np.sqrt(2 / inputs)
        else:
            value = np.full(shape, 1.0 if name in ("gamma", "moving_variance") else 0.0)
        weight.assign(value.astype(np.float32))


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "narrow": narrow,
    "wide": wide,
    "gamma": gamma,
    "attention_unet": attention_unet,  # any widths
    "exposure": exposure_unet,
    "residual": residual_unet,
}
