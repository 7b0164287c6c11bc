"""What Keras's optimizers keep private: the inner optimizer, its learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_dnn._typing import Tensor

CLIP_GRADIENTS = "_clip_gradients"
"""The method through which an optimizer's gradients pass once before an update."""

CURRENT_LEARNING_RATE = "_get_current_learning_rate"
"""The method through which Keras's own optimizers read their learning rate."""


def innermost(optimizer: Any) -> Any:
    """The optimizer inside a `LossScaleOptimizer`, else the optimizer itself.

    Args:
        optimizer: an optimizer, or a compiled model whose optimizer is meant.
    """
    if isinstance(optimizer, keras.Model):
        optimizer = optimizer.optimizer
    return getattr(optimizer, "inner_optimizer", optimizer)


def parts_of(optimizer: Any) -> list[Any]:
    """The optimizers with one learning rate each: several in a `MultiOptimizer`.

    Args:
        optimizer: an optimizer, or a compiled model whose optimizer is meant.
    """
    inner = innermost(optimizer)
    return list(getattr(inner, "optimizers", [inner]))


def variables_of(optimizer: Any) -> list[keras.Variable]:
    """The variables that a built optimizer updates."""
    variables: list[keras.Variable] = optimizer._trainable_variables
    return variables


def held_learning_rate(optimizer: Any) -> Any:
    """The variable, schedule or callable that the learning rate comes from.

    `optimizer.learning_rate` is the value of a schedule, never the schedule.
    """
    return optimizer._learning_rate


def hold_learning_rate(optimizer: Any, source: Any) -> None:
    """Has the learning rate come from another schedule, also in place of a variable."""
    optimizer._learning_rate = source


def override_learning_rate(optimizer: Any, value: Callable[[], Tensor] | None) -> None:
    """Has Keras's own optimizer read its learning rate elsewhere; `None` ends that.

    The optimizer keeps the variable or schedule it has, so its saved state stays as it
    is. A graph that is traced already does not notice.
    """
    if value is None:
        vars(optimizer).pop(CURRENT_LEARNING_RATE, None)
    else:
        vars(optimizer)[CURRENT_LEARNING_RATE] = value
