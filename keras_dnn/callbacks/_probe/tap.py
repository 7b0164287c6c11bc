"""Probes: callbacks that look into the compiled training step.

Keras has no hook for the gradients of a step. A tap wraps the methods of the
optimizer through which they pass, on the instance and only while `fit` runs:

    scale_loss            the loss of the batch
    apply                 weights before and after the update
    _clip_gradients       gradients before and after clipping, accumulated ones once

What a probe computes there becomes part of the step's graph, so it sees every step
under `jit_compile` and `steps_per_execution` and runs no second backward pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import keras

from keras_dnn._keras import call_stack
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import Optimizer


class Probe(keras.callbacks.Callback):
    """Base class: a callback whose methods below are traced into the training step.

    A subclass creates its variables in `_create`, writes to them in the `_see_...`
    methods, `_before_update` and `_after_update`, and reads them on the host when it
    likes. All may be traced more than once.
    """

    def _create(self, variables: Sequence[keras.Variable]) -> None:
        """Creates what the probe writes to, for a model with these variables."""

    def _see_loss(self, loss: Tensor) -> None:
        """Sees the loss of every batch, all replicas' together, before the update."""

    def _before_update(self, variables: Sequence[keras.Variable], step: Tensor) -> None:
        """Sees the weights before an update, and the count of updates so far."""

    def _see_gradients(
        self,
        columns: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
    ) -> None:
        """Sees the gradients of an update, summed over replicas and micro-batches.

        With a `MultiOptimizer` it is called once for each of its optimizers.

        Args:
            columns: the position of each gradient's variable among all variables;
                one without a gradient is missing.
            gradients: before clipping.
            clipped: after it; the very same list if nothing is clipped.
        """

    def _after_update(
        self, variables: Sequence[keras.Variable], step: Tensor, updated: Tensor
    ) -> None:
        """Sees the weights after the step.

        Args:
            variables: the weights.
            step: the count of updates before this one.
            updated: whether the weights were updated (`False` where a micro-batch was
                only accumulated).
        """

    def _release(self) -> None:
        """Puts back what the probe changed; called whenever it is detached.

        It may be the garbage collector that calls, so it must not touch the device.
        """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Attaches the probe to the training step."""
        require_tensorflow(f"keras_dnn.callbacks.{type(self).__name__}")
        tap = _Tap.on(self.model)
        tap.attach(self)
        # An exception in `fit` skips `on_train_end`, but the list of callbacks that
        # called us lives no longer than `fit` does. The garbage collector may be the
        # one to find that out, at any time: detaching must not touch the device.
        caller = call_stack.callback_list()
        if caller is not None:
            weakref.finalize(caller, tap.detach, self).atexit = False

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Detaches the probe from the training step."""
        self._detach()

    def _detach(self) -> None:
        """Gets out of the training step, if the probe is in it."""
        if self.model is not None:
            _Tap.on(self.model).detach(self)


class _Tap:
    """Lets probes see what passes through a model's optimizer.

    A `MultiOptimizer` hands each of its optimizers a part of the gradients; any other
    is the one part of itself.
    """

    attribute = "_keras_dnn_tap"

    @classmethod
    def on(cls, model: keras.Model) -> _Tap:
        """The tap on this model's optimizer, which all its probes share."""
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        tap: _Tap | None = vars(optimizer).get(cls.attribute)
        return tap or cls(model, optimizer)

    def __init__(self, model: keras.Model, optimizer: Any) -> None:
        self.model = model
        self.optimizer = optimizer
        self.parts: list[_Part] = []
        self.probes: list[Probe] = []
        self.waiting: list[Probe] = []
        self.variables: list[keras.Variable] = []

    def attach(self, probe: Probe) -> None:
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
        # A model fitted before keeps its old graph; this makes it trace anew.
        self._make_train_function(force=True)

    def detach(self, probe: Probe) -> None:
        if probe not in self.probes:
            return
        self.probes.remove(probe)
        probe._release()
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
            self.waiting.pop()._create(variables)

    def _divided(self, variables: Sequence[keras.Variable]) -> list[_Part]:
        if not hasattr(self.optimizer, "optimizers"):
            return [_Part(self, self.optimizer, variables=None)]
        # It may be told only by the variables which optimizers there are.
        if not self.model.optimizer.built:
            self.model.optimizer.build(variables)
        return [
            _Part(self, optimizer, optimizer._trainable_variables)
            for optimizer in self.optimizer.optimizers
            if optimizer.built
        ]

    def _all(self, variables: Sequence[keras.Variable]) -> Sequence[keras.Variable]:
        """All that the optimizer knows: some layers may be frozen for a while."""
        known: Sequence[keras.Variable] = (
            self.optimizer._trainable_variables if self.optimizer.built else variables
        )
        return known

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
        # In the order in which they were put on: a part may be the whole.
        while self.parts:
            self.parts.pop().unwrap()
        for name in (self.attribute, "apply"):
            del vars(self.optimizer)[name]
        del vars(self.outer)["scale_loss"]
        del vars(self.model)["make_train_function"]

    def make_train_function(self, force: bool = False) -> Any:
        """Ends what an interrupted `fit` left: the next one begins with this call."""
        if not force:
            for probe in list(self.probes):
                self.detach(probe)
        return self._make_train_function(force=force)

    def scale_loss(self, loss: Tensor) -> Tensor:
        if self.waiting and self.model.built:
            with tf.init_scope():
                self._create(self.model.trainable_variables)
        # Keras gives each replica its share of the loss.
        seen = tf.stop_gradient(_summed_over_replicas([loss])[0])
        for probe in self.probes:
            probe._see_loss(seen)
        return self._scale_loss(loss)

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        trained = trainable_variables or self.optimizer._trainable_variables
        if self.waiting or not _same(self._all(trained), self.variables):
            # A model built by its first batch: its variables are known only now.
            with tf.init_scope():
                self._create(trained)
        variables = self.variables
        for part in self.parts:
            part.take(grads, trained)
        step = tf.convert_to_tensor(self.optimizer.iterations)
        counts = [part.updates() for part in self.parts]
        for probe in self.probes:
            probe._before_update(variables, step)
        self._apply(grads, trainable_variables)
        moved = [part.updates() > n for part, n in zip(self.parts, counts, strict=True)]
        updated = moved[0] if len(moved) == 1 else tf.reduce_any(moved)
        for probe in self.probes:
            probe._after_update(variables, step, updated)


class _Part:
    """Lets probes see what passes through one of a model's optimizers."""

    def __init__(
        self, tap: _Tap, optimizer: Any, variables: Sequence[keras.Variable] | None
    ) -> None:
        self.tap = tap
        self.optimizer = optimizer
        self.variables = variables
        self.columns: list[int] = []
        self._clip_gradients = optimizer._clip_gradients
        vars(optimizer)["_clip_gradients"] = self.clip_gradients

    def unwrap(self) -> None:
        del vars(self.optimizer)["_clip_gradients"]

    def updates(self) -> Tensor:
        return tf.convert_to_tensor(self.optimizer.iterations)

    def take(
        self, gradients: Sequence[Tensor | None], variables: Sequence[keras.Variable]
    ) -> None:
        """Notes which of these gradients will be clipped here."""
        mine = None if self.variables is None else set(map(id, self.variables))
        position = {id(v): i for i, v in enumerate(self.tap.variables)}
        self.columns = [
            position[id(v)]
            for g, v in zip(gradients, variables, strict=True)
            if g is not None
            and (mine is None or id(v) in mine)
            and not getattr(v, "overwrite_with_gradient", False)
        ]

    def clip_gradients(self, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        clipped: Sequence[Tensor] = self._clip_gradients(grads)
        # Keras clips the gradient of each replica; what moves the weights is the sum.
        summed = self._summed(grads)
        summed_clipped = summed if clipped is grads else self._summed(clipped)
        for probe in self.tap.probes:
            probe._see_gradients(self.columns, summed, summed_clipped)
        return clipped

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
