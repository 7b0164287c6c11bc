"""Curves: schedules that are a formula of the step."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._schedule import Schedule


class Curve(Schedule):
    """A schedule whose subclass writes its formula in `at`.

    The formula is computed in float64 and only its result is rounded: in float32,
    rounding the exponent of a power would change its last digits.
    """

    def __init__(self, initial_learning_rate: float, name: str) -> None:
        self.initial_learning_rate = _arguments.number(
            "initial_learning_rate", initial_learning_rate
        )
        self.name = name

    def at(self, t: Tensor) -> Tensor:
        """The value at step `t`, a tensor in the most precise dtype of the backend."""
        raise NotImplementedError

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`, which may be an int, an array or a tensor."""
        t = ops.maximum(ops.cast(ops.convert_to_tensor(step), precise()), 0)
        return ops.cast(self.at(t), keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "name": self.name,
        }


def precise() -> str:
    """The most precise dtype of the backend."""
    return "float32" if keras.backend.backend() == "jax" else "float64"


def periods(t: Tensor, length: float, complete: bool = False) -> Tensor:
    """How many periods have passed.

    Args:
        t: the step.
        length: of a period, in steps.
        complete: whether to count only complete periods.
    """
    if not complete:
        return t / length
    # TensorFlow may turn the division into a product, and 49 · (1/49) is less than 1;
    # so may t / length be with a length of 1e5 / 3.
    return ops.floor(t / length * (1 + 1e-15))
