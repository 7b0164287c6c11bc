"""Schedules made of schedules."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._schedule import Schedule


class Composed(Schedule):
    """A schedule whose configuration holds other schedules."""

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """Creates the schedule that `get_config` described."""
        return cls(
            **keras.saving.deserialize_keras_object(
                config, custom_objects=custom_objects
            )
        )


def schedule(name: str, value: Any) -> Any:
    """Returns `value` if it is a schedule."""
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    raise ValueError(f"{name} must be a LearningRateSchedule. Received: {name}={value}")


def since(step: Tensor, start: int) -> Tensor:
    """The steps that have passed since `start`, 0 before it."""
    return ops.maximum(step - ops.cast(start, step.dtype), ops.cast(0, step.dtype))
