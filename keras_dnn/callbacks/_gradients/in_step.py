"""The row that a step writes for `GradientNorms`, measured inside the graph."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.norms import Difference, Vector, aside, length, norms
from keras_dnn.callbacks._probe.step_buffer import Table, variable

KINDS = 4
"""Norms of each column: of gradient, clipped gradient, update and weight."""


@dataclass
class _Traced:
    """What a step hands on while it is traced."""

    graph: Any
    before: Sequence[Tensor]
    gradients: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)
    left: bool = False


class GradientRow:
    """Measures each step and writes a row: the step, then the norms, kind after kind.

    Args:
        variables: how many variables there are.
        per_variable: whether each has a column; if not, all share one.
        every: measure each `every`-th update only.
        ratios: whether to measure updates and weights.
        steps_per_call: how many steps run before the host can look.
        compiled: whether XLA compiles the step.
    """

    def __init__(
        self,
        variables: int,
        *,
        per_variable: bool,
        every: int,
        ratios: bool,
        steps_per_call: int,
        compiled: bool,
    ) -> None:
        self.live = np.zeros(variables, bool)
        self.per_variable = per_variable
        self.every = every
        self.ratios = ratios
        # XLA takes no branches that give tensors of different shapes.
        self.held_if_wanted = every > 1 and not compiled
        columns = variables if per_variable else 1
        self.table = Table(1 + KINDS * columns, steps_per_call)
        # For norms of gradients that cannot be handed on: Keras's optimizers make the
        # update that ends micro-batches inside a condition.
        self._left = variable((2, variables))
        # Replicas are traced in turns, each in its own thread.
        self._here = threading.local()

    def before(self, variables: Sequence[keras.Variable], step: Tensor) -> None:
        """Keeps the weights for the ratio."""

        def held() -> list[Tensor]:
            return [tf.convert_to_tensor(v) for v in variables]

        def none() -> list[Tensor]:
            return [tf.zeros([0] * len(v.shape), v.dtype) for v in variables]

        weights: list[Tensor] = []
        # An update copies weights that somebody holds, so this need not; but it copies
        # them at every step, if they are not let go where they are not wanted.
        if self.ratios and self.held_if_wanted:
            weights = tf.cond(self._wanted(step), held, none)
        elif self.ratios:
            weights = held()
        self._here.step = _Traced(_graph(), weights)

    def see(
        self,
        columns: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
        step: Tensor,
    ) -> None:
        """Keeps the gradients of this update, or their norms, for its row."""
        self.live[list(columns)] = True
        traced = self._here.step
        if _graph() is traced.graph:
            traced.gradients += zip(columns, gradients, clipped, strict=True)
            return

        def measure() -> Tensor:
            raw = norms(gradients)
            return tf.stack([raw, raw if clipped is gradients else norms(clipped)])

        found = self._if_wanted(step, measure, (2, len(columns)))
        places = [[[kind, i] for i in columns] for kind in range(2)]
        traced.left = True
        self._left.assign(
            tf.tensor_scatter_nd_update(tf.convert_to_tensor(self._left), places, found)
        )

    def write(
        self, variables: Sequence[keras.Variable], step: Tensor, updated: Tensor
    ) -> None:
        """Writes the row of this update."""
        traced = self._here.step
        measured = self._if_wanted(
            step, lambda: _measured(traced, variables), (KINDS, len(variables))
        )
        if traced.left:
            left = tf.convert_to_tensor(self._left)
            measured += tf.pad(left, [[0, KINDS - 2], [0, 0]])
            self._left.assign(tf.zeros_like(left))
        if not self.per_variable:
            measured = length(measured)
        row = tf.concat([[tf.cast(step, tf.float64)], tf.reshape(measured, [-1])], 0)
        keep = updated if self.every == 1 else updated & self._wanted(step)
        self.table.write(row, keep)
        del self._here.step

    def _wanted(self, step: Tensor) -> Tensor:
        return step % self.every == 0

    def _if_wanted(
        self, step: Tensor, measure: Callable[[], Tensor], shape: tuple[int, int]
    ) -> Tensor:
        if self.every == 1:
            return measure()
        nothing = tf.zeros(shape, tf.float64)
        return tf.cond(self._wanted(step), aside(measure), lambda: nothing)


def _graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _measured(traced: _Traced, variables: Sequence[keras.Variable]) -> Tensor:
    """Norms of what was handed on, zeros for the rest."""
    vectors: list[Vector] = []
    # Which vector each number of the row is the norm of; the last one stands for 0.
    places = np.full((KINDS, len(variables)), -1)

    def put(kind: int, column: int, vector: Vector) -> None:
        places[kind, column] = len(vectors)
        vectors.append(vector)

    for i, gradient, clipped in traced.gradients:
        put(0, i, gradient)
        places[1, i] = places[0, i]
        if clipped is not gradient:
            put(1, i, clipped)
    for i, held in enumerate(traced.before):
        weight = tf.ensure_shape(held, variables[i].shape)
        put(2, i, Difference(tf.convert_to_tensor(variables[i]), weight))
        put(3, i, weight)
    found = tf.concat([norms(vectors, compiled=True), [0.0]], 0)
    return tf.gather(found, places % (len(vectors) + 1))
