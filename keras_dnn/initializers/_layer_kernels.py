"""The kernels of a layer, each with what its axes mean there."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn.initializers._kernel import Contraction, Kernel, Window

layers = keras.layers

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
KNOWN = (
    layers.Dense,
    layers.EinsumDense,
    *CONVOLUTIONS,
    *TRANSPOSED,
    *DEPTHWISE,
    *SEPARABLE,
)


def kernels_of(layer: Any) -> list[tuple[keras.Variable, Kernel]]:
    """The layer's kernels in the order of use; none for other kinds of layer.

    What is not a variable is left out: with an adapter (LoRA) the kernel is a sum.
    """
    return [
        (variable, kernel)
        for variable, kernel in _named(layer)
        if isinstance(variable, keras.Variable)
    ]


def _named(layer: Any) -> list[tuple[Any, Kernel]]:
    if not isinstance(layer, KNOWN) or not layer.built:
        return []
    if isinstance(layer, SEPARABLE):
        depthwise = Window("depthwise", strides=tuple(layer.strides))
        return [(layer.depthwise_kernel, depthwise), (layer.pointwise_kernel, Window())]
    if isinstance(layer, layers.Dense):
        return [(layer.kernel, Window())]
    if isinstance(layer, layers.EinsumDense):
        return [(layer.kernel, Contraction(layer.equation))]
    strides = tuple(layer.strides)
    if isinstance(layer, DEPTHWISE):
        return [(layer.kernel, Window("depthwise", strides=strides))]
    if isinstance(layer, TRANSPOSED):
        return [(layer.kernel, Window("transposed", strides=strides))]
    return [(layer.kernel, Window("conv", layer.groups, strides))]
