"""The weights that lead into each neuron of a layer, and along which axes they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

layers = keras.layers

Axes = tuple[int, ...]

ALL_BUT_LAST = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)


def incoming_weights(layer: Any) -> Iterator[tuple[keras.Variable, Axes]]:
    """The kernels of a layer itself, each with the axes to take one neuron's norm over.

    A layer that is not known has none. The neurons of an embedding are its rows: the
    vector of a word is what enters the network.
    """
    if not layer.built:
        return
    for name, axes in _kernels(layer):
        kernel = getattr(layer, name)
        # A kernel with an adapter (LoRA) is a sum, which nobody can assign to.
        if isinstance(kernel, keras.Variable):
            yield kernel, axes


def _kernels(layer: Any) -> list[tuple[str, Axes]]:
    if isinstance(layer, layers.EinsumDense):
        return [("kernel", _contracted(layer.equation))]
    if isinstance(layer, layers.Embedding):
        return [("embeddings", (1,))]
    if isinstance(layer, SEPARABLE):
        dimensions = len(layer.depthwise_kernel.shape)
        return [
            ("depthwise_kernel", tuple(range(dimensions - 2))),
            ("pointwise_kernel", tuple(range(dimensions - 1))),
        ]
    if "recurrent_kernel" in vars(layer):
        # The cell of a recurrent layer; that of a ConvLSTM has more dimensions.
        dimensions = len(layer.kernel.shape)
        return [
            (name, tuple(range(dimensions - 1)))
            for name in ("kernel", "recurrent_kernel")
        ]
    if isinstance(layer, (*ALL_BUT_LAST, *TRANSPOSED, *DEPTHWISE)):
        dimensions = len(layer.kernel.shape)
        if isinstance(layer, TRANSPOSED):  # (..., out, in)
            return [("kernel", (*range(dimensions - 2), dimensions - 1))]
        if isinstance(layer, DEPTHWISE):  # (..., in, multiplier), both of them out
            return [("kernel", tuple(range(dimensions - 2)))]
        return [("kernel", tuple(range(dimensions - 1)))]
    return []


def _contracted(equation: str) -> Axes:
    """The kernel's axes that are summed over, by an equation such as `abc,cd->abd`."""
    terms, output = equation.replace(" ", "").split("->")
    kernel = terms.split(",")[1].replace(".", "")
    return tuple(i for i, letter in enumerate(kernel) if letter not in output)
