"""Dense and EinsumDense, as linear layers that take affine maps in."""

from __future__ import annotations

import dataclasses
import string
from typing import Any, Self

import numpy as np

from keras_dnn._keras.graph import Node
from keras_dnn.models._folding.affine import Affine, Array, Inexact, compress, float64
from keras_dnn.models._folding.linear import TOLERANCE, Linear


@dataclasses.dataclass(frozen=True)
class Einsum(Linear):
    """A layer that contracts its input with a kernel, as its equation says."""

    @staticmethod
    def over_output(node: Node, bias: Array) -> Array:
        rank = len(node.outputs[0].shape) - 1
        return compress(bias.reshape((1,) * (rank - bias.ndim) + bias.shape))

    @property
    def letters(self) -> tuple[str, str, str]:
        """The axes of input, kernel and output, by letter and without the batch."""
        layer = self.node.operation
        equation = getattr(layer, "equation", "...x,xy->...y")
        inputs, kernel, outputs = equation.replace("->", ",").split(",")
        free = (x for x in string.ascii_letters if x not in equation)
        rank = len(self.node.data.shape)
        dots = "".join(next(free) for _ in range(rank - len(inputs.replace("...", ""))))
        inputs, outputs = (x.replace("...", dots) for x in (inputs, outputs))
        if inputs[0] != outputs[0] or inputs[0] in kernel:
            raise Inexact(f"{layer.name} does not leave the batch where it was")
        return inputs[1:], kernel, outputs[1:]

    def _outputs_scaled(self, scale: Array) -> Self:
        _, kernel, outputs = self.letters
        factor = self._over_kernel(scale, outputs, kernel)
        return dataclasses.replace(self, kernel=self.kernel * factor)

    def _inputs_scaled(self, scale: Array) -> Self:
        inputs, kernel, _ = self.letters
        factor = self._over_kernel(scale, inputs, kernel)
        return dataclasses.replace(self, kernel=self.kernel * factor)

    def _over_kernel(self, scale: Array, letters: str, kernel: str) -> Array:
        """A scale along axes of input or output, as an array with the kernel's axes."""
        for axis, length in enumerate(scale.shape):
            if length > 1 and letters[axis] not in kernel:
                name = self.node.operation.name
                raise Inexact(f"it scales axis {axis + 1}, not the channels of {name}")
        varying = [x for x, n in zip(letters, scale.shape, strict=True) if n > 1]
        order = [x for x in kernel if x in varying]
        factor = np.transpose(scale.squeeze(), [varying.index(x) for x in order])
        lengths = dict(zip(order, factor.shape, strict=True))
        return factor.reshape([lengths.get(x, 1) for x in kernel])

    def _response(self, shift: Array) -> Array:
        inputs, kernel, outputs = self.letters
        shape = list(shift.shape)
        lengths = dict(zip(kernel, self.kernel.shape, strict=True))
        for axis, letter in enumerate(inputs):
            if letter in kernel:
                shape[axis] = lengths[letter]
            elif letter not in outputs:
                shape[axis] = self.node.data.shape[axis + 1]
                if shape[axis] is None:
                    name = self.node.operation.name
                    raise Inexact(f"{name} adds up an axis of open length")
        equation = f"{inputs},{kernel}->{outputs}"
        full = np.broadcast_to(shift, shape)
        return compress(
            np.einsum(equation, full, self.kernel, optimize=True), TOLERANCE
        )

    def _varying(self) -> str:
        """The output's axes along which the bias changes."""
        outputs = self.letters[2]
        return "".join(
            x for x, n in zip(outputs, self.bias.shape, strict=True) if n > 1
        )

    def needs_map(self) -> bool:
        layer, outputs = self.node.operation, self.letters[2]
        named = getattr(layer, "equation", outputs[-1])
        return any(x not in named for x in self._varying())

    def bias_config(self, wanted: bool) -> dict[str, Any]:
        layer, (_, kernel, outputs) = self.node.operation, self.letters
        if not hasattr(layer, "equation"):
            return {"use_bias": wanted}
        axes = self._varying() or [x for x in outputs if x in kernel][-1]
        return {"bias_axes": axes if wanted else None}

    def bias_of_layer(self, shape: tuple[int, ...]) -> Array:
        full = self.bias.reshape(self.bias.shape[self.bias.ndim - len(shape) :])
        return np.broadcast_to(full, shape)


@dataclasses.dataclass(frozen=True)
class Int8Dense(Einsum):
    """A Dense with whole numbers as weights, whose scales `kernel` holds instead.

    The layer divides by them: y = (W·x) / kernel_scale + b.
    """

    @staticmethod
    def kernel_of(layer: Any) -> Array:
        return 1 / float64(layer.kernel_scale)[None]

    def after(self, affine: Affine) -> Self:
        """This layer followed by an affine map, as one layer."""
        linear = super().after(affine)
        if linear.needs_map():
            name = self.node.operation.name
            raise Inexact(f"{name} is quantised to int8, and the shift is not by unit")
        return linear

    def _inputs_scaled(self, scale: Array) -> Self:
        raise Inexact(
            f"{self.node.operation.name} is quantised to int8, after its input"
        )

    def write_kernel(self, new: Any) -> None:
        weights = np.array(float64(self.node.operation.kernel))
        # Dividing by a scale never gives zero; weights of zero do.
        zero = self.kernel[0] == 0
        weights[:, zero] = 0
        new.kernel.assign(weights.astype("int8"))
        new.kernel_scale.assign(1 / np.where(zero, 1.0, self.kernel[0]))
