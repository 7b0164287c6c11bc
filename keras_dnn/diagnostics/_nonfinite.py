"""The layer in which values that are not finite begin."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._keras.losses import call_of
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics.training_history import Origin
from keras_dnn.models._layer_outputs import watched

HUGE = 1e10
"""A signal that grew to infinity passed this; a division by zero did not."""


class Cause(NamedTuple):
    """The layer that made values NaN or infinite, and where in it.

    Attributes:
        layer: its path.
        origin: its weights, its outputs, or the gradient that it passes down.
        overflow: whether they became infinite because the values grew, layer by layer.
    """

    layer: str
    origin: Origin
    overflow: bool = False

    def __str__(self) -> str:
        what = {
            "weights": f"the weights of {self.layer} are",
            "outputs": f"the outputs of {self.layer} are",
            "gradient": f"the gradient that {self.layer} passes down is",
        }
        return f"{what[self.origin]} not finite"


def bad_weights(model: keras.Model) -> Cause | None:
    """The first layer with a weight that is NaN or infinite."""
    for variable in model.weights:
        if not is_finite(tf.convert_to_tensor(variable.value)):
            return Cause(layer_of(variable.path), "weights")
    return None


def failing(model: keras.Model, x: Any, training: bool = True) -> Cause | None:
    """The first layer that fails on these inputs, forward or backward."""
    paths: list[str] = []
    outputs: list[Tensor] = []

    def record(layer: keras.layers.Layer, returned: Any) -> None:
        for output in keras.tree.flatten(returned):
            if output.dtype.is_floating:
                tape.watch(output)
                outputs.append(output)
                paths.append(layer.path or layer.name)

    with tf.GradientTape() as tape, watched(model, record):
        final = keras.tree.flatten(call_of(model, x, training=training))
        # A layer whose gradient fails does so for any loss.
        total = tf.add_n([tf.nn.l2_loss(tf.cast(y, tf.float32)) for y in final])
    for path, output in zip(paths, outputs, strict=True):
        if not is_finite(output):
            return Cause(path, "outputs", overflowed(output))
    gradients = tape.gradient(total, outputs)
    bad = [i for i, g in enumerate(gradients) if g is not None and not is_finite(g)]
    # The next layer gets a finite gradient from above and passes on one that is not.
    above = bad[-1] + 1 if bad else len(paths)
    if above >= len(paths):
        return None
    return Cause(paths[above], "gradient", overflowed(gradients[bad[-1]]))


def all_finite(x: Any) -> bool:
    """Whether all floats in a structure of tensors are finite."""
    floats = [part for part in keras.tree.flatten(x) if part.dtype.is_floating]
    return all(map(is_finite, floats))


def is_finite(tensor: Any) -> bool:
    """Whether all numbers of a tensor, which may be sparse or ragged, are finite."""
    values = _values(tensor)
    if not values.dtype.is_floating:
        return True
    return bool(tf.reduce_all(tf.math.is_finite(values)))


def overflowed(tensor: Any) -> bool:
    """Whether numbers of a tensor are infinite because all of them grew large."""
    values = np.abs(np.asarray(tf.cast(_values(tensor), tf.float64)))
    finite = values[np.isfinite(values)]
    return not np.isnan(values).any() and (finite.size == 0 or finite.max() > HUGE)


def layer_of(path: str) -> str:
    """The path of the layer that a variable of this path belongs to."""
    return path.rpartition("/")[0] or path


def _values(tensor: Any) -> Tensor:
    if isinstance(tensor, tf.IndexedSlices | tf.SparseTensor):
        return tensor.values
    return tensor.flat_values if isinstance(tensor, tf.RaggedTensor) else tensor
