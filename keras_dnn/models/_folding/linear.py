r"""Linear layers that take an affine map in, in float64.

Behind z = W·x + b, the map s·z + t goes into the layer as s·W and s·b + t; in front of
it, W·(s·x + t) + b, as W·s and b + W·t.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np

from keras_dnn._keras.graph import Node
from keras_dnn.layers import BiasMap
from keras_dnn.models._folding.affine import Affine, Array, compress, float64
from keras_dnn.models._layer_copy import with_zero_weights

layers = keras.layers

# What is the same in all places but for rounding.
TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class Linear(abc.ABC):
    """What a call of a linear layer is to compute, once affine maps are in it.

    Attributes:
        node: the call.
        kernel: as the layer has it.
        bias: of the output's axes without the batch, of length 1 where it does not
            change.
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
        """With an affine map in it that stands behind it."""
        bias = compress(self.bias * affine.scale + affine.shift)
        return dataclasses.replace(self._outputs_scaled(affine.scale), bias=bias)

    def before(self, affine: Affine) -> Self:
        """With an affine map in it that stands in front of it."""
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

    def _arrays(self) -> list[Array]:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return [x for x in values if isinstance(x, np.ndarray)]

    @abc.abstractmethod
    def _outputs_scaled(self, scale: Array) -> Self: ...

    @abc.abstractmethod
    def _inputs_scaled(self, scale: Array) -> Self: ...

    @abc.abstractmethod
    def _response(self, shift: Array) -> Array:
        """What the layer without its bias makes of a constant input."""

    @abc.abstractmethod
    def _needs_map(self) -> bool:
        """Whether the bias is one that only a `BiasMap` can hold."""

    def _bias_config(self, wanted: bool) -> dict[str, Any]:
        return {"use_bias": wanted}

    def new_layers(self, name: str) -> tuple[list[Any], Callable[[], None]]:
        """Layers that compute this, and what gives them their weights once built."""
        old = self.node.operation
        mapped = self._needs_map()
        config = {
            key: None if key.endswith(("_regularizer", "_constraint")) else value
            for key, value in old.get_config().items()
            if not key.startswith("lora_")
        }
        has_bias = not mapped and (old.bias is not None or bool(self.bias.any()))
        config |= {"name": name, **self._bias_config(has_bias)}
        made: list[Any] = []
        if mapped:
            made.append(
                BiasMap(
                    self.bias.shape,
                    activation=config["activation"],
                    name=f"{name}_bias_map",
                    dtype=config["dtype"],
                    trainable=config["trainable"],
                )
            )
            config["activation"] = "linear"
        new, initializers = with_zero_weights(old, config)

        def fill() -> None:
            self._write_kernel(new)
            if mapped:
                made[-1].bias.assign(self.bias)
            elif has_bias:
                new.bias.assign(self._bias_of_layer(new.bias.shape))
            for attribute, initializer in initializers.items():
                setattr(new, attribute, initializer)

        return [new, *made], fill

    def _write_kernel(self, new: Any) -> None:
        new.kernel.assign(self.kernel)

    def _bias_of_layer(self, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(self.bias.reshape(-1), shape)
