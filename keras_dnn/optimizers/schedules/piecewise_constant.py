"""Piecewise constant schedule: one rate after another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._composed import at, wide
from keras_dnn.optimizers.schedules._schedule import Schedule


@keras.saving.register_keras_serializable(package="keras_dnn")
class PiecewiseConstant(Schedule):
    """Learning rate that is constant between boundaries.

    It changes *at* a boundary: step `boundaries[0]` is the first with `values[1]`, as
    in PyTorch and optax. Keras's own `PiecewiseConstantDecay` changes one step later.

    Args:
        boundaries: the steps at which the rate changes, ints in increasing order.
        values: the rates, one more than boundaries.
        name: name of the schedule.

    Raises:
        ValueError: if the boundaries do not increase or the lengths do not match.

    Example:
        >>> from keras_dnn.optimizers.schedules import PiecewiseConstant
        >>> schedule = PiecewiseConstant([5, 15], [0.1, 0.05, 0.01])
        >>> schedule.values([0, 4, 5, 14, 15, 1000])
        array([0.1 , 0.1 , 0.05, 0.05, 0.01, 0.01], dtype=float32)

    Reference:
        A. Senior, G. Heigold, M. Ranzato and K. Yang, "An empirical study of learning
        rates in deep neural networks for speech recognition", 2013.
    """

    def __init__(
        self,
        boundaries: Sequence[int],
        values: Sequence[float],
        *,
        name: str = "piecewise_constant",
    ) -> None:
        self.boundaries = increasing("boundaries", boundaries)
        self.rates = [
            _arguments.number("values", value)
            for value in _arguments.several("values", values)
        ]
        if len(self.rates) != len(self.boundaries) + 1:
            raise ValueError(
                "values must contain one number more than boundaries. "
                f"Received: boundaries={boundaries}, values={values}"
            )
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`, which may be an int, an array or a tensor."""
        step = wide(step)
        # Not `ops.cast`, which rounds a float to float32 first.
        rates = [ops.convert_to_tensor(r, keras.config.floatx()) for r in self.rates]
        value = ops.zeros_like(step, dtype=rates[0].dtype) + rates[0]
        for boundary, rate in zip(self.boundaries, rates[1:], strict=True):
            value = ops.where(step >= at(boundary, step), rate, value)
        return value

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            "boundaries": self.boundaries,
            "values": self.rates,
            "name": self.name,
        }


def increasing(name: str, boundaries: Sequence[int]) -> list[int]:
    """The boundaries as a list, if they are increasing steps."""
    steps = [
        _arguments.count(name, boundary)
        for boundary in _arguments.several(name, boundaries)
    ]
    if any(one >= other for one, other in itertools.pairwise(steps)):
        raise ValueError(f"{name} must increase. Received: {name}={boundaries}")
    return steps
