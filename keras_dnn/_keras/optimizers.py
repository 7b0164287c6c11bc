"""What Keras's optimizers keep private: state, hooks and the learning rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

State = TypeVar("State")

LEARNING_RATE = "_learning_rate"
"""The attribute in which an optimizer keeps the source of its learning rate."""

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


def optimizers_within(model: keras.Model) -> dict[str, Any]:
    """The optimizers that a training step of the model may apply, by their places.

    `model.optimizer` comes first. A step of the user's own may apply others: those that
    are attributes of the model or of a model in it, alone or in a list or dict, or
    that the code of its `train_step` names.
    """
    found: dict[str, Any] = {}
    for owner in sublayers(model):
        if isinstance(owner, keras.Model):
            prefix = "" if owner is model else f"{owner.name}."
            main = getattr(owner, "optimizer", None)
            places = [("optimizer", main), *vars(owner).items()]
            places += _named_by(getattr(type(owner), "train_step", None))
            for name, value in places:
                # TensorFlow lists everything again under names like this.
                if name.startswith("_self_"):
                    continue
                found |= _optimizers_in(f"{prefix}{name}", value)
    inner = {
        id(part)
        for optimizer in found.values()
        for part in nested_optimizers(optimizer)
        if part is not optimizer
    }
    unique = {id(o): path for path, o in reversed(found.items()) if id(o) not in inner}
    return {path: found[path] for path in found if path in unique.values()}


def nested_optimizers(optimizer: Any) -> list[Any]:
    """The optimizer and those inside it, as in a loss scale or a `MultiOptimizer`."""
    parts = parts_of(optimizer)
    found = [optimizer, innermost(optimizer), *parts, *map(innermost, parts)]
    return list({id(part): part for part in found}.values())


def _named_by(function: Any) -> list[tuple[str, Any]]:
    """What a function's code reads from around it."""
    if not inspect.isfunction(function):
        return []
    around = inspect.getclosurevars(function)
    return [*around.nonlocals.items(), *around.globals.items()]


def _optimizers_in(path: str, value: Any, depth: int = 3) -> dict[str, Any]:
    if isinstance(value, keras.optimizers.Optimizer):
        return {path: value}
    found: dict[str, Any] = {}
    if isinstance(value, dict | list | tuple) and depth:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            found |= _optimizers_in(f"{path}[{key!r}]", part, depth - 1)
    return found


def variables_of(optimizer: Any) -> list[keras.Variable]:
    """The variables that a built optimizer updates."""
    variables: list[keras.Variable] = optimizer._trainable_variables
    return variables


def calls_of(optimizer: Any) -> Tensor:
    """How often `apply` was called; `iterations` counts updates under accumulation."""
    return tf.convert_to_tensor(optimizer._iterations)


def learning_rate_source(optimizer: Any) -> Any:
    """The variable, schedule or callable that the learning rate comes from.

    `optimizer.learning_rate` is the value of a schedule, never the schedule.
    """
    return getattr(optimizer, LEARNING_RATE)


def set_learning_rate_source(optimizer: Any, source: Any) -> None:
    """Makes another schedule the source of the learning rate."""
    setattr(optimizer, LEARNING_RATE, source)


def override_learning_rate(optimizer: Any, value: Callable[[], Tensor] | None) -> None:
    """Makes Keras's own optimizer read its rate elsewhere; `None` ends that.

    The optimizer keeps the variable or schedule it has, so its saved state stays as it
    is. A graph that is traced already does not notice.
    """
    if value is None:
        vars(optimizer).pop(CURRENT_LEARNING_RATE, None)
    else:
        vars(optimizer)[CURRENT_LEARNING_RATE] = value


def has_overridden_learning_rate(optimizer: Any) -> bool:
    """Whether Keras's own optimizer reads its rate elsewhere for a while."""
    return CURRENT_LEARNING_RATE in vars(optimizer)


class KerasOptimizer(keras.optimizers.Optimizer):
    """Keras's optimizer, with a name of ours for each private one of Keras.

    Each member says which promise of `keras_dnn.optimizers` depends on it. They are for
    subclasses and begin with an underscore, so that they are no part of the public
    interface.
    """

    @property
    def _model_variables(self) -> list[keras.Variable]:
        """The variables it was built on; a step without variables updates these."""
        return variables_of(self)

    @property
    def _applications(self) -> keras.Variable:
        """Counts calls of `apply`; a skipped update sets it back.

        With accumulation several calls make one of the updates that `iterations`
        counts.
        """
        return self._iterations

    @property
    def _accumulators(self) -> list[keras.Variable]:
        """The sums of gradients so far; clipping sees the mean of all of them."""
        accumulators: list[keras.Variable] = self._accumulated_gradients
        return accumulators

    @property
    def _averages(self) -> list[keras.Variable | None]:
        """The moving averages of the weights, which follow the constrained weights."""
        averages: list[keras.Variable | None] = self._model_variables_moving_average
        return averages

    @property
    def _strategy(self) -> Any:
        """The distribution strategy; packed slots lie beside the first weight."""
        return self._distribution_strategy

    def _position_of(self, variable: Any) -> int:
        """The index of a variable, by which its slots, mask and constraint are found.

        Args:
            variable: of Keras, or the one of TensorFlow on a replica.
        """
        return int(self._get_variable_index(variable))

    def _require_known(self, variables: Sequence[Any]) -> None:
        """Raises the error of Keras for a variable that it was not built on."""
        self._check_variables_are_known(variables)

    def _with_gradient(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> tuple[list[Tensor], list[keras.Variable]]:
        """Drops weights without gradient, which stay as they are, and warns of them."""
        kept: tuple[list[Tensor], list[keras.Variable]] = self._filter_empty_gradients(
            gradients, variables
        )
        return kept

    def _with_update(
        self, gradients: list[Tensor], variables: list[keras.Variable]
    ) -> tuple[list[Tensor], list[keras.Variable]]:
        """Drops weights that are set to their gradient, the scales of float8."""
        kept: tuple[list[Tensor], list[keras.Variable]] = (
            self._overwrite_variables_directly_with_gradients(gradients, variables)
        )
        return kept

    def _clipped_gradients(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """The gradients after clipping, through the hook that a probe replaces."""
        clipped: Sequence[Tensor] = getattr(self, CLIP_GRADIENTS)(gradients)
        return clipped

    def _clip_to_bounds(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Clips as `clipnorm`, `clipvalue` and `global_clipnorm` say; to override."""
        clipped: Sequence[Tensor] = super()._clip_gradients(gradients)
        return clipped

    def _clip_gradients(self, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        return self._clip_to_bounds(grads)

    def _write_averages(self, variables: Sequence[Any]) -> None:
        """Sets weights to their averages at the end of `fit`; to override."""
        super()._overwrite_model_variables_with_average_value(variables)

    def _overwrite_model_variables_with_average_value(
        self, trainable_variables: Sequence[Any]
    ) -> None:
        self._write_averages(trainable_variables)

    def _may_decay(self, variable: Any) -> bool:
        """Whether `exclude_from_weight_decay` leaves a variable its weight decay."""
        return bool(self._use_weight_decay(variable))

    def _remove_variable(self, variable: keras.Variable) -> None:
        """Forgets a variable in whose place a schedule was set, so none saves it."""
        self._untrack_variable(variable)

    def _run_on_all_replicas(
        self, function: Callable[[Any, State], None], state: State
    ) -> None:
        """Calls `function(strategy, state)` once for all replicas, where they meet.

        Equal results on replicas and on one device depend on it.
        """
        tf.__internal__.distribute.interim.maybe_merge_call(
            function, self._distribution_strategy, state
        )
