"""What the axes of kernels and of feature maps mean, which shapes alone do not say.

A layer with a kernel that is laid out in a new way gets its entry in `kernel_axes`; the
rest of the package (initial weights and their fans, max-norm, folding) follows. A new
layer of a known kind needs an entry in `_layer_kinds.py` only.

A kernel has one layout whatever the layer's data format: `data_format` says where the
channels of inputs and outputs are (`channel_axis`), not those of the kernel.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, TypeAlias

import keras

from keras_dnn._keras.graph import source_of
from keras_dnn._layer_kinds import DEPTHWISE, LINEAR, SAME_SHAPE, SEPARABLE, TRANSPOSED
from keras_dnn._typing import Tensor

layers = keras.layers

Axes: TypeAlias = tuple[int, ...]
Shape: TypeAlias = tuple[int, ...]
Strides: TypeAlias = int | tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class KernelAxes:
    """What each axis of a kernel means.

    Attributes:
        window: the axes of a convolution's window; a unit sums over them.
        inputs: the axes along which different inputs lie; a unit sums over them too.
        outputs: the axes along which different units lie.
        channels: the axes along which inputs and units correspond, as in a depthwise
            convolution: nothing is summed over them.
        groups: that the units of a convolution are divided into, in order.
        strides: of the layer, for all axes of the window or for each.
        is_transposed: whether the strides spread the inputs, in place of the outputs.
    """

    window: Axes
    inputs: Axes
    outputs: Axes
    channels: Axes = ()
    groups: int = 1
    strides: Strides = 1
    is_transposed: bool = False

    @property
    def incoming(self) -> Axes:
        """The axes along which the weights of one unit lie."""
        return tuple(sorted(self.window + self.inputs))

    def fans(self, shape: Shape) -> tuple[float, float]:
        """`fan_in` and `fan_out` of a kernel; a vector's are its length, as in Keras.

        `fan_in` is how many inputs a unit adds up, `fan_out` how many units an input
        enters, both on average over positions away from the border. There are as many
        connections counted from either end, so with a stride of s along each of d axes,
        where a convolution has s^d times fewer outputs than inputs, an input enters s^d
        times fewer units than the kernel has weights for it. In a transposed
        convolution it is the other way round.
        """
        if len(shape) < 2:
            size = math.prod(shape)
            return size, size
        _, fan_in, outputs = self.matrices(shape)
        fan_out, stride = _size(shape, self.window) * outputs, self._stride()
        if self.is_transposed:
            return fan_in / stride, fan_out
        return fan_in, fan_out / stride

    def matrices(self, shape: Shape) -> tuple[int, int, int]:
        """The shape (matrices, inputs, outputs) of a kernel's weights as matrices.

        There is one for each group and each of `channels`; a row is an entry of the
        window and an input in it.
        """
        outputs = _size(shape, self.outputs)
        if outputs % self.groups:
            raise ValueError(
                "groups must divide the number of filters. Received: "
                f"groups={self.groups}, filters={outputs}"
            )
        return (
            _size(shape, self.channels) * self.groups,
            _size(shape, self.window + self.inputs),
            outputs // self.groups,
        )

    def from_matrices(self, matrices: Tensor, shape: Shape) -> Tensor:
        """The kernel of this shape with the weights of these matrices."""
        ops, channels = keras.ops, _size(shape, self.channels)
        _, rows, columns = self.matrices(shape)
        kernel = ops.reshape(matrices, (channels, self.groups, rows, columns))
        kernel = ops.swapaxes(kernel, 1, 2)
        order = self.channels + self.window + self.inputs + self.outputs
        kernel = ops.reshape(kernel, [shape[i] for i in order])
        return ops.transpose(kernel, [order.index(i) for i in range(len(order))])

    def _stride(self) -> int:
        axes = len(self.window)
        if isinstance(self.strides, int):
            return int(self.strides**axes)
        if len(self.strides) != axes:
            raise ValueError(
                f"strides must be an integer or one for each of the {axes} axes of the "
                f"kernel's window. Received: strides={self.strides}"
            )
        return math.prod(self.strides)


def window_axes(
    kind: str, rank: int, groups: int = 1, strides: Strides = 1
) -> KernelAxes:
    """The axes of a convolution's kernel, or of a dense one, which has no window.

    Args:
        kind: "conv" (..., in / groups, out), "depthwise" (..., in, multiplier) or
            "transposed" (..., out, in).
        rank: of the kernel.
        groups: that a convolution divides its channels into.
        strides: of the layer, for all axes of the window or for each.
    """
    window, first, second = tuple(range(rank - 2)), (rank - 2,), (rank - 1,)
    if kind == "depthwise":
        return KernelAxes(window, (), second, first, strides=strides)
    if kind == "transposed":
        return KernelAxes(window, second, first, strides=strides, is_transposed=True)
    return KernelAxes(window, first, second, groups=groups, strides=strides)


def einsum_axes(equation: str) -> KernelAxes:
    """The axes of the kernel in an equation such as `abc,cde->abde`."""
    terms, output = equation.replace(" ", "").split("->")
    given, kernel = terms.replace(".", "").split(",")
    letters = list(enumerate(kernel))
    return KernelAxes(
        window=(),
        inputs=tuple(i for i, letter in letters if letter not in output),
        outputs=tuple(i for i, letter in letters if letter not in given),
        channels=tuple(i for i, x in letters if x in given and x in output),
    )


def kernel_axes(layer: Any) -> dict[str, KernelAxes]:
    """The kernels of a built layer itself by name, in the order of use.

    They are the kernels of `LINEAR` layers, and those of the cell of any recurrent one,
    that of a ConvLSTM too, which are laid out like those of Dense and Conv.
    """
    if "recurrent_kernel" in vars(layer):
        names = ("kernel", "recurrent_kernel")
        return {n: window_axes("conv", _rank(getattr(layer, n))) for n in names}
    if not isinstance(layer, LINEAR):
        return {}
    if isinstance(layer, layers.EinsumDense):
        return {"kernel": einsum_axes(layer.equation)}
    if isinstance(layer, layers.Dense):
        return {"kernel": window_axes("conv", _rank(layer.kernel))}
    strides = tuple(layer.strides)
    if isinstance(layer, SEPARABLE):
        rank = _rank(layer.depthwise_kernel)
        return {
            "depthwise_kernel": window_axes("depthwise", rank, strides=strides),
            "pointwise_kernel": window_axes("conv", rank),
        }
    rank = _rank(layer.kernel)
    if isinstance(layer, DEPTHWISE):
        return {"kernel": window_axes("depthwise", rank, strides=strides)}
    if isinstance(layer, TRANSPOSED):
        return {"kernel": window_axes("transposed", rank, strides=strides)}
    return {"kernel": window_axes("conv", rank, layer.groups, strides)}


def channel_axis(layer: Any, rank: int) -> int:
    """The axis of the channels in what a layer takes and returns.

    A layer without a data format that leaves the axes as they are, such as an
    activation, has that of the layer before it; what is not known has its channels
    last.

    Args:
        layer: any layer.
        rank: of the tensor in question, with the batch axis.
    """
    while not hasattr(layer, "data_format") and isinstance(layer, SAME_SHAPE):
        layer = source_of(layer)
    return 1 if has_channels_first(layer) else rank - 1


def has_channels_first(layer: Any) -> bool:
    """Whether the data format of a layer itself puts the channels first."""
    return getattr(layer, "data_format", None) == "channels_first"


def _rank(kernel: Any) -> int:
    return len(kernel.shape)


def _size(shape: Shape, axes: Axes) -> int:
    return math.prod(shape[i] for i in axes)
