"""What the axes of a kernel mean, which its shape alone does not say.

`fan_in` is how many inputs a unit adds up, `fan_out` how many units an input enters,
both on average over positions away from the border. There are as many connections
counted from either end, so with a stride of s along each of d axes, where a convolution
has s^d times fewer outputs than inputs, an input enters s^d times fewer units than the
kernel has weights for it. In a transposed convolution it is the other way round.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Protocol

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Tensor

KINDS = ("conv", "depthwise", "transposed")

Shape = tuple[int, ...]
Strides = int | tuple[int, ...]


class Kernel(Protocol):
    """Knows how a kernel of some shape connects inputs and outputs."""

    def fans(self, shape: Shape) -> tuple[float, float]:
        """`fan_in` and `fan_out`."""

    def matrices(self, shape: Shape) -> Shape:
        """The shape (groups, inputs, outputs) of the same weights as matrices."""

    def folded(self, matrices: Tensor, shape: Shape) -> Tensor:
        """The kernel with the weights of these matrices."""


@dataclasses.dataclass(frozen=True)
class Window(Kernel):
    """The kernel of a convolution, or of a dense layer, which has no window.

    Args:
        kind: "conv" (..., in / groups, out), "depthwise" (..., in, multiplier) or
            "transposed" (..., out, in).
        groups: that a convolution divides its channels into.
        strides: for all axes of the window or for each.
    """

    kind: str = "conv"
    groups: int = 1
    strides: Strides = 1

    def fans(self, shape: Shape) -> tuple[float, float]:
        """`fan_in` and `fan_out`; a vector's are its length, as in Keras."""
        if len(shape) < 2:
            size = math.prod(shape)
            return size, size
        taps, stride = math.prod(shape[:-2]), self._stride(len(shape) - 2)
        _, inputs, outputs = self._channels(shape)
        if self.kind == "transposed":
            return taps * inputs / stride, taps * outputs
        return taps * inputs, taps * outputs / stride

    def matrices(self, shape: Shape) -> Shape:
        """A row is an entry of the window and a channel in it."""
        groups, inputs, outputs = self._channels(shape)
        return groups, math.prod(shape[:-2]) * inputs, outputs

    def folded(self, matrices: Tensor, shape: Shape) -> Tensor:
        """The kernel with these matrices, one for each group."""
        groups, inputs, outputs = self._channels(shape)
        window = shape[:-2]
        kernel = keras.ops.reshape(matrices, (groups, *window, inputs, outputs))
        if self.kind == "transposed":
            kernel = keras.ops.swapaxes(kernel, -1, -2)
        return keras.ops.reshape(keras.ops.moveaxis(kernel, 0, -2), shape)

    def _channels(self, shape: Shape) -> Shape:
        """Groups, and in each of them the inputs and outputs at one place."""
        first, second = shape[-2:]
        if self.kind == "depthwise":
            return first, 1, second
        if self.kind == "transposed":
            return 1, second, first
        if second % self.groups:
            raise ValueError(
                "groups must divide the number of filters. Received: "
                f"groups={self.groups}, filters={second}"
            )
        return self.groups, first, second // self.groups

    def _stride(self, axes: int) -> int:
        if isinstance(self.strides, int):
            return int(self.strides**axes)
        if len(self.strides) != axes:
            raise ValueError(
                f"strides must be an integer or one for each of the {axes} axes of the "
                f"kernel's window. Received: strides={self.strides}"
            )
        return math.prod(self.strides)


@dataclasses.dataclass(frozen=True)
class Contraction(Kernel):
    """The kernel of `keras.layers.EinsumDense`.

    Args:
        equation: of the layer, such as `abc,cde->abde`.
    """

    equation: str

    def fans(self, shape: Shape) -> tuple[float, float]:
        """What is summed over, and what each input is spread to."""
        _, inputs, outputs = self.matrices(shape)
        return inputs, outputs

    def matrices(self, shape: Shape) -> Shape:
        """A matrix for each entry of the axes that both ends share."""
        groups, inputs, outputs = (
            math.prod(shape[i] for i in axes) for axes in self._axes()
        )
        return groups, inputs, outputs

    def folded(self, matrices: Tensor, shape: Shape) -> Tensor:
        """The kernel with these matrices."""
        order = [i for axes in self._axes() for i in axes]
        kernel = keras.ops.reshape(matrices, [shape[i] for i in order])
        return keras.ops.transpose(kernel, [order.index(i) for i in range(len(order))])

    def _axes(self) -> tuple[list[int], list[int], list[int]]:
        """The kernel's axes that lead through, in and out."""
        terms, output = self.equation.replace(" ", "").split("->")
        given, kernel = terms.replace(".", "").split(",")
        letters = list(enumerate(kernel))
        return (
            [i for i, letter in letters if letter in given and letter in output],
            [i for i, letter in letters if letter not in output],
            [i for i, letter in letters if letter not in given],
        )


def window(kernel: Any, groups: Any, strides: Any) -> Window:
    """The kernel that these arguments of an initializer describe."""
    kind = _arguments.choice("kernel", kernel, KINDS)
    groups = _arguments.count("groups", groups)
    if groups > 1 and kind != "conv":
        raise ValueError(
            f"groups must be 1 unless kernel='conv'. Received: groups={groups}, "
            f"kernel={kind!r}"
        )
    if isinstance(strides, list | tuple):
        return Window(
            kind, groups, tuple(_arguments.count("strides", s) for s in strides)
        )
    return Window(kind, groups, _arguments.count("strides", strides))
