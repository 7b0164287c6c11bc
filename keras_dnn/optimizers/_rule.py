"""A rule: what one update rule says of itself, and what it may say."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import keras

from keras_dnn._typing import Tensor
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._scalar import Scalar


class Rule(keras.optimizers.Optimizer):
    """The part of `Optimizer` that a subclass writes anew."""

    learning_rate = Hyperparameter(dtype=None)
    weight_decay = Hyperparameter(absent=None, dtype="float32")

    slots: tuple[str, ...] = ()
    """Names of the tensors that the rule keeps for each weight."""

    counters: ClassVar[tuple[str, ...]] = ()
    """Names of the numbers that the rule keeps for all weights, 1 at first."""

    elementwise: ClassVar[bool] = False
    """Whether each entry is updated by itself, so that weights may share a tensor."""

    rests_at_zero: bool = False
    """Whether a gradient of zero changes nothing, so that sparse rows are exact."""

    equations: str = ""
    """The rule as `explain` prints it, one equation a line."""

    def initial_value(self, slot: str) -> float:
        """What a slot holds before the first update.

        Args:
            slot: its name.

        Returns:
            The number that fills it.
        """
        return 0.0

    def count(self, *counters: Scalar, now: SimpleNamespace) -> Sequence[Scalar]:
        """Moves the counters on, before each update.

        Args:
            *counters: their values, in the order of `counters`.
            now: the hyperparameters at this update; `now.step` counts from 1.

        Returns:
            The new values. `update` finds them in `now` under their names.
        """
        return counters

    def update(self, g: Tensor, *slots: Tensor, **hyperparameters: Any) -> Any:
        """The rule: one step for one weight tensor.

        Args:
            g: the gradient, clipped and of the dtype of the weights.
            *slots: what the rule remembers of them, in the order of `slots`.
            **hyperparameters: `now` and `ahead`, with the hyperparameters at this
                update and at the next one as attributes. They are scalars that take
                the dtype of the tensor they meet.

        Returns:
            What to add to the weights, followed by the new slots if there are any.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `update`.")

    @classmethod
    def _hyperparameters(cls) -> dict[str, Hyperparameter]:
        return {
            name: attribute
            for base in reversed(cls.__mro__)
            for name, attribute in vars(base).items()
            if isinstance(attribute, Hyperparameter)
        }

    def _read_hyperparameters(self, ahead: int) -> dict[str, Scalar]:
        return {
            name: hyperparameter.read(self, ahead)
            for name, hyperparameter in self._hyperparameters().items()
            if self.__dict__[hyperparameter.store] is not None
        }
