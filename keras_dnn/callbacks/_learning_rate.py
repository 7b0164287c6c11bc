"""The learning rate of an optimizer, to be reduced."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._keras.losses import own_step
from keras_dnn._keras.optimizers import (
    learning_rate_source,
    optimizers_within,
    parts_of,
    set_learning_rate_source,
)
from keras_dnn.optimizers.schedules import Scaled

LearningRateSchedule = keras.optimizers.schedules.LearningRateSchedule


class ReducibleRate:
    """The learning rate of one optimizer: a number, or a schedule that is scaled.

    Args:
        optimizer: whose schedule, if it has one, is replaced by a `Scaled` one.

    Attributes:
        wrapped: whether that was done here, so that a graph traced earlier has the
            bare schedule.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self.optimizer = optimizer
        source = self._source
        scheduled = isinstance(source, LearningRateSchedule)
        if callable(source) and not scheduled:
            raise ValueError(
                "learning_rate must be a float or a LearningRateSchedule for "
                f"PerformanceScheduler. Received: learning_rate={source}"
            )
        self.wrapped = scheduled and not _is_adjustable(source)
        if self.wrapped:
            factor = keras.Variable(1.0, trainable=False, dtype="float32")
            set_learning_rate_source(optimizer, Scaled(source, factor))

    @property
    def is_used(self) -> bool:
        """Whether the optimizer has ever updated weights."""
        return int(keras.ops.convert_to_numpy(self.optimizer.iterations)) > 0

    @property
    def value(self) -> float:
        """The rate of the next step."""
        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    @property
    def factor(self) -> float:
        """What a schedule is multiplied by, 1 for a number."""
        source = self._source
        return float(source.factor) if isinstance(source, Scaled) else 1.0

    @factor.setter
    def factor(self, factor: float) -> None:
        if _is_adjustable(self._source):
            self._source.factor.assign(factor)

    @property
    def number(self) -> float | None:
        """The rate that is set, `None` under a schedule."""
        return None if self._scheduled else self.value

    @number.setter
    def number(self, number: float | None) -> None:
        if number is not None and not self._scheduled:
            self.optimizer.learning_rate = number

    def reduce(self, factor: float, minimum: float) -> None:
        """Multiplies the rate by `factor`, but not to below `minimum`."""
        value = self.value
        if value <= minimum:
            return
        factor = max(factor, minimum / value)
        if self._scheduled:
            self.factor = self.factor * factor
        else:
            self.optimizer.learning_rate = value * factor

    def unwrap(self) -> None:
        """Removes a factor that was never needed."""
        if self.wrapped and self.factor == 1.0:
            set_learning_rate_source(self.optimizer, self._source.schedule)
            self.wrapped = False

    @property
    def _source(self) -> Any:
        return learning_rate_source(self.optimizer)

    @property
    def _scheduled(self) -> bool:
        return isinstance(self._source, LearningRateSchedule)


def optimizers_to_reduce(model: keras.Model) -> list[Any]:
    """Those that the training step may apply, each with one learning rate."""
    if not own_step(model, "train_step"):
        return parts_of(model)
    found = optimizers_within(model).values()
    return [part for optimizer in found for part in parts_of(optimizer)]


def _is_adjustable(source: Any) -> bool:
    """Whether it is a schedule whose factor can be changed without retracing."""
    return isinstance(source, Scaled) and isinstance(source.factor, keras.Variable)
