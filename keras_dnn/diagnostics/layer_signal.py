"""What one layer gives on a batch, and what comes back to it."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.layers import sublayers
from keras_dnn._kernel_axes import channel_axis
from keras_dnn._result import Result
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics._flatness import slope_at

layers = keras.layers

FLAT, MOST = 0.05, 0.9
"""A unit is saturated if so little of the slope is left on so many of its outputs."""


@dataclasses.dataclass(frozen=True)
class LayerSignal(Result):
    """What one layer gives on the batch, and what comes back to it.

    Attributes:
        layer: the layer.
        path: its path.
        spread: how much outputs differ from example to example: the root of their
            variance over the batch, averaged over units.
        size: the root mean square of its outputs.
        gradient: the Euclidean norm of the loss's gradient by its outputs.
        dead: the share of units that give zero on the whole batch.
        saturated: the share of units that are flat on most of it; NaN where the
            activation has no flat side.
        weighted: whether it multiplies with weights.
        output: whether it is an output of the network.
    """

    layer: keras.layers.Layer
    path: str
    spread: float
    size: float
    gradient: float
    dead: float
    saturated: float
    weighted: bool
    output: bool


def norm_of(tensor: Any) -> float:
    """The Euclidean norm, of a sparse gradient too."""
    values = tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor
    return float(np.linalg.norm(np.asarray(tf.cast(values, tf.float64)).ravel()))


def signal_of(
    layer: keras.layers.Layer, output: Tensor, gradient: Any, final: bool
) -> LayerSignal:
    """What is to be known of a layer's output on a batch and of its gradient."""
    # float32: in float64 the outputs of a large network take too long.
    y = np.asarray(tf.cast(output, tf.float32))
    y = y[:, np.newaxis] if y.ndim == 1 else y
    y = np.moveaxis(y, channel_axis(layer, y.ndim), -1)
    by_unit = y.reshape(-1, y.shape[-1])
    with np.errstate(all="ignore"):
        # Over examples at each place of a picture: that a border differs from the
        # middle says nothing of the inputs.
        spread = np.sqrt(np.mean(y.var(axis=0, dtype="float64")))
        size = np.sqrt(np.mean(np.square(y, dtype="float64")))
    slope = slope_at(layer)
    saturated = float("nan")
    if slope is not None:
        flat = np.asarray(slope(tf.constant(by_unit))) < FLAT
        saturated = float(np.mean(flat.mean(axis=0) >= MOST))
    activated = hasattr(layer, "activation") or isinstance(layer, layers.ReLU)
    dead = float(np.mean((by_unit == 0).all(axis=0))) if activated else 0.0
    return LayerSignal(
        layer,
        layer.path or layer.name,
        float(spread),
        float(size),
        0.0 if gradient is None else norm_of(gradient),
        dead,
        saturated,
        has_kernel(layer),
        final,
    )


def has_kernel(layer: Any) -> bool:
    """Whether a layer multiplies its inputs with weights of its own."""
    own = [v for v in layer._trainable_variables if len(v.shape) > 1]
    if isinstance(layer, layers.RNN):
        own = [v for v in layer.trainable_variables if len(v.shape) > 1]
    return bool(own) and not isinstance(layer, layers.Embedding)


def has_weights(layer: Any) -> bool:
    """Whether the layer, or one in it, has weights that training moves."""
    return any(part._trainable_variables for part in sublayers(layer))
