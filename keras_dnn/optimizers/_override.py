"""Overrides: a hyperparameter follows something else for a while.

The optimizer keeps its own variable or schedule, so its saved state stays the same;
only the value that the step reads is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_dnn._keras.optimizers import override_learning_rate
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer


def override(optimizer: Any, name: str, value_at: Callable[[Tensor], Tensor]) -> None:
    """Has a hyperparameter follow a function of the count of updates.

    A graph that is traced already does not notice.

    Args:
        optimizer: one of this package, or one of Keras for its learning rate.
        name: of the hyperparameter.
        value_at: count of updates to value.
    """
    if isinstance(optimizer, Optimizer):
        optimizer.__dict__[_override_store(optimizer, name)] = value_at
    else:
        override_learning_rate(optimizer, lambda: value_at(optimizer.iterations))


def put_back(optimizer: Any, name: str) -> None:
    """Ends an override, if there is one."""
    if isinstance(optimizer, Optimizer):
        optimizer.__dict__.pop(_override_store(optimizer, name), None)
    else:
        override_learning_rate(optimizer, None)


def is_used(optimizer: Optimizer, name: str) -> bool:
    """Whether an optimizer has a hyperparameter and was created to use it."""
    hyperparameter: Hyperparameter | None = getattr(type(optimizer), name, None)
    return (
        hyperparameter is not None
        and vars(optimizer).get(hyperparameter.store) is not None
    )


def updates_of(optimizer: Any) -> int:
    """How many updates an optimizer has made."""
    return int(tf.convert_to_tensor(optimizer.iterations))


def _override_store(optimizer: Optimizer, name: str) -> str:
    hyperparameter: Hyperparameter = getattr(type(optimizer), name)
    return hyperparameter.override_store
