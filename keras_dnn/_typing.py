"""Types that hints use all over the package."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import keras

Tensor: TypeAlias = Any
"""A tensor or variable of the Keras backend in use (none of them is typed)."""

Shape: TypeAlias = tuple[int | None, ...]
"""The shape of a tensor, with `None` where a size may vary."""

HyperparameterValue: TypeAlias = (
    float | keras.optimizers.schedules.LearningRateSchedule | Callable[[], Tensor]
)
"""What an optimizer accepts for a number that may change during training."""

Every: TypeAlias = Literal["epoch"] | int
"""How often a callback evaluates something: once an epoch, or every so many batches."""
