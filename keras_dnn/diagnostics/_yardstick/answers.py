"""The answers to the targets of one output: constants, and the perfect one."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_dnn._keras.masks import mask_of
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.diagnostics._yardstick.output_loss import CROSSENTROPIES, OutputLoss

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


class Answers:
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
            return np.asarray(np.log(kept))
        return np.asarray(np.log(kept) - np.log(np.clip(1 - values, SURE, 1.0)))

    def uniform(self) -> np.ndarray | None:
        """Equal probabilities; `None` for a loss of other numbers."""
        if not self.has_loss:
            return np.zeros(self.size)
        if self.loss.name not in CROSSENTROPIES:
            return None
        return self.answer(np.full(self.size, 1 / self.size if self.exclusive else 0.5))

    def perfect(self) -> np.ndarray:
        """What the targets say, for each example."""
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
        beside = 0.0 if self.exclusive else np.log(1 - kept)
        return np.asarray(np.log(kept) - beside)


def _weighted_median(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The number of each column that has half of the weight on either side."""
    order = np.argsort(rows, axis=0, kind="stable")
    weight = np.cumsum(weights[order], axis=0)
    middle = (weight >= weight[-1] / 2).argmax(axis=0)
    ordered = np.take_along_axis(rows, order, axis=0)
    return np.asarray(ordered[middle, np.arange(rows.shape[1])])
