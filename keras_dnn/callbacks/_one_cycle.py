"""What `OneCycleScheduler` requires of optimizers and arguments."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from keras_dnn._keras.optimizers import parts_of
from keras_dnn.optimizers import Optimizer
from keras_dnn.optimizers.schedules import OneCycle


class Followed(NamedTuple):
    """An optimizer that follows a cycle, and the update at which that began."""

    optimizer: Any
    start: int
    schedule: OneCycle


def momentum_of(optimizer: Any) -> str:
    """The name of its momentum."""
    return "momentum" if hasattr(optimizer, "momentum") else "beta_1"


def require_one(optimizers: Sequence[Any], model: keras.Model) -> None:
    """Raises an error if a step applies more than one learning rate."""
    parts = [part for optimizer in optimizers for part in parts_of(optimizer)]
    several = [o for o in optimizers if hasattr(o, "optimizers")]
    if len(optimizers) > 1 or several:
        names = ", ".join(type(part).__name__ for part in parts)
        kind = "a MultiOptimizer" if several else f"the {len(parts)} of a train_step"
        raise ValueError(
            f"OneCycleScheduler drives one optimizer, not {kind}. Give each a OneCycle "
            "as its learning_rate instead.\n"
            f"Received: model={model.name!r}, which applies {names}"
        )


def check_momentum(momentum: Sequence[float], cycle: OneCycle) -> None:
    """Raises an error if it is not the highest and lowest momentum of a cycle."""
    try:
        high, low = momentum
        cycle.momentum(high, low)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "momentum must be None or its highest and lowest value, both in [0, 1), "
            f"the highest first. Received: momentum={momentum!r}"
        ) from error


def warn_if_only_the_rate_changes(optimizer: Any) -> bool:
    """Warns that the momentum of one of Keras's own optimizers stays as it is.

    Returns:
        Whether it does.
    """
    name = momentum_of(optimizer)
    if isinstance(optimizer, Optimizer) or not getattr(optimizer, name, 0.0):
        return False
    warnings.warn(
        f"keras.optimizers.{type(optimizer).__name__} compiles its {name} into "
        "the step as a constant, so only the learning rate follows the cycle. Use the "
        "optimizer of the same name in keras_dnn.optimizers, or momentum=None.",
        stacklevel=2,
    )
    return True
