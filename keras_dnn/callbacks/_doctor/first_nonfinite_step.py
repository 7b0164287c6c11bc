"""Finds the first step that is not finite, and the layer in which it started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import moving_variables, restored, same_randomness
from keras_dnn.callbacks._probe.norms import entries, rare_branch
from keras_dnn.callbacks._probe.training_step import TrainingStep
from keras_dnn.callbacks.probe import Probe
from keras_dnn.diagnostics._nonfinite import Cause, all_finite, failing, layer_of
from keras_dnn.diagnostics.training_history import NonfiniteStep


class Snapshot(NamedTuple):
    """Variables that hold the first step that was not finite, once there is one.

    Attributes:
        taken: whether there was one.
        step: its index.
        loss: its loss, that of the latest step until then.
        gradients: for each variable, whether its gradient was not finite.
        weights: what the variables were before the step.
    """

    taken: tf.Variable
    step: tf.Variable
    loss: tf.Variable
    gradients: tf.Variable
    weights: list[tf.Variable]


class FirstNonfiniteStep(Probe):
    """Keeps the weights of the first step whose loss or gradients are not finite.

    A step that is fine costs one reading of the gradients. The copy of the weights is
    allocated in advance, since a step cannot do so when it needs one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known_optimizer: Any = None
        self._snapshot: Snapshot | None = None
        self._found: NonfiniteStep | None = None

    def create(self, variables: Sequence[keras.Variable]) -> None:
        if self._known_optimizer is not self.model.optimizer:
            self._known_optimizer = self.model.optimizer
            self._found = None
        self._variables = list(variables)
        self._snapshot = Snapshot(
            taken=self.add_variable((), "bool"),
            step=self.add_variable((), "int64"),
            loss=self.add_variable((), "float32"),
            gradients=self.add_variable((len(variables),), "bool"),
            weights=[self.add_variable(v.shape, v.dtype) for v in variables],
        )

    def on_loss(self, loss: Tensor) -> None:
        if self._snapshot is not None:
            taken, _, recorded, *_ = self._snapshot
            recorded.assign(tf.where(taken, recorded, tf.cast(loss, tf.float32)))

    def _on_clipping(
        self,
        step: TrainingStep,
        indices: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
        updates_now: Callable[[], Tensor | bool],
    ) -> None:
        # Also those of an update that the optimizer will leave out.
        snapshot = self._snapshot
        assert snapshot is not None  # `create` was called before the trace.
        dense = [entries(g) for g in gradients]
        # The sum of squares reads each gradient once; where it overflows, each entry is
        # inspected.
        total = tf.add_n([tf.cast(tf.nn.l2_loss(g), tf.float32) for g in dense])
        suspect = ~tf.math.is_finite(total + 0.0 * snapshot.loss)

        def inspect() -> Tensor:
            flags = tf.stack([~tf.reduce_all(tf.math.is_finite(g)) for g in dense])
            bad = tf.reduce_any(flags) | ~tf.math.is_finite(snapshot.loss)

            def record() -> Tensor:
                snapshot.step.assign(tf.cast(step.number, tf.int64))
                snapshot.gradients.assign(
                    tf.tensor_scatter_nd_update(
                        tf.zeros((len(self._variables),), tf.bool),
                        [[i] for i in indices],
                        flags,
                    )
                )
                for copy, v in zip(snapshot.weights, self._variables, strict=True):
                    copy.assign(tf.convert_to_tensor(v.value))
                snapshot.taken.assign(True)
                return tf.constant(0)

            return tf.cond(bad, record, lambda: tf.constant(0))

        wanted = suspect & ~snapshot.taken
        tf.cond(wanted, rare_branch(inspect), lambda: tf.constant(0))

    def find(self, batches: Iterable[Any]) -> NonfiniteStep | None:
        """Gives the first step that was not finite, if there was one.

        Args:
            batches: inputs to find the layer with.
        """
        snapshot = self._snapshot
        if self._found is None and snapshot is not None and snapshot.taken.numpy():
            step, loss = int(snapshot.step.numpy()), float(snapshot.loss.numpy())
            cause = self._cause(snapshot, batches)
            self._found = (
                NonfiniteStep(step, loss, None, "data")
                if cause is None
                else NonfiniteStep(step, loss, cause.layer, cause.origin)
            )
        return self._found

    def _cause(self, snapshot: Snapshot, batches: Iterable[Any]) -> Cause | None:
        flags = snapshot.gradients.numpy()
        weights = [copy.numpy() for copy in snapshot.weights]
        paths = [v.path for v in self._variables]
        for path, weight in zip(paths, weights, strict=True):
            if not np.isfinite(np.asarray(weight, "float64")).all():
                return Cause(layer_of(path), "weights")
        for x in batches:
            found = self._replayed(x, weights) if all_finite(x) else None
            if found is not None:
                return found
        if np.isfinite(snapshot.loss.numpy()) and flags.any():
            layer = layer_of(paths[np.flatnonzero(flags)[-1]])
            own = [layer_of(path) == layer for path in paths]
            # Bad inputs, which a ReLU above may hide, spoil the gradient of the kernel
            # alone; a bad gradient from above spoils that of the bias too.
            is_lowest = own[0]
            if not is_lowest or flags[own].all():
                return Cause(layer, "gradient")
        return None

    def _replayed(self, x: Any, weights: list[np.ndarray]) -> Cause | None:
        """The first layer that fails with those weights, forward or backward."""
        moved = [*self._variables, *moving_variables(self.model)]
        with same_randomness(), restored(moved):
            for variable, weight in zip(self._variables, weights, strict=True):
                variable.assign(weight)
            return failing(self.model, x)
