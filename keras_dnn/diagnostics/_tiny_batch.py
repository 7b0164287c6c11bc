"""Learning a few examples by heart."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import restored, unchanged_by_calls
from keras_dnn.diagnostics._quiet import without_noise
from keras_dnn.diagnostics.examination import Examination, losses_of

EXAMPLES = 8
RATES = (1e-3, 1e-2)
STEPS = 120
LARGE = 5_000_000
"""A network of more weights learns half as many examples in a third of the steps."""


class Learnt(NamedTuple):
    """How far it came."""

    first: float
    best: float
    steps: int
    examples: int


def learn(look: Examination, enough: float) -> Learnt | None:
    """Learns a few examples with Adam, dropout and penalties off; leaves no trace.

    Args:
        look: the network and the data.
        enough: the share of the first loss to stop at.

    Returns:
        How far it came; `None` where there is nothing to learn.
    """
    model = look.model
    weights = model.trainable_variables
    if not weights or not np.isfinite(look.loss):
        return None
    large = sum(int(np.prod(v.shape)) for v in weights) > LARGE
    examples, steps = (EXAMPLES // 2, STEPS // 3) if large else (EXAMPLES, STEPS)
    batch = keras.tree.map_structure(
        lambda part: None if part is None else part[:examples],
        (look.x, look.y, look.sample_weight),
    )
    first, best, done = 0.0, np.inf, 0
    with unchanged_by_calls(model), without_noise(model):
        step = _Step(look, batch)
        # Tracing a large network takes longer than its few steps.
        call = step if large else tf.function(step)
        for rate in RATES:
            with restored(model.variables):
                step.begin(rate)
                for i in range(steps):
                    loss = float(call())
                    done += 1
                    if i == 0:
                        first = loss
                    if not np.isfinite(loss):
                        break
                    best = min(best, loss)
                    if best <= enough * first:
                        break
            if best <= enough * first:
                break
    if not first > 0:
        return None
    return Learnt(
        first, float(best), done, min(examples, len(keras.tree.flatten(look.x)[0]))
    )


class _Step:
    """One step of Adam on one batch, without penalties."""

    def __init__(self, look: Examination, batch: Any) -> None:
        self.model, self.batch = look.model, batch
        self.weights = [v.value for v in look.model.trainable_variables]
        self.m = [tf.Variable(tf.zeros_like(w), trainable=False) for w in self.weights]
        self.s = [tf.Variable(tf.zeros_like(w), trainable=False) for w in self.weights]
        self.rate = tf.Variable(0.0, trainable=False)
        self.t = tf.Variable(0.0, trainable=False)

    def begin(self, rate: float) -> None:
        self.rate.assign(rate)
        self.t.assign(0.0)
        for variable in [*self.m, *self.s]:
            variable.assign(tf.zeros_like(variable))

    def __call__(self) -> Tensor:
        with tf.GradientTape() as tape:
            loss, _, _ = losses_of(self.model, *self.batch)
        gradients = tape.gradient(loss, self.weights)
        t = self.t.assign_add(1.0)
        rate = self.rate * tf.sqrt(1.0 - 0.999**t) / (1.0 - 0.9**t)
        for w, m, s, found in zip(self.weights, self.m, self.s, gradients, strict=True):
            if found is not None:
                g = tf.cast(tf.convert_to_tensor(found), w.dtype)
                m.assign(0.9 * m + 0.1 * g)
                s.assign(0.999 * s + 0.001 * tf.square(g))
                w.assign_sub(tf.cast(rate, w.dtype) * m / (tf.sqrt(s) + 1e-7))
        return loss
