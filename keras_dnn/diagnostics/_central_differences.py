"""Slopes of a loss by central differences; kinks are not taken for errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._keras.losses import call_of, total_loss
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import moving_variables

EPSILON = float(np.finfo("float64").eps)
STEP = EPSILON ** (1 / 3)
"""The step at which rounding, eps / h, and truncation, h**2, are equally small."""


class LossOfWeights:
    """The loss as a function of the weights; data, masks and statistics stay fixed."""

    def __init__(self, model: keras.Model, batch: Any, training: bool) -> None:
        self.model, self.batch, self.training = model, batch, training
        self.weights = [v.value for v in model.trainable_variables]
        # A pass would move statistics and the seeds of masks.
        moving = [*moving_variables(model), *model.metrics_variables]
        self._fixed = [(v, np.asarray(v.value)) for v in moving]
        self._call = tf.function(self._value)

    def _value(self) -> Tensor:
        x, y, weight = self.batch
        outputs = call_of(self.model, x, training=self.training)
        return total_loss(self.model, x, y, outputs, weight, training=self.training)

    def value(self) -> float:
        """The loss with the weights as they are."""
        self.fix()
        return float(self._call())

    def gradients(self) -> list[np.ndarray]:
        """Automatic gradients, a flat array for each variable."""
        self.fix()

        def taped() -> list[Tensor]:
            with tf.GradientTape() as tape:
                loss = self._value()
            return [
                tf.zeros_like(w) if g is None else tf.convert_to_tensor(g)
                for w, g in zip(
                    self.weights, tape.gradient(loss, self.weights), strict=True
                )
            ]

        return [np.asarray(g).ravel() for g in tf.function(taped)()]

    def fix(self) -> None:
        """Puts statistics and the seeds of masks where they were at first."""
        for variable, value in self._fixed:
            variable.assign(value)

    def at(self, weight: Any, index: int, offset: float) -> float:
        """The loss with one coordinate moved."""
        # Of a scalar `numpy()` gives a number, whose copy has no entries to set.
        before = np.array(weight.numpy())
        moved = before.copy()
        moved.flat[index] += offset
        weight.assign(moved)
        try:
            return self.value()
        finally:
            weight.assign(before)


class Slope(NamedTuple):
    """A central difference, and whether the coordinate lies on a kink."""

    numeric: float
    kink: bool


def slope_of(
    loss: LossOfWeights,
    weight: Any,
    index: int,
    g: float,
    here: float,
    tolerance: float,
) -> Slope:
    """The slope at one coordinate; with smaller steps where it differs from `g`."""
    widest = STEP * max(1.0, abs(float(np.array(weight.numpy()).flat[index])))
    gaps, is_between, numeric = [], [], 0.0
    for shrink in (1.0, 0.1, 0.01):
        h = shrink * widest
        up, down = loss.at(weight, index, h), loss.at(weight, index, -h)
        found = (up - down) / (2 * h)
        noise = rounding(here, h)
        if shrink == 1.0:
            numeric = found
        if not np.isfinite([found, g]).all():
            return Slope(numeric, False)
        if abs(found - g) <= tolerance * (abs(found) + abs(g)) + noise:
            return Slope(found, False)
        right, left = (up - here) / h, (here - down) / h
        gaps.append(abs(right - left))
        low, high = min(left, right), max(left, right)
        is_between.append(low - noise <= g <= high + noise)
    # On a kink the gap stays; where the loss is smooth it shrinks as h does.
    kink = all(is_between) and gaps[-1] > 0.5 * gaps[0] > 0
    return Slope(numeric, kink)


def rounding(loss: float, step: float) -> float:
    """How large a central difference may be by rounding alone, with a slope of zero."""
    return 10 * EPSILON * max(abs(loss), 1.0) / step


def relative_difference(g: np.ndarray, numeric: np.ndarray, noise: float) -> float:
    """The relative difference of two gradients, 0 where both are rounding noise.

    NaN if a number is not finite: no two gradients of that kind agree.
    """
    if not (np.isfinite(g).all() and np.isfinite(numeric).all()):
        return float("nan")
    size = float(np.linalg.norm(g) + np.linalg.norm(numeric))
    gap = float(np.linalg.norm(g - numeric))
    if gap <= noise * np.sqrt(max(g.size, 1)) and size <= 1e4 * noise:
        return 0.0
    return gap / size if size > 0 else 0.0
