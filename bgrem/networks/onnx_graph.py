"""A network as an ONNX graph: one function for each kind of layer, one row in the table.

ONNX has channels before rows, Keras after them. Inside the graph all arrays are (B, C, H, W), and
one number for each tile and channel is (B, C, 1, 1); inputs and output are as those of Keras.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from onnx import ModelProto, TensorProto, helper, numpy_helper

from bgrem.networks.layers import (
    EMBEDDING_FREQUENCIES,
    AsinhCompression,
    JoinConstant,
    NoiseOf,
    QuickGroupNormalization,
    SinhExpansion,
    SinusoidalEmbedding,
    SpatialAttention,
    SymmetricPadding,
)

OPSET = 17  # operators of this set are all that the layers need; runtimes of 2022 have it
FORMAT = 8  # version of the file format that goes with it
ROWS_AND_COLUMNS = [2, 3]  # axes
TO_ONNX, TO_KERAS = [0, 3, 1, 2], [0, 2, 3, 1]  # orders of axes
GROUP_EPSILON = 1e-3  # as of `QuickGroupNormalization`


class Graph:
    """The nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: Any, kind: type = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name


def onnx_graph(network: keras.Model) -> ModelProto:
    """Return a network as a model of ONNX, in float32, its sizes free.

    Parameters
    ----------
    network : keras.Model
        Of `bgrem.networks.attention_unet.NETWORKS`.

    Returns
    -------
    onnx.ModelProto
        Its inputs are (B, H, W, 1) and (B, 1, 1, 1), its output is (B, H, W, 1).

    Raises
    ------
    ValueError
        If a layer has no row in `CONVERTERS`.
    """
    graph, names = Graph(), {}
    for layer in network.layers:
        if isinstance(layer, layers.InputLayer):
            free = layer.output.shape[1] is None
            names[id(layer.output)] = (
                graph.add("Transpose", layer.name, perm=TO_ONNX) if free else layer.name
            )
            continue
        if (convert := CONVERTERS.get(type(layer))) is None:
            raise ValueError(f"{layer.name}: ONNX has no row for {type(layer).__name__}.")
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        names[id(layer.output)] = convert(graph, layer, *(names[id(one)] for one in given))
    (output,) = network.output_names
    graph.add("Transpose", names[id(network.output)], output=output, perm=TO_KERAS)
    tiles: list[str | int | None] = ["tiles", "rows", "columns", 1]
    shapes: list[list[str | int | None]] = [tiles, ["tiles", 1, 1, 1]]
    inputs = [
        helper.make_tensor_value_info(one.name, TensorProto.FLOAT, shape)
        for one, shape in zip(network.inputs, shapes, strict=True)
    ]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, tiles)]
    return helper.make_model(
        helper.make_graph(graph.nodes, network.name, inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=FORMAT, producer_name="bgrem",
    )  # fmt: skip


def _activated(graph: Graph, layer: Any, x: str) -> str:
    name = layer.activation.__name__
    if name == "linear":
        return x
    if name == "sigmoid":
        return graph.add("Sigmoid", x)
    if name == "leaky_relu":
        return graph.add("LeakyRelu", x, alpha=0.2)  # the slope that Keras takes
    raise ValueError(f"{layer.name}: ONNX has no row for the activation {name}.")


def _pads(layer: Any) -> list[int]:
    """Return rows and columns before, and after, of a side that the stride divides."""
    before, after = [], []
    for size, stride in zip(layer.kernel_size, layer.strides, strict=True):
        more = max(size - stride, 0) if layer.padding == "same" else 0
        before.append(more // 2)
        after.append(more - more // 2)
    return before + after


def _convolution(graph: Graph, layer: Any, x: str) -> str:
    # Keras: rows, columns, inputs, outputs; transposed: outputs, inputs
    transposed = isinstance(layer, layers.Conv2DTranspose)
    kernel = np.transpose(layer.kernel.numpy(), (3, 2, 0, 1))
    found = graph.add(
        "ConvTranspose" if transposed else "Conv", x, graph.constant(kernel),
        graph.constant(layer.bias.numpy()),
        kernel_shape=list(layer.kernel_size), strides=list(layer.strides), pads=_pads(layer),
    )  # fmt: skip
    return _activated(graph, layer, found)


def _dense(graph: Graph, layer: Any, x: str) -> str:
    kernel = layer.kernel.numpy().T[..., None, None]
    bias = graph.constant(layer.bias.numpy())
    return _activated(graph, layer, graph.add("Conv", x, graph.constant(kernel), bias))


def _pool(graph: Graph, layer: Any, x: str) -> str:
    operator = "MaxPool" if isinstance(layer, layers.MaxPooling2D) else "AveragePool"
    size, strides = list(layer.pool_size), list(layer.strides)
    return graph.add(operator, x, kernel_shape=size, strides=strides)


def _batch_normalization(graph: Graph, layer: Any, x: str) -> str:
    weights = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    constants = (graph.constant(one.numpy()) for one in weights)
    return graph.add("BatchNormalization", x, *constants, epsilon=layer.epsilon)


def _group_normalization(graph: Graph, layer: Any, x: str) -> str:
    # the variance about the mean, the same number as the layer's difference of two means
    ones, zeros = (graph.constant(np.full(layer.groups, value)) for value in (1, 0))
    grouped = graph.add("Reshape", x, graph.constant([0, layer.groups, -1], np.int64))
    flat = graph.add("InstanceNormalization", grouped, ones, zeros, epsilon=GROUP_EPSILON)
    pixels = graph.add("Reshape", flat, graph.add("Shape", x))
    gamma, beta = (
        graph.constant(one.numpy().reshape(1, -1, 1, 1)) for one in (layer.gamma, layer.beta)
    )
    return graph.add("Add", graph.add("Mul", pixels, gamma), beta)


def _embedding(graph: Graph, layer: Any, variance: str) -> str:
    frequencies = (2 * np.pi * EMBEDDING_FREQUENCIES).reshape(1, -1, 1, 1)
    angles = graph.add("Mul", variance, graph.constant(frequencies))
    return graph.add("Concat", graph.add("Sin", angles), graph.add("Cos", angles), axis=1)


def _compression(graph: Graph, layer: Any, x: str) -> str:
    if not layer.softening:
        return x
    softening = graph.constant(layer.softening)
    return graph.add("Mul", graph.add("Asinh", graph.add("Div", x, softening)), softening)


def _expansion(graph: Graph, layer: Any, x: str) -> str:
    if not layer.softening:
        return x
    softening = graph.constant(layer.softening)
    limits = (graph.constant(one * layer.LARGEST) for one in (-1, 1))
    bounded = graph.add("Clip", graph.add("Div", x, softening), *limits)
    return graph.add("Mul", graph.add("Sinh", bounded), softening)


def _noise_of(graph: Graph, layer: Any, noisy: str, structure: str, variance: str) -> str:
    return graph.add("Div", graph.add("Sub", noisy, structure), graph.add("Sqrt", variance))


def _join_constant(graph: Graph, layer: Any, x: str, number: str) -> str:
    one = graph.constant([1], np.int64)
    tiles, sides = graph.add("Shape", x, end=1), graph.add("Shape", x, start=2)
    plane = graph.add("Expand", number, graph.add("Concat", tiles, one, sides, axis=0))
    return graph.add("Concat", x, plane, axis=1)


def _attention(graph: Graph, layer: Any, x: str) -> str:
    channels = layer.input.shape[-1]
    columns = graph.add("Reshape", x, graph.constant([0, channels, -1], np.int64))
    flat = graph.add("Transpose", columns, perm=[0, 2, 1])
    query, key, value = (
        graph.add("MatMul", flat, graph.constant(one.numpy()))
        for one in (layer.query_kernel, layer.key_kernel, layer.value_kernel)
    )
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 1]))
    scores = graph.add("Mul", scores, graph.constant(channels**-0.5))
    seen = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    seen = graph.add("MatMul", seen, graph.constant(layer.output_kernel.numpy()))
    seen = graph.add("Reshape", graph.add("Transpose", seen, perm=[0, 2, 1]), graph.add("Shape", x))
    return graph.add("Add", x, seen)


def _of_operator(operator: str, **attributes: Any) -> Callable[..., str]:
    """Return the function of a layer that is one operator."""
    return lambda graph, layer, *inputs: graph.add(operator, *inputs, **attributes)


# kind of layer -> function of (graph, layer, names of its inputs), which gives that of its output
CONVERTERS: dict[type, Callable[..., str]] = {
    layers.Conv2D: _convolution,
    layers.Conv2DTranspose: _convolution,
    layers.Dense: _dense,
    layers.MaxPooling2D: _pool,
    layers.AveragePooling2D: _pool,
    layers.BatchNormalization: _batch_normalization,
    layers.LeakyReLU: lambda graph, layer, x: graph.add(
        "LeakyRelu", x, alpha=float(layer.negative_slope)
    ),
    layers.ReLU: _of_operator("Relu"),
    layers.Add: _of_operator("Add"),
    layers.Multiply: _of_operator("Mul"),
    layers.Concatenate: _of_operator("Concat", axis=1),
    # by one pixel: the same as repeating the edge
    SymmetricPadding: lambda graph, layer, x: graph.add(
        "Pad", x, graph.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="edge"
    ),
    SinusoidalEmbedding: _embedding,
    AsinhCompression: _compression,
    SinhExpansion: _expansion,
    NoiseOf: _noise_of,
    JoinConstant: _join_constant,
    SpatialAttention: _attention,
    QuickGroupNormalization: _group_normalization,
}
