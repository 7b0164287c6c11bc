"""The first step at which something is not finite, and the weights it began with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import moving_variables, restored, same_randomness
from keras_dnn.callbacks._probe.norms import aside, entries
from keras_dnn.callbacks._probe.training_step import TrainingStep
from keras_dnn.callbacks.probe import Probe
from keras_dnn.models._layer_outputs import watched


class BadStep(NamedTuple):
    """What was seen at the first bad step."""

    step: int
    loss: float
    layer: str | None
    reason: str


class FirstBadStep(Probe):
    """Keeps the weights of the first step whose loss or gradients are not finite.

    A step that is fine costs one reading of the gradients. The copy of the weights is
    there from the beginning, for a step can't make one when it needs it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen_optimizer: Any = None
        self._state: dict[str, Any] = {}
        self.found: BadStep | None = None

    def create(self, variables: Sequence[keras.Variable]) -> None:
        if self._seen_optimizer is not self.model.optimizer:
            self._seen_optimizer = self.model.optimizer
            self.found = None
        self._variables = list(variables)
        self._state = {
            "step": self.add_variable((), "int64"),
            "bad": self.add_variable((), "bool"),
            "loss": self.add_variable((), "float32"),
            "gradients": self.add_variable((len(variables),), "bool"),
            "weights": [self.add_variable(v.shape, v.dtype) for v in variables],
        }

    def on_loss(self, loss: Tensor) -> None:
        if self._state:
            held = self._state["loss"]
            held.assign(tf.where(self._state["bad"], held, tf.cast(loss, tf.float32)))

    def _on_clipping(
        self,
        step: TrainingStep,
        indices: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
        updates_now: Callable[[], Tensor | bool],
    ) -> None:
        # Also those of an update that the optimizer will leave out.
        state = self._state
        dense = [entries(g) for g in gradients]
        # Half the sum of squares reads once; where it overflows, all is looked at.
        total = tf.add_n([tf.cast(tf.nn.l2_loss(g), tf.float32) for g in dense])
        suspect = ~tf.math.is_finite(total + 0.0 * state["loss"])

        def keep() -> Tensor:
            flags = tf.stack([~tf.reduce_all(tf.math.is_finite(g)) for g in dense])
            bad = tf.reduce_any(flags) | ~tf.math.is_finite(state["loss"])

            def note() -> Tensor:
                state["step"].assign(tf.cast(self.model.optimizer.iterations, tf.int64))
                state["gradients"].assign(
                    tf.tensor_scatter_nd_update(
                        tf.zeros((len(self._variables),), tf.bool),
                        [[i] for i in indices],
                        flags,
                    )
                )
                for copy, v in zip(state["weights"], self._variables, strict=True):
                    copy.assign(tf.convert_to_tensor(v.value))
                state["bad"].assign(True)
                return tf.constant(0)

            return tf.cond(bad, note, lambda: tf.constant(0))

        tf.cond(suspect & ~state["bad"], aside(keep), lambda: tf.constant(0))

    def look(self, batches: Iterable[Any]) -> BadStep | None:
        """What the first bad step was, if there was one.

        Args:
            batches: inputs to find the layer with.
        """
        if self.found is None and self._state and bool(self._state["bad"].numpy()):
            self.found = self._explained(batches)
        return self.found

    def _explained(self, batches: Iterable[Any]) -> BadStep:
        step = int(self._state["step"].numpy())
        loss = float(self._state["loss"].numpy())
        flags = self._state["gradients"].numpy()
        weights = [copy.numpy() for copy in self._state["weights"]]
        paths = [v.path for v in self._variables]
        for path, weight in zip(paths, weights, strict=True):
            if not np.isfinite(np.asarray(weight, "float64")).all():
                return BadStep(step, loss, _layer_of(path), "its weights")
        for x in batches:
            found = self._replayed(x, weights) if _all_finite(x) else None
            if found is not None:
                return BadStep(step, loss, *found)
        if np.isfinite(loss) and flags.any():
            layer = _layer_of(paths[np.flatnonzero(flags)[-1]])
            own = [_layer_of(path) == layer for path in paths]
            # A kernel's gradient alone is bad where the layer's inputs are, which a
            # ReLU above may hide; a gradient from above would spoil its bias's too.
            if not own[0] or flags[own].all():
                return BadStep(step, loss, layer, "its gradient")
        return BadStep(step, loss, None, "the data of that step")

    def _replayed(self, x: Any, weights: list[np.ndarray]) -> tuple[str, str] | None:
        """The first layer that fails with those weights, forward or on the way back."""
        moved = [*self._variables, *moving_variables(self.model)]
        with same_randomness(), restored(moved):
            for variable, weight in zip(self._variables, weights, strict=True):
                variable.assign(weight)
            return _failing(self.model, x)


def _failing(model: keras.Model, x: Any) -> tuple[str, str] | None:
    paths: list[str] = []
    outputs: list[Tensor] = []

    def see(layer: keras.layers.Layer, given: Any) -> None:
        for output in keras.tree.flatten(given):
            if output.dtype.is_floating:
                tape.watch(output)
                outputs.append(output)
                paths.append(layer.path or layer.name)

    with tf.GradientTape() as tape, watched(model, see):
        final = keras.tree.flatten(model(x, training=True))
        # What fails on its way back does so whatever the loss.
        total = tf.add_n([tf.nn.l2_loss(tf.cast(y, tf.float32)) for y in final])
    for path, output in zip(paths, outputs, strict=True):
        if not _is_finite(output):
            return path, "its outputs"
    gradients = tape.gradient(total, outputs)
    bad = [i for i, g in enumerate(gradients) if g is not None and not _is_finite(g)]
    # What comes down to the layer above is fine, what it hands on is not.
    above = bad[-1] + 1 if bad else len(paths)
    return (paths[above], "its gradient") if above < len(paths) else None


def _all_finite(x: Any) -> bool:
    floats = [part for part in keras.tree.flatten(x) if part.dtype.is_floating]
    return all(map(_is_finite, floats))


def _is_finite(tensor: Any) -> bool:
    values = tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor
    return bool(tf.reduce_all(tf.math.is_finite(values)))


def _layer_of(path: str) -> str:
    return path.rpartition("/")[0] or path
