"""The U-Net of diffusion models: residual blocks that know the time, attention at the bottom."""

from typing import Any

import keras
from keras import layers

from bgrem.networks.layers import (
    AsinhCompression,
    NoiseOf,
    QuickGroupNormalization,
    SinhExpansion,
    SinusoidalEmbedding,
    SpatialAttention,
    SymmetricPadding,
)


def residual_unet(
    widths: tuple[int, ...] = (32, 64, 128), groups: int = 8, softening: float = 3.0
) -> keras.Model:
    """Return the network of DDNN: (noisy, noise_variance) -> the noise, of variance 1.

    Inputs are (B, H, W, 1), H and W multiples of 2**len(widths), and (B, 1, 1, 1); the output is
    (B, H, W, 1), float32. Two residual blocks per level on both sides of the U, one attention
    layer on either side of its lowest level (Waldmann et al. 2023, Table 1, whose widths are 128,
    256, 512; blocks as in Ho et al. 2020, with LeakyReLU, as SiLU takes twice the time on a CPU).

    Where the paper halves its frames, here the first convolution does, and the last one gives all
    pixels of the structure back; the noise is what the pixels have beside it. So a single bright
    pixel is noise unless the network makes a structure of it.

    Parameters
    ----------
    widths : tuple of int
        Channels of the levels, multiples of `groups`.
    groups : int
        Of the group normalisations.
    softening : float
        See `AsinhCompression`.
    """
    noisy = keras.Input((None, None, 1), name="noisy", dtype="float32")
    variance = keras.Input((1, 1, 1), name="noise_variance", dtype="float32")
    time = layers.Dense(widths[-1], activation="leaky_relu", name="time")(
        SinusoidalEmbedding(name="embedding")(variance)
    )
    x = AsinhCompression(softening, name="compress")(noisy)
    x = layers.Conv2D(
        widths[0], 4, strides=2, padding="same", kernel_initializer="he_normal", name="image"
    )(x)
    bottom, skips = len(widths) - 1, []
    for level, width in enumerate(widths):
        for part in "ab":
            if level == bottom and part == "a":
                x = layers.Conv2D(width, 1, name="widen")(x)
                x = SpatialAttention(name="down_attention")(x)
            x = _residual_block(x, time, width, groups, f"down{level}{part}")
        skips.append(x)
        if level < bottom:
            x = layers.AveragePooling2D(2, name=f"pool{level}")(x)
    for level in reversed(range(len(widths))):
        if level < bottom:
            x = layers.Conv2DTranspose(
                widths[level], 2, strides=2, kernel_initializer="he_normal", name=f"up{level}"
            )(x)
            x = layers.Concatenate(name=f"join{level}")([x, skips[level]])
        for part in "ab":
            if level == bottom and part == "b":
                x = SpatialAttention(name="up_attention")(x)
            x = _residual_block(x, time, widths[level], groups, f"out{level}{part}")
    x = _normalised(x, groups, "last")
    compressed = layers.Conv2DTranspose(
        1, 4, strides=2, padding="same", dtype="float32", name="up_structure"
    )(x)
    structure = SinhExpansion(softening, name="structure")(compressed)
    noise = NoiseOf(name="noise")([noisy, structure, variance])
    return keras.Model([noisy, variance], noise, name="residual_unet")


def _convolution(x: Any, width: int, name: str) -> Any:
    x = SymmetricPadding(name=f"{name}_padding")(x)
    return layers.Conv2D(width, 3, kernel_initializer="he_normal", name=name)(x)


def _normalised(x: Any, groups: int, name: str) -> Any:
    x = QuickGroupNormalization(groups, name=f"{name}_norm")(x)
    return layers.LeakyReLU(0.2, name=f"{name}_leaky")(x)


def _residual_block(x: Any, time: Any, width: int, groups: int, name: str) -> Any:
    """Return x plus two convolutions of it, the time added between them."""
    inner = _convolution(_normalised(x, groups, f"{name}1"), width, f"{name}1")
    inner = layers.Add(name=f"{name}_with_time")(
        [inner, layers.Dense(width, name=f"{name}_time")(time)]
    )
    inner = _convolution(_normalised(inner, groups, f"{name}2"), width, f"{name}2")
    if x.shape[-1] != width:
        x = layers.Conv2D(width, 1, name=f"{name}_skip")(x)
    return layers.Add(name=f"{name}_sum")([x, inner])
