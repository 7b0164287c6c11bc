"""Scalars of the graph, in float64 until they are combined with a tensor."""

from __future__ import annotations

from collections.abc import Callable
from operator import add, mul, pow, sub, truediv
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor


class Scalar:
    """A number in float64 that takes the dtype of the tensor it is combined with.

    `1 - beta_2` loses four digits in float32. As a scalar it is computed in float64,
    and only `(1 - beta_2) * v` casts it to the dtype of the tensor `v`.

    Args:
        value: a number, a tensor without axes or a variable.
        literal: whether the user wrote it as a Python float.
    """

    # Otherwise NumPy would multiply `array * scalar` entry by entry.
    __array_priority__ = 1000

    def __init__(self, value: Any, literal: bool = False) -> None:
        # `tf.cast` would make a Python float a float32 on its way to float64.
        exact = np.float64(value) if isinstance(value, int | float) else value
        self.value: Tensor = tf.cast(exact, tf.float64)
        self.literal = literal

    @property
    def rounded(self) -> Scalar:
        """Rounded to float32 if it was written as a float, as `keras.ops.cast` does."""
        return Scalar(tf.cast(self.value, tf.float32)) if self.literal else self

    def _with(
        self, other: Any, operation: Callable[[Any, Any], Any], swap: bool = False
    ) -> Any:
        if isinstance(other, Scalar | int | float):
            mine, theirs = self.value, getattr(other, "value", other)
            return Scalar(operation(theirs, mine) if swap else operation(mine, theirs))
        other = tf.convert_to_tensor(other)
        mine = tf.cast(self.value, other.dtype)
        return operation(other, mine) if swap else operation(mine, other)

    def __neg__(self) -> Scalar:
        return Scalar(-self.value)

    def __add__(self, other: Any) -> Any:
        return self._with(other, add)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, add, swap=True)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, sub)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, sub, swap=True)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, mul)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, mul, swap=True)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, truediv)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, truediv, swap=True)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, pow)

    def __rpow__(self, other: Any) -> Any:
        return self._with(other, pow, swap=True)


class Values(SimpleNamespace):
    """The hyperparameters of a rule at one update, as attributes of their names.

    `now`, the first of the two that `update` gets, also has the rule's counters and
    `step`, which counts updates from 1.
    """

    learning_rate: Scalar
    step: Scalar

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Scalar: ...
