"""Several optimizers as one, also before Keras 3.15, which brought `MultiOptimizer`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_dnn._typing import Tensor


def multi_optimizer(
    default: keras.optimizers.Optimizer,
    by_pattern: Mapping[str, keras.optimizers.Optimizer],
) -> keras.optimizers.Optimizer:
    """A `MultiOptimizer`: Keras's where it has one, else one that does the same.

    Args:
        default: for the variables whose path no pattern matches.
        by_pattern: an optimizer for each regular expression of a whole path.
    """
    if IN_KERAS:
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(default, dict(by_pattern))
        )
    return MultiOptimizer(default, by_pattern)


def is_multi_optimizer(optimizer: Any) -> bool:
    """Whether it delegates variables to several optimizers."""
    kinds = (MultiOptimizer, keras.optimizers.MultiOptimizer) if IN_KERAS else ()
    return isinstance(optimizer, kinds or MultiOptimizer)


IN_KERAS = hasattr(keras.optimizers, "MultiOptimizer")


@keras.saving.register_keras_serializable(package="keras_dnn")
class MultiOptimizer(keras.optimizers.Optimizer):
    """Delegates each variable to the optimizer whose pattern its path matches.

    Defined with every version of Keras, so that a model saved with an old one can be
    loaded with a newer one.

    Args:
        default: for the variables whose path no pattern matches.
        by_pattern: an optimizer for each regular expression of a whole path.
        name: of this optimizer.

    Attributes:
        optimizers: those to which variables are delegated, each once.
    """

    def __init__(
        self,
        default: keras.optimizers.Optimizer,
        by_pattern: Mapping[str, keras.optimizers.Optimizer],
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        self._default = default
        self._by_pattern = dict(by_pattern)
        each = {id(part): part for part in (*self._by_pattern.values(), default)}
        self.optimizers: list[keras.optimizers.Optimizer] = [*each.values()]

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Builds each optimizer on its own variables."""
        if self.built:
            return
        for optimizer, part in self._divided(variables, variables):
            optimizer.build([variable for variable, _ in part])
        super().build(variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """Its own count of batches, and the variables of all its optimizers."""
        own = list(super().variables)
        return own + [v for part in self.optimizers for v in part.variables]

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Has each optimizer apply the gradients of its own variables."""
        variables = trainable_variables
        if variables is None:
            variables = self._trainable_variables
        else:
            self.build(variables)
        for optimizer, part in self._divided(variables, grads):
            own, gradients = zip(*part, strict=True)
            optimizer.apply(list(gradients), list(own))
        self._iterations.assign_add(1)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Has each optimizer write its averages to its own variables."""
        for optimizer, part in self._divided(var_list, var_list):
            optimizer.finalize_variable_values([variable for variable, _ in part])

    @property
    def learning_rate(self) -> Any:
        """There is none: each of the optimizers has its own."""
        raise AttributeError(
            "A MultiOptimizer has no learning rate. Use that of each optimizer in "
            "its attribute `optimizers`."
        )

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise AttributeError(
            "A MultiOptimizer has no learning rate. Set that of each optimizer in its "
            f"attribute `optimizers`. Received: learning_rate={value!r}"
        )

    def get_config(self) -> dict[str, Any]:
        """The optimizers, serialised."""
        return {
            "default": keras.saving.serialize_keras_object(self._default),
            "by_pattern": {
                pattern: keras.saving.serialize_keras_object(optimizer)
                for pattern, optimizer in self._by_pattern.items()
            },
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> MultiOptimizer:
        """Creates the optimizer that returned this configuration."""
        made = keras.saving.deserialize_keras_object
        return cls(
            made(config["default"], custom_objects),
            {
                pattern: made(optimizer, custom_objects)
                for pattern, optimizer in config["by_pattern"].items()
            },
            config["name"],
        )

    def _divided(
        self, variables: Sequence[keras.Variable], values: Sequence[Any]
    ) -> Iterator[tuple[keras.optimizers.Optimizer, list[tuple[Any, Any]]]]:
        """Each optimizer that has variables, with these and the values beside them."""
        parts: defaultdict[int, list[tuple[Any, Any]]] = defaultdict(list)
        for variable, value in zip(variables, values, strict=True):
            parts[id(self._optimizer_of(variable))].append((variable, value))
        for optimizer in self.optimizers:
            if parts[id(optimizer)]:
                yield optimizer, parts[id(optimizer)]

    def _optimizer_of(self, variable: keras.Variable) -> keras.optimizers.Optimizer:
        found = [
            optimizer
            for pattern, optimizer in self._by_pattern.items()
            if re.fullmatch(pattern, variable.path)
        ]
        if len(found) > 1:
            raise ValueError(
                "by_pattern must give one optimizer for each variable. "
                f"Received: {len(found)} patterns that match {variable.path!r}"
            )
        return found[0] if found else self._default
