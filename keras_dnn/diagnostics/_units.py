"""Which units of a layer are dead or saturated, judged by what they output."""

from __future__ import annotations

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics._flatness import slope_at

FLAT = 0.05
"""An output is flat where the activation's slope is below this part of the steepest."""

MOST = 0.9
"""A unit is saturated if at least this fraction of its outputs is flat."""


def has_activation(layer: keras.layers.Layer) -> bool:
    """Whether zeros come from an activation; other layers may give zeros by design."""
    return hasattr(layer, "activation") or isinstance(layer, keras.layers.ReLU)


def dead_fraction(outputs: Tensor) -> Tensor:
    """The fraction of units whose outputs are all exactly zero.

    Args:
        outputs: a matrix with a column for each unit.
    """
    return _fraction(tf.reduce_all(tf.equal(outputs, 0.0), axis=0))


def saturated_fraction(layer: keras.layers.Layer, outputs: Tensor) -> Tensor:
    """The fraction of saturated units; NaN where the activation has no flat side.

    Args:
        layer: the layer that gave the outputs.
        outputs: a matrix with a column for each unit.
    """
    slope = slope_at(layer)
    if slope is None:
        return tf.constant(np.nan, tf.float64)
    flat = tf.cast(slope(outputs) < FLAT, tf.float64)
    return _fraction(tf.reduce_mean(flat, axis=0) >= MOST)


def _fraction(units: Tensor) -> Tensor:
    return tf.reduce_mean(tf.cast(units, tf.float64))
