"""How a network ends: what it can output, and how the loss takes that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dnn._keras.losses import call_of, data_loss
from keras_dnn._keras.masks import with_mask_of
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import unchanged_by_calls

if TYPE_CHECKING:
    from keras_dnn.diagnostics.examination import Examination

RANGES = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, math.inf),
    "exponential": (0.0, math.inf),
    "elu": (-1.0, math.inf),
    "selu": (-1.7580993, math.inf),
    "gelu": (-0.17, math.inf),
    "silu": (-0.2785, math.inf),
    "log_sigmoid": (-math.inf, 0.0),
    "log_softmax": (-math.inf, 0.0),
}
"""The bounds of the outputs of activations that have any."""

LEAST = 1e-7
"""The least probability of which a logarithm is taken."""


def is_taken_back(examination: Examination, index: int) -> bool:
    """Whether a loss of logits gets them from a network that outputs probabilities.

    Keras keeps the logits on the output of a softmax or sigmoid, where some backends
    and versions find them, unless another operation comes in between. The loss of the
    probabilities is compared with that of their logits, compiled as `fit` does.

    Args:
        examination: the model and the batch.
        index: of the output.
    """
    model = examination.model

    def both() -> tuple[Tensor, Tensor]:
        outputs = call_of(model, examination.x, training=False)
        flat = keras.tree.flatten(outputs)

        def loss(output: Tensor) -> Tensor:
            parts = [*flat[:index], output, *flat[index + 1 :]]
            packed = keras.tree.pack_sequence_as(outputs, parts)
            y, weight = examination.y, examination.sample_weight
            return data_loss(model, y, packed, weight)

        p = tf.clip_by_value(tf.cast(flat[index], tf.float32), LEAST, 1.0)
        logits = tf.math.log(p)
        if examination.losses[index].name == "binary_crossentropy":
            logits -= tf.math.log(tf.clip_by_value(1 - p, LEAST, 1.0))
        return loss(flat[index]), loss(with_mask_of(flat[index], logits))

    call: Any = both if model.run_eagerly else tf.function(both, autograph=False)
    with unchanged_by_calls(model):
        given, wanted = (float(value) for value in call())
    return bool(np.isclose(given, wanted, rtol=1e-3, atol=1e-6))
