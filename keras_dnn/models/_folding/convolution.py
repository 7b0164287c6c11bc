"""Convolutions of all kinds, as linear layers that take affine maps in."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np

from keras_dnn._keras.graph import Node
from keras_dnn._kernel_axes import Axes, KernelAxes, channel_axis, kernel_axes
from keras_dnn._precision import float64_arithmetic
from keras_dnn.models._folding.affine import Array, Inexact, compress, float64
from keras_dnn.models._folding.linear import TOLERANCE, Linear, config_for_inference


@dataclasses.dataclass(frozen=True)
class Convolution(Linear):
    """One with a single kernel: ordinary, transposed or depthwise."""

    @staticmethod
    def over_output(node: Node, bias: Array) -> Array:
        rank = len(node.outputs[0].shape) - 1
        shape = [1] * rank
        shape[_channels(node)] = -1
        return compress(bias.reshape(shape))

    def _outputs_scaled(self, scale: Array) -> Self:
        s, axes = self._by_channel(scale, self.node.outputs[0]), self._axes
        factor = self._over(axes.channels + axes.outputs, s)
        return dataclasses.replace(self, kernel=self.kernel * factor)

    def _inputs_scaled(self, scale: Array) -> Self:
        s, axes = self._by_channel(scale, self.node.data), self._axes
        if axes.groups == 1:
            factor = self._over(axes.channels + axes.inputs, s)
        else:
            by_group = s.reshape(axes.groups, -1).T
            filters = self.kernel.shape[-1] // axes.groups
            factor = np.repeat(by_group, filters, axis=1)
        return dataclasses.replace(self, kernel=self.kernel * factor)

    @property
    def _axes(self) -> KernelAxes:
        """What the axes of `kernel` mean; it is the layer's last one."""
        return list(kernel_axes(self.node.operation).values())[-1]

    def _over(self, axes: Axes, s: Array) -> Array:
        """Numbers along some of the kernel's axes, as an array with all its axes."""
        shape = self.kernel.shape
        return s.reshape([n if i in axes else 1 for i, n in enumerate(shape)])

    def _by_channel(self, scale: Array, tensor: Any) -> Array:
        """The scale as one number for each channel of a tensor."""
        channels = _channels(self.node)
        for axis, length in enumerate(scale.shape):
            if length > 1 and axis != channels:
                name = self.node.operation.name
                raise Inexact(f"it scales axis {axis + 1}, not the channels of {name}")
        return np.broadcast_to(scale.ravel(), (tensor.shape[channels + 1],))

    def _response(self, shift: Array) -> Array:
        layer, channels = self.node.operation, _channels(self.node)
        shift = np.moveaxis(shift, channels, -1)
        places = self._places(shift)
        depth = self.node.data.shape[channels + 1]
        x = np.broadcast_to(shift, (*places, depth))

        plain = type(layer).from_config(
            config_for_inference(layer)
            | {
                "name": "response",
                "use_bias": False,
                "activation": None,
                "dtype": "float64",
                "data_format": "channels_last",
            }
        )
        with float64_arithmetic():
            plain.build((None, *x.shape))
            self.write_kernel(plain)
            response = float64(plain(x[None]))[0]
        return compress(np.moveaxis(response, -1, channels), TOLERANCE)

    def _places(self, shift: Array) -> tuple[int, ...]:
        """The lengths of the axes on which the response must be computed.

        If all places get the same input, one place is enough.
        """
        layer = self.node.operation
        uniform = all(n == 1 for n in shift.shape[:-1])
        if uniform and self._is_uniform():
            sizes = zip(layer.kernel_size, layer.dilation_rate, strict=True)
            return tuple((size - 1) * rate + 1 for size, rate in sizes)
        shape = list(self.node.data.shape[1:])
        del shape[_channels(self.node)]
        if None in shape:
            raise Inexact(
                f"its shift would differ in the border of {layer.name}, whose input is "
                "of open size"
            )
        return tuple(shape)

    def _is_uniform(self) -> bool:
        """Whether the same input at all places gives the same output at all places."""
        layer = self.node.operation
        if self._axes.is_transposed:
            return False
        return layer.padding == "valid" or all(n == 1 for n in layer.kernel_size)

    def needs_map(self) -> bool:
        channels = _channels(self.node)
        return any(n > 1 for axis, n in enumerate(self.bias.shape) if axis != channels)


@dataclasses.dataclass(frozen=True)
class Separable(Convolution):
    """A depthwise one with one of size 1 behind it, whose kernel is `kernel`."""

    @property
    def depthwise(self) -> Array:
        """The kernel of the first, by which inputs are scaled."""
        return float64(self.node.operation.depthwise_kernel) * self.inputs

    inputs: Array = dataclasses.field(default_factory=lambda: np.ones((1, 1)))

    @staticmethod
    def kernel_of(layer: Any) -> Array:
        return float64(layer.pointwise_kernel)

    def _inputs_scaled(self, scale: Array) -> Self:
        s = self._by_channel(scale, self.node.data)
        return dataclasses.replace(self, inputs=self.inputs * s[:, None])

    def write_kernel(self, new: Any) -> None:
        new.depthwise_kernel.assign(self.depthwise)
        new.pointwise_kernel.assign(self.kernel)


def _channels(node: Node) -> int:
    """The axis of the channels, not counting the batch."""
    return channel_axis(node.operation, len(node.outputs[0].shape)) - 1
