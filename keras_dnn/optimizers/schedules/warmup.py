"""Warm-up: the learning rate rises over the first steps."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._composed import (
    Composed,
    at,
    since,
    value_of,
    wide,
)
from keras_dnn.optimizers.schedules._composed import (
    schedule as checked,
)


@keras.saving.register_keras_serializable(package="keras_dnn")
class Warmup(Composed):
    r"""Learning rate that rises linearly to the first value of another schedule.

    $$
    \eta_t = \eta_{start} + (\eta_0 - \eta_{start}) \, t / w \quad (t < w), \qquad
    \eta_t = \text{schedule}(t - w)
    $$

    The schedule begins after the warm-up, with its own step 0.

    Args:
        schedule: the schedule that follows, any `LearningRateSchedule`.
        warmup_steps: $w$, the number of steps in which the rate rises.
        start: $\eta_{start}$, the rate of the first step.
        name: name of the schedule.

    Raises:
        ValueError: if a value lies outside its range.

    Example:
        >>> from keras_dnn.optimizers.schedules import CosineDecay, Warmup
        >>> schedule = Warmup(CosineDecay(0.4, decay_steps=30), warmup_steps=4)
        >>> schedule.values([0, 1, 2, 3, 4, 14, 34])
        array([0. , 0.1, 0.2, 0.3, 0.4, 0.3, 0. ], dtype=float32)

    Reference:
        P. Goyal and others, "Accurate, large minibatch SGD: training ImageNet in 1
        hour", 2017.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        warmup_steps: int,
        start: float = 0.0,
        *,
        name: str = "warmup",
    ) -> None:
        self.schedule = checked("schedule", schedule)
        self.warmup_steps = _arguments.count("warmup_steps", warmup_steps)
        self.start = _arguments.number("start", start)
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`, which may be an int, an array or a tensor."""
        step = wide(step)
        after = value_of(self.schedule, since(step, self.warmup_steps))
        progress = ops.cast(step, after.dtype) / self.warmup_steps
        first = value_of(self.schedule, ops.zeros_like(step))
        rising = self.start + (first - self.start) * ops.maximum(progress, 0.0)
        return ops.where(step < at(self.warmup_steps, step), rising, after)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "warmup_steps": self.warmup_steps,
            "start": self.start,
            "name": self.name,
        }
