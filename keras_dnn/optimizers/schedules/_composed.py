"""Schedules made of schedules."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from keras_dnn._typing import Tensor
from keras_dnn.optimizers.schedules._schedule import Schedule


class Composed(Schedule):
    """A schedule whose configuration contains other schedules."""

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


def value_of(schedule: Any, step: Tensor) -> Tensor:
    """The value of a schedule as a tensor, also where it returns a plain float."""
    value = schedule(step)
    if keras.ops.is_tensor(value) or isinstance(value, keras.Variable):
        return value
    return ops.convert_to_tensor(value, keras.config.floatx())


def wide(step: Tensor) -> Tensor:
    """The step in a dtype that can be compared with any boundary."""
    step = ops.convert_to_tensor(step)
    if keras.backend.backend() == "jax":
        return step
    return ops.cast(step, "float64" if "float" in str(step.dtype) else "int64")


def at(boundary: int, step: Tensor) -> Tensor:
    """A boundary in the dtype of the step."""
    return ops.convert_to_tensor(boundary, step.dtype)


def since(step: Tensor, start: int) -> Tensor:
    """The steps that have passed since `start`, 0 before it."""
    return ops.maximum(step - at(start, step), at(0, step))
