"""A hyperparameter: a number that training reads anew at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Tensor

if TYPE_CHECKING:
    from keras_dnn.optimizers._optimizer import Optimizer

LearningRateSchedule = keras.optimizers.schedules.LearningRateSchedule


class Hyperparameter:
    """An optimizer's attribute that holds a float, a schedule or a callable.

    A float is kept in a variable, so that setting the attribute in the middle of
    `fit` takes effect at the next step without a new trace; it is saved and restored
    with the optimizer. A schedule is called with the count of optimizer updates, a
    callable with nothing. In each case the value is read inside the graph.

    The variable has the dtype `keras.config.floatx()`, as Keras's learning rate does
    and the numbers that Keras writes into its graphs.

    Args:
        minimum: the least value allowed.
        below: values must be less than this.
        optional: whether `None` is allowed too.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import Hyperparameter, Optimizer
        >>> class Decaying(Optimizer):
        ...     decay = Hyperparameter(below=1.0)
        ...
        ...     def __init__(self, learning_rate=0.1, decay=0.01, **kwargs):
        ...         super().__init__(learning_rate, **kwargs)
        ...         self.decay = decay
        ...
        ...     def update(self, theta, g, *, now, ahead):
        ...         return (1 - now.decay) * theta - now.learning_rate * g
        >>> optimizer = Decaying()
        >>> optimizer.decay = 0.5
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(1.0)], [w])
        >>> round(float(w), 6)
        0.4
    """

    def __init__(
        self,
        minimum: float = 0.0,
        below: float = _arguments.INFINITY,
        optional: bool = False,
    ) -> None:
        self.minimum = minimum
        self.below = below
        self.optional = optional

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        # Keras keeps its learning rate in `_learning_rate`; so do we.
        self.store = f"_{name}"

    def __get__(self, optimizer: Optimizer | None, owner: type | None = None) -> Any:
        if optimizer is None:
            return self
        try:
            held = optimizer.__dict__[self.store]
        except KeyError:
            raise AttributeError(self.name) from None
        return self.read(optimizer) if callable(held) else held

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        value = self.check(value)
        held = optimizer.__dict__.get(self.store)
        if isinstance(value, float):
            if isinstance(held, LearningRateSchedule):
                raise TypeError(
                    f"{self.name} follows a schedule, so a number cannot be set over "
                    "it. Create the optimizer with a float to set it later. "
                    f"Received: {self.name}={value}"
                )
            if isinstance(held, keras.Variable):
                held.assign(value)
                return
            value = self._new_variable(optimizer, value)
        elif isinstance(held, keras.Variable):
            optimizer._untrack_variable(held)
        optimizer.__dict__[self.store] = value

    def check(self, value: Any) -> Any:
        """Checks a value before it is set.

        Args:
            value: what was given.

        Returns:
            The value, a number as a float.

        Raises:
            ValueError: if it is out of range or nothing that can be read.
        """
        if value is None and self.optional:
            return None
        if callable(value):
            return value
        kinds = ", a LearningRateSchedule or a callable without arguments"
        return _arguments.number(
            self.name, value, self.minimum, self.below, or_else=kinds
        )

    def read(self, optimizer: Optimizer, ahead: int = 0) -> Tensor:
        """Reads the value at the optimizer's present update, or some updates later.

        Args:
            optimizer: the optimizer whose value it is.
            ahead: how many updates later. Only a schedule knows the future; anything
                else is taken to stay as it is.

        Returns:
            The value, a tensor or a variable.
        """
        held = optimizer.__dict__[self.store]
        if isinstance(held, LearningRateSchedule):
            return held(optimizer.iterations + ahead)
        return held() if callable(held) else held

    def config(self, optimizer: Optimizer) -> Any:
        """Gives the value in the form that `get_config` needs.

        Args:
            optimizer: the optimizer whose value it is.

        Returns:
            A float, `None` or a serialised object.
        """
        held = optimizer.__dict__[self.store]
        if isinstance(held, keras.Variable):
            return float(held.numpy())
        return keras.saving.serialize_keras_object(held)

    def _new_variable(self, optimizer: Optimizer, value: float) -> keras.Variable:
        return optimizer.add_variable(
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype=keras.config.floatx(),
            aggregation="only_first_replica",
            name=self.name,
        )
