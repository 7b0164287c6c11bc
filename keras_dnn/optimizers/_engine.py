"""The engine: what happens in a step around the rule.

    sum over replicas -> accumulate -> clip -> decay -> rule -> constraint -> average

Keras clips each replica's own gradient and then sums; clipping the sum is what one
device would do, so here the sum comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import _gradients, _replicas
from keras_dnn.optimizers._rule import Rule
from keras_dnn.optimizers._update import Update
from keras_dnn.optimizers._weight_blocks import Block, partition


class Engine(Rule):
    """Runs the rule of a subclass; see `Optimizer`, which says what these are."""

    sparse: str
    nonfinite: str
    fused: bool | None
    _spared: frozenset[int]

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
        several = _replicas.replicas() > 1
        with _replicas.clear_errors():
            gradients = _replicas.sum_over_replicas(gradients)

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
        update = Update(
            optimizer=self,
            index=index,
            lazy=set(lazy),
            decays=[self._decays(i, v) for i, v in enumerate(state["weights"])],
            constraints={
                i: v.constraint
                for i, v in zip(index, variables, strict=True)
                if v.constraint is not None
            },
        )
        with _replicas.clear_errors():
            tf.__internal__.distribute.interim.maybe_merge_call(
                update.on_every_device, self._distribution_strategy, state
            )

    def _prepared(
        self, gradient: Tensor, variable: keras.Variable, index: int
    ) -> Tensor:
        """The gradient in the weight's dtype, each row named once, unscaled."""
        rows = (
            (self.sparse == "lazy" or self.rests_at_zero)
            and not self.gradient_accumulation_steps
            and _replicas.replicas() == 1
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

    def _overwrite_model_variables_with_average_value(
        self, trainable_variables: Sequence[keras.Variable]
    ) -> None:
        # At the end of `fit`; Keras's own goes wrong where some layers are frozen.
        for variable in trainable_variables:
            index = self._get_variable_index(variable)
            average = self._model_variables_moving_average[index]
            if average is not None:
                variable.assign(average)

    def _averages(self) -> list[Tensor]:
        if not self.use_ema:
            return []
        averages = self._model_variables_moving_average
        return [None if average is None else average.value for average in averages]


def _native(variable: Any) -> Tensor:
    return variable.value if isinstance(variable, keras.Variable) else variable
