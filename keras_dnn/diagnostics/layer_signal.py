"""What a layer outputs for a batch, and the gradient that comes back to it."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from keras_dnn._keras.layers import own_weights, sublayers
from keras_dnn._kernel_axes import channel_axis
from keras_dnn._result import Result
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics._units import (
    dead_fraction,
    has_activation,
    saturated_fraction,
)

layers = keras.layers


@dataclasses.dataclass(frozen=True)
class LayerSignal(Result):
    """What a layer outputs for a batch, and the gradient that comes back to it.

    Attributes:
        layer: the layer.
        path: its path.
        std: how much outputs differ between examples: the root of their variance over
            the batch, averaged over units.
        rms: the root mean square of its outputs.
        gradient_norm: the Euclidean norm of the loss's gradient by its outputs.
        dead: the fraction of units that output zero for the whole batch.
        saturated: the fraction of units that are flat on most of it; NaN where the
            activation has no flat side.
        has_kernel: whether it multiplies its inputs with weights.
        is_output: whether it is an output of the model.
    """

    layer: keras.layers.Layer
    path: str
    std: float
    rms: float
    gradient_norm: float
    dead: float
    saturated: float
    has_kernel: bool
    is_output: bool


def norm_of(gradient: Tensor) -> float:
    """The Euclidean norm, also of a sparse gradient, which may repeat rows."""
    values = gradient
    if isinstance(gradient, tf.IndexedSlices):
        _, position = tf.unique(gradient.indices)
        rows = tf.cast(gradient.values, tf.float64)
        values = tf.math.unsorted_segment_sum(rows, position, tf.size(gradient.indices))
    return float(np.linalg.norm(np.asarray(tf.cast(values, tf.float64)).ravel()))


def signal_of(
    layer: keras.layers.Layer, output: Tensor, gradient: Tensor | None, is_output: bool
) -> LayerSignal:
    """Measures a layer's output for a batch, and the gradient by it."""
    # In float64 the outputs of a large network would take too long.
    y = np.asarray(tf.cast(output, tf.float32))
    y = y[:, np.newaxis] if y.ndim == 1 else y
    y = np.moveaxis(y, channel_axis(layer, y.ndim), -1)
    by_unit = tf.constant(y.reshape(-1, y.shape[-1]))
    with np.errstate(all="ignore"):
        # Over the examples at each place of an image: that its edge differs from its
        # middle says nothing about the inputs.
        std = np.sqrt(np.mean(y.var(axis=0, dtype="float64")))
        rms = np.sqrt(np.mean(np.square(y, dtype="float64")))
    dead = float(dead_fraction(by_unit)) if has_activation(layer) else 0.0
    saturated = float(saturated_fraction(layer, by_unit))
    return LayerSignal(
        layer,
        layer.path or layer.name,
        float(std),
        float(rms),
        0.0 if gradient is None else norm_of(gradient),
        dead,
        saturated,
        has_kernel(layer),
        is_output,
    )


def has_kernel(layer: keras.layers.Layer) -> bool:
    """Whether a layer multiplies its inputs with weights of its own."""
    if isinstance(layer, layers.Embedding):
        return False
    recurrent = isinstance(layer, layers.RNN)
    weights = layer.trainable_variables if recurrent else own_weights(layer)
    return any(len(weight.shape) > 1 for weight in weights)


def has_weights(layer: keras.layers.Layer) -> bool:
    """Whether the layer, or one in it, has weights that training changes."""
    return any(own_weights(part) for part in sublayers(layer))
