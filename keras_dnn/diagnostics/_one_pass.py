"""One pass of a model forward and back, and what it shows of each layer."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._keras.graph import output_layers
from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.losses import call_of, total_loss
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics.layer_signal import (
    LayerSignal,
    has_weights,
    norm_of,
    signal_of,
)
from keras_dnn.models._layer_outputs import first_float, watched_calls

layers = keras.layers

GRADIENT_SCALE = 1024.0
"""Of the loss where layers compute in float16, in which small gradients become zero."""


@dataclasses.dataclass(frozen=True)
class Pass:
    """What one pass forward and back showed.

    Attributes:
        loss: the loss, without penalties.
        penalty: what regularisation adds to it.
        answered: the outputs of the model.
        layers: what was measured of each layer, in the order of the calls.
        gradients: the norm of the gradient of each trainable variable.
        entering: what the layer before the first one with weights returns; `None` if
            the inputs enter there, empty if that layer rescales them itself.
    """

    loss: float
    penalty: float
    answered: Any
    layers: tuple[LayerSignal, ...]
    gradients: tuple[float | None, ...]
    entering: list[np.ndarray] | None


class Call(NamedTuple):
    """The first call of a layer: what it works on and what it returns."""

    layer: keras.layers.Layer
    taken: Tensor | None
    output: Tensor


def one_pass(model: keras.Model, x: Any, y: Any, weight: Any) -> Pass:
    """A pass in training mode, as training begins."""
    called: dict[int, Call] = {}

    def record(layer: keras.layers.Layer, taken: Any, outputs: Any) -> None:
        output = keras.tree.flatten(outputs)[0]
        if output.dtype.is_floating and id(layer) not in called:
            tape.watch(output)
            called[id(layer)] = Call(layer, first_float(taken), output)

    scale = GRADIENT_SCALE if _computes_in_float16(model) else 1.0
    with tf.GradientTape() as tape, watched_calls(model, record):
        loss, penalty, outputs = losses_of(model, x, y, weight)
        total = scale * (loss + penalty)
    calls = list(called.values())
    variables = [v.value for v in model.trainable_variables]
    # Where nothing enters, a place holder.
    entering = [out if taken is None else taken for _, taken, out in calls]
    sources = [*variables, *(call.output for call in calls), *entering]
    gradients = [_divided(g, scale) for g in tape.gradient(total, sources)]
    of_calls = gradients[len(variables) :]
    final = {id(layer) for layer in output_layers(model)}
    if not final and calls:
        final = {id(calls[-1].layer)}
    return Pass(
        float(loss),
        float(penalty),
        outputs,
        tuple(
            signal_of(layer, output, gradient, id(layer) in final, taken, by_taken)
            for (layer, taken, output), gradient, by_taken in zip(
                calls,
                of_calls[: len(calls)],
                of_calls[len(calls) :],
                strict=True,
            )
        ),
        tuple(None if g is None else norm_of(g) for g in gradients[: len(variables)]),
        _entering(calls),
    )


def _entering(calls: list[Call]) -> list[np.ndarray] | None:
    with_weights = [has_weights(call.layer) for call in calls]
    first = with_weights.index(True) if any(with_weights) else 0
    if not calls or isinstance(
        calls[first].layer, layers.Embedding | layers.BatchNormalization
    ):
        return []
    return [as_float32(calls[first - 1].output)] if first else None


def _computes_in_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in sublayers(model))


def _divided(gradient: Any, scale: float) -> Any:
    """The gradient of the loss itself, in float32 if it was scaled."""
    if gradient is None or scale == 1.0:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.cast(gradient.values, tf.float32) / scale
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.cast(gradient, tf.float32) / scale


def as_float32(tensor: Tensor) -> np.ndarray:
    return np.asarray(tf.cast(tensor, tf.float32))


def losses_of(
    model: keras.Model, x: Any, y: Any, weight: Any
) -> tuple[Tensor, Tensor, Any]:
    """The loss on the data, the penalty and the outputs, in training mode."""
    outputs = call_of(model, x, training=True)
    total = total_loss(model, x, y, outputs, weight, training=True)
    penalty = sum(
        (tf.cast(tf.reduce_sum(part), total.dtype) for part in model.losses),
        tf.zeros((), total.dtype),
    )
    return total - penalty, penalty, outputs
