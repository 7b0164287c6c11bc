"""The update: what happens on each device that holds a copy of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import _block_update, _gradients, _replicas
from keras_dnn.optimizers._block_update import Part
from keras_dnn.optimizers._scalar import Scalar
from keras_dnn.optimizers._weight_blocks import SMALL

if TYPE_CHECKING:
    from keras_dnn.optimizers._engine import Engine


@dataclass(frozen=True)
class Update:
    """One update of an optimizer; what each device has of its own comes as `state`.

    Attributes:
        optimizer: whose update it is.
        index: positions of the variables that have a gradient.
        lazy: positions of the tables of which only rows with a gradient change.
        decays: for each variable, whether it loses weight.
        constraints: by position.
    """

    optimizer: Engine
    index: Sequence[int]
    lazy: set[int]
    decays: Sequence[bool]
    constraints: Mapping[int, Callable[[Tensor], Tensor]]

    def on_every_device(self, strategy: Any, state: dict[str, Any]) -> None:
        """Runs the update on every device that holds a copy of the weights."""
        if strategy.num_replicas_in_sync > 1:
            _replicas.refuse_what_keras_cannot_do()
        strategy.extended.update(
            state["weights"][0],
            lambda _, state: self.on_device(state),
            args=(state,),
            group=False,
        )

    def on_device(self, state: dict[str, Any]) -> None:
        """Updates the weights, or leaves it out, or only accumulates."""

        def update() -> None:
            if state["finite"] is None:
                self._update_weights(state)
            else:
                tf.cond(
                    state["finite"],
                    lambda: self._update_weights(state),
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

    def _update_weights(self, state: dict[str, Any]) -> None:
        now, ahead = (SimpleNamespace(**state[when]) for when in ("now", "ahead"))
        now.step = Scalar(state["iterations"] + 1)
        counters = self.optimizer.count(*map(Scalar, state["counters"]), now=now)
        for name, variable, value in zip(
            self.optimizer.counters, state["counters"], counters, strict=True
        ):
            variable.assign(value.value)
            setattr(now, name, value)

        rule = partial(self.optimizer.update, now=now, ahead=ahead)
        parts = list(self._parts(state, now))
        sparse = [part for part in parts if part.sparse]
        fused = [part for part in parts if not part.sparse and self._fuses(part)]
        _block_update.run(fused, rule, fused=True)
        _block_update.run(
            [p for p in parts if p not in sparse + fused], rule, fused=False
        )
        for part in sparse:
            part.update_rows(rule, lazy=self.optimizer.sparse == "lazy")

        bounded = {
            i
            for part in parts
            for i, bound in zip(part.block.members, part.bounds, strict=True)
            if bound is not None
        }
        for i, constraint in self.constraints.items():
            if i not in bounded:
                weight = state["weights"][i]
                weight.assign(constraint(tf.convert_to_tensor(weight)))
        self._update_averages(state)

    def _parts(self, state: dict[str, Any], now: SimpleNamespace) -> Iterator[Part]:
        gradients = dict(zip(self.index, state["gradients"], strict=True))
        decay = None
        if hasattr(now, "weight_decay"):
            decay = now.weight_decay * now.learning_rate
        for block, slots in zip(self.optimizer._blocks, state["slots"], strict=True):
            if gradients.keys().isdisjoint(block.members):
                continue
            yield Part(
                block=block,
                weights=[state["weights"][i] for i in block.members],
                gradients=[gradients.get(i) for i in block.members],
                slots=slots,
                decay=decay,
                decays=[self.decays[i] for i in block.members],
                lazy=[state["named"].get(i, i in self.lazy) for i in block.members],
                bounds=[self._bound(i, gradients.get(i)) for i in block.members],
            )

    def _bound(self, index: int, gradient: Tensor) -> Callable[[Tensor], Tensor] | None:
        """The constraint of a weight, if it can be compiled with the update.

        Rows alone are not brought back: the rest of the table may have moved too.
        """
        constraint = self.constraints.get(index)
        joins = getattr(constraint, "joins_update", False)
        return constraint if joins and not _gradients.is_sparse(gradient) else None

    def _fuses(self, part: Part) -> bool:
        """Whether XLA is to compile the update of this part."""
        # Outside a graph it would be compiled anew at each step.
        if tf.executing_eagerly() or self.optimizer.fused is False:
            return False
        on_cpu = all("GPU" not in weight.device for weight in part.weights)
        alone = self.optimizer._distribution_strategy.num_replicas_in_sync == 1
        return bool(self.optimizer.fused) or (part.numbers > SMALL and on_cpu and alone)

    def _update_averages(self, state: dict[str, Any]) -> None:
        if not self.optimizer.use_ema:
            return
        pairs = [
            (weight, average)
            for weight, average in zip(state["weights"], state["averages"], strict=True)
            if average is not None
        ]
        for weight, average in pairs:
            started = tf.cast(state["iterations"] > 0, weight.dtype)
            momentum = self.optimizer.ema_momentum * started
            average.assign(momentum * average + (1 - momentum) * weight)

        if self.optimizer.ema_overwrite_frequency:

            def overwrite() -> None:
                for weight, average in pairs:
                    weight.assign(tf.convert_to_tensor(average))

            tf.cond(
                (state["iterations"] + 1) % self.optimizer.ema_overwrite_frequency == 0,
                overwrite,
                lambda: None,
            )
