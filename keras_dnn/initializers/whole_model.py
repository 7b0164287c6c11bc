"""New initial weights for an existing model, by the kind of each layer."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._kernel_axes import KernelAxes
from keras_dnn.initializers._layer_kernels import kernels_of
from keras_dnn.initializers._seeds import seeds
from keras_dnn.initializers.variance_scaling import VarianceScaling


def initialize(
    model: keras.Model | keras.layers.Layer, initializer: VarianceScaling
) -> None:
    """Draws new kernels for a model or layer, each with the fans of its layer.

    The kind, groups and strides of each kernel are read from the layer: dense layers,
    `EinsumDense` (also inside attention) and convolutions, whether grouped, strided,
    transposed, depthwise or separable, in nested models too. In a separable convolution
    the depthwise kernel, which no activation follows, gets a scale and gain of 1.

    No two kernels get the same numbers, even with a seed. Biases, other kinds of layers
    and frozen layers keep their values.

    Args:
        model: a built model or layer.
        initializer: a `VarianceScaling` of this package, also one of its presets such
            as `HeNormal`. Others, `DeltaOrthogonal` and Keras's own too, are refused,
            since they cannot use the fans of a layer. Its own `kernel`, `groups` and
            `strides` are ignored.

    Raises:
        ValueError: if the initializer is no `VarianceScaling` of this package, or if
            the model is not built, has no kernels of these kinds, or all of them are
            frozen or quantised.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import GlorotUniform, HeNormal, initialize
        >>> layers = keras.layers
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((32, 32, 64)),
        ...         layers.DepthwiseConv2D(3, strides=2, activation="relu"),
        ...         layers.Conv2D(64, 3, groups=8, activation="relu"),
        ...         layers.GlobalAveragePooling2D(),
        ...         layers.Dense(10, activation="softmax"),
        ...     ]
        ... )
        >>> initialize(model, HeNormal(seed=1))
        >>> initialize(model.layers[-1], GlorotUniform(seed=2))
    """
    if not isinstance(initializer, VarianceScaling):
        raise ValueError(
            "initializer must be a VarianceScaling of keras_dnn or one of its presets, "
            f"such as HeNormal. Received: initializer={initializer!r}"
        )
    layers = [layer for layer in sublayers(model) if kernels_of(layer)]
    if not layers:
        raise ValueError(
            "model must be built, and have dense layers or convolutions with kernels "
            "that are variables, which int4 and LoRA do away with. Received: "
            f"model={model!r}"
        )
    if not any(kernel.trainable for layer in layers for kernel, _ in kernels_of(layer)):
        raise ValueError(
            "model must have dense layers or convolutions that are neither frozen nor "
            f"quantised. Received: model={model!r}"
        )
    draws = seeds(initializer.seed)
    unscaled = copy.copy(initializer)
    unscaled.scale = unscaled.gain = 1.0
    for layer in layers:
        *without_activation, last = kernels_of(layer)
        for variable, axes in without_activation:
            _draw(unscaled, variable, axes, draws)
        _draw(initializer, *last, draws)


def _draw(
    initializer: VarianceScaling,
    variable: keras.Variable,
    axes: KernelAxes,
    draws: Iterator[Any],
) -> None:
    if variable.trainable:
        shape, dtype = tuple(variable.shape), variable.dtype
        variable.assign(initializer._draw(shape, dtype, axes, next(draws)))
