"""The layers that the networks are built from."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

# of the embedding of the noise variance (BGRem, Sect. 3)
EMBEDDING_FREQUENCIES = np.geomspace(1.0, 1000.0, 16).astype(np.float32)


@keras.saving.register_keras_serializable("bgrem")
class SymmetricPadding(layers.Layer):
    """Repeat the edge rows and columns once, as symmetric padding by one pixel does.

    Concatenating slices costs 1.2 times a "same" convolution, `ops.pad` 1.7 to 1.9 times.
    """

    def call(self, x: Any) -> Any:
        """Return (B, H + 2, W + 2, C)."""
        x = ops.concatenate([x[:, :1], x, x[:, -1:]], axis=1)
        return ops.concatenate([x[:, :, :1], x, x[:, :, -1:]], axis=2)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape two larger."""
        batch, height, width, channels = shape
        return batch, height and height + 2, width and width + 2, channels


@keras.saving.register_keras_serializable("bgrem")
class SinusoidalEmbedding(layers.Layer):
    """Sine and cosine of 2 pi f v at 16 frequencies of a noise variance v: 32 channels.

    Always float32: in bfloat16 an argument of thousands has no phase left. The frequencies are
    constants from NumPy, so that all backends have the same ones.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, noise_variances: Any) -> Any:
        """Return (B, 1, 1, 32) from (B, 1, 1, 1)."""
        angles = ops.cast(noise_variances, "float32") * (2 * np.pi * EMBEDDING_FREQUENCIES)
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape with 32 channels."""
        return (*shape[:-1], 2 * len(EMBEDDING_FREQUENCIES))


@keras.saving.register_keras_serializable("bgrem")
class AsinhCompression(layers.Layer):
    """Softening x asinh(x / softening): linear in the noise, logarithmic in bright stars.

    Linear input of thousands of sigma makes a bfloat16 network diverge. Computed in float32.

    Parameters
    ----------
    softening : float
        In units of the noise; 0 leaves the image linear (the published recipe).
    """

    def __init__(self, softening: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.softening = softening

    def call(self, x: Any) -> Any:
        """Return the shape of `x`."""
        x = ops.cast(x, "float32")
        return self.softening * ops.arcsinh(x / self.softening) if self.softening else x

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the same shape."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer."""
        return super().get_config() | {"softening": self.softening}


@keras.saving.register_keras_serializable("bgrem")
class SinhExpansion(layers.Layer):
    """The inverse of `AsinhCompression`, in float32: softening sinh(x / softening).

    Parameters
    ----------
    softening : float
        As of the compression; 0 changes nothing.
    """

    LARGEST = 10.0  # of x / softening: 11,000 times the softening; larger steps would overflow

    def __init__(self, softening: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.softening = softening

    def call(self, x: Any) -> Any:
        """Return the shape of `x`."""
        x = ops.cast(x, "float32")
        if not self.softening:
            return x
        return self.softening * ops.sinh(ops.clip(x / self.softening, -self.LARGEST, self.LARGEST))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the same shape."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer."""
        return super().get_config() | {"softening": self.softening}


@keras.saving.register_keras_serializable("bgrem")
class NoiseOf(layers.Layer):
    """(noisy - structure) / sqrt(noise_variance): the noise, of variance 1, in float32."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, inputs: Any) -> Any:
        """Return (B, H, W, 1) from two such arrays and one of (B, 1, 1, 1)."""
        noisy, structure, variance = (ops.cast(one, "float32") for one in inputs)
        return (noisy - structure) / ops.sqrt(variance)

    def compute_output_shape(self, shapes: Any) -> tuple[int | None, ...]:
        """Return the shape of `noisy`."""
        return tuple(shapes[0])


@keras.saving.register_keras_serializable("bgrem")
class JoinConstant(layers.Layer):
    """Concatenate a number as a constant plane: (B, H, W, C) and (B, 1, 1, 1) give C + 1."""

    def call(self, inputs: Any) -> Any:
        """Return (B, H, W, C + 1)."""
        x, number = inputs
        plane = ops.ones_like(x[..., :1]) * ops.cast(number, x.dtype)
        return ops.concatenate([x, plane], axis=-1)

    def compute_output_shape(self, shapes: Any) -> tuple[int | None, ...]:
        """Return the shape with one channel more."""
        shape = tuple(shapes[0])
        return (*shape[:-1], shape[-1] + 1)


@keras.saving.register_keras_serializable("bgrem")
class SpatialAttention(layers.Layer):
    """Let each pixel look at all others: one head of scaled dot products, added to the input."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the four 1x1 kernels."""
        channels = shape[-1]
        for name in ("query", "key", "value", "output"):
            weight = self.add_weight(
                name=f"{name}_kernel", shape=(channels, channels), initializer="he_normal"
            )
            setattr(self, f"{name}_kernel", weight)

    def call(self, x: Any) -> Any:
        """Return the shape of `x`."""
        size = ops.shape(x)
        flat = ops.reshape(x, (size[0], size[1] * size[2], x.shape[-1]))
        query, key, value = (
            ops.matmul(flat, ops.cast(kernel, flat.dtype))
            for kernel in (self.query_kernel, self.key_kernel, self.value_kernel)
        )
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) * (x.shape[-1] ** -0.5)
        weights = ops.cast(ops.softmax(ops.cast(scores, "float32")), flat.dtype)
        seen = ops.matmul(ops.matmul(weights, value), ops.cast(self.output_kernel, flat.dtype))
        return x + ops.reshape(seen, size)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the same shape."""
        return shape


@keras.saving.register_keras_serializable("bgrem")
class QuickGroupNormalization(layers.Layer):
    """Group normalisation (Wu & He 2018) as one scale and one offset per channel.

    The same numbers as `keras.layers.GroupNormalization`, whose reshaped pixels make a training
    step in bfloat16 on a CPU twice as long. Mean and variance in float32.

    Parameters
    ----------
    groups : int
        Of channels.
    """

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make scale and offset."""
        channels = shape[-1]
        if channels is None or channels % self.groups:
            raise ValueError(f"channels must be a multiple of {self.groups}. Received: {channels}")
        self.gamma = self.add_weight(name="gamma", shape=(channels,), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")

    def call(self, x: Any) -> Any:
        """Return the shape of `x`."""
        pixels = ops.cast(x, "float32")
        mean = self._of_groups(ops.mean(pixels, axis=(1, 2)))
        square = self._of_groups(ops.mean(ops.square(pixels), axis=(1, 2)))
        scale = ops.rsqrt(ops.maximum(square - mean * mean, 0.0) + 1e-3) * ops.cast(
            self.gamma, "float32"
        )
        offset = ops.cast(self.beta, "float32") - mean * scale
        return x * ops.cast(scale, x.dtype) + ops.cast(offset, x.dtype)

    def _of_groups(self, means: Any) -> Any:
        """Return (B, 1, 1, C), each channel with the mean of its group, from (B, C)."""
        channels = means.shape[-1]
        grouped = ops.mean(ops.reshape(means, (-1, self.groups, channels // self.groups)), axis=-1)
        spread = ops.repeat(grouped, channels // self.groups, axis=-1)
        return ops.reshape(spread, (-1, 1, 1, channels))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the same shape."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer."""
        return super().get_config() | {"groups": self.groups}
