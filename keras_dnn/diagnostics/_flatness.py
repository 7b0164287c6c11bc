"""How steep an activation is, as a function of its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

activations = keras.activations

SELU_FLOOR = 1.0507009873554805 * 1.6732632423543772

# The slope at output y, divided by the steepest one on that side.
SLOPES: dict[Any, Callable[[Tensor], Tensor]] = {
    activations.sigmoid: lambda y: 4.0 * y * (1.0 - y),
    activations.tanh: lambda y: 1.0 - tf.square(y),
    activations.softsign: lambda y: tf.square(1.0 - tf.abs(y)),
    activations.elu: lambda y: 1.0 + tf.minimum(y, 0.0),
    activations.selu: lambda y: 1.0 + tf.minimum(y, 0.0) / SELU_FLOOR,
    activations.hard_sigmoid: lambda y: _inside(y, 0.0, 1.0),
    activations.hard_tanh: lambda y: _inside(y, -1.0, 1.0),
    activations.relu6: lambda y: _inside(y, -1.0, 6.0),
}


def slope_at(layer: keras.layers.Layer) -> Callable[[Tensor], Tensor] | None:
    """A function from a layer's outputs to slopes; `None` if it has no flat side.

    The zeros of a ReLU are not flat in this sense: units that output them are dead.
    """
    if isinstance(layer, keras.layers.ELU):
        floor = float(layer.alpha)
        return lambda y: 1.0 + tf.minimum(y, 0.0) / floor
    if isinstance(layer, keras.layers.ReLU) and layer.max_value is not None:
        ceiling = float(layer.max_value)
        return lambda y: _inside(y, -1.0, ceiling)
    # A gate changes what the activation of these layers outputs.
    gated = isinstance(layer, keras.layers.LSTM | keras.layers.GRU)
    return None if gated else SLOPES.get(getattr(layer, "activation", None))


def _inside(y: Tensor, low: float, high: float) -> Tensor:
    return tf.cast((y > low) & (y < high), y.dtype)
