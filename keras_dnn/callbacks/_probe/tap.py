"""The tap: lets probes see what passes through a model's optimizer.

Keras has no hook for the gradients of a step. A tap replaces the methods of the
optimizer through which they pass, on the instance and only while `fit` runs:

    scale_loss            the loss of the batch
    apply                 weights before and after the update
    _clip_gradients       gradients before and after clipping, accumulated ones once

What a probe computes there becomes part of the step's graph, so it sees every step
under `jit_compile` and `steps_per_execution` and runs no second backward pass.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_dnn._interrupts import interrupts_held
from keras_dnn._keras.optimizers import (
    CLIP_GRADIENTS,
    calls_of,
    innermost,
    parts_of,
    variables_of,
)
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.training_step import TrainingStep
from keras_dnn.optimizers import Optimizer

if TYPE_CHECKING:
    from keras_dnn.callbacks.probe import Probe


class Tap:
    """Lets probes see what passes through a model's optimizer.

    A `MultiOptimizer` gives each of its optimizers a part of the gradients; any other
    optimizer is its own only part.
    """

    attribute = "_keras_dnn_tap"

    @classmethod
    def on(cls, model: keras.Model) -> Tap:
        """The tap on this model's optimizer, which all its probes share."""
        optimizer = innermost(model)
        tap: Tap | None = vars(optimizer).get(cls.attribute)
        return tap or cls(model, optimizer)

    def __init__(self, model: keras.Model, optimizer: Any) -> None:
        self.model = model
        self.optimizer = optimizer
        self.parts: list[TappedOptimizer] = []
        self.probes: list[Probe] = []
        self.waiting: list[Probe] = []
        self.variables: list[keras.Variable] = []
        # Replicas are traced in turns, each in a thread of its own.
        self.tracing = threading.local()

    def attach(self, probe: Probe) -> None:
        """Lets a probe see the steps that are traced from now on."""
        with interrupts_held():
            if not self.probes:
                self._wrap()
            self.probes.append(probe)
        self.waiting.append(probe)
        if self.model.built:
            try:
                with self.model.distribute_strategy.scope():
                    self._create(self.model.trainable_variables)
            except BaseException:
                self.detach(probe)
                raise
        # A model fitted before keeps its old graph; this makes it retrace.
        self._make_train_function(force=True)

    def detach(self, probe: Probe) -> None:
        """Takes a probe out of the steps; the last one takes the tap with it."""
        with interrupts_held():
            if probe not in self.probes:
                return
            self.probes.remove(probe)
            if probe in self.waiting:
                self.waiting.remove(probe)
            probe.release()
            if not self.probes:
                self._unwrap()
            self._make_train_function(force=True)

    def _create(self, variables: Sequence[keras.Variable]) -> None:
        if not self.parts:
            self.parts = self._divided(variables)
        variables = self._all(variables)
        if not _same(variables, self.variables):
            # Also those that are there already, if the optimizer got more variables.
            self.waiting = list(self.probes)
        self.variables = list(variables)
        while self.waiting:
            self.waiting.pop()._prepare(variables)

    def _divided(self, variables: Sequence[keras.Variable]) -> list[TappedOptimizer]:
        if not hasattr(self.optimizer, "optimizers"):
            return [TappedOptimizer(self, self.optimizer, variables=None)]
        # Which optimizers there are may be decided variable by variable.
        if not self.model.optimizer.built:
            self.model.optimizer.build(variables)
        return [
            TappedOptimizer(self, optimizer, variables_of(optimizer))
            for optimizer in parts_of(self.optimizer)
            if optimizer.built
        ]

    def _all(self, variables: Sequence[keras.Variable]) -> Sequence[keras.Variable]:
        """All that the optimizer knows: some layers may be frozen for a while."""
        return variables_of(self.optimizer) if self.optimizer.built else variables

    def _wrap(self) -> None:
        self._apply = self.optimizer.apply
        self._make_train_function = self.model.make_train_function
        # The loss passes the optimizer outside, which scales it for float16.
        self.outer = self.model.optimizer
        self._scale_loss = self.outer.scale_loss
        vars(self.outer)["scale_loss"] = self.scale_loss
        vars(self.optimizer)[self.attribute] = self
        vars(self.optimizer)["apply"] = self.apply
        vars(self.model)["make_train_function"] = self.make_train_function

    def _unwrap(self) -> None:
        # In the order in which they were wrapped: a part may be the whole optimizer.
        while self.parts:
            self.parts.pop().unwrap()
        for name in (self.attribute, "apply"):
            del vars(self.optimizer)[name]
        del vars(self.outer)["scale_loss"]
        del vars(self.model)["make_train_function"]

    # In place of the methods of model and optimizer -----------------------------------

    def make_train_function(self, force: bool = False) -> Any:
        """Ends what an interrupted `fit` left: the next one begins with this call."""
        if not force:
            for probe in list(self.probes):
                self.detach(probe)
        return self._make_train_function(force=force)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Shows the loss to the probes, then scales it."""
        if self.waiting and self.model.built:
            with tf.init_scope():
                self._create(self.model.trainable_variables)
        # Keras gives each replica its fraction of the loss.
        seen = tf.stop_gradient(_summed_over_replicas([loss])[0])
        for probe in self.probes:
            probe.on_loss(seen)
        return self._scale_loss(loss)

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Makes the optimizer's step between the hooks of the probes."""
        trained = trainable_variables or variables_of(self.optimizer)
        if self.waiting or not _same(self._all(trained), self.variables):
            # A model built by its first batch: its variables are known only now.
            with tf.init_scope():
                self._create(trained)
        updates = {part: part.updates() for part in self.parts}
        # A `MultiOptimizer` itself counts batches, also where its parts accumulate.
        several = len(updates) > 1
        number = (
            tf.reduce_max([*updates.values()]) if several else updates[self.parts[0]]
        )
        steps = {probe: TrainingStep(self.variables, number) for probe in self.probes}
        indices = {part: part.indices(grads, trained) for part in self.parts}
        now = _Tracing(steps, indices, updates)
        for probe, step in steps.items():
            probe.before_update(step)
        self.tracing.now = now
        try:
            self._apply(grads, trainable_variables)
        finally:
            del self.tracing.now
        moved = [part.updates() > before for part, before in updates.items()]
        updated = moved[0] if len(moved) == 1 else tf.reduce_any(moved)
        for probe, step in steps.items():
            step.updated = updated
            probe.after_update(step)
            for record in step.entries:
                record._write(step)


@dataclasses.dataclass(frozen=True)
class _Tracing:
    """The step that a thread is tracing.

    Attributes:
        steps: what each probe is given.
        indices: of the variables whose gradients each optimizer clips.
        updates: how many updates each optimizer had made before.
    """

    steps: dict[Probe, TrainingStep]
    indices: dict[TappedOptimizer, list[int]]
    updates: dict[TappedOptimizer, Tensor]


class TappedOptimizer:
    """Lets probes see what passes through one of a model's optimizers.

    Args:
        tap: the tap that the probes are attached to.
        optimizer: the optimizer.
        variables: what it trains; `None` for all variables of the model.
    """

    def __init__(
        self, tap: Tap, optimizer: Any, variables: Sequence[keras.Variable] | None
    ) -> None:
        self.tap = tap
        self.optimizer = optimizer
        self.variables = variables
        self._clip_gradients = getattr(optimizer, CLIP_GRADIENTS)
        vars(optimizer)[CLIP_GRADIENTS] = self.clip_gradients

    def unwrap(self) -> None:
        """Gives the optimizer its own method back."""
        del vars(self.optimizer)[CLIP_GRADIENTS]

    def updates(self) -> Tensor:
        """How many updates the optimizer has made."""
        return tf.convert_to_tensor(self.optimizer.iterations)

    def indices(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> list[int]:
        """The positions of the variables whose gradients will be clipped here."""
        mine = None if self.variables is None else set(map(id, self.variables))
        position = {id(v): i for i, v in enumerate(self.tap.variables)}
        return [
            position[id(v)]
            for g, v in zip(gradients, variables, strict=True)
            if g is not None
            and (mine is None or id(v) in mine)
            and not getattr(v, "overwrite_with_gradient", False)
        ]

    def clip_gradients(self, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        """Clips the gradients and shows them to the probes."""
        clipped: Sequence[Tensor] = self._clip_gradients(grads)
        # Keras clips the gradient of each replica; what moves the weights is the sum.
        summed = self._summed(grads)
        summed_clipped = summed if clipped is grads else self._summed(clipped)
        now: _Tracing = self.tap.tracing.now
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
            due &= self.updates() == self.tap.tracing.now.updates[self]
        return due

    def _summed(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        # Ours clip what is summed already.
        if isinstance(self.optimizer, Optimizer):
            return gradients
        return _summed_over_replicas(gradients)


def _summed_over_replicas(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return tensors
    summed: Sequence[Tensor] = replica.all_reduce(
        tf.distribute.ReduceOp.SUM, list(tensors)
    )
    return summed


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return list(map(id, some)) == list(map(id, others))
