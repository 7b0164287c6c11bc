"""The engine: what happens in a step around the rule.

    sum over replicas -> accumulate -> clip -> decay -> rule -> constraint -> average

Keras clips each replica's own gradient and then sums; clipping the sum is what one
device would do, so here the sum comes first. The first three parts are in this module;
the others, which each device does for its own copy of the weights, in `_update`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras

from keras_dnn._tensorflow import outside_traced_function, tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import _gradients, _replicas
from keras_dnn.optimizers._rule import Rule
from keras_dnn.optimizers._update import Accumulation, State, Update
from keras_dnn.optimizers._weight_blocks import Block, partition

Sparse: TypeAlias = Literal["dense", "lazy"]
"""Which rows of a table an update changes, where its gradient names some."""

Nonfinite: TypeAlias = Literal["propagate", "skip"]
"""What an update does with NaN or Inf in the gradients."""


class Engine(Rule):
    """Runs the rule of a subclass; see `Optimizer`, which documents the attributes."""

    sparse: Sparse
    nonfinite: Nonfinite
    fused: bool | None
    _excluded_from_decay: frozenset[int]

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the slots of `variables`; called once, by the first step."""
        if self.built:
            return
        super().build(variables)
        self._blocks = partition(variables, self.elementwise and bool(self.slots))
        self._unpacked = {b.members[0] for b in self._blocks if not b.packed}
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
        with self._strategy.extended.colocate_vars_with(_native(first)):
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
            gradients, variables = self._with_gradient(gradients, variables)
            # A step that fails, such as the one that finds a data set of unknown size
            # at its end, must not count: nothing may run before there is a gradient.
            # The last layer's is there first.
            with tf.control_dependencies([_gradients.values_of(gradients[-1])]):
                gradients, variables = self._with_update(gradients, variables)
                if gradients:
                    self._step(gradients, variables)
                self._applications.assign_add(1)

    def _matching(
        self,
        gradients: Sequence[Tensor | None],
        variables: Sequence[keras.Variable] | None,
    ) -> list[keras.Variable]:
        """The variables of the gradients, with the optimizer built on them."""
        if variables is None:
            if not self.built:
                raise ValueError(
                    "trainable_variables must be given to the first step of an "
                    "optimizer that is not built. Received: trainable_variables=None"
                )
            variables = self._model_variables
        if len(gradients) != len(variables):
            raise ValueError(
                f"grads must hold a gradient or None for each of the {len(variables)} "
                f"variables. Received: {len(gradients)} gradients"
            )
        variables = list(variables)
        if not self.built:
            with outside_traced_function(), keras.name_scope(self.name):
                self.build(variables)
        self._require_known(variables)
        return variables

    def _step(self, gradients: list[Tensor], variables: list[keras.Variable]) -> None:
        """The pipeline of this module, for variables that all have a gradient."""
        update = self._new_update(gradients, variables)
        named_rows = self._named_rows(gradients, update)
        gradients = [
            self._prepared(gradient, variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        with _replicas.clear_errors():
            gradients = _replicas.sum_over_replicas(gradients)
        gradients, accumulation = self._accumulate(gradients, update)
        finite = self._skip_unless_finite(gradients, accumulation)
        state = State(
            weights=[_native(v) for v in self._model_variables],
            gradients=self._clipped_gradients(gradients),
            named_rows=named_rows,
            slots=[[slot.value for slot in slots] for slots in self._slot_variables],
            counters=[counter.value for counter in self._counter_variables],
            averages=[_native(a) for a in self._averages] if self.use_ema else [],
            accumulation=accumulation,
            finite=finite,
            updates=tf.convert_to_tensor(self.iterations),
            now=self._read_hyperparameters(ahead=0),
            ahead=self._read_hyperparameters(ahead=1),
        )
        with _replicas.clear_errors():
            self._run_on_all_replicas(update.on_every_device, state)

    def _new_update(
        self, gradients: list[Tensor], variables: list[keras.Variable]
    ) -> Update:
        """What is known of the update before it runs."""
        positions = [self._position_of(variable) for variable in variables]
        lazy = {
            i
            for i, gradient in zip(positions, gradients, strict=True)
            if self.sparse == "lazy" and _gradients.is_sparse(gradient)
        }
        weights = [_native(variable) for variable in self._model_variables]
        return Update(
            optimizer=self,
            positions=positions,
            lazy=lazy,
            decays=[self._decays(i, weight) for i, weight in enumerate(weights)],
            constraints={
                i: variable.constraint
                for i, variable in zip(positions, variables, strict=True)
                if variable.constraint is not None
            },
        )

    def _named_rows(self, gradients: list[Tensor], update: Update) -> dict[int, Tensor]:
        """For packed tables, which rows the gradients name; none if that is unknown.

        A table that has a block of its own needs no mask: its gradient stays sparse, so
        that the cost of a step does not grow with the table.
        """
        if self.gradient_accumulation_steps or _replicas.replicas() > 1:
            return {}
        return {
            i: _gradients.named_rows(gradient)
            for i, gradient in zip(update.positions, gradients, strict=True)
            if i in update.lazy and i not in self._unpacked
        }

    def _prepared(self, gradient: Tensor, variable: keras.Variable) -> Tensor:
        """The gradient in the weight's dtype, each row named once, unscaled."""
        stays_sparse = (
            (self.sparse == "lazy" or self.ignores_zero_gradients)
            and not self.gradient_accumulation_steps
            and _replicas.replicas() == 1
            and self._position_of(variable) in self._unpacked
        )
        if _gradients.is_sparse(gradient) and stays_sparse:
            gradient = _gradients.sum_repeated_rows(gradient)
        else:
            gradient = tf.convert_to_tensor(gradient)
        gradient = tf.cast(gradient, variable.dtype)
        if self.loss_scale_factor is None:
            return gradient
        return _gradients.divide(gradient, self.loss_scale_factor)

    def _accumulate(
        self, gradients: list[Tensor], update: Update
    ) -> tuple[list[Tensor], Accumulation | None]:
        """The mean of the gradients so far, and what it takes to go on with them."""
        steps = self.gradient_accumulation_steps
        if not steps:
            return gradients, None
        due = (self._applications + 1) % steps == 0
        accumulators = [self._accumulators[i].value for i in update.positions]
        totals = [a + g for a, g in zip(accumulators, gradients, strict=True)]
        means = [total / steps for total in totals]
        return means, Accumulation(due, accumulators, totals)

    def _skip_unless_finite(
        self, gradients: list[Tensor], accumulation: Accumulation | None
    ) -> Tensor | None:
        """Whether the gradients are finite, `None` if that does not matter.

        An update that is skipped is counted, and the count of calls is set back to
        where the update began.
        """
        if self.nonfinite == "propagate":
            return None
        finite = _gradients.all_finite(gradients)
        skips = ~finite if accumulation is None else accumulation.due & ~finite
        skipped = tf.cast(skips, self._applications.dtype)
        self._skipped_steps.assign_add(tf.cast(skipped, "int64"))
        self._applications.assign_sub(skipped * (self.gradient_accumulation_steps or 1))
        return finite

    def _clip_to_bounds(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Keras's clipping, which would make sparse gradients dense."""
        values = [_gradients.values_of(g) for g in gradients]
        clipped = super()._clip_to_bounds(values)
        if clipped is values:
            return gradients
        return [
            _gradients.with_values(g, c) if _gradients.is_sparse(g) else c
            for g, c in zip(gradients, clipped, strict=True)
        ]

    def _decays(self, position: int, variable: Any) -> bool:
        return position not in self._excluded_from_decay and self._may_decay(variable)

    def _write_averages(self, variables: Sequence[keras.Variable]) -> None:
        # At the end of `fit`; Keras's own goes wrong where some layers are frozen.
        for variable in variables:
            average = self._averages[self._position_of(variable)]
            if average is not None:
                variable.assign(average)


def _native(variable: Any) -> Tensor:
    """TensorFlow's variable inside one of Keras."""
    return variable.value if isinstance(variable, keras.Variable) else variable
