"""The Keras layer of the background: a polyharmonic spline whose every parameter is trained."""

from typing import Any

import keras
import numpy as np
from keras import ops

from bgoptimizer.surface import (
    MIN_SQUARED_DISTANCE,
    check_control_points,
    check_order,
    place_random,
)


class SplineSurface(keras.layers.Layer):
    """Spline surface f(p) = Σ_i w_i φ(‖p - c_i‖) + v · (p, 1), rows first: p = (y, x).

    Parameters
    ----------
    control_points : int or array, shape (N, 2)
        First positions of the control points; a number draws them at random from [0, 1)².
    channels : int
        C, surfaces that share the control points.
    order : {1, 2, 3}
        φ = r, r² log r (thin plate) or r³.
    seed : int
        Of the random positions; `get_config` carries the positions themselves.

    Attributes
    ----------
    control_points, weights_of_basis, affine : keras.Variable
        Shapes (N, 2), (N, C) and (3, C); all trainable. `assign_spline` sets the last two, which
        start at zero.

    Examples
    --------
    >>> import numpy as np
    >>> from bgoptimizer import SplineSurface
    >>> layer = SplineSurface(5, channels=1)
    >>> layer.assign_spline(np.zeros((5, 1)), np.array([[0.0], [1.0], [2.0]]))
    >>> np.asarray(layer(np.array([[0.5, 0.25]], np.float32))).tolist()  # 0 y + 1 x + 2
    [[2.25]]
    """

    def __init__(
        self,
        control_points: int | np.ndarray | list,
        channels: int = 1,
        order: int = 2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(control_points, int):
            if control_points < 1:
                raise ValueError(f"expected at least 1 control point. Received: {control_points}")
            control_points = place_random(control_points, seed)
        self.start = check_control_points(np.asarray(control_points))
        if channels < 1:
            raise ValueError(f"channels must be 1 or more. Received: channels={channels}")
        self.channels = channels
        self.order = check_order(order)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights; `input_shape` is (..., P, 2)."""
        if len(input_shape) not in (2, 3) or input_shape[-1] != 2:
            raise ValueError(
                f"positions must have shape (P, 2) or (B, P, 2). Received: shape={input_shape}"
            )
        count = len(self.start)
        self.control_points = self.add_weight(
            shape=(count, 2),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(self.start, dtype),
            name="control_points",
        )
        self.weights_of_basis = self.add_weight(
            shape=(count, self.channels), initializer="zeros", name="weights_of_basis"
        )
        self.affine = self.add_weight(shape=(3, self.channels), initializer="zeros", name="affine")

    def assign_spline(self, weights: np.ndarray, affine: np.ndarray) -> None:
        """Set the weights (N, C) and the affine part (3, C), from `solve_interpolation`."""
        if not self.built:
            self.build((None, 2))
        self.weights_of_basis.assign(weights)
        self.affine.assign(affine)

    def call(self, positions: Any) -> Any:
        """Return the surface, (..., P, C), at positions (..., P, 2)."""
        y, x = positions[..., 0:1], positions[..., 1:2]  # (..., P, 1)
        centre = ops.transpose(self.control_points)  # (2, N)
        # differences, not |p|² - 2pc + |c|²: float32 keeps short distances exact
        squared = ops.square(y - centre[0]) + ops.square(x - centre[1])  # (..., P, N)
        surface = ops.matmul(self._basis(squared), self.weights_of_basis)  # (..., P, C)
        return surface + ops.matmul(positions, self.affine[:2]) + self.affine[2]

    def _basis(self, squared: Any) -> Any:
        """φ of the squared distance, with a finite slope where a position meets a control point."""
        floored = ops.maximum(squared, MIN_SQUARED_DISTANCE)
        if self.order == 2:
            return 0.5 * squared * ops.log(floored)
        root = ops.sqrt(floored)
        return root if self.order == 1 else squared * root

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (..., P, C)."""
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; the trained values are in the weights."""
        return super().get_config() | {
            "control_points": self.start.tolist(),
            "channels": self.channels,
            "order": self.order,
        }
