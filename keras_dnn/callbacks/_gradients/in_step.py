"""What a step measures for `GradientNorms`, inside the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._probe.norms import (
    Difference,
    Vector,
    length,
    norms,
    rare_branch,
)
from keras_dnn.callbacks._probe.record import StepRows, step_variable
from keras_dnn.callbacks._probe.training_step import TrainingStep

KINDS = 4
"""Norms of each variable: of gradient, clipped gradient, update and weight."""

NONE = -1.0
"""In place of the norm of a gradient, update or weight that an update does not have."""


@dataclasses.dataclass
class _Seen:
    """What earlier hooks of a step have kept for its row.

    Attributes:
        weights: as they were before the update; empty without ratios.
        gradients: variable, gradient and clipped gradient.
        in_variable: whether norms of gradients were left in a variable, because the
            gradients are inside a condition.
        indices: of the variables that have a gradient.
    """

    weights: Sequence[Tensor]
    gradients: list[tuple[int, Tensor, Tensor]] = dataclasses.field(
        default_factory=list
    )
    in_variable: bool = False
    indices: set[int] = dataclasses.field(default_factory=set)


class NormsInStep:
    """Measures each step and writes a row: its number, then the norms, kind by kind.

    Args:
        variables: how many variables there are.
        per_variable: whether each has norms of its own; if not, all are one vector.
        every: measure each `every`-th update only.
        ratios: whether to measure updates and weights.
        compiled: whether XLA compiles the step.
        receive: takes the rows that the host fetches.
    """

    def __init__(
        self,
        variables: int,
        *,
        per_variable: bool,
        every: int,
        ratios: bool,
        compiled: bool,
        receive: Callable[[np.ndarray], None],
    ) -> None:
        self.per_variable = per_variable
        self.every = every
        self.ratios = ratios
        # XLA takes no branches that give tensors of different shapes.
        self.copy_if_due = every > 1 and not compiled
        self.rows = StepRows(
            1 + KINDS * (variables if per_variable else 1), receive=receive
        )
        self._gradient_norms = step_variable((2, variables))

    def before_update(self, step: TrainingStep) -> None:
        """Copies the weights, which the ratio needs."""

        def copied() -> list[Tensor]:
            return [tf.convert_to_tensor(v) for v in step.variables]

        def nothing() -> list[Tensor]:
            return [tf.zeros([0] * len(v.shape), v.dtype) for v in step.variables]

        weights: list[Tensor] = []
        # An update copies weights that are still needed, so this need not. But it
        # copies them at every step, unless they are dropped where no row is due.
        if self.ratios and self.copy_if_due:
            weights = tf.cond(self._due(step), copied, nothing)
        elif self.ratios:
            weights = copied()
        step.notes["seen"] = _Seen(weights)

    def on_gradients(
        self,
        step: TrainingStep,
        indices: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
    ) -> None:
        """Keeps the gradients for the row, or their norms where they cannot be kept."""
        seen: _Seen = step.notes["seen"]
        seen.indices.update(indices)
        if not step.nested:
            # Measured with the weights, all in one operation that XLA may compile.
            seen.gradients += zip(indices, gradients, clipped, strict=True)
            return

        def measure() -> Tensor:
            raw = norms(gradients)
            return tf.stack([raw, raw if clipped is gradients else norms(clipped)])

        # Keras's optimizers end micro-batches inside a condition.
        measured = self._if_due(step, measure, (2, len(indices)))
        places = [[[kind, i] for i in indices] for kind in range(2)]
        before = tf.convert_to_tensor(self._gradient_norms)
        self._gradient_norms.assign(
            tf.tensor_scatter_nd_update(before, places, measured)
        )
        seen.in_variable = True

    def after_update(self, step: TrainingStep) -> None:
        """Writes the row of this update."""
        seen: _Seen = step.notes["seen"]
        measured = self._if_due(
            step, lambda: _measured(seen, step), (KINDS, len(step.variables))
        )
        if seen.in_variable:
            gradient_norms = tf.convert_to_tensor(self._gradient_norms)
            measured += tf.pad(gradient_norms, [[0, KINDS - 2], [0, 0]])
            self._gradient_norms.assign(tf.zeros_like(gradient_norms))
        has_gradient, owned = np.zeros((2, len(step.variables)), bool)
        has_gradient[list(seen.indices)] = owned[list(step.owned)] = True
        known = np.stack([has_gradient, has_gradient, owned, owned])
        if self.per_variable:
            measured = tf.where(known, measured, tf.constant(NONE, tf.float64))
        else:
            measured = length(tf.where(known, measured, tf.zeros((), tf.float64)))
        number = tf.cast(step.number, tf.float64)
        row = tf.concat([[number], tf.reshape(measured, [-1])], 0)
        keep = step.updated if self.every == 1 else step.updated & self._due(step)
        self.rows.write(row, keep)

    def _due(self, step: TrainingStep) -> Tensor:
        return step.number % self.every == 0

    def _if_due(
        self, step: TrainingStep, measure: Callable[[], Tensor], shape: tuple[int, int]
    ) -> Tensor:
        if self.every == 1:
            return measure()
        nothing = tf.zeros(shape, tf.float64)
        return tf.cond(self._due(step), rare_branch(measure), lambda: nothing)


def _measured(seen: _Seen, step: TrainingStep) -> Tensor:
    """The norms of what was kept, of shape `(KINDS, variables)`; zeros for the rest."""
    vectors: list[Vector] = []
    # Which vector each number of the row is the norm of; the last one stands for 0.
    places = np.full((KINDS, len(step.variables)), -1)

    def put(kind: int, variable: int, vector: Vector) -> None:
        places[kind, variable] = len(vectors)
        vectors.append(vector)

    for i, gradient, clipped in seen.gradients:
        put(0, i, gradient)
        places[1, i] = places[0, i]
        if clipped is not gradient:
            put(1, i, clipped)
    for i, copy in enumerate(seen.weights):
        variable = step.variables[i]
        weight = tf.ensure_shape(copy, variable.shape)
        put(2, i, Difference(tf.convert_to_tensor(variable), weight))
        put(3, i, weight)
    found = tf.concat([norms(vectors, compiled=True), [0.0]], 0)
    return tf.gather(found, places % (len(vectors) + 1))
