"""Memorising a few examples."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_dnn._batches import rows_in, rows_of
from keras_dnn._keras.layers import rows_of_states
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import restored, unchanged_by_calls
from keras_dnn.diagnostics._one_pass import losses_of
from keras_dnn.diagnostics._without_noise import without_noise
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.optimizers.adam import Adam

EXAMPLES = 8
LEARNING_RATES = (1e-3, 1e-2)
STEPS = 120
LARGE = 5_000_000
"""A network of more weights gets half as many examples and a third of the steps."""


class Memorised(NamedTuple):
    """How far the loss on the examples fell.

    Attributes:
        first: the loss before.
        best: the lowest loss.
        least: that of the perfect answer.
        guess: that of the best constant answer, NaN where it is unknown.
        steps: how many there were.
        examples: how many there are.
    """

    first: float
    best: float
    steps: int
    examples: int
    least: float = 0.0
    guess: float = math.nan

    @property
    def left(self) -> float:
        """The fraction that is left of the loss that could be removed."""
        return (self.best - self.least) / (self.first - self.least)


def memorise(examination: Examination, enough: float) -> Memorised | None:
    """Trains on a few examples with Adam, without dropout, penalties and constraints.

    The model is the same afterwards.

    Args:
        examination: the model and the data.
        enough: the fraction at which to stop of the loss that can be removed.

    Returns:
        How far it came; `None` where there is nothing to learn.
    """
    model = examination.model
    weights = model.trainable_variables
    if not weights or not np.isfinite(examination.loss):
        return None
    is_large = sum(int(np.prod(v.shape)) for v in weights) > LARGE
    examples, steps = (EXAMPLES // 2, STEPS // 3) if is_large else (EXAMPLES, STEPS)
    # A stateful model takes no other number of rows.
    examples = rows_of_states(model) or examples
    batch = rows_of(
        (examination.x, examination.y, examination.sample_weight), slice(examples)
    )
    rows = rows_in(keras.tree.flatten(examination.x)[0])
    known = examination.yardstick_of(min(examples, rows))
    least = known.least
    with model.distribute_strategy.scope():
        optimizer = Adam()
        optimizer.build(weights)

    def step() -> Tensor:
        with tf.GradientTape() as tape:
            loss, _, _ = losses_of(model, *batch)
        gradients = tape.gradient(loss, [v.value for v in weights])
        # The optimizer would warn of weights without a gradient; a check reports them.
        connected = [i for i, g in enumerate(gradients) if g is not None]
        optimizer.apply(
            [gradients[i] for i in connected], [weights[i] for i in connected]
        )
        return loss

    # Tracing a large network takes longer than its few steps.
    call = step if is_large else tf.function(step)
    first, best, goal, done = 0.0, np.inf, 0.0, 0
    with unchanged_by_calls(model), without_noise(model), _unconstrained(weights):
        for rate in LEARNING_RATES:
            with restored([*model.variables, *optimizer.variables]):
                optimizer.learning_rate = rate
                for i in range(steps):
                    loss = float(call())
                    done += 1
                    if i == 0:
                        first = loss
                        # A loss of the user's own may be lowest for other answers.
                        if not least < first:
                            least = 0.0
                        goal = least + enough * (first - least)
                    if not np.isfinite(loss):
                        break
                    best = min(best, loss)
                    if best <= goal:
                        break
            if best <= goal:
                break
    if not first > least:
        return None
    examples = min(examples, rows)
    return Memorised(first, float(best), done, examples, least, known.guess)


@contextlib.contextmanager
def _unconstrained(variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Takes constraints off variables, and puts them back at the end."""
    constraints = [variable.constraint for variable in variables]
    try:
        for variable in variables:
            variable.constraint = None
        yield
    finally:
        for variable, constraint in zip(variables, constraints, strict=True):
            variable.constraint = constraint
