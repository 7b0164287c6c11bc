"""What `GradientNorms` has fetched from the training step, on the host."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from keras_dnn._tensorflow import tf


class GradientRecord(NamedTuple):
    """Norms and ratios, a row for each recorded step; see `GradientNorms`."""

    steps: np.ndarray
    norms: np.ndarray
    clipped_norms: np.ndarray
    ratios: np.ndarray
    global_norms: np.ndarray
    global_clipped_norms: np.ndarray
    global_ratios: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, live: np.ndarray) -> Self:
        """The record in rows of: step, then four norms of each variable.

        Args:
            rows: the norms are those of gradients, clipped gradients, updates and
                weights, one after the other.
            live: whether each variable has a gradient; if not it shows NaN.
        """
        norms, clipped, updates, weights = np.split(rows[:, 1:], 4, axis=1)
        return cls(
            rows[:, 0].astype("int64"),
            np.where(live, norms, np.nan),
            np.where(live, clipped, np.nan),
            _ratio(updates, weights),
            _length(norms),
            _length(clipped),
            _ratio(_length(updates), _length(weights)),
        )

    @classmethod
    def empty(cls, variables: int) -> Self:
        """A record without steps."""
        return cls.of(np.empty((0, 1 + 4 * variables)), np.ones(variables, bool))

    @classmethod
    def joined(cls, records: Sequence[GradientRecord]) -> Self:
        """One record after the other."""
        return cls(*map(np.concatenate, zip(*records, strict=True)))


def _length(norms: np.ndarray) -> np.ndarray:
    """The norm of a whole whose parts have these norms."""
    largest = norms.max(axis=1, initial=0.0, keepdims=True)
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
    length: np.ndarray = scale[:, 0] * np.linalg.norm(norms / scale, axis=1)
    return length


def _ratio(updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    ratio = np.full_like(updates, np.nan)
    np.divide(updates, weights, out=ratio, where=weights > 0)
    return ratio


class ScalarWriter:
    """Writes records as TensorBoard scalars.

    Args:
        log_dir: the folder to write to.

    Raises:
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, log_dir: str) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "log_dir needs TensorBoard. Install it with: "
                "pip install 'keras_dnn[tensorboard]'"
            )
        self.log_dir = log_dir
        self._writer: Any = None

    def write(self, record: GradientRecord, names: Sequence[str], ratios: bool) -> None:
        """Writes a scalar for each step, and for each variable if there are several."""
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        tables = {
            "gradient_norm": (record.global_norms, record.norms),
            "clipped_gradient_norm": (
                record.global_clipped_norms,
                record.clipped_norms,
            ),
        }
        if ratios:
            tables["update_ratio"] = (record.global_ratios, record.ratios)
        with self._writer.as_default():
            for tag, (overall, by_variable) in tables.items():
                self._write_column(tag, record.steps, overall)
                for name, column in zip(names, by_variable.T, strict=True):
                    self._write_column(f"{tag}/{name}", record.steps, column)
        self._writer.flush()

    def _write_column(self, tag: str, steps: np.ndarray, values: np.ndarray) -> None:
        for step, value in zip(steps, values, strict=True):
            tf.summary.scalar(tag, value, step=step)

    def close(self) -> None:
        """Closes the file; the next record opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
