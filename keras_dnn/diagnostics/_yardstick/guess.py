"""The losses that a loss is compared with: of a guess, and of the perfect answer.

All three are computed by the loss that the model was compiled with, so that weights of
samples and outputs, masks, label smoothing and reductions count as they do in training.
The best constant answer is known for the usual losses: the shares of the classes for a
crossentropy, the mean for the squared and the median for the absolute error. For every
other loss it is found by a search.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.losses import data_loss, has_own_loss
from keras_dnn._keras.masks import with_mask_of
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import restored
from keras_dnn.diagnostics._yardstick.answers import Answers
from keras_dnn.diagnostics._yardstick.output_loss import OutputLoss, in_order

HALVINGS = 40
"""How often the interval that holds the best constant is halved."""

STEPS = 150
"""Of the descent from the best constant found so far."""


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """What a loss is compared with; NaN where it is unknown.

    Attributes:
        guess: the loss of the best answer that is the same for all examples.
        uniform: that of equal probabilities for all classes, with which a new
            classifier begins; NaN for other losses than crossentropies.
        least: that of the perfect answer, which is above zero for soft labels.
    """

    guess: float = math.nan
    uniform: float = math.nan
    least: float = math.nan


def yardstick(
    model: keras.Model,
    losses: Sequence[OutputLoss],
    y: Any,
    sample_weight: Any,
    outputs: Any,
    *,
    search: bool = True,
) -> Yardstick:
    """Measures a model's loss at answers that need no network.

    Args:
        model: a compiled model, whose loss has been called before.
        losses: what is known of the loss of each output.
        y: the targets, as tensors.
        sample_weight: of the examples, or `None`.
        outputs: of the model for these examples; only their structure, shapes and masks
            count, and whether they are probabilities.
        search: whether to search for the best constant where no formula gives it.
    """
    flat = keras.tree.flatten(outputs)
    targets = in_order(model, y, len(flat))
    weights = in_order(model, sample_weight, len(flat))
    if model.loss is None or has_own_loss(model) or len(losses) != len(flat):
        return Yardstick()
    if targets is None or weights is None:
        return Yardstick()

    def at(answers: Sequence[Any]) -> Tensor:
        """The loss of these answers, which are broadcast to the outputs' shapes."""
        full = [_like(o, answer) for o, answer in zip(flat, answers, strict=True)]
        packed = keras.tree.pack_sequence_as(outputs, full)
        return data_loss(model, y, packed, sample_weight)

    try:
        with restored(model.metrics_variables):
            parts = [
                Answers(*given)
                for given in zip(losses, targets, weights, flat, strict=True)
            ]
            known = search or all(part.is_known for part in parts)
            return Yardstick(
                float(at(_best(parts, at))) if known else math.nan,
                _at_all([part.uniform() for part in parts], at),
                _at_all([part.perfect() for part in parts], at),
            )
    except (ValueError, TypeError, KeyError, tf.errors.OpError):
        # A loss of the user's own may take only what the model outputs.
        return Yardstick()


def _at_all(answers: Sequence[Any], at: Callable[[Sequence[Any]], Tensor]) -> float:
    return math.nan if any(a is None for a in answers) else float(at(answers))


def _like(output: Tensor, answer: Any) -> Tensor:
    full = tf.broadcast_to(tf.cast(answer, tf.float32), tf.shape(output))
    full.set_shape(output.shape)
    return with_mask_of(output, full)


def _best(
    parts: Sequence[Answers], at: Callable[[Sequence[Any]], Tensor]
) -> list[np.ndarray]:
    """The constants with the lowest loss, of one output after the other."""
    best = [part.candidates()[0] for part in parts]
    for i, part in enumerate(parts):

        def loss(constant: Any, i: int = i) -> Tensor:
            return at([*best[:i], constant, *best[i + 1 :]])

        tried = part.candidates()
        if not part.is_known:
            tried += _searched(part, loss, tried)
        costs = [float(loss(constant)) for constant in tried]
        finite = [cost if np.isfinite(cost) else np.inf for cost in costs]
        best[i] = tried[int(np.argmin(finite))]
    return best


def _searched(
    part: Answers, loss: Callable[[Tensor], Tensor], starts: list[np.ndarray]
) -> list[np.ndarray]:
    """Constants found by halving intervals, and by descent from the best of all."""
    z = tf.Variable(part.unbounded(starts[0]), dtype=tf.float32)

    @tf.function(autograph=False)
    def slope() -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            value = loss(part.free(z))
        return value, tape.gradient(value, z)

    low, high = part.rows.min(axis=0), part.rows.max(axis=0)
    width = np.maximum(high - low, 1e-3)
    if part.answers != "numbers":
        low, high, width = -12 + 0 * low, 12 + 0 * high, 1 + 0 * width
    else:
        # Labels of 0 and 1 stand for -1 and 1 in a hinge loss.
        low, high = low - width, high + width
    # In a loss that is a sum over the numbers of an answer each slope depends on one.
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        z.assign(middle)
        rising = np.asarray(slope()[1]) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    begun = [*(part.unbounded(s) for s in starts), (low + high) / 2]
    values = []
    for start in begun:
        z.assign(start)
        values.append(float(slope()[0]))
    lowest = int(np.nanargmin(values))
    found, value = begun[lowest], values[lowest]
    # Adam, whose steps shrink: the scale of the loss does not matter.
    first, second = np.zeros(part.size), np.zeros(part.size)
    now = np.array(found, "float64")
    for step in range(STEPS):
        z.assign(now)
        cost, gradient = slope()
        if float(cost) < value:
            value, found = float(cost), now.copy()
        g = np.nan_to_num(np.asarray(gradient, "float64"))
        first, second = 0.8 * first + 0.2 * g, 0.95 * second + 0.05 * g**2
        corrected = second / (1 - 0.95 ** (step + 1))
        now -= (
            0.3
            * width
            * 0.97**step
            * (first / (1 - 0.8 ** (step + 1)))
            / np.sqrt(corrected + 1e-30)
        )
    return [
        np.asarray(part.free(tf.constant(p, tf.float32))) for p in (begun[-1], found)
    ]
