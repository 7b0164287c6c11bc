"""Pairs of examples of the same class and of different ones."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._tensorflow import tf

Batch: TypeAlias = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]


class Pairs(keras.utils.PyDataset):
    """Draws pairs from labelled examples, half of them of the same class.

    In each batch half of the pairs are of the same class (rounded down in an odd
    batch). The first of a pair is any example that has a partner, the second any of its
    partners, each with the same probability; an example is never its own partner.

    Args:
        x: examples, an array with a row for each.
        labels: their classes, in one dimension.
        batch_size: number of pairs in a batch.
        batches: number of batches in an epoch; by default as many as give each example
            one pair.
        redraw: whether each epoch has new pairs. Use `False` for validation, where the
            loss should change only with the model.
        seed: integer seed of the draws.
        **kwargs: the arguments of `keras.utils.PyDataset`.

    Raises:
        ValueError: if `x` is no array, if it and `labels` differ in length, if no class
            has two examples or there is only one class, or if a count is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_dnn.pretraining import Pairs
        >>> pairs = Pairs(np.arange(6), np.array([0, 0, 0, 1, 1, 1]), batch_size=4)
        >>> (first, second), same = pairs[0]
        >>> same.tolist()
        [1.0, 1.0, 0.0, 0.0]
        >>> ((first < 3) == (second < 3)).tolist()
        [True, True, False, False]
    """

    def __init__(
        self,
        x: Any,
        labels: Any,
        batch_size: int = 32,
        *,
        batches: int | None = None,
        redraw: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_size: int = _arguments.count("batch_size", batch_size, least=2)
        if not hasattr(x, "shape") or not hasattr(x, "__array__"):
            raise ValueError(
                "x must be an array with a row for each example. Received: x of the "
                f"type {type(x).__name__}"
            )
        if tf is not None and tf.is_tensor(x):
            x = np.asarray(x)  # A tensor takes no array of indices.
        labels = np.asarray(labels)
        if labels.ndim != 1 or len(labels) != len(x):
            raise ValueError(
                "labels must be one-dimensional, one for each example of x. Received: "
                f"labels of shape {labels.shape} for {len(x)} examples"
            )
        _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        if len(counts) < 2 or counts.max() < 2:
            raise ValueError(
                "labels must have two classes at least, and two examples of one of "
                f"them. Received: labels of {len(counts)} classes of "
                f"{counts.max(initial=0)} examples at most"
            )
        self.redraw: bool = _arguments.switch("redraw", redraw)
        default = math.ceil(len(labels) / self.batch_size)
        self.batches: int = (
            default if batches is None else _arguments.count("batches", batches)
        )
        self.x: Any = x
        self.seed: int = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self.epoch: int = 0
        # Examples sorted by class, so that each class is a contiguous range.
        self._sorted = np.argsort(classes, kind="stable")
        self._size = counts[classes[self._sorted]]
        self._start = (np.cumsum(counts) - counts)[classes[self._sorted]]
        self._with_partner = np.flatnonzero(self._size > 1)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        generator = np.random.default_rng((self.seed, self.epoch, index))
        n_same = self.batch_size // 2
        same = np.arange(self.batch_size) < n_same
        first = np.concatenate(
            [
                generator.choice(self._with_partner, n_same),
                generator.integers(len(self._sorted), size=self.batch_size - n_same),
            ]
        )
        start, size = self._start[first], self._size[first]
        # Offsets within the own class, or from its end within all other examples.
        n_partners = np.where(same, size - 1, len(self._sorted) - size)
        offset = generator.integers(n_partners)
        second = np.where(
            same,
            start + (first - start + 1 + offset) % size,
            (start + size + offset) % len(self._sorted),
        )
        one, other = (self._examples(self._sorted[i]) for i in (first, second))
        return (one, other), same.astype("float32")

    def _examples(self, rows: np.ndarray) -> Any:
        found = np.asarray(self.x[rows])
        # Keras takes text from a `PyDataset` only as tensors.
        return tf.constant(found) if found.dtype.kind in "OSU" else found

    def on_epoch_end(self) -> None:
        """Moves on to new pairs."""
        self.epoch += self.redraw
