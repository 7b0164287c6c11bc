"""One schedule after another."""

from __future__ import annotations

import collections.abc
from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._composed import (
    Composed,
    at,
    schedule,
    since,
    value_of,
    wide,
)
from keras_dnn.optimizers.schedules.piecewise_constant import increasing


@keras.saving.register_keras_serializable(package="keras_dnn")
class Sequence(Composed):
    """Learning rate that follows one schedule after another.

    Step `boundaries[0]` is step 0 of the second schedule, and so on.

    Args:
        schedules: two or more of any `LearningRateSchedule`.
        boundaries: the steps at which the next one begins, ints in increasing order,
            one fewer than schedules.
        name: name of the schedule.

    Raises:
        ValueError: if the boundaries do not increase or the lengths do not match.

    Example:
        >>> from keras_dnn.optimizers.schedules import CosineDecay, Sequence, StepDecay
        >>> halves = StepDecay(0.4, drop_every=2, factor=0.5)
        >>> schedule = Sequence([halves, CosineDecay(0.2, decay_steps=10)], [4])
        >>> schedule.values([0, 2, 3, 4, 9, 14])
        array([0.4, 0.2, 0.2, 0.2, 0.1, 0. ], dtype=float32)

    Reference:
        P. Goyal and others, "Accurate, large minibatch SGD: training ImageNet in 1
        hour", 2017, which puts a warm-up before steps.
    """

    def __init__(
        self,
        schedules: collections.abc.Sequence[
            keras.optimizers.schedules.LearningRateSchedule
        ],
        boundaries: collections.abc.Sequence[int],
        *,
        name: str = "sequence",
    ) -> None:
        self.schedules = [
            schedule("schedules", one)
            for one in _arguments.several("schedules", schedules)
        ]
        self.boundaries = increasing("boundaries", boundaries)
        if not 1 < len(self.schedules) == len(self.boundaries) + 1:
            raise ValueError(
                "schedules must contain two or more, one more than boundaries. "
                f"Received: schedules={schedules}, boundaries={boundaries}"
            )
        self.name = name

    def __call__(self, step: Tensor) -> Tensor:
        """The value at `step`, which may be an int, an array or a tensor."""
        step = wide(step)
        value = value_of(self.schedules[0], step)
        for boundary, later in zip(self.boundaries, self.schedules[1:], strict=True):
            after = value_of(later, since(step, boundary))
            value = ops.where(step >= at(boundary, step), after, value)
        return value

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this schedule again."""
        return {
            "schedules": [
                keras.saving.serialize_keras_object(one) for one in self.schedules
            ],
            "boundaries": self.boundaries,
            "name": self.name,
        }
