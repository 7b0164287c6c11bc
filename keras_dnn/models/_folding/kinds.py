"""Which layers are linear, and what reads each of them."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._keras.graph import Node
from keras_dnn.models._folding.affine import Inexact
from keras_dnn.models._folding.convolution import (
    Convolution,
    Depthwise,
    Separable,
    Transposed,
)
from keras_dnn.models._folding.einsum import Einsum, Int8Dense
from keras_dnn.models._folding.linear import Linear

layers = keras.layers

KINDS: dict[type, type[Linear]] = {
    layers.Dense: Einsum,
    layers.EinsumDense: Einsum,
    layers.Conv1D: Convolution,
    layers.Conv2D: Convolution,
    layers.Conv3D: Convolution,
    layers.Conv1DTranspose: Transposed,
    layers.Conv2DTranspose: Transposed,
    layers.Conv3DTranspose: Transposed,
    layers.DepthwiseConv1D: Depthwise,
    layers.DepthwiseConv2D: Depthwise,
    layers.SeparableConv1D: Separable,
    layers.SeparableConv2D: Separable,
}


def is_linear(operation: Any) -> bool:
    """Whether it is a layer that can take an affine map in, not a subclass."""
    return type(operation) in KINDS


def linear_of(node: Node) -> Linear:
    """The call of such a layer as it is; `Inexact` if its weights are fixed."""
    layer = node.operation
    mode = getattr(layer, "quantization_mode", None)
    kind = KINDS[type(layer)]
    if mode == "int8" and type(layer) is layers.Dense and not layer.lora_enabled:
        kind = Int8Dense
    elif mode is not None:
        raise Inexact(f"{layer.name} is quantised to {mode}")
    return kind.read(node)


def check_no_activation(layer: Any) -> None:
    """Refuses a layer with an activation: what stands behind it is not behind W·x."""
    if layer.activation is not keras.activations.linear:
        name = getattr(layer.activation, "__name__", layer.activation)
        raise Inexact(f"the activation {name} of {layer.name} lies between")
