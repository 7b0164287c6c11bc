"""How the call of each kind of linear layer is read."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._keras.graph import Node
from keras_dnn._layer_kinds import LINEAR, SEPARABLE
from keras_dnn.models._folding.affine import Inexact
from keras_dnn.models._folding.convolution import Convolution, Separable
from keras_dnn.models._folding.einsum import Einsum, Int8Dense
from keras_dnn.models._folding.linear import Linear

layers = keras.layers


def is_linear(operation: Any) -> bool:
    """Whether it is a layer that can take an affine map in, not a subclass."""
    return type(operation) in LINEAR


def linear_of(node: Node) -> Linear:
    """The call of such a layer as it is; `Inexact` if its weights cannot change."""
    layer = node.operation
    mode = getattr(layer, "quantization_mode", None)
    if mode == "int8" and type(layer) is layers.Dense and not layer.lora_enabled:
        return Int8Dense.read(node)
    if mode is not None:
        raise Inexact(f"{layer.name} is quantised to {mode}")
    if type(layer) in (layers.Dense, layers.EinsumDense):
        return Einsum.read(node)
    if type(layer) in SEPARABLE:
        return Separable.read(node)
    return Convolution.read(node)


def check_no_activation(layer: Any) -> None:
    """Refuses a layer with an activation: what follows it does not follow W·x + b."""
    if layer.activation is not keras.activations.linear:
        name = getattr(layer.activation, "__name__", layer.activation)
        raise Inexact(f"the activation {name} of {layer.name} lies between")
