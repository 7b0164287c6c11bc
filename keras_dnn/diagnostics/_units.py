"""Which units of a layer are dead or saturated, judged by what they output."""

from __future__ import annotations

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics._flatness import slope_at

FLAT = 0.05
"""An output is flat where the activation's slope is below this part of the steepest."""

MOST = 0.75
"""A unit is saturated if at least this fraction of its outputs is flat."""


ROWS = 16
"""On fewer inputs a unit may output zero each time by chance."""

activations, layers = keras.activations, keras.layers

SLOPING = (
    activations.linear,
    activations.celu,
    activations.elu,
    activations.gelu,
    activations.glu,
    activations.hard_tanh,
    activations.leaky_relu,
    activations.mish,
    activations.selu,
    activations.silu,
    activations.softmax,
    activations.softsign,
    activations.tanh,
)
"""Not flat where they are zero: a unit that outputs zero there gets its gradient."""

SLOPING_LAYERS = (layers.ELU, layers.LeakyReLU, layers.PReLU)


def can_die(layer: keras.layers.Layer) -> bool:
    """Whether a unit that outputs zero gets no gradient.

    Not a linear unit, whose weights may begin at zero by design.
    """
    if isinstance(layer, layers.ReLU):
        return not layer.negative_slope
    activation = getattr(layer, "activation", None)
    slopes = activation in SLOPING or isinstance(activation, SLOPING_LAYERS)
    return activation is not None and not slopes


def is_used(entering: Tensor | None) -> Tensor:
    """Whether a layer works on enough inputs that are not zero to judge its units.

    An expert may get few rows of a batch, or none.
    """
    if entering is None or len(entering.shape) < 2:
        return tf.constant(True)
    rows = tf.reshape(entering, (-1, tf.shape(entering)[-1]))
    return tf.math.count_nonzero(tf.reduce_any(rows != 0, axis=1)) >= ROWS


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
