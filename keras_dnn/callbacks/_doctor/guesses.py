"""The loss of the best constant answer on the data of a training and its validation."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._batches import joined, rows_in
from keras_dnn._keras.data import validation_of
from keras_dnn._keras.layers import has_call
from keras_dnn._keras.losses import call_of, own_step
from keras_dnn._keras.masks import attach_mask, mask_of
from keras_dnn._tensorflow import tf
from keras_dnn._unchanged import unchanged_by_calls
from keras_dnn.diagnostics._yardstick.guess import Yardstick, yardstick
from keras_dnn.diagnostics._yardstick.output_loss import guess_loss, output_losses

NUMBERS = 4_000_000
"""The most numbers that the outputs for all examples together may have."""

BATCHES = 64
"""The most batches of validation data that are read."""

ROWS_PER_CLASS = 20
"""With fewer, the shares of classes are known less well than that they are equal."""


class Guesses(NamedTuple):
    """The losses of answers that need no network; NaN where they are unknown.

    Attributes:
        training: of the best constant answer, on training data.
        validation: the same on validation data.
        uniform: of equal probabilities for all classes.
    """

    training: float = math.nan
    validation: float = math.nan
    uniform: float = math.nan


def guesses(model: keras.Model, sample: Any, weighted: bool) -> Guesses:
    """Measures them, in the middle of `fit`.

    Args:
        model: the model that is trained.
        sample: batches of training data, or `None`.
        weighted: whether examples have weights in training, such as those of classes.
    """
    equal = guess_loss(output_losses(model))
    known = not own_step(model, "train_step") and not own_step(model, "test_step")
    if not known or not has_call(model):
        return Guesses(uniform=equal)
    validation = validation_of(model)
    try:
        with unchanged_by_calls(model):
            of_training = _measured(model, sample)
            of_validation = _measured(model, validation)
    except (ValueError, TypeError, KeyError, IndexError, tf.errors.OpError):
        # Data or outputs that cannot be joined: training must go on.
        return Guesses(uniform=equal)
    uniform = next(
        (
            found
            for found in (of_training.uniform, of_validation.uniform)
            if not np.isnan(found)
        ),
        equal,
    )
    guess = of_validation.guess
    if weighted and not _has_weights(validation):
        # The answer that is best with the weights of classes is another one.
        guess = of_validation.uniform
    training = of_training.guess
    if np.isnan(training):
        training = uniform if np.isnan(guess) or weighted else guess
    return Guesses(training, guess, uniform)


def penalty_of(model: keras.Model) -> float:
    """What regularisers of weights add to the loss; NaN if other layers add to it."""
    parts = [
        float(v.regularizer(v))
        for v in model.trainable_variables
        if getattr(v, "regularizer", None) is not None
    ]
    return sum(parts) if len(model.losses) <= len(parts) else math.nan


def _has_weights(batches: Any) -> bool:
    if batches is None:
        return True
    return any(len(batch) > 2 and batch[2] is not None for batch in batches.take(1))


def _measured(model: keras.Model, batches: Any) -> Yardstick:
    """Of batches of inputs and targets, or of nothing."""
    found: list[Any] = []
    outputs: list[Any] = []
    numbers = 0
    for batch in () if batches is None else batches.take(BATCHES):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is None:
            return Yardstick()
        # Only the first outputs are computed, unless each example has a mask.
        if not outputs or _has_mask(outputs[0]):
            outputs.append(call_of(model, x, training=False))
        found.append((y, weight))
        numbers += sum(int(np.prod(p.shape)) for p in keras.tree.flatten(outputs[0]))
        if numbers > NUMBERS:
            break
    if not found:
        return Yardstick()
    y, weight = joined(found)
    losses = output_losses(model)
    template = _joined_outputs(outputs, rows_in(keras.tree.flatten(y)[0]))
    known = yardstick(model, losses, y, weight, template)
    labels = sum(
        int(np.prod(part.shape[:-1])) for part in keras.tree.flatten(template)[:1]
    )
    classes = max((loss.classes or 1 for loss in losses), default=1)
    few = labels < ROWS_PER_CLASS * classes and not np.isnan(known.uniform)
    return Yardstick(known.uniform, known.uniform, known.least) if few else known


def _has_mask(outputs: Any) -> bool:
    return any(mask_of(part) is not None for part in keras.tree.flatten(outputs))


def _joined_outputs(outputs: list[Any], rows: int) -> Any:
    """Outputs for all examples: if only the first are known, those again and again."""

    def whole(*parts: Any) -> Any:
        full = tf.concat(parts, axis=0)
        masks = [mask_of(part) for part in parts]
        count = int(full.shape[0])
        if count < rows:
            return tf.gather(full, tf.range(rows) % count)
        if all(mask is not None for mask in masks):
            attach_mask(full, tf.concat(masks, axis=0))
        return full

    return keras.tree.map_structure(whole, *outputs)
