"""The tap: lets probes see what passes through the optimizers of a training step.

Keras has no hook for the loss and the gradients of a step. A tap replaces the methods
through which they pass, on the instances and only while `fit` runs:

    train_step            the step itself, in which tapes tell what they differentiate
    scale_loss            the loss of the batch, before it is scaled
    apply                 weights before and after the update
    _clip_gradients       gradients before and after clipping, accumulated ones once

A step of the user's own may apply other optimizers than `model.optimizer`, so all that
are found on the model are tapped. What a probe computes there becomes part of the
step's graph: it sees every step under `jit_compile` and `steps_per_execution` and runs
no second backward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_dnn._interrupts import interrupts_held
from keras_dnn._keras.layers import is_complete
from keras_dnn._keras.losses import own_step
from keras_dnn._keras.optimizers import optimizers_within
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe import survey, unseen
from keras_dnn.callbacks._probe.tapes import differentiated
from keras_dnn.callbacks._probe.tapped_optimizer import (
    TappedOptimizer,
    TappedPart,
    summed_over_replicas,
)
from keras_dnn.callbacks._probe.traced import Traced, hidden_in_function

if TYPE_CHECKING:
    from keras_dnn.callbacks.probe import Probe


class Tap:
    """Lets probes see what passes through the optimizers of a model's step."""

    attribute = "_keras_dnn_tap"

    @classmethod
    def on(cls, model: keras.Model) -> Tap:
        """The tap on this model, which all its probes share."""
        tap: Tap | None = vars(model).get(cls.attribute)
        return tap or cls(model)

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.optimizers: list[TappedOptimizer] = []
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

    def _wrap(self) -> None:
        self._make_train_function = self.model.make_train_function
        self.replaced_step = self.model.train_step
        self._own_train_step = vars(self.model).get("train_step")
        self.is_own_step = own_step(self.model, "train_step")
        self.is_weighted = False
        self.traces = self.updates_traced = self.hidden = 0
        self.applied: set[TappedOptimizer] = set()
        self.owners_are_known = True
        self._warned: set[str] = set()
        # Keras's own step applies this one alone.
        found = {"optimizer": self.model.optimizer}
        if self.is_own_step:
            found = optimizers_within(self.model)
        self.optimizers = [
            TappedOptimizer(self, path, optimizer)
            for path, optimizer in found.items()
            if optimizer is not None
        ]
        vars(self.model).update(
            {
                self.attribute: self,
                "make_train_function": self.make_train_function,
                "train_step": self.train_step,
            }
        )

    def _unwrap(self) -> None:
        while self.optimizers:
            self.optimizers.pop().unwrap()
        for name in (self.attribute, "make_train_function", "train_step"):
            del vars(self.model)[name]
        if self._own_train_step is not None:
            vars(self.model)["train_step"] = self._own_train_step

    # The variables --------------------------------------------------------------------

    def _create(self, variables: Sequence[keras.Variable]) -> None:
        """Has probes create what they write to, once variables are known or new."""
        for optimizer in self.optimizers:
            several = len(self.optimizers) > 1
            if not several or optimizer.optimizer.built:
                optimizer.divide(variables)
        known = self._all(variables)
        if not _same(known, self.variables):
            # Also those that are there already, if an optimizer got more variables.
            self.waiting = list(self.probes)
        self.variables = known
        while self.waiting:
            self.waiting.pop()._prepare(known)

    def _all(self, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
        """All that optimizers know: some layers may be frozen for a while."""
        built = [v for o in self.optimizers for v in o.variables()]
        if len(self.optimizers) == 1 and built:
            return built
        found = {id(v): v for v in (*variables, *built)}
        # In the order of the model, whatever is built or frozen by now.
        place = {id(v): i for i, v in enumerate(self.model.variables)}
        return sorted(found.values(), key=lambda v: place.get(id(v), len(place)))

    def indices_of(self, variables: Sequence[keras.Variable]) -> list[int]:
        """The positions of variables in the list that probes know."""
        position = {id(v): i for i, v in enumerate(self.variables)}
        return [position[id(v)] for v in variables if id(v) in position]

    def number(self) -> Tensor:
        """How many updates all the optimizers have made."""
        numbers = [optimizer.number() for optimizer in self.optimizers]
        if len(numbers) == 1:
            return numbers[0]
        return tf.add_n([tf.cast(number, tf.int64) for number in numbers])

    @property
    def parts(self) -> list[TappedPart]:
        """The optimizers with one learning rate each, once they are known."""
        return [part for optimizer in self.optimizers for part in optimizer.parts]

    # In place of the methods of the model ---------------------------------------------

    def make_train_function(self, force: bool = False) -> Any:
        """Ends what an interrupted `fit` left: the next one begins with this call."""
        if not force:
            for probe in list(self.probes):
                self.detach(probe)
        for part in self.parts:
            part.forget_learning_rate()
        return self._make_train_function(force=force)

    def train_step(self, data: Any) -> Any:
        """Makes the model's own step while its losses and optimizers are seen."""
        self.traces += 1
        if isinstance(data, tuple) and len(data) > 2 and data[2] is not None:
            self.is_weighted = True
        if self.is_own_step:
            survey.build(self, self.replaced_step, data)
        if self.waiting and is_complete(self.model):
            with tf.init_scope():
                self._create(self.model.trainable_variables)
        self.tracing.step = traced = Traced()
        try:
            with differentiated(self.see_gradient):
                results = self.replaced_step(data)
        finally:
            self.tracing.step = None
        # What the survey has traced into such a function is in there for good.
        traced.hidden = self.hidden
        reasons: dict[str, list[str]] = {}
        for probe in list(self.probes):
            for reason in probe._after_trace(traced):
                reasons.setdefault(reason, []).append(probe._reported_as)
        for reason, names in reasons.items():
            self.warn(names, reason)
        return results

    def warn(self, names: list[str], reason: str) -> None:
        """Warns of what probes cannot see, once in each `fit`."""
        if reason not in self._warned:
            self._warned.add(reason)
            unseen.warn(names, reason)

    # What the step shows --------------------------------------------------------------

    @property
    def _traced(self) -> Traced | None:
        """The step that this thread is tracing; `None` outside of `train_step`."""
        return getattr(self.tracing, "step", None)

    def see_gradient(self, target: Any, variables: Sequence[Any]) -> None:
        """Shows the loss whose gradient by these variables a tape is asked for."""
        traced = self._traced
        losses = [loss for loss in tf.nest.flatten(target) if loss is not None]
        if traced is None or all(traced.has_seen(loss) for loss in losses):
            return
        # A tape differentiates the sum.
        sums = [tf.reduce_sum(tf.convert_to_tensor(loss)) for loss in losses]
        total = sums[0] if len(sums) == 1 else tf.add_n(sums)
        for loss in losses:
            traced.remember(loss)
        self.see_loss(total, self._owner(variables))

    def see_loss(self, loss: Tensor, optimizer: TappedOptimizer | None) -> None:
        """Shows a loss to the probes, with the optimizer that will lower it."""
        if hidden_in_function(self._traced) or survey.is_running(self):
            return
        self.remember(loss)
        # Whatever the loss depends on is built by now.
        if self.waiting and (self.model.built or self.model.trainable_variables):
            with tf.init_scope():
                self._create(self.model.trainable_variables)
        if self._traced is not None:
            self._traced.losses += 1
        # Keras gives each replica its fraction of the loss.
        seen = tf.stop_gradient(summed_over_replicas([tf.convert_to_tensor(loss)])[0])
        for probe in self.probes:
            if probe not in self.waiting:
                probe._on_loss(seen, None if optimizer is None else optimizer.optimizer)

    def remember(self, loss: Tensor) -> None:
        """Notes that a loss has been shown, so that its tape shows it no more."""
        if self._traced is not None:
            self._traced.remember(loss)

    def _owner(self, variables: Sequence[Any]) -> TappedOptimizer | None:
        """The optimizer that trains these variables, as far as is known."""
        owners = [o for o in self.optimizers if o.owns(variables)]
        found = [o for o in owners if o in self.applied]
        if not found:
            unbuilt = [o for o in self.optimizers if not o.optimizer.built]
            found = owners if self.owners_are_known and owners else owners + unbuilt
        return found[0] if len(found) == 1 else None

    def begin_update(
        self, optimizer: TappedOptimizer, variables: Sequence[keras.Variable]
    ) -> bool:
        """Whether the update can be shown; creates what that takes."""
        traced = self._traced
        if hidden_in_function(traced):
            self.hidden += 1
            return False
        self.applied.add(optimizer)
        if survey.is_running(self):
            return False
        self.updates_traced += 1
        if traced is not None:
            traced.applied.append(optimizer)
        known = set(map(id, self.variables))
        missing = not known.issuperset(map(id, variables))
        if self.waiting or missing or not optimizer.parts:
            # A model built by its first batch: its variables are known only now.
            with tf.init_scope():
                optimizer.divide(variables)
                if self.waiting or missing:
                    self._create(variables)
        return True


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return list(map(id, some)) == list(map(id, others))
