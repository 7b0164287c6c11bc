"""Whether weights are still as their initializers made them."""

from __future__ import annotations

import keras
import numpy as np

from keras_dnn._keras.layers import own_weights, sublayers

initializers = keras.initializers

CONSTANT = (initializers.Constant, initializers.Ones, initializers.Zeros)

BEGINS_CONSTANT = ("bias", "beta", "gamma")
"""Attributes of a layer with weights that usually begin equal; each has an initializer
of its name."""


def was_trained(layer: keras.layers.Layer, model: keras.Model) -> bool:
    """Whether a layer was trained before; if it has no such weights, the model."""
    known = [_differ(part) for part in sublayers(layer)]
    if not any(answer is not None for answer in known):
        known = [_differ(part) for part in sublayers(model)]
    return any(known)


def _differ(layer: keras.layers.Layer) -> bool | None:
    """Whether weights that began equal differ now; `None` if there are none."""
    answer = None
    for name in BEGINS_CONSTANT if own_weights(layer) else ():
        initializer = getattr(layer, f"{name}_initializer", None)
        weight = getattr(layer, name, None)
        if weight is None or not isinstance(initializer, CONSTANT):
            continue
        if (
            np.ndim(getattr(initializer, "value", 0.0)) == 0
            and np.prod(weight.shape) > 1
        ):
            values = np.asarray(keras.ops.convert_to_numpy(weight.value))
            answer = bool(answer) or bool(np.ptp(values) > 0)
    return answer
