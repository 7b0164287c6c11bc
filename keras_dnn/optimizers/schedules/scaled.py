"""A schedule times a number."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._composed import (
    Composed,
    value_of,
)
from keras_dnn.optimizers.schedules._composed import (
    schedule as checked,
)


@keras.saving.register_keras_serializable(package="keras_dnn")
class Scaled(Composed):
    """Learning rate that is a schedule times a factor.

    `PerformanceScheduler` uses it to reduce a schedule when the model stops improving.

    Args:
        schedule: any `LearningRateSchedule`.
        factor: a float of at least 0, or a variable with such a value. On JAX a
            compiled step keeps the value that a variable has when it is traced.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import CosineDecay, Scaled
        >>> Scaled(CosineDecay(0.4, decay_steps=30), 0.5).values([0, 10, 30])
        array([0.2 , 0.15, 0.  ], dtype=float32)

    Reference:
        A. Senior, G. Heigold, M. Ranzato and K. Yang, "An empirical study of learning
        rates in deep neural networks for speech recognition", 2013.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        factor: float | keras.Variable,
        *,
        name: str = "scaled",
    ) -> None:
        self.schedule = checked("schedule", schedule)
        if not isinstance(factor, keras.Variable):
            factor = _arguments.number("factor", factor)
        self.factor = factor
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`, which may be an int, an array or a tensor."""
        value = value_of(self.schedule, step)
        if isinstance(self.factor, keras.Variable):
            return value * ops.cast(self.factor, value.dtype)
        return value * self.factor

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "factor": float(self.factor),
            "name": self.name,
        }
