"""The check of units that start equal, and stay so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np

from keras_dnn._keras.layers import own_weights
from keras_dnn._tensorflow import tf
from keras_dnn._unchanged import restored, unchanged_by_calls
from keras_dnn.diagnostics._one_pass import losses_of
from keras_dnn.diagnostics._without_noise import without_noise
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding

STEPS = 4
"""A branch that begins at zero may wait for another one to leave zero, and that one for
the output."""

STEP_SIZE = 0.1
"""The norm of all updates of a step."""

ROUNDING = 1e-3
"""Relative differences between the gradients of equal units that mean nothing."""


@built_in(
    "symmetric-weights",
    when="before",
    looks_for="units that start with the same weights and stay the same",
    advice="Initialise kernels at random; only biases may start at zero.",
)
def symmetric_weights(examination: Examination, check: Check) -> Iterator[Finding]:
    """Units with the same weights stay the same if their gradients are the same too.

    Not where what follows tells them apart: a last layer or a residual branch may begin
    at zero.
    """
    equal = [
        (signal.path, kernel)
        for signal in examination.weighted
        for kernel in _kernels(signal.layer)
        if not np.ptp(kernel.by_unit(_values(kernel.weight)), axis=-1).any()
    ]
    if not equal:
        return
    differ = _units_differ(examination, [kernel for _, kernel in equal])
    for (path, kernel), has_changed in zip(equal, differ, strict=True):
        if not has_changed:
            yield check.finding(
                "error",
                "All units of the layer have the same initial weights, and get the "
                "same gradients.",
                path,
                value=float(_values(kernel.weight).flat[0]),
                units=kernel.units,
            )


class _Kernel(NamedTuple):
    """A kernel and the number of its units, each of which may have several gates."""

    weight: keras.Variable
    units: int

    def by_unit(self, values: np.ndarray) -> np.ndarray:
        """Values of the shape of the kernel with the units on an axis of their own."""
        return values.reshape(*values.shape[:-1], -1, self.units)


def _kernels(layer: keras.layers.Layer) -> Iterator[_Kernel]:
    for weight in own_weights(getattr(layer, "cell", layer)):
        # By name: a gate or adapter is meant to start at zero.
        is_kernel = len(weight.shape) >= 2 and weight.name.endswith("kernel")
        if not is_kernel or not weight.trainable:
            continue
        last = int(weight.shape[-1])
        units = getattr(layer, "units", last)
        units = units if isinstance(units, int) and last % units == 0 else last
        if units > 1:
            yield _Kernel(weight, units)


def _units_differ(examination: Examination, kernels: list[_Kernel]) -> list[bool]:
    """For each kernel, whether a few steps of gradient descent tell its units apart."""
    model = examination.model
    weights = model.trainable_variables
    places = [next(i for i, w in enumerate(weights) if w is k.weight) for k in kernels]
    differ = [False] * len(kernels)
    # Dropout tells units apart, but they learn the same all the time.
    with unchanged_by_calls(model), without_noise(model), restored(weights):
        for _ in range(STEPS):
            gradients = _gradients(examination, weights)
            differ = [
                known or _columns_differ(kernel.by_unit(gradients[place]))
                for known, kernel, place in zip(differ, kernels, places, strict=True)
            ]
            size = float(np.sqrt(sum(np.sum(np.square(g)) for g in gradients)))
            if all(differ) or not 0.0 < size < np.inf:
                break
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.assign_sub(STEP_SIZE / size * gradient)
    return differ


def _gradients(
    examination: Examination, weights: list[keras.Variable]
) -> list[np.ndarray]:
    """The gradient of each weight, zero where the loss does not depend on it."""
    with tf.GradientTape() as tape:
        loss, _, _ = losses_of(
            examination.model, examination.x, examination.y, examination.sample_weight
        )
    found = tape.gradient(
        loss,
        [weight.value for weight in weights],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [np.asarray(tf.convert_to_tensor(g), "float32") for g in found]


def _columns_differ(gradient: np.ndarray) -> bool:
    largest = float(np.abs(gradient).max())
    return float(np.ptp(gradient, axis=-1).max()) > ROUNDING * largest


def _values(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable.value))
