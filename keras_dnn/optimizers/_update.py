"""The update: what each device does to its own copy of the weights.

    decay -> rule -> constraint -> average

unless the update is skipped, or only accumulates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import _block_update, _gradients, _replicas
from keras_dnn.optimizers._block_update import BlockUpdate
from keras_dnn.optimizers._scalar import Scalar, Values
from keras_dnn.optimizers._weight_blocks import SMALL

if TYPE_CHECKING:
    from keras_dnn.optimizers._engine import Engine

Constraint = Callable[[Tensor], Tensor]


class Accumulation(NamedTuple):
    """Gradients that wait for the update they belong to.

    Attributes:
        due: whether this step is the last one before the update.
        accumulators: the variables that hold the sums.
        totals: the sums with this step's gradients.
    """

    due: Tensor
    accumulators: list[Any]
    totals: list[Tensor]


class State(NamedTuple):
    """What an update works with; `tf.distribute` gives each device its own copy.

    Attributes:
        weights: all of them, by position.
        gradients: of the weights that have one, clipped.
        named_rows: by position, which rows the gradient of a packed table names.
        slots: the rule's variables, for each block.
        counters: the rule's variables for all weights.
        averages: of the weights by position, `None` of a weight without one; empty
            without `use_ema`.
        accumulation: `None` without accumulation.
        finite: whether all gradients are, `None` if that does not matter.
        updates: how many there were before.
        now: the hyperparameters at this update.
        ahead: the hyperparameters at the next update.
    """

    weights: list[Any]
    gradients: Sequence[Tensor]
    named_rows: dict[int, Tensor]
    slots: list[list[Any]]
    counters: list[Any]
    averages: list[Any]
    accumulation: Accumulation | None
    finite: Tensor | None
    updates: Tensor
    now: dict[str, Scalar]
    ahead: dict[str, Scalar]


@dataclass(frozen=True)
class Update:
    """One update of an optimizer; a device brings its own tensors as `State`.

    Attributes:
        optimizer: whose update it is.
        positions: of the variables that have a gradient.
        lazy: positions of the tables of which only rows with a gradient change.
        decays: for each variable, whether it has weight decay.
        constraints: by position.
    """

    optimizer: Engine
    positions: Sequence[int]
    lazy: set[int]
    decays: Sequence[bool]
    constraints: Mapping[int, Constraint]

    def on_every_device(self, strategy: Any, state: State) -> None:
        """Runs the update on every device that has a copy of the weights."""
        if strategy.num_replicas_in_sync > 1:
            _replicas.refuse_what_keras_cannot_do()
        strategy.extended.update(
            state.weights[0],
            lambda _, state: self.on_device(state),
            args=(state,),
            group=False,
        )

    def on_device(self, state: State) -> None:
        """Updates the weights, or skips the update, or only accumulates."""
        accumulation = state.accumulation
        if accumulation is None:
            self._update_if_finite(state)
            return

        def update_and_clear() -> None:
            self._update_if_finite(state)
            for accumulator in accumulation.accumulators:
                accumulator.assign(tf.zeros_like(accumulator))

        def accumulate() -> None:
            for accumulator, total in zip(
                accumulation.accumulators, accumulation.totals, strict=True
            ):
                accumulator.assign(total)

        tf.cond(accumulation.due, update_and_clear, accumulate)

    def _update_if_finite(self, state: State) -> None:
        if state.finite is None:
            self._update_weights(state)
        else:
            tf.cond(state.finite, lambda: self._update_weights(state), lambda: None)

    def _update_weights(self, state: State) -> None:
        now = Values(**state.now, step=Scalar(state.updates + 1))
        self._advance_counters(state, now)
        updates = list(self._block_updates(state, now))
        self._run_rule(updates, now, ahead=Values(**state.ahead))
        self._constrain(state, updates)
        self._average(state)

    def _advance_counters(self, state: State, now: Values) -> None:
        """Stores the new values of the rule's counters, in `now` too."""
        rule = self.optimizer
        counters = rule.advance_counters(*map(Scalar, state.counters), now=now)
        for name, variable, value in zip(
            rule.counters, state.counters, counters, strict=True
        ):
            variable.assign(value.value)
            setattr(now, name, value)

    def _run_rule(self, updates: list[BlockUpdate], now: Values, ahead: Values) -> None:
        rule = partial(self.optimizer.update, now=now, ahead=ahead)
        sparse = [update for update in updates if update.sparse]
        dense = [update for update in updates if not update.sparse]
        fused = [update for update in dense if self._fuses(update)]
        others = [update for update in dense if not self._fuses(update)]
        _block_update.run(fused, rule, fused=True)
        _block_update.run(others, rule, fused=False)
        for update in sparse:
            update.update_rows(rule, lazy=self.optimizer.sparse == "lazy")

    def _block_updates(self, state: State, now: Values) -> Iterator[BlockUpdate]:
        """The work for each block of which a weight has a gradient."""
        gradients = dict(zip(self.positions, state.gradients, strict=True))
        decay = None
        if hasattr(now, "weight_decay"):
            decay = now.weight_decay * now.learning_rate
        for block, slots in zip(self.optimizer._blocks, state.slots, strict=True):
            if gradients.keys().isdisjoint(block.members):
                continue
            yield BlockUpdate(
                block=block,
                weights=[state.weights[i] for i in block.members],
                gradients=[gradients.get(i) for i in block.members],
                slots=slots,
                decay=decay,
                decays=[self.decays[i] for i in block.members],
                lazy=[i in self.lazy for i in block.members],
                named_rows=[state.named_rows.get(i) for i in block.members],
                constraints=[
                    self._joined_constraint(i, gradients.get(i)) for i in block.members
                ],
            )

    def _joined_constraint(self, position: int, gradient: Tensor) -> Constraint | None:
        """The constraint of a weight, if it can be compiled with the update.

        Not with an update of single rows: other rows of the table may have decayed.
        """
        constraint = self.constraints.get(position)
        joins = getattr(constraint, "joins_update", False)
        return constraint if joins and not _gradients.is_sparse(gradient) else None

    def _fuses(self, update: BlockUpdate) -> bool:
        """Whether XLA should compile the update of this block."""
        # Outside a graph it would be compiled again at each step.
        if tf.executing_eagerly() or self.optimizer.fused is False:
            return False
        if self.optimizer.fused:
            return True
        on_cpu = all("GPU" not in weight.device for weight in update.weights)
        one_device = self.optimizer._strategy.num_replicas_in_sync == 1
        return update.size > SMALL and on_cpu and one_device

    def _constrain(self, state: State, updates: list[BlockUpdate]) -> None:
        """Applies the constraints that were not compiled with the update."""
        done = {
            i
            for update in updates
            for i, constraint in zip(
                update.block.members, update.constraints, strict=True
            )
            if constraint is not None
        }
        for i, constraint in self.constraints.items():
            if i not in done:
                weight = state.weights[i]
                weight.assign(constraint(tf.convert_to_tensor(weight)))

    def _average(self, state: State) -> None:
        """Moves the averages of the weights, and now and then the weights to them."""
        if not self.optimizer.use_ema:
            return
        pairs = [
            (weight, average)
            for weight, average in zip(state.weights, state.averages, strict=True)
            if average is not None
        ]
        for weight, average in pairs:
            started = tf.cast(state.updates > 0, weight.dtype)
            momentum = self.optimizer.ema_momentum * started
            average.assign(momentum * average + (1 - momentum) * weight)

        if self.optimizer.ema_overwrite_frequency:

            def overwrite() -> None:
                for weight, average in pairs:
                    weight.assign(tf.convert_to_tensor(average))

            tf.cond(
                (state.updates + 1) % self.optimizer.ema_overwrite_frequency == 0,
                overwrite,
                lambda: None,
            )
