"""The engine: what happens in a step around the rule.

    sum over replicas -> accumulate -> clip -> decay -> rule -> constraint -> average

Keras clips each replica's own gradient and then sums; clipping the sum is what one
device would do, so here the sum comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import _distribution, _gradients, _part
from keras_dnn.optimizers._blocks import SMALL, Block, partition
from keras_dnn.optimizers._part import Part
from keras_dnn.optimizers._scalar import Scalar


class Engine(keras.optimizers.Optimizer):
    """Runs the rule of a subclass; see `Optimizer`, which says what these are."""

    slots: tuple[str, ...]
    counters: ClassVar[tuple[str, ...]]
    elementwise: ClassVar[bool]
    rests_at_zero: bool
    sparse: str
    nonfinite: str
    fused: bool | None
    _spared: frozenset[int]

    def initial_value(self, slot: str) -> float:
        """What a slot holds before the first update."""
        raise NotImplementedError

    def count(self, *counters: Scalar, now: SimpleNamespace) -> Sequence[Scalar]:
        """Moves the counters on."""
        raise NotImplementedError

    def update(self, g: Tensor, *slots: Tensor, **hyperparameters: Any) -> Any:
        """The rule."""
        raise NotImplementedError

    def _read_hyperparameters(self, ahead: int) -> dict[str, Scalar]:
        raise NotImplementedError

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the slots of `variables`; called once, by the first step."""
        if self.built:
            return
        super().build(variables)
        self._blocks = partition(variables, self.elementwise and bool(self.slots))
        self._alone = {b.members[0] for b in self._blocks if not b.packed}
        self._slot_variables = [
            [self._add_slot(block, variables, slot) for slot in self.slots]
            for block in self._blocks
        ]
        self._counter_variables = [
            self.add_variable((), "ones", "float64", name=name)
            for name in self.counters
        ]

    def _add_slot(
        self, block: Block, variables: list[keras.Variable], slot: str
    ) -> keras.Variable:
        initializer = keras.initializers.Constant(self.initial_value(slot))
        first = variables[block.members[0]]
        if not block.packed:
            return self.add_variable_from_reference(first, slot, initializer)
        with self._distribution_strategy.extended.colocate_vars_with(_native(first)):
            return self.add_variable(
                block.shape, initializer, block.dtype, name=f"packed_{slot}"
            )

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
        gradients = list(grads)
        if not gradients:
            return
        variables = self._matching(gradients, trainable_variables)
        with keras.name_scope(self.name):
            gradients, variables = self._filter_empty_gradients(gradients, variables)
            # A step that fails, such as the one that finds a data set of unknown size
            # at its end, must not count: nothing may run before there is a gradient.
            # The last layer's is there first.
            with tf.control_dependencies([_gradients.values_of(gradients[-1])]):
                gradients, variables = (
                    self._overwrite_variables_directly_with_gradients(
                        gradients, variables
                    )
                )
                if gradients:
                    self._step(gradients, variables)
                self._iterations.assign_add(1)

    def _matching(
        self,
        gradients: list[Tensor | None],
        variables: Sequence[keras.Variable] | None,
    ) -> list[keras.Variable]:
        """The variables of the gradients, with the optimizer built on them."""
        if variables is None:
            if not self.built:
                raise ValueError(
                    "trainable_variables must be given to the first step of an "
                    "optimizer that is not built. Received: trainable_variables=None"
                )
            variables = self._trainable_variables
        if len(gradients) != len(variables):
            raise ValueError(
                f"grads must hold a gradient or None for each of the {len(variables)} "
                f"variables. Received: {len(gradients)} gradients"
            )
        variables = list(variables)
        if not self.built:
            with keras.name_scope(self.name):
                self.build(variables)
        self._check_variables_are_known(variables)
        return variables

    def _step(self, grads: list[Tensor], variables: list[keras.Variable]) -> None:
        index = [self._get_variable_index(v) for v in variables]
        lazy = {
            i: g
            for i, g in zip(index, grads, strict=True)
            if self.sparse == "lazy" and _gradients.is_sparse(g)
        }
        gradients = [
            self._prepared(g, v, i)
            for g, v, i in zip(grads, variables, index, strict=True)
        ]
        # A table that stands alone keeps its rows, so that no work grows with it.
        packed = {i: g for i, g in lazy.items() if i not in self._alone}
        several = _distribution.replicas() > 1
        with _distribution.clear_errors():
            gradients = _distribution.sum_over_replicas(gradients)

        due: Tensor = None
        totals: list[Tensor] = []
        accumulators: list[Tensor] = []
        steps = self.gradient_accumulation_steps
        if steps:
            due = (self._iterations + 1) % steps == 0
            accumulators = [self._accumulated_gradients[i].value for i in index]
            totals = [a + g for a, g in zip(accumulators, gradients, strict=True)]
            gradients = [total / steps for total in totals]

        finite = _gradients.all_finite(gradients) if self.nonfinite == "skip" else None
        if finite is not None:
            skipped = tf.cast(
                ~finite if due is None else due & ~finite, self._iterations.dtype
            )
            self._skipped_steps.assign_add(tf.cast(skipped, "int64"))
            # Goes back to where the update began, so that it does not count.
            self._iterations.assign_sub(skipped * (steps or 1))

        state = {
            "weights": [_native(v) for v in self._trainable_variables],
            "gradients": self._clip_gradients(gradients),
            "named": {} if steps or several else _gradients.named_rows(packed),
            "slots": [[slot.value for slot in slots] for slots in self._slot_variables],
            "counters": [counter.value for counter in self._counter_variables],
            "averages": self._averages(),
            "accumulators": accumulators,
            "totals": totals,
            "due": due,
            "finite": finite,
            "iterations": tf.convert_to_tensor(self.iterations),
            "now": self._read_hyperparameters(ahead=0),
            "ahead": self._read_hyperparameters(ahead=1),
        }
        plan = SimpleNamespace(
            index=index,
            lazy=set(lazy),
            decays=[self._decays(i, v) for i, v in enumerate(state["weights"])],
            constraints={
                i: v.constraint
                for i, v in zip(index, variables, strict=True)
                if v.constraint is not None
            },
        )
        with _distribution.clear_errors():
            tf.__internal__.distribute.interim.maybe_merge_call(
                lambda strategy, state: self._on_every_device(strategy, state, plan),
                self._distribution_strategy,
                state,
            )

    def _prepared(
        self, gradient: Tensor, variable: keras.Variable, index: int
    ) -> Tensor:
        """The gradient in the weight's dtype, each row named once, unscaled."""
        rows = (
            (self.sparse == "lazy" or self.rests_at_zero)
            and not self.gradient_accumulation_steps
            and _distribution.replicas() == 1
            and index in self._alone
        )
        if not _gradients.is_sparse(gradient):
            gradient = tf.convert_to_tensor(gradient)
        elif rows:
            gradient = _gradients.sum_repeated_rows(gradient)
        else:
            gradient = tf.convert_to_tensor(gradient)
        gradient = tf.cast(gradient, variable.dtype)
        if self.loss_scale_factor is None:
            return gradient
        return _gradients.divide(gradient, self.loss_scale_factor)

    def _clip_gradients(self, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        """Keras's clipping, which would make sparse gradients dense."""
        values = [_gradients.values_of(g) for g in grads]
        clipped = super()._clip_gradients(values)
        if clipped is values:
            return grads
        return [
            _gradients.with_values(g, c) if _gradients.is_sparse(g) else c
            for g, c in zip(grads, clipped, strict=True)
        ]

    def _decays(self, index: int, variable: Any) -> bool:
        return index not in self._spared and bool(self._use_weight_decay(variable))

    def _averages(self) -> list[Tensor]:
        if not self.use_ema:
            return []
        averages = self._model_variables_moving_average
        return [None if average is None else average.value for average in averages]

    def _on_every_device(
        self, strategy: Any, state: dict[str, Any], plan: SimpleNamespace
    ) -> None:
        """Runs the update on every device that holds a copy of the weights."""
        if strategy.num_replicas_in_sync > 1:
            _distribution.refuse_what_keras_cannot_do()
        strategy.extended.update(
            state["weights"][0],
            lambda _, state: self._on_device(state, plan),
            args=(state,),
            group=False,
        )

    def _on_device(self, state: dict[str, Any], plan: SimpleNamespace) -> None:
        """Updates the weights, or leaves it out, or only accumulates."""

        def update() -> None:
            if state["finite"] is None:
                self._update_weights(state, plan)
            else:
                tf.cond(
                    state["finite"],
                    lambda: self._update_weights(state, plan),
                    lambda: None,
                )

        def update_and_clear() -> None:
            update()
            for accumulator in state["accumulators"]:
                accumulator.assign(tf.zeros_like(accumulator))

        def accumulate() -> None:
            for accumulator, total in zip(
                state["accumulators"], state["totals"], strict=True
            ):
                accumulator.assign(total)

        if state["due"] is None:
            update()
        else:
            tf.cond(state["due"], update_and_clear, accumulate)

    def _update_weights(self, state: dict[str, Any], plan: SimpleNamespace) -> None:
        now, ahead = (SimpleNamespace(**state[when]) for when in ("now", "ahead"))
        now.step = Scalar(state["iterations"] + 1)
        counters = self.count(*map(Scalar, state["counters"]), now=now)
        for name, variable, value in zip(
            self.counters, state["counters"], counters, strict=True
        ):
            variable.assign(value.value)
            setattr(now, name, value)

        rule = partial(self.update, now=now, ahead=ahead)
        parts = list(self._parts(state, plan, now))
        sparse = [part for part in parts if part.sparse]
        fused = [part for part in parts if not part.sparse and self._fuses(part)]
        _part.run(fused, rule, fused=True)
        _part.run([p for p in parts if p not in sparse + fused], rule, fused=False)
        for part in sparse:
            part.update_rows(rule, lazy=self.sparse == "lazy")

        for i, constraint in plan.constraints.items():
            weight = state["weights"][i]
            weight.assign(constraint(tf.convert_to_tensor(weight)))
        self._update_averages(state)

    def _parts(
        self, state: dict[str, Any], plan: SimpleNamespace, now: SimpleNamespace
    ) -> Iterator[Part]:
        gradients = dict(zip(plan.index, state["gradients"], strict=True))
        decay = None
        if hasattr(now, "weight_decay"):
            decay = now.weight_decay * now.learning_rate
        for block, slots in zip(self._blocks, state["slots"], strict=True):
            if gradients.keys().isdisjoint(block.members):
                continue
            yield Part(
                block=block,
                weights=[state["weights"][i] for i in block.members],
                gradients=[gradients.get(i) for i in block.members],
                slots=slots,
                decay=decay,
                decays=[plan.decays[i] for i in block.members],
                lazy=[state["named"].get(i, i in plan.lazy) for i in block.members],
            )

    def _fuses(self, part: Part) -> bool:
        """Whether XLA is to compile the update of this part."""
        # Outside a graph it would be compiled anew at each step.
        if tf.executing_eagerly() or self.fused is False:
            return False
        on_cpu = all("GPU" not in weight.device for weight in part.weights)
        alone = self._distribution_strategy.num_replicas_in_sync == 1
        return bool(self.fused) or (part.numbers > SMALL and on_cpu and alone)

    def _update_averages(self, state: dict[str, Any]) -> None:
        if not self.use_ema:
            return
        pairs = [
            (weight, average)
            for weight, average in zip(state["weights"], state["averages"], strict=True)
            if average is not None
        ]
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
