"""A hyperparameter: a number that training reads again at every step."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._keras.optimizers import LEARNING_RATE
from keras_dnn._tensorflow import tf
from keras_dnn.optimizers._scalar import Scalar

if TYPE_CHECKING:
    from keras_dnn.optimizers._optimizer import Optimizer

LearningRateSchedule = keras.optimizers.schedules.LearningRateSchedule

PRESENT = object()
"""In `Hyperparameter.absent`: the rule always has the hyperparameter."""


class Hyperparameter:
    """An optimizer's attribute that is a float, a schedule or a callable.

    A float is kept in a variable, so that setting the attribute in the middle of
    `fit` takes effect at the next step without retracing; it is saved and restored
    with the optimizer. A schedule is called with the count of optimizer updates, a
    callable with nothing. In each case the value is read inside the graph. A schedule
    that is set when a step is compiled already takes effect once it is compiled again;
    a warning says so.

    Args:
        minimum: the smallest value allowed.
        below: values must be less than this.
        absent: a value that means the rule works without it; an optimizer that was
            created without a hyperparameter cannot be given one later.
        dtype: of the variable, `None` for `keras.config.floatx()`, in which Keras keeps
            its learning rate. `"float32"` is what `keras.ops.cast` rounds a Python
            float to, even in a float64 model.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import Hyperparameter, Optimizer
        >>> class SignDescent(Optimizer):
        ...     strength = Hyperparameter(below=10.0)
        ...
        ...     def __init__(self, learning_rate=0.1, strength=1.0, **kwargs):
        ...         super().__init__(learning_rate, **kwargs)
        ...         self.strength = strength
        ...
        ...     def update(self, g, *, now, ahead):
        ...         return -now.strength * now.learning_rate * keras.ops.sign(g)
        >>> optimizer = SignDescent()
        >>> optimizer.strength = 0.5
        >>> w = keras.Variable(1.0)
        >>> optimizer.apply([keras.ops.array(3.0)], [w])
        >>> round(float(w), 6)
        0.95
    """

    def __init__(
        self,
        minimum: float = 0.0,
        below: float = _arguments.INFINITY,
        absent: Any = PRESENT,
        dtype: str | None = "float64",
    ) -> None:
        self.minimum = minimum
        self.below = below
        self.absent = absent
        self.dtype = dtype

    def __set_name__(self, owner: type, name: str) -> None:
        self.name: str = name
        # Keras's own methods read the learning rate where Keras stores it.
        self.store: str = LEARNING_RATE if name == "learning_rate" else f"_{name}"
        self.override_store: str = f"_{name}_override"
        self.traced_store: str = f"_{name}_is_traced"

    def __get__(self, optimizer: Optimizer | None, owner: type | None = None) -> Any:
        if optimizer is None:
            return self
        try:
            stored = optimizer.__dict__[self.store]
        except KeyError:
            raise AttributeError(self.name) from None
        if stored is None:
            return self.absent
        moving = callable(stored) or self.override_store in optimizer.__dict__
        return self.read(optimizer).value if moving else stored

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        value = self.check(value)
        stored = optimizer.__dict__.get(self.store)
        if value is None and isinstance(stored, keras.Variable):
            value = 0.0
        if stored is None and value is not None and self.store in optimizer.__dict__:
            raise TypeError(
                f"{self.name} was {self.absent} when the optimizer was created. Create "
                "it with another value to set it later. "
                f"Received: {self.name}={value}"
            )
        if isinstance(value, float):
            if callable(stored):
                raise TypeError(
                    f"{self.name} follows a schedule or callable, so a number cannot "
                    "be set over it. Create the optimizer with a float to set it "
                    f"later. Received: {self.name}={value}"
                )
            if isinstance(stored, keras.Variable):
                stored.assign(value)
                return
            value = self._new_variable(optimizer, value)
        elif isinstance(stored, keras.Variable):
            optimizer._remove_variable(stored)
        if callable(value) and optimizer.__dict__.pop(self.traced_store, False):
            warnings.warn(
                f"{self.name} is compiled into a training step, which will not see the "
                "schedule. Call model.make_train_function(force=True) before the next "
                "fit, or compile the model again.",
                stacklevel=3,
            )
        optimizer.__dict__[self.store] = value

    def check(self, value: Any) -> Any:
        """Checks a value before it is set.

        Args:
            value: a number, a schedule or a callable.

        Returns:
            The value: a number as a float, `None` for an absent one.

        Raises:
            ValueError: if it is out of range or of another kind.
        """
        if callable(value):
            owner = getattr(value, "__self__", None)
            if isinstance(owner, LearningRateSchedule) or isinstance(value, type):
                raise ValueError(
                    f"{self.name} must be a schedule, not what makes one: write "
                    f"{value.__name__}(...) with its brackets. "
                    f"Received: {self.name}={_arguments.shown(value)}"
                )
            return value
        if value is None and self.absent is None:
            return None
        kinds = ", a LearningRateSchedule or a callable without arguments"
        number = _arguments.number(
            self.name, value, self.minimum, self.below, or_else=kinds
        )
        if number != self.absent:
            # What is stored must be in range too: float32 rounds 1 - 1e-9 to 1.
            stored = np.dtype(self.dtype or keras.config.floatx()).type(number)
            _arguments.number(self.name, float(stored), self.minimum, self.below)
            return number
        return None

    def read(self, optimizer: Optimizer, ahead: int = 0) -> Scalar:
        """Reads the value at the optimizer's current update, or some updates later.

        Args:
            optimizer: the optimizer whose value it is.
            ahead: how many updates later. Only a schedule knows its later values;
                anything else is assumed to stay as it is.

        Returns:
            The value.
        """
        stored = optimizer.__dict__[self.store]
        if not tf.executing_eagerly():
            optimizer.__dict__[self.traced_store] = True
        override = optimizer.__dict__.get(self.override_store)
        if override is not None:
            return Scalar(override(optimizer.iterations + ahead))
        if isinstance(stored, LearningRateSchedule):
            return Scalar(stored(optimizer.iterations + ahead))
        if callable(stored):
            return Scalar(stored())
        return Scalar(stored, literal=True)

    def config(self, optimizer: Optimizer) -> Any:
        """Gives the value in the form that `get_config` needs.

        Args:
            optimizer: the optimizer whose value it is.

        Returns:
            A float, `None` or a serialised object.
        """
        stored = optimizer.__dict__[self.store]
        if stored is None:
            return self.absent
        if isinstance(stored, keras.Variable):
            return float(stored.numpy())
        return keras.saving.serialize_keras_object(stored)

    def _new_variable(self, optimizer: Optimizer, value: float) -> keras.Variable:
        return optimizer.add_variable(
            shape=(),
            # Keras's initializer would round a Python float to seven digits.
            initializer=keras.initializers.Constant(np.float64(value)),
            dtype=self.dtype or keras.config.floatx(),
            aggregation="only_first_replica",
            name=self.name,
        )
