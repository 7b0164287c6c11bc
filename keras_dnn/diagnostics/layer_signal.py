"""What a layer outputs for a batch, and the gradient that comes back to it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.layers import own_weights, sublayers
from keras_dnn._kernel_axes import channel_axis
from keras_dnn._result import Result
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics._units import (
    can_die,
    dead_fraction,
    is_used,
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
        dead: the fraction of units that output zero for the whole batch and get no
            gradient there; NaN where the activation is never flat at zero, or the layer
            works on less than sixteen inputs that are not zero.
        saturated: the fraction of units that are flat on most of it; NaN where the
            activation has no flat side.
        has_kernel: whether it multiplies its inputs with weights.
        is_output: whether it is an output of the model.
        input_std: how much its inputs differ between examples; NaN if unknown.
        input_gradient_norm: the norm of the loss's gradient by its inputs, by all ways
            that lead from there to the loss; NaN if unknown.
        is_trainable: whether the layer, or one in it, has weights that are trained.
        units: the number of its units; 0 if unknown.
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
    input_std: float = math.nan
    input_gradient_norm: float = math.nan
    is_trainable: bool = True
    units: int = 0


def norm_of(gradient: Tensor) -> float:
    """The Euclidean norm, also of a sparse gradient, which may repeat rows."""
    values = gradient
    if isinstance(gradient, tf.IndexedSlices):
        _, position = tf.unique(gradient.indices)
        rows = tf.cast(gradient.values, tf.float64)
        values = tf.math.unsorted_segment_sum(rows, position, tf.size(gradient.indices))
    return float(np.linalg.norm(np.asarray(tf.cast(values, tf.float64)).ravel()))


def signal_of(
    layer: keras.layers.Layer,
    output: Tensor,
    gradient: Tensor | None,
    is_output: bool,
    entering: Tensor | None = None,
    entering_gradient: Tensor | None = None,
) -> LayerSignal:
    """Measures a layer's output for a batch, the gradient by it, and what enters."""
    # In float64 the outputs of a large network would take too long.
    y = np.asarray(tf.cast(output, tf.float32))
    y = y[:, np.newaxis] if y.ndim == 1 else y
    y = np.moveaxis(y, channel_axis(layer, y.ndim), -1)
    by_unit = tf.constant(y.reshape(-1, y.shape[-1]))
    multiplies = has_kernel(layer)
    with np.errstate(all="ignore"):
        rms = np.sqrt(np.mean(np.square(y, dtype="float64"))) if y.size else 0.0
    is_judged = bool(is_used(entering)) and len(y) > 0
    return LayerSignal(
        layer,
        layer.path or layer.name,
        std_of(y),
        float(rms),
        0.0 if gradient is None else norm_of(gradient),
        float(dead_fraction(by_unit)) if is_judged and can_die(layer) else math.nan,
        float(saturated_fraction(layer, by_unit)) if is_judged else math.nan,
        multiplies,
        is_output,
        std_of(entering) if multiplies and entering is not None else math.nan,
        math.nan if entering_gradient is None else norm_of(entering_gradient),
        bool(layer.trainable_variables),
        y.shape[-1],
    )


def std_of(values: Any) -> float:
    """The root of the variance over the examples, averaged over units and places.

    That the edge of an image differs from its middle says nothing about the inputs.
    """
    y = np.asarray(tf.cast(values, tf.float32))
    if not len(y):
        return 0.0
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(y.var(axis=0, dtype="float64"))))


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
