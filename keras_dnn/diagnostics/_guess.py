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
from keras_dnn._keras.masks import attach_mask, mask_of
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import unchanged_by_calls
from keras_dnn.diagnostics._output_loss import CROSSENTROPIES, OutputLoss, in_order

TAKE_LABELS = (
    "sparse_categorical_crossentropy",
    "categorical_generalized_cross_entropy",
)

DIVERGENCES = (
    "kl_divergence",
    "categorical_focal_crossentropy",
    "binary_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "dice",
    "tversky",
)
"""Other losses that compare probabilities."""

SURE = 1e-12
"""The least probability of which a logarithm is taken for logits."""

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
) -> Yardstick:
    """Measures a model's loss at answers that need no network.

    Args:
        model: a compiled model, whose loss has been called before.
        losses: what is known of the loss of each output.
        y: the targets, as tensors.
        sample_weight: of the examples, or `None`.
        outputs: of the model for these examples; only their structure, shapes and masks
            count, and whether they are probabilities.
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
        with unchanged_by_calls(model):
            parts = [
                _Output(*given)
                for given in zip(losses, targets, weights, flat, strict=True)
            ]
            return Yardstick(
                float(at(_best(parts, at))),
                _at_all([part.uniform() for part in parts], at),
                _at_all([part.perfect() for part in parts], at),
            )
    except (ValueError, TypeError, KeyError, tf.errors.InvalidArgumentError):
        # A loss of the user's own may take only what the model outputs.
        return Yardstick()


def _at_all(answers: Sequence[Any], at: Callable[[Sequence[Any]], Tensor]) -> float:
    return math.nan if any(a is None for a in answers) else float(at(answers))


def _like(output: Tensor, answer: Any) -> Tensor:
    full = tf.broadcast_to(tf.cast(answer, tf.float32), tf.shape(output))
    full.set_shape(output.shape)
    mask = mask_of(output)
    if mask is not None:
        attach_mask(full, mask)
    return full


class _Output:
    """One output: its loss, its targets, and the answers to try."""

    def __init__(
        self, loss: OutputLoss, target: Any, weight: Any, output: Tensor
    ) -> None:
        self.loss = loss
        self.size = int(output.shape[-1]) if len(output.shape) > 1 else 1
        self.output = np.asarray(tf.cast(output, tf.float32))
        self.has_loss = target is not None
        if target is None:
            return
        # A row for each example, and for each position in it.
        self.weights = self._weights(np.asarray(target), weight, mask_of(output))
        self.labels: np.ndarray | None = None
        if loss.name in TAKE_LABELS:
            self.labels = np.asarray(target, "int64").reshape(-1)
            self.labels = np.where(self.weights > 0, self.labels, 0)
        else:
            self.rows = np.asarray(target, "float64").reshape(-1, self.size)
            binary = loss.name.startswith("binary")
            self.rows = self._smoothed(self.rows, 2 if binary else self.size)

    def _weights(self, target: np.ndarray, weight: Any, mask: Any) -> np.ndarray:
        positions = self.output.shape[:-1] or self.output.shape
        weights = np.ones(positions)
        if self.loss.ignored is not None:
            weights = (target.reshape(positions) != self.loss.ignored) * 1.0
        for part in (weight, mask):
            if part is not None:
                given = np.asarray(part, "float64")
                if given.ndim > 1 and given.size == len(given):
                    given = given.reshape(-1)
                missing = (1,) * (weights.ndim - given.ndim)
                weights = weights * given.reshape(given.shape + missing)
        flat: np.ndarray = weights.reshape(-1)
        return flat

    def _smoothed(self, values: np.ndarray, classes: int) -> np.ndarray:
        smoothing = self.loss.label_smoothing
        return values * (1 - smoothing) + smoothing / classes if smoothing else values

    @property
    def answers(self) -> str:
        """What the loss takes: `"logits"`, `"probabilities"` or `"numbers"`."""
        if self.loss.from_logits:
            return "logits"
        if self.loss.name in CROSSENTROPIES or self.loss.name in DIVERGENCES:
            return "probabilities"
        return "numbers"

    @property
    def exclusive(self) -> bool:
        """Whether the probabilities of one row sum to 1."""
        wanted = CROSSENTROPIES.get(self.loss.name)
        if wanted is not None:
            return wanted == "softmax"
        if self.loss.name.startswith("categorical"):
            return True
        sums = self.output.reshape(-1, self.size).sum(axis=-1)
        return self.size > 1 and bool(np.abs(sums - 1).max() < 1e-2)

    def answer(self, values: np.ndarray) -> np.ndarray:
        """Probabilities, or numbers, as the loss takes them."""
        if self.answers != "logits":
            return values
        kept = np.clip(values, SURE, 1.0)
        if self.exclusive:
            return np.log(kept)
        return np.log(kept) - np.log(np.clip(1 - values, SURE, 1.0))

    def uniform(self) -> np.ndarray | None:
        if self.loss.name not in CROSSENTROPIES:
            return None
        return self.answer(np.full(self.size, 1 / self.size if self.exclusive else 0.5))

    def perfect(self) -> np.ndarray | None:
        if not self.has_loss:
            return np.zeros(self.size)
        if self.labels is not None:
            rows = (self.labels[:, None] == np.arange(self.size)).astype("float32")
        elif self.loss.name in ("hinge", "squared_hinge") and self.rows.min() >= 0:
            rows = 2 * self.rows - 1  # As Keras takes labels of 0 and 1 here.
        else:
            rows = self.rows
        return self.answer(rows).reshape(self.output.shape)

    def candidates(self) -> list[np.ndarray]:
        """Constants of which one is best for the usual losses."""
        if not self.has_loss or not self.weights.sum() > 0:
            return [np.zeros(self.size)]
        if self.labels is not None:
            shares = np.bincount(self.labels, self.weights, self.size)
            return [self.answer(shares / shares.sum())]
        found = [self.weights @ self.rows / self.weights.sum()]
        if self.loss.name not in CROSSENTROPIES:
            found.append(_weighted_median(self.rows, self.weights))
        return [self.answer(values) for values in found]

    @property
    def is_known(self) -> bool:
        """Whether the best constant is among the candidates."""
        return not self.has_loss or self.loss.name in (
            *CROSSENTROPIES,
            "mean_squared_error",
            "mean_absolute_error",
        )

    def free(self, z: Tensor) -> Tensor:
        """An answer made of numbers without bounds."""
        if self.answers != "probabilities":
            return z
        return tf.nn.softmax(z) if self.exclusive else tf.sigmoid(z)

    def unbounded(self, answer: np.ndarray) -> np.ndarray:
        """The numbers of which `free` makes an answer."""
        if self.answers != "probabilities":
            return answer
        kept = np.clip(answer, 1e-6, 1 - 1e-6)
        return np.log(kept) - (0.0 if self.exclusive else np.log(1 - kept))


def _weighted_median(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The number of each column that has half of the weight on either side."""
    order = np.argsort(rows, axis=0, kind="stable")
    weight = np.cumsum(weights[order], axis=0)
    middle = (weight >= weight[-1] / 2).argmax(axis=0)
    return np.take_along_axis(rows, order, axis=0)[middle, np.arange(rows.shape[1])]


def _best(
    parts: Sequence[_Output], at: Callable[[Sequence[Any]], Tensor]
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
    part: _Output, loss: Callable[[Tensor], Tensor], starts: list[np.ndarray]
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
