"""The base class of all update rules: everything but the rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, get_args

import keras

from keras_dnn import _arguments
from keras_dnn._tensorflow import require_tensorflow
from keras_dnn._typing import HyperparameterValue
from keras_dnn.optimizers import _explanation
from keras_dnn.optimizers._engine import Engine, Nonfinite, Sparse

EXCLUDED = "spared_weight_decay"
"""In saved configurations, what has no weight decay."""


class Optimizer(Engine):
    """Base class of the update rules in this package.

    A subclass names its slots and writes `update`, which reads like the equation of
    its paper. Hyperparameters are declared as class attributes of the type
    `Hyperparameter`; `learning_rate` and `weight_decay` are declared here.

    Schedules count optimizer updates: with `gradient_accumulation_steps=4` a schedule
    advances once in four batches, where Keras's own optimizers count every batch. It is
    also called for the value at the next update, so it must have one past its end.
    Moving averages (`use_ema`) and constraints are also applied once an update, and the
    average is that of the constrained weights.

    Args:
        learning_rate: a float, a `LearningRateSchedule` or a callable without
            arguments.
        weight_decay: decoupled weight decay, `None` for none: before each update
            every weight loses the fraction `learning_rate * weight_decay` of itself. A
            float, a schedule or a callable.
        sparse: `"lazy"` to update only the rows that an embedding's gradient names,
            so that the cost of a step grows with these rows and not with the table:
            the other rows, their slots included, stay as they are and do not decay.
            `"dense"` is the exact rule, which updates them with a gradient of zero.
            Where gradients are accumulated or summed over replicas, the rows named are
            those whose sum is not zero.
        nonfinite: `"skip"` to skip an update whose gradients contain NaN or Inf, which
            leaves all state unchanged; `skipped_steps` counts them. `"propagate"` to
            make the update, as Keras does.
        fused: whether XLA compiles the update inside an ordinary graph; `None` to
            choose what is faster: fused on a CPU without a distribution strategy, for
            weights that are large enough.
        **kwargs: the arguments of `keras.optimizers.Optimizer`: `clipnorm`,
            `clipvalue`, `global_clipnorm`, `use_ema`, `ema_momentum`,
            `ema_overwrite_frequency`, `loss_scale_factor`,
            `gradient_accumulation_steps` and `name`.

    Raises:
        ValueError: if a value lies outside its range.
        RuntimeError: if Keras does not run on TensorFlow.

    Example:
        >>> import keras
        >>> from keras_dnn.optimizers import Optimizer
        >>> class SignDescent(Optimizer):
        ...     def update(self, g, *, now, ahead):
        ...         return -now.learning_rate * keras.ops.sign(g)
        >>> optimizer = SignDescent(learning_rate=0.1)
        >>> w = keras.Variable([1.0, -2.0])
        >>> optimizer.apply([keras.ops.array([3.0, -4.0])], [w])
        >>> w.numpy()
        array([ 0.9, -1.9], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: HyperparameterValue,
        *,
        weight_decay: HyperparameterValue | None = None,
        sparse: Sparse = "dense",
        nonfinite: Nonfinite = "propagate",
        fused: bool | None = None,
        **kwargs: Any,
    ) -> None:
        require_tensorflow(f"keras_dnn.optimizers.{type(self).__name__}")
        _check(kwargs)
        kwargs.setdefault("name", type(self).__name__.lower())
        super().__init__(
            learning_rate=type(self).learning_rate.check(learning_rate), **kwargs
        )
        # Keras's constructor has set it to None, which could not be changed any more.
        del self.__dict__[type(self).weight_decay.store]
        self.weight_decay = weight_decay
        self.sparse: Sparse = _arguments.choice("sparse", sparse, get_args(Sparse))
        self.nonfinite: Nonfinite = _arguments.choice(
            "nonfinite", nonfinite, get_args(Nonfinite)
        )
        self.fused: bool | None = (
            None if fused is None else _arguments.switch("fused", fused)
        )
        self._excluded_from_decay: frozenset[int] = frozenset()
        self._excluded_names: tuple[str, ...] = ()
        if nonfinite == "skip":
            self._skipped_steps = self.add_variable(
                (), "zeros", "int64", "only_first_replica", name="skipped_steps"
            )

    @property
    def skipped_steps(self) -> int:
        """How many updates were skipped because of NaN or Inf in the gradients."""
        return 0 if self.nonfinite == "propagate" else int(self._skipped_steps.numpy())

    def explain(self) -> None:
        """Prints the rule's equations, with the letters and with their values now."""
        print(_explanation.of(self))  # noqa: T201

    def exclude_from_weight_decay(
        self, var_list: Any = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Excludes variables from weight decay; to be called before the first step.

        Unlike Keras's own method, it is saved with the optimizer.

        Args:
            var_list: the variables.
            var_names: regular expressions; a variable is excluded if one of them is
                found in its name.
        """
        super().exclude_from_weight_decay(var_list, var_names)
        self._excluded_names = tuple(var_names or ())

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer again."""
        hyperparameters = {
            name: hyperparameter.config(self)
            for name, hyperparameter in self._hyperparameters().items()
        }
        config = {
            **super().get_config(),
            **hyperparameters,
            "sparse": self.sparse,
            "nonfinite": self.nonfinite,
            "fused": self.fused,
        }
        excluded = self._excluded_in_config()
        return {**config, EXCLUDED: excluded} if excluded else config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """Creates the optimizer that `get_config` described."""
        arguments = dict(config)
        excluded = arguments.pop(EXCLUDED, [])
        for name in cls._hyperparameters():
            if isinstance(arguments.get(name), dict):
                arguments[name] = keras.saving.deserialize_keras_object(
                    arguments[name], custom_objects=custom_objects
                )
        optimizer = cls(**arguments)
        positions = (i for i in excluded if isinstance(i, int))
        optimizer._excluded_from_decay = frozenset(positions)
        names = [name for name in excluded if isinstance(name, str)]
        if names:
            optimizer.exclude_from_weight_decay(var_names=names)
        return optimizer

    def _excluded_in_config(self) -> list[int | str]:
        """Positions of the variables without weight decay, or names before `build`."""
        if not self.built:
            return [*sorted(self._excluded_from_decay), *self._excluded_names]
        variables = enumerate(self._model_variables)
        return [i for i, v in variables if not self._decays(i, v)]


def _check(arguments: dict[str, Any]) -> None:
    """Checks the arguments of Keras's base class, which Keras itself does not."""
    for name in ("clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor"):
        if arguments.get(name) is not None:
            _arguments.number(name, arguments[name], bounds="()")
    if "ema_momentum" in arguments:
        _arguments.number("ema_momentum", arguments["ema_momentum"], 0, 1, "[]")
    if "use_ema" in arguments:
        _arguments.switch("use_ema", arguments["use_ema"])
    if arguments.get("ema_overwrite_frequency") is not None:
        _arguments.count(
            "ema_overwrite_frequency", arguments["ema_overwrite_frequency"]
        )
    steps = arguments.get("gradient_accumulation_steps")
    if steps is not None:
        _arguments.count("gradient_accumulation_steps", steps, least=2)
