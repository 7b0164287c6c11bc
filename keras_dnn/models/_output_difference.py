"""How far outputs differ, as a fraction of their standard deviation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_dnn._batches import require_rows
from keras_dnn._keras.prediction import inputs_for_keras
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import moving_variables, restored, same_randomness
from keras_dnn.models._random_inputs import random_inputs


def relative_differences(
    expected: Sequence[Tensor], found: Sequence[Tensor]
) -> list[np.ndarray]:
    """The difference of each number, as a fraction of its output's standard deviation.

    NaN differs from everything, NaN included, so that outputs without numbers are never
    a perfect match. Equal infinities do not differ. An output that is constant is
    compared as it is.

    Args:
        expected: the outputs that count as right.
        found: the outputs to compare, of the same shapes.

    Raises:
        ValueError: if two outputs differ in shape.
    """
    pairs = zip(map(_float64, expected), map(_float64, found), strict=True)
    return [_relative_difference(a, b) for a, b in pairs]


def column_differences(
    expected: Sequence[Tensor], found: Sequence[Tensor]
) -> list[np.ndarray]:
    """The largest difference in each column, as a fraction of its standard deviation.

    A column is an entry of an output's last axis, such as a class; an output of one
    number for each row is one column. What differs in a rare class only is lost in the
    deviation of all.
    """
    return [_column_differences(a, b) for a, b in zip(expected, found, strict=True)]


def _column_differences(expected: Tensor, found: Tensor) -> np.ndarray:
    a, b = (_columns(_float64(x)) for x in (expected, found))
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        # Of columns without a finite number.
        warnings.simplefilter("ignore", RuntimeWarning)
        finite = np.where(np.isfinite(a), a, np.nan)
        deviations = np.nan_to_num(np.nanstd(finite, axis=0))
    largest: np.ndarray = _difference(a, b).max(axis=0, initial=0.0)
    return largest / np.where(deviations > 0, deviations, 1.0)


def _columns(y: np.ndarray) -> np.ndarray:
    return y.reshape(-1, y.shape[-1]) if y.ndim > 1 else y.reshape(-1, 1)


def not_finite(expected: Sequence[Tensor], found: Sequence[Tensor]) -> str:
    """What is not finite in outputs, though it should be, in words; empty if all is.

    Infinities that are expected count as right; NaN never does.
    """
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        right, y = _columns(_float64(a)), _columns(_float64(b))
        wrong = np.isnan(y) | (np.isinf(y) & (y != right))
        if wrong.any():
            columns = np.flatnonzero(wrong.any(0)).tolist()
            listed = ", ".join(map(str, columns[:5])) + ", ..." * (len(columns) > 5)
            value = y[wrong].flat[0]
            rows = f"{wrong.any(1).sum()} of {len(y)} rows"
            of = f" of output {i}" if len(expected) > 1 else ""
            return f"{value} in {rows}{of}, in column {listed}"
    return ""


def largest(differences: Sequence[np.ndarray]) -> float:
    """The largest difference of all outputs; NaN if any of them is."""
    return float(np.max([d.max(initial=0.0) for d in differences]))


def means(differences: Sequence[np.ndarray]) -> list[float]:
    """The mean difference of each output."""
    return [float(d.mean()) if d.size else 0.0 for d in differences]


class LargestDifference:
    """The largest relative difference of outputs that come batch by batch.

    It is that of `largest(relative_differences(expected, found))` on all rows.
    """

    def __init__(self) -> None:
        self._outputs: list[_RunningDifference] = []

    def add(self, expected: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        """Takes another batch of outputs in."""
        pairs = list(zip(map(_float64, expected), map(_float64, found), strict=True))
        if not self._outputs:
            self._outputs = [_RunningDifference() for _ in pairs]
        for output, pair in zip(self._outputs, pairs, strict=True):
            output.add(*pair)

    def result(self) -> float:
        """The largest difference so far; NaN if any is."""
        return float(np.max([output.relative() for output in self._outputs]))


class _RunningDifference:
    """The largest difference and the moments of one output.

    Moments of batches are joined as in T. F. Chan et al., "Updating formulae and a
    pairwise algorithm for computing sample variances", 1979.
    """

    def __init__(self) -> None:
        self.largest = 0.0
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        difference = _difference(expected, found)
        # Of NumPy, in which NaN wins.
        self.largest = float(np.maximum(self.largest, difference.max(initial=0.0)))
        finite = expected[np.isfinite(expected)]
        if finite.size:
            count, mean = self.count + finite.size, float(finite.mean())
            step = mean - self.mean
            self.squares += float(np.sum((finite - mean) ** 2))
            self.squares += step**2 * self.count * finite.size / count
            self.mean += step * finite.size / count
            self.count = count

    def relative(self) -> float:
        deviation = float(np.sqrt(self.squares / self.count)) if self.count else 0.0
        return self.largest / (deviation or 1.0)


def model_differences(
    model: keras.Model, changed: keras.Model, data: Any
) -> tuple[float, float]:
    """The largest and the mean difference between the predictions of two models.

    NaN if `data` is `None` and the model does not run on random inputs.
    """
    if data is None:
        try:
            inputs = random_inputs(model, rows=32, size=32)
            return _differences(model, changed, inputs, None)
        except Exception:
            # The model does not run here, or not on inputs of that size.
            return float("nan"), float("nan")
    require_rows(data, "data")
    # What the model's own `predict` makes of the data; the other one may not have that.
    return _differences(model, changed, *inputs_for_keras(model, data, None))


def _differences(
    model: keras.Model, changed: keras.Model, data: Any, batch_size: int | None
) -> tuple[float, float]:
    outputs = []
    for each in (model, changed):
        with same_randomness(), restored(moving_variables(each)):
            found = keras.Model.predict(each, data, batch_size=batch_size, verbose=0)
        outputs.append(keras.tree.flatten(found))
    differences = relative_differences(*outputs)
    return largest(differences), float(np.mean(means(differences)))


def _relative_difference(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    difference = _difference(expected, found)
    finite = expected[np.isfinite(expected)]
    deviation = float(np.std(finite)) if finite.size else 0.0
    return difference / (deviation or 1.0)


def _difference(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    if expected.shape != found.shape:
        raise ValueError(f"gives the shape {found.shape} instead of {expected.shape}")
    with np.errstate(invalid="ignore"):
        return np.where(expected == found, 0.0, np.abs(expected - found))


def _float64(x: Tensor) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x), "float64")
