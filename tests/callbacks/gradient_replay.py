"""A second implementation of what `GradientNorms` records, and models to try it on."""

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.optimizers import Nesterov
from tests.callbacks.harness import (
    dtype_policy,
    fit,
    regression,
    with_built_optimizer,
)


@pytest.fixture(autouse=True)
def in_float64():
    """`fit` casts data and losses to this type, whatever the layers have."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx(before)


# Ten batches, of which the last is a short one.
SAMPLES, BATCH = 38, 4


class Truth(NamedTuple):
    """What `GradientNorms` must say, a row for each update, in float64."""

    norms: np.ndarray
    clipped_norms: np.ndarray
    ratios: np.ndarray
    global_norms: np.ndarray
    global_clipped_norms: np.ndarray
    global_ratios: np.ndarray


# The second implementation


def as_array(gradient):
    """A gradient in NumPy, with repeated rows of a sparse one added up."""
    if isinstance(gradient, tf.IndexedSlices):
        dense = np.zeros(gradient.dense_shape.numpy(), gradient.dtype.as_numpy_dtype)
        np.add.at(dense, gradient.indices.numpy(), gradient.values.numpy())
        return dense
    return gradient.numpy()


def length(arrays):
    """The norm of arrays taken as one vector, by the definition."""
    return np.sqrt(sum(np.sum(np.square(a, dtype="float64")) for a in arrays))


def clip(gradients, clipnorm=None, clipvalue=None, global_clipnorm=None):
    if clipvalue is not None:
        return [np.clip(g, -clipvalue, clipvalue) for g in gradients]
    if clipnorm is not None:
        return [g * min(1, clipnorm / max(length([g]), 1e-30)) for g in gradients]
    if global_clipnorm is not None:
        factor = min(1, global_clipnorm / max(length(gradients), 1e-30))
        return [g * factor for g in gradients]
    return gradients


def divide(update, weight):
    return update / weight if weight else np.nan


class Update(NamedTuple):
    """One update of a replay, an array for each variable."""

    gradients: list[np.ndarray]
    clipped: list[np.ndarray]
    before: list[np.ndarray]
    moved: list[np.ndarray]


def updates(
    model, optimizer, batches, *, clips=None, loss=None, accumulate=1, scale=1
) -> Iterator[Update]:
    """Trains `model` by hand and gives each update.

    `optimizer` neither clips nor accumulates: that is done here, and so is skipping
    a gradient that a loss `scale` makes overflow, and halving the scale.
    """
    loss = loss or keras.losses.MeanSquaredError()
    micro = []
    for x, y in batches:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True)) * scale
        weights = model.trainable_variables
        raw = tape.gradient(value, [w.value for w in weights])
        micro.append([as_array(g) / scale for g in raw])
        if scale != 1 and not all(np.isfinite(g).all() for g in micro[-1]):
            scale /= 2
            micro = []
        if len(micro) < accumulate:
            continue
        gradients = [sum(gs) / accumulate for gs in zip(*micro, strict=True)]
        micro = []
        clipped = clip(gradients, **(clips or {}))
        before = [w.numpy().astype("float64") for w in weights]
        if clips or accumulate > 1 or scale != 1:
            raw = [
                tf.constant(g.astype(w.dtype))
                for g, w in zip(clipped, weights, strict=True)
            ]
        # Otherwise as they are: Keras trains otherwise on rows that are added up.
        optimizer.apply(raw, weights)
        moved = [w.numpy() - b for w, b in zip(weights, before, strict=True)]
        yield Update(gradients, clipped, before, moved)


def replay(model, optimizer, batches, **options):
    """What `GradientNorms` must record of a training; see `updates`."""
    rows = [
        (
            [length([g]) for g in gradients],
            [length([g]) for g in clipped],
            [
                divide(length([m]), length([b]))
                for m, b in zip(moved, before, strict=True)
            ],
            length(gradients),
            length(clipped),
            divide(length(moved), length(before)),
        )
        for gradients, clipped, before, moved in updates(
            model, optimizer, batches, **options
        )
    ]
    return Truth(*map(np.array, zip(*rows, strict=True)))


def assert_recorded(probe, truth, rtol=1e-9, ratio_rtol=None):
    ratio_rtol = ratio_rtol or rtol
    for field, expected in truth._asdict().items():
        found = getattr(probe, field)
        assert found.dtype == np.float64, field
        np.testing.assert_allclose(
            found,
            expected,
            rtol=ratio_rtol if "ratio" in field else rtol,
            atol=0,
            err_msg=field,
        )
    np.testing.assert_array_equal(probe.steps, np.arange(len(truth.norms)))


# Models and data


def data(samples=SAMPLES, inputs=6, outputs=3, dtype="float64"):
    return regression(samples, (inputs,), outputs, scale=2.0, dtype=dtype)


def batches(x, y, size=BATCH):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def dense(units, seed, dtype="float64", **options):
    """A layer that starts the same each time it is made, biases off zero."""
    options = {
        "kernel_initializer": keras.initializers.GlorotUniform(seed=seed),
        "bias_initializer": keras.initializers.RandomNormal(seed=seed),
    } | options
    return keras.layers.Dense(units, dtype=dtype, **options)


def network(dtype="float64", **options):
    return keras.Sequential(
        [
            keras.Input((6,)),
            dense(5, 1, dtype, activation="tanh", **options),
            dense(3, 2, dtype),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = dense(5, 1, activation="tanh")
        self.last = dense(3, 2)

    def call(self, x):
        return self.last(self.first(x))


def mixed_float16():
    """A model that `compile` gives a loss scale."""
    with dtype_policy("mixed_float16"):
        return network("mixed_float16")


def train(
    model, optimizer, x, y, callbacks, *, batch_size=BATCH, built=False, **options
):
    """Compiles and fits; of the options, `fit` gets those that are its own.

    With `built`, the optimizer is built first, and the step traced once, not twice.
    """
    fit_options = {
        key: options.pop(key)
        for key in ("epochs", "validation_data", "steps_per_epoch")
        if key in options
    }
    options.setdefault("loss", "mse")
    model.compile(optimizer, **options)
    if built:
        with_built_optimizer(model)
    return fit_again(model, x, y, callbacks, batch_size=batch_size, **fit_options)


def fit_again(model, x, y, callbacks=(), *, batch_size=BATCH, **options):
    """Fits a compiled model; `y` is `None` where `x` gives batches."""
    return fit(
        model,
        x if y is None else (x, y),
        callbacks,
        batch_size=batch_size,
        **options,
    )


def sgd(**options):
    return keras.optimizers.SGD(0.1, momentum=0.9, **options)


def adam(**options):
    return keras.optimizers.Adam(0.02, **options)


def nesterov(**options):
    return Nesterov(0.1, 0.9, **options)


def several(kernels, biases):
    """One optimizer for the kernels and another for the biases."""
    return multi_optimizer(biases, {".*kernel": kernels})


OPTIMIZERS = [sgd, adam, nesterov]
CLIPS = {
    "clipnorm": {"clipnorm": 0.8},
    "clipvalue": {"clipvalue": 0.3},
    "global_clipnorm": {"global_clipnorm": 1.5},
}
OPTIONS = {
    "plain": {},
    **CLIPS,
    "weight_decay": {"weight_decay": 0.05},
    "use_ema": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
}
MODES = ["default", "jit", "blocks", "eager", "scaled", "float16", "accumulate"]
