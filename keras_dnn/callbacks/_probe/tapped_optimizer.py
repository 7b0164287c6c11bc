"""One of the optimizers that a training step may apply, with its hooks in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_dnn._keras.optimizers import (
    CLIP_GRADIENTS,
    calls_of,
    has_overridden_learning_rate,
    innermost,
    learning_rate_source,
    parts_of,
    variables_of,
)
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.training_step import TrainingStep
from keras_dnn.optimizers import Optimizer

if TYPE_CHECKING:
    from keras_dnn.callbacks._probe.tap import Tap
    from keras_dnn.callbacks.probe import Probe


@dataclasses.dataclass(frozen=True)
class Applying:
    """The call of `apply` that a thread is tracing.

    Attributes:
        steps: what each probe is given.
        indices: of the variables whose gradients each part clips.
        updates: how many updates each part had made before.
    """

    steps: dict[Probe, TrainingStep]
    indices: dict[TappedPart, list[int]]
    updates: dict[TappedPart, Tensor]


class TappedOptimizer:
    """Lets probes see what passes through one of a step's optimizers.

    A `MultiOptimizer` gives each of its optimizers a part of the gradients; any other
    optimizer is its own only part.

    Args:
        tap: the tap that the probes are attached to.
        path: where the optimizer was found, such as `"optimizer"`.
        outer: the optimizer, or the `LossScaleOptimizer` around it.
    """

    def __init__(self, tap: Tap, path: str, outer: Any) -> None:
        self.tap = tap
        self.path = path
        # The loss passes the optimizer outside, which scales it for float16.
        self.outer = outer
        self.optimizer = innermost(outer)
        self.parts: list[TappedPart] = []
        self._apply = self.optimizer.apply
        self._scale_loss = outer.scale_loss
        vars(outer)["scale_loss"] = self.scale_loss
        vars(self.optimizer)["apply"] = self.apply

    def __str__(self) -> str:
        return f"{self.path} ({type(self.optimizer).__name__})"

    def unwrap(self) -> None:
        """Gives the optimizer its own methods back."""
        # In the order in which they were wrapped: a part may be the whole optimizer.
        while self.parts:
            self.parts.pop().unwrap()
        del vars(self.optimizer)["apply"]
        del vars(self.outer)["scale_loss"]

    def divide(self, variables: Sequence[keras.Variable]) -> None:
        """Wraps the parts, once the variables are known."""
        if self.parts:
            return
        if not hasattr(self.optimizer, "optimizers"):
            self.parts = [TappedPart(self.tap, self.optimizer, variables=None)]
            return
        # Which optimizers there are may be decided variable by variable.
        if not self.outer.built:
            self.outer.build(variables)
        self.parts = [
            TappedPart(self.tap, optimizer, variables_of(optimizer))
            for optimizer in parts_of(self.optimizer)
            if optimizer.built
        ]

    def variables(self) -> list[keras.Variable]:
        """What it trains; empty before it is built."""
        return variables_of(self.optimizer) if self.optimizer.built else []

    def owns(self, variables: Sequence[Any]) -> bool:
        """Whether it trains any of these variables."""
        mine = {id(_native(v)) for v in self.variables()}
        return any(id(_native(v)) in mine for v in variables)

    def number(self) -> Tensor:
        """How many updates it has made."""
        # A `MultiOptimizer` itself counts batches, also where its parts accumulate.
        counts = [part.updates() for part in self.parts]
        if not counts:
            return tf.convert_to_tensor(self.optimizer.iterations)
        return counts[0] if len(counts) == 1 else tf.reduce_max(counts)

    # In place of the methods of the optimizer -----------------------------------------

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Shows the loss to the probes, then scales it."""
        self.tap.see_loss(loss, self)
        scaled = self._scale_loss(loss)
        self.tap.remember(scaled)
        return scaled

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Makes the optimizer's step between the hooks of the probes."""
        tap = self.tap
        grads = list(grads)
        trained = (
            self.variables()
            if trainable_variables is None
            else list(trainable_variables)
        )
        if not grads or not tap.begin_update(self, trained):
            self._apply(grads, trainable_variables)
            return
        for part in self.parts:
            part.note_learning_rate()
        updates = {part: part.updates() for part in self.parts}
        number = tap.number()
        owned = tap.indices_of(self.variables() or trained)
        steps = {
            probe: TrainingStep(tap.variables, number, owned) for probe in tap.probes
        }
        indices = {part: part.indices(grads, trained) for part in self.parts}
        for probe, step in steps.items():
            probe.before_update(step)
        tap.tracing.applying = Applying(steps, indices, updates)
        try:
            self._apply(grads, trained)
        finally:
            del tap.tracing.applying
        moved = [part.updates() > before for part, before in updates.items()]
        updated = moved[0] if len(moved) == 1 else tf.reduce_any(moved)
        for probe, step in steps.items():
            step.updated = updated
            probe.after_update(step)
            for record in step.entries:
                record._write(step)


class TappedPart:
    """Lets probes see what passes through an optimizer that makes updates itself.

    Args:
        tap: the tap that the probes are attached to.
        optimizer: the optimizer.
        variables: what it trains; `None` for all variables that `apply` is given.
    """

    def __init__(
        self, tap: Tap, optimizer: Any, variables: Sequence[keras.Variable] | None
    ) -> None:
        self.tap = tap
        self.optimizer = optimizer
        self.variables = variables
        self._compiled_rate: Any = None
        self._clip_gradients = getattr(optimizer, CLIP_GRADIENTS)
        vars(optimizer)[CLIP_GRADIENTS] = self.clip_gradients

    def unwrap(self) -> None:
        """Gives the optimizer its own method back."""
        del vars(self.optimizer)[CLIP_GRADIENTS]

    def updates(self) -> Tensor:
        """How many updates the optimizer has made."""
        return tf.convert_to_tensor(self.optimizer.iterations)

    def note_learning_rate(self) -> None:
        """Notes where the step that is being traced reads the learning rate."""
        if self._compiled_rate is None:
            self._compiled_rate = learning_rate_source(self.optimizer)

    def forget_learning_rate(self) -> None:
        """Forgets it, for a step that will be traced again."""
        self._compiled_rate = None

    @property
    def has_stale_rate(self) -> bool:
        """Whether the compiled step reads another learning rate than is set now."""
        # Optimizers of this package warn by themselves, and at once.
        if self._compiled_rate is None or isinstance(self.optimizer, Optimizer):
            return False
        if has_overridden_learning_rate(self.optimizer):
            return False
        return learning_rate_source(self.optimizer) is not self._compiled_rate

    def indices(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> list[int]:
        """The positions of the variables whose gradients will be clipped here."""
        mine = None if self.variables is None else set(map(id, self.variables))
        clipped = [
            v
            for g, v in zip(gradients, variables, strict=True)
            if g is not None
            and (mine is None or id(v) in mine)
            and not getattr(v, "overwrite_with_gradient", False)
        ]
        return self.tap.indices_of(clipped)

    def clip_gradients(self, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        """Clips the gradients and shows them to the probes."""
        clipped: Sequence[Tensor] = self._clip_gradients(grads)
        now: Applying | None = getattr(self.tap.tracing, "applying", None)
        if now is None:
            return clipped
        # Keras clips the gradient of each replica; what moves the weights is the sum.
        summed = self._summed(grads)
        summed_clipped = summed if clipped is grads else self._summed(clipped)
        for probe, step in now.steps.items():
            probe._on_clipping(
                step, now.indices[self], summed, summed_clipped, self._updates_now
            )
        return clipped

    def _updates_now(self) -> Tensor | bool:
        """Whether the gradients that are being clipped will update the weights."""
        # Keras's optimizers clip inside the condition that makes the update.
        if not isinstance(self.optimizer, Optimizer):
            return True
        due: Tensor | bool = True
        steps = self.optimizer.gradient_accumulation_steps
        if steps:
            due = (calls_of(self.optimizer) + 1) % steps == 0
        if self.optimizer.nonfinite == "skip":
            # One that is left out has been taken off the count already.
            due &= self.updates() == self.tap.tracing.applying.updates[self]
        return due

    def _summed(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        # Ours clip what is summed already.
        if isinstance(self.optimizer, Optimizer):
            return gradients
        return summed_over_replicas(gradients)


def summed_over_replicas(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The sum of each tensor over all replicas."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return tensors
    summed: Sequence[Tensor] = replica.all_reduce(
        tf.distribute.ReduceOp.SUM, list(tensors)
    )
    return summed


def _native(variable: Any) -> Any:
    """TensorFlow's variable inside one of Keras; a tape may be given either."""
    return variable.value if isinstance(variable, keras.Variable) else variable
