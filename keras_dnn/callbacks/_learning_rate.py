"""The learning rate of an optimizer, to be turned down."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn.optimizers.schedules import Scaled

LearningRateSchedule = keras.optimizers.schedules.LearningRateSchedule


class Rate:
    """The learning rate of one optimizer, a float or a schedule that is scaled."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        held = optimizer._learning_rate
        self.wrapped = isinstance(held, LearningRateSchedule) and not (
            isinstance(held, Scaled) and isinstance(held.factor, keras.Variable)
        )
        if self.wrapped:
            factor = keras.Variable(1.0, trainable=False, dtype="float32")
            optimizer._learning_rate = Scaled(held, factor)
        elif callable(held) and not isinstance(held, LearningRateSchedule):
            raise ValueError(
                "learning_rate must be a float or a LearningRateSchedule for "
                f"PerformanceScheduler. Received: learning_rate={held}"
            )

    @property
    def value(self) -> float:
        """The rate of the next step."""
        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    @property
    def factor(self) -> float:
        """What a schedule is multiplied by, 1 for a float."""
        held = self.optimizer._learning_rate
        return float(held.factor) if isinstance(held, Scaled) else 1.0

    @factor.setter
    def factor(self, factor: float) -> None:
        held = self.optimizer._learning_rate
        if isinstance(held, Scaled) and isinstance(held.factor, keras.Variable):
            held.factor.assign(factor)

    @property
    def number(self) -> float | None:
        """The rate that is set, `None` under a schedule."""
        if isinstance(self.optimizer._learning_rate, LearningRateSchedule):
            return None
        return self.value

    @number.setter
    def number(self, number: float | None) -> None:
        if number is not None and self.number is not None:
            self.optimizer.learning_rate = number

    def reduce(self, factor: float, floor: float) -> None:
        """Multiplies the rate, but not to below `floor`."""
        value = self.value
        if value <= floor:
            return
        factor = max(factor, floor / value)
        if isinstance(self.optimizer._learning_rate, LearningRateSchedule):
            self.factor = self.factor * factor
        else:
            self.optimizer.learning_rate = value * factor

    def unwrap(self) -> None:
        """Takes off a factor that was never needed."""
        if self.wrapped and self.factor == 1.0:
            self.optimizer._learning_rate = self.optimizer._learning_rate.schedule


def optimizers_of(model: keras.Model) -> list[Any]:
    """The optimizers that hold a rate."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return list(getattr(optimizer, "optimizers", [optimizer]))
