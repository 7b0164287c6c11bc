"""Initial weights for a model that exists, each kernel by its layer's kind."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._kernel_axes import KernelAxes
from keras_dnn.initializers._layer_kernels import kernels_of
from keras_dnn.initializers._seeded import seeds
from keras_dnn.initializers.variance_scaling import VarianceScaling


def initialize(
    model: keras.Model | keras.layers.Layer, initializer: VarianceScaling
) -> None:
    """Draws the kernels of a model or layer anew, each with the fans of its layer.

    What an initializer must be told about a layer, its kind, groups and strides, is
    read from the layer: dense layers, `EinsumDense` (also inside attention) and
    convolutions, be they grouped, strided, transposed, depthwise or separable, in
    nested models too. In a separable convolution the depthwise half, which no
    activation follows, gets a scale and gain of 1.

    No two kernels get the same numbers, with a seed neither. Biases, other kinds of
    layer and what is frozen keep their values.

    Args:
        model: a built model or layer.
        initializer: one of this package; its own `kernel`, `groups` and `strides` are
            not looked at.

    Raises:
        ValueError: if the initializer is of another kind, or if the model is not built
            or has no kernels of these kinds.

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
            "initializer must be a VarianceScaling of keras_dnn. Received: "
            f"initializer={initializer!r}"
        )
    layers = [layer for layer in sublayers(model) if kernels_of(layer)]
    if not layers:
        raise ValueError(
            "model must be built, and have dense layers or convolutions. Received: "
            f"model={model!r}"
        )
    drawn = seeds(initializer.seed)
    inner = copy.copy(initializer)
    inner.scale = inner.gain = 1.0
    for layer in layers:
        *halves, last = kernels_of(layer)
        for variable, axes in halves:
            _draw(inner, variable, axes, drawn)
        _draw(initializer, *last, drawn)


def _draw(
    initializer: VarianceScaling,
    variable: keras.Variable,
    axes: KernelAxes,
    drawn: Iterator[Any],
) -> None:
    if variable.trainable:
        shape, dtype = tuple(variable.shape), variable.dtype
        variable.assign(initializer._draw(shape, dtype, axes, next(drawn)))
