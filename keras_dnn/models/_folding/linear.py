r"""Linear layers that take an affine map in, in float64.

An affine map s·z + t after z = W·x + b turns the layer's weights into s·W and s·b + t;
one before it, in W·(s·x + t) + b, turns them into W·s and b + W·t.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Self

import numpy as np

from keras_dnn._keras.graph import Node
from keras_dnn.layers import BiasMap
from keras_dnn.models._folding.affine import Affine, Array, compress, float64
from keras_dnn.models._layer_copy import config_of, with_zero_weights

# Values this close are equal up to rounding.
TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class Linear(abc.ABC):
    """What a call of a linear layer computes once it has taken affine maps in.

    Attributes:
        node: the call.
        kernel: as the layer has it.
        bias: with the axes of the output but the batch, each of length 1 if the bias
            does not change along it.
    """

    node: Node
    kernel: Array
    bias: Array

    @classmethod
    def read(cls, node: Node) -> Self:
        """The call as it is."""
        layer = node.operation
        rank = len(node.outputs[0].shape) - 1
        bias = np.zeros((1,) * rank)
        if layer.bias is not None:
            bias = cls.over_output(node, float64(layer.bias))
        return cls(node, cls.kernel_of(layer), bias)

    @staticmethod
    def kernel_of(layer: Any) -> Array:
        """The weights that outputs are scaled by."""
        return float64(layer.kernel)

    @staticmethod
    @abc.abstractmethod
    def over_output(node: Node, bias: Array) -> Array:
        """The layer's bias with the axes of its output."""

    def after(self, affine: Affine) -> Self:
        """This layer followed by an affine map, as one layer."""
        bias = compress(self.bias * affine.scale + affine.shift)
        return dataclasses.replace(self._outputs_scaled(affine.scale), bias=bias)

    def before(self, affine: Affine) -> Self:
        """An affine map followed by this layer, as one layer."""
        bias, scaled = self.bias, self._inputs_scaled(affine.scale)
        if not affine.is_shift_free:
            bias = compress(bias + self._response(affine.shift))
        return dataclasses.replace(scaled, bias=bias)

    def equals(self, other: Linear) -> bool:
        """Whether one layer can serve both calls."""
        if self.node.operation is not other.node.operation:
            return False
        pairs = zip(self._arrays(), other._arrays(), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)

    def new_layers(self, name: str) -> NewLayers:
        """Layers that compute this, the first of this name."""
        return NewLayers(self, name)

    def write_kernel(self, new: Any) -> None:
        """Gives a layer of the same kind its kernel."""
        new.kernel.assign(self.kernel)

    def bias_config(self, wanted: bool) -> dict[str, Any]:
        """What in a layer's config says whether it has a bias."""
        return {"use_bias": wanted}

    def bias_of_layer(self, shape: tuple[int, ...]) -> Array:
        """The bias as the layer has it."""
        return np.broadcast_to(self.bias.reshape(-1), shape)

    @abc.abstractmethod
    def needs_map(self) -> bool:
        """Whether the bias is one that only a `BiasMap` can hold."""

    @abc.abstractmethod
    def _outputs_scaled(self, scale: Array) -> Self: ...

    @abc.abstractmethod
    def _inputs_scaled(self, scale: Array) -> Self: ...

    @abc.abstractmethod
    def _response(self, shift: Array) -> Array:
        """What the layer without its bias returns for this input."""

    def _arrays(self) -> list[Array]:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return [x for x in values if isinstance(x, np.ndarray)]


class NewLayers:
    """The layers that compute a `Linear`: one, and a `BiasMap` where it needs that.

    Attributes:
        layers: in the order in which they are called.
    """

    def __init__(self, linear: Linear, name: str) -> None:
        self.linear = linear
        old, mapped = linear.node.operation, linear.needs_map()
        has_bias = not mapped and (old.bias is not None or bool(linear.bias.any()))
        config = config_for_inference(old)
        config |= {"name": name, **linear.bias_config(has_bias)}
        self._map: BiasMap | None = None
        if mapped:
            self._map = BiasMap(
                linear.bias.shape,
                activation=config["activation"],
                name=f"{name}_bias_map",
                dtype=config["dtype"],
                trainable=config["trainable"],
            )
            config["activation"] = "linear"
        self._layer, self._initializers = with_zero_weights(old, config)
        self.layers = [self._layer] if self._map is None else [self._layer, self._map]

    def fill(self) -> None:
        """Gives the layers their weights, once they are built."""
        new, linear = self._layer, self.linear
        linear.write_kernel(new)
        if self._map is not None:
            self._map.bias.assign(linear.bias)
        elif new.bias is not None:
            new.bias.assign(linear.bias_of_layer(tuple(new.bias.shape)))
        for attribute, initializer in self._initializers.items():
            setattr(new, attribute, initializer)


def config_for_inference(layer: Any) -> dict[str, Any]:
    """A layer's config without regularizers, constraints and adapters (LoRA)."""
    return {
        key: None if key.endswith(("_regularizer", "_constraint")) else value
        for key, value in config_of(layer).items()
        if not key.startswith("lora_")
    }
