"""A rule: what a subclass of `Optimizer` defines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from keras_dnn._keras.optimizers import KerasOptimizer
from keras_dnn._typing import Tensor
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._scalar import Scalar, Values


class Rule(KerasOptimizer):
    """The part of `Optimizer` that a subclass writes."""

    learning_rate: Hyperparameter = Hyperparameter(dtype=None)
    weight_decay: Hyperparameter = Hyperparameter(absent=None, dtype="float32")

    slots: tuple[str, ...] = ()
    """Names of the tensors that the rule keeps for each weight."""

    counters: ClassVar[tuple[str, ...]] = ()
    """Names of the numbers that the rule keeps for all weights; initially 1."""

    elementwise: ClassVar[bool] = False
    """Whether each entry is updated by itself, so that weights can share a tensor."""

    ignores_zero_gradients: bool = False
    """Whether a gradient of zero changes nothing, so that sparse rows are exact."""

    equations: str = ""
    """The rule as `explain` prints it, one equation a line."""

    def initial_value(self, slot: str) -> float:
        """The value of a slot before the first update.

        Args:
            slot: its name.

        Returns:
            The number that fills it.
        """
        return 0.0

    def advance_counters(self, *counters: Scalar, now: Values) -> Sequence[Scalar]:
        """Advances the counters, before each update.

        Args:
            *counters: their values, in the order of `counters`.
            now: the hyperparameters at this update; `now.step` counts updates from 1.

        Returns:
            The new values. `update` finds them in `now` under their names.
        """
        return counters

    def update(self, g: Tensor, *slots: Tensor, **hyperparameters: Any) -> Any:
        """The rule: one step for one weight tensor.

        Args:
            g: the gradient, clipped and in the dtype of the weights.
            *slots: the tensors that the rule keeps for them, in the order of `slots`.
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
