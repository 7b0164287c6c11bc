"""What all update rules share: everything but the rule.

A rule is a pure function of one weight tensor, its gradient and its slots. Around it
this base class puts, in this order:

    sum over replicas -> accumulate -> clip -> decay -> rule -> moving average

Keras clips each replica's own gradient and then sums; clipping the sum is what one
device would do, so here the sum comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import keras

from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import HyperparameterValue, Tensor
from keras_dnn.optimizers._hyperparameter import Hyperparameter


class Optimizer(keras.optimizers.Optimizer):
    """Base class of the update rules in this package.

    A subclass names its slots and writes `update`, which reads like the equation of
    its paper. Hyperparameters are declared as class attributes of the type
    `Hyperparameter`; `learning_rate` and `weight_decay` are declared here.

    Schedules count optimizer updates: with `gradient_accumulation_steps=4` a schedule
    moves on once in four batches, where Keras's own optimizers count every batch. It is
    also asked for the value at the next update, so it must have one past its end.

    Args:
        learning_rate: a float, a `LearningRateSchedule` or a callable without
            arguments.
        weight_decay: decoupled weight decay, `None` for none: before each update
            every weight loses `learning_rate * weight_decay` of itself. A float, a
            schedule or a callable.
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
        ...     def update(self, theta, g, *, now, ahead):
        ...         return theta - now.learning_rate * keras.ops.sign(g)
        >>> optimizer = SignDescent(learning_rate=0.1)
        >>> w = keras.Variable([1.0, -2.0])
        >>> optimizer.apply([keras.ops.array([3.0, -4.0])], [w])
        >>> w.numpy()
        array([ 0.9, -1.9], dtype=float32)
    """

    learning_rate = Hyperparameter()
    weight_decay = Hyperparameter(optional=True)

    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the tensors that the rule keeps for each weight, zero at first."""

    def __init__(
        self,
        learning_rate: HyperparameterValue,
        *,
        weight_decay: HyperparameterValue | None = None,
        **kwargs: Any,
    ) -> None:
        require_tensorflow(f"keras_dnn.optimizers.{type(self).__name__}")
        super().__init__(
            learning_rate=type(self).learning_rate.check(learning_rate), **kwargs
        )
        self.weight_decay = weight_decay

    def update(
        self,
        theta: Tensor,
        g: Tensor,
        *slots: Any,
        **hyperparameters: Any,
    ) -> Any:
        """The rule: one step for one weight tensor.

        Args:
            theta: the weights.
            g: their gradient, clipped and of the same shape and dtype.
            *slots: what the rule remembers of them, in the order of `slots`.
            **hyperparameters: `now` and `ahead`, with the hyperparameters at this
                update and at the next one as attributes.

        Returns:
            The new `theta`, followed by the new slots if there are any.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `update`.")

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the slots of `variables`; called once, by the first step."""
        if self.built:
            return
        super().build(variables)
        self._slot_variables = [
            self.add_optimizer_variables(variables, name) for name in self.slots
        ]

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Makes one step.

        Args:
            grads: a gradient for each variable, `None` where there is none.
            trainable_variables: the variables; may be left out once the optimizer is
                built.
        """
        # An embedding's gradient names a row once for each use; as a dense tensor its
        # repeated rows are summed, without which every norm and square is wrong.
        dense = [None if g is None else tf.convert_to_tensor(g) for g in grads]
        if not self.built and trainable_variables is not None:
            self.build(list(trainable_variables))
        # A step that fails, such as the one that finds a data set of unknown size at
        # its end, must not count: nothing may run before there is a gradient. The last
        # layer's is there first.
        with tf.control_dependencies([g for g in dense if g is not None][-1:]):
            super().apply(dense, trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this optimizer anew."""
        moving = {
            name: hyperparameter.config(self)
            for name, hyperparameter in self._hyperparameters().items()
        }
        return {**super().get_config(), **moving}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """Creates the optimizer that `get_config` described."""
        objects = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in cls._hyperparameters()
            if isinstance(config.get(name), dict)
        }
        return cls(**{**config, **objects})

    @classmethod
    def _hyperparameters(cls) -> dict[str, Hyperparameter]:
        return {
            name: attribute
            for base in reversed(cls.__mro__)
            for name, attribute in vars(base).items()
            if isinstance(attribute, Hyperparameter)
        }

    def _read_hyperparameters(self, ahead: int) -> dict[str, Tensor]:
        return {
            name: tf.convert_to_tensor(hyperparameter.read(self, ahead))
            for name, hyperparameter in self._hyperparameters().items()
            if self.__dict__[hyperparameter.store] is not None
        }

    def _backend_apply_gradients(
        self, grads: list[Tensor], trainable_variables: list[keras.Variable]
    ) -> None:
        """Keras's hook: what `apply` does between unscaling and constraints."""
        gradients = _sum_over_replicas(grads)
        index = [self._get_variable_index(v) for v in trainable_variables]
        due: Tensor = None
        totals: list[Tensor] = []
        accumulators: list[Tensor] = []
        if self.gradient_accumulation_steps:
            steps = self.gradient_accumulation_steps
            due = (self._iterations + 1) % steps == 0
            accumulators = [self._accumulated_gradients[i].value for i in index]
            totals = [a + g for a, g in zip(accumulators, gradients, strict=True)]
            gradients = [total / steps for total in totals]

        tf.__internal__.distribute.interim.maybe_merge_call(
            self._update_every_copy,
            self._distribution_strategy,
            {
                "weights": [_native(v) for v in trainable_variables],
                "gradients": self._clip_gradients(gradients),
                "slots": [[s[i].value for s in self._slot_variables] for i in index],
                "averages": self._averages(index),
                "accumulators": accumulators,
                "totals": totals,
                "due": due,
                "iterations": tf.convert_to_tensor(self.iterations),
                "now": self._read_hyperparameters(ahead=0),
                "ahead": self._read_hyperparameters(ahead=1),
            },
            [self._use_weight_decay(_native(v)) for v in trainable_variables],
        )

    def _averages(self, index: list[int]) -> list[Tensor]:
        if not self.use_ema:
            return []
        return [self._model_variables_moving_average[i].value for i in index]

    def _update_every_copy(
        self, strategy: Any, state: dict[str, Any], decays: list[bool]
    ) -> None:
        """Runs the update on every device that holds a copy of the weights."""
        strategy.extended.update(
            state["weights"][0],
            lambda _, state: self._update_or_accumulate(state, decays),
            args=(state,),
            group=False,
        )

    def _update_or_accumulate(self, state: dict[str, Any], decays: list[bool]) -> None:
        if state["due"] is None:
            self._update_weights(state, decays)
            return

        def update() -> None:
            self._update_weights(state, decays)
            for accumulator in state["accumulators"]:
                accumulator.assign(tf.zeros_like(accumulator))

        def accumulate() -> None:
            for accumulator, total in zip(
                state["accumulators"], state["totals"], strict=True
            ):
                accumulator.assign(total)

        tf.cond(state["due"], update, accumulate)

    def _update_weights(self, state: dict[str, Any], decays: list[bool]) -> None:
        for weight, gradient, slots, decay in zip(
            state["weights"], state["gradients"], state["slots"], decays, strict=True
        ):
            now, ahead = (
                SimpleNamespace(
                    **{k: tf.cast(v, weight.dtype) for k, v in state[when].items()}
                )
                for when in ("now", "ahead")
            )
            theta = tf.convert_to_tensor(weight)
            if decay and hasattr(now, "weight_decay"):
                theta -= theta * now.weight_decay * now.learning_rate
            new = self.update(
                theta, tf.cast(gradient, weight.dtype), *slots, now=now, ahead=ahead
            )
            new = new if isinstance(new, tuple) else (new,)
            for variable, value in zip((weight, *slots), new, strict=True):
                variable.assign(value)
        self._update_averages(state)

    def _update_averages(self, state: dict[str, Any]) -> None:
        if not self.use_ema:
            return
        pairs = list(zip(state["weights"], state["averages"], strict=True))
        for weight, average in pairs:
            started = tf.cast(state["iterations"] > 0, weight.dtype)
            momentum = self.ema_momentum * started
            average.assign(momentum * average + (1 - momentum) * weight)

        if self.ema_overwrite_frequency:

            def overwrite() -> None:
                for weight, average in pairs:
                    weight.assign(tf.convert_to_tensor(average))

            tf.cond(
                (state["iterations"] + 1) % self.ema_overwrite_frequency == 0,
                overwrite,
                lambda: None,
            )


def _native(variable: Any) -> Tensor:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _sum_over_replicas(gradients: list[Tensor]) -> list[Tensor]:
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return gradients
    summed: list[Tensor] = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return summed
