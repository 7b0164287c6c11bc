"""Healthy dense networks: classes, regressions, adapters, precision, unseen.

Do not read this file if you write or tune checks: its networks are there to judge
them, and judge only as long as nobody has looked.
"""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import healthy, task
from diagnosed.parts import adam, from_logits, functional, sequential, sgd


@healthy("dense")
def logits_with_momentum(rng):
    """Logits, gradient descent with momentum."""
    body = [layers.Dense(48, "relu"), layers.Dense(48, "relu"), layers.Dense(3)]
    model = sequential((10,), *body, optimizer=sgd(0.01, 0.9), loss=from_logits())
    return task(model, *data.columns(rng))


@healthy("dense")
def softmax_regression_from_zero(rng):
    """Multinomial regression whose weights start at zero."""
    last = layers.Dense(10, "softmax", kernel_initializer="zeros")
    model = sequential((14, 14, 1), layers.Flatten(), last, optimizer=adam(0.005))
    return task(model, *data.small_fashion(rng))


@healthy("dense")
def tags(rng):
    """Five tags that may occur together."""
    x, _ = data.columns(rng)
    y = (x @ rng.normal(size=(10, 5)) > 0.8).astype("float32")
    body = [layers.Dense(64, "relu"), layers.Dense(5, "sigmoid")]
    return task(sequential((10,), *body, loss="binary_crossentropy"), x, y)


@healthy("dense")
def smoothed_labels(rng):
    """Label smoothing of 0.1: the loss cannot reach zero."""
    x, y = data.columns(rng)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    body = [layers.Dense(64, "relu"), layers.Dense(64, "relu")]
    model = sequential((10,), *body, layers.Dense(3, "softmax"), loss=loss)
    return task(model, x, np.eye(3, dtype="float32")[y])


@healthy("dense")
def batch_normalised(rng):
    """Batch norm before each activation, no biases."""
    body = []
    for units in (64, 64, 32):
        body += [
            layers.Dense(units, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    model = sequential((10,), *body, layers.Dense(3, "softmax"))
    return task(model, *data.columns(rng))


@healthy("dense")
def highway(rng):
    """Gates that start nearly closed, so that the input passes through."""
    x = keras.Input((10,))
    h = layers.Dense(32, "tanh")(x)
    for _ in range(4):
        closed = keras.initializers.Constant(-2.0)
        gate = layers.Dense(32, "sigmoid", bias_initializer=closed)(h)
        h = gate * layers.Dense(32, "relu")(h) + (1 - gate) * h
    return task(functional(x, layers.Dense(3, "softmax")(h)), *data.columns(rng))


@healthy("dense")
def categories_and_numbers(rng):
    """Embedded categories beside numbers."""
    category = rng.integers(0, 12, (data.ROWS, 1)).astype("int32")
    x, _ = data.columns(rng)
    y = (x[:, 0] + rng.normal(size=12)[category[:, 0]] * 1.5 > 0).astype("float32")
    inputs = [keras.Input((1,), dtype="int32"), keras.Input((10,))]
    h = layers.Flatten()(layers.Embedding(12, 4)(inputs[0]))
    h = layers.Dense(32, "relu")(layers.Concatenate()([h, inputs[1]]))
    model = functional(
        inputs, layers.Dense(1, "sigmoid")(h), loss="binary_crossentropy"
    )
    return task(model, [category, x], y[:, None])


@healthy("dense")
def wide_and_deep(rng):
    """A linear path beside a deep one."""
    x = keras.Input((10,))
    h = layers.Dense(32, "relu")(layers.Dense(32, "relu")(x))
    out = layers.Dense(3, "softmax")(layers.Concatenate()([h, x]))
    return task(functional(x, out), *data.columns(rng))


@healthy("regression")
def prices(rng):
    """Raw columns behind an adapted `Normalization`, standardised targets."""
    x, y = data.houses(rng)
    normalise = layers.Normalization()
    normalise.adapt(x)
    body = [normalise, layers.Dense(48, "relu"), layers.Dense(48, "relu")]
    return task(
        sequential((5,), *body, layers.Dense(1), loss="mse"), x, data.standardised(y)
    )


@healthy("regression")
def outliers(rng):
    """Huber's loss where one target in thirty is far off."""
    x, y = data.curve(rng)
    y = np.where(rng.random(y.shape) < 1 / 30, y + 6 * rng.normal(size=y.shape), y)
    body = [layers.Dense(64, "gelu"), layers.Dense(32, "gelu"), layers.Dense(1)]
    model = sequential((6,), *body, optimizer=adam(0.003), loss="huber")
    return task(model, x, y.astype("float32"))


@healthy("regression")
def counts(rng):
    """Poisson regression with an exponential output."""
    x, _ = data.curve(rng)
    y = rng.poisson(np.exp(0.5 + 0.6 * x[:, 0] - 0.4 * x[:, 1]))
    body = [layers.Dense(32, "relu"), layers.Dense(1, "exponential")]
    model = sequential((6,), *body, loss="poisson")
    return task(model, x, y[:, None].astype("float32"))


@healthy("regression")
def median_and_quantiles(rng):
    """Three quantiles at once by the pinball loss."""
    x, y = data.curve(rng)
    levels = np.array([0.1, 0.5, 0.9], "float32")

    def pinball(y_true, y_pred):
        error = y_true - y_pred
        return ops.mean(ops.maximum(levels * error, (levels - 1) * error), axis=-1)

    body = [layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(3)]
    return task(sequential((6,), *body, optimizer=adam(0.003), loss=pinball), x, y)


@healthy("regression")
def sines_of_coordinates(rng):
    """A coordinate network with sine activations and their own initialisation."""
    x = rng.uniform(-1, 1, (data.ROWS, 2)).astype("float32")
    y = np.sin(4 * x[:, :1]) * np.cos(3 * x[:, 1:])

    def sines(units, bound):
        first = keras.initializers.RandomUniform(-bound, bound)
        return layers.Dense(units, lambda z: ops.sin(6 * z), kernel_initializer=first)

    body = [sines(48, 0.5), sines(48, np.sqrt(6 / 48) / 6)]
    return task(sequential((2,), *body, layers.Dense(1), loss="mse"), x, y)


@healthy("regression")
def fractions(rng):
    """A fraction between 0 and 1 from a sigmoid, squared error."""
    x, _ = data.curve(rng)
    y = 1 / (1 + np.exp(-2 * x[:, :1] + x[:, 1:2]))
    body = [layers.Dense(32, "relu"), layers.Dense(1, "sigmoid")]
    return task(sequential((6,), *body, loss="mse"), x, y.astype("float32"))


@healthy("adapters")
def new_head(rng):
    """A frozen trunk that has learnt six classes, and a new head for four."""
    x, y = data.small_fashion(rng, 1000)
    trunk = keras.Sequential(
        [keras.Input((14, 14, 1)), layers.Flatten(), layers.Dense(64, "relu")]
    )
    first = keras.Sequential([trunk, layers.Dense(10, "softmax")])
    first.compile("adam", "sparse_categorical_crossentropy")
    first.fit(x[y < 6], y[y < 6], epochs=5, verbose=0)
    trunk.trainable = False
    model = keras.Sequential([trunk, layers.Dense(4, "softmax")])
    model.compile(adam(0.005), "sparse_categorical_crossentropy")
    return task(model, x[y > 5], y[y > 5] - 6, epochs=8)


@healthy("precision")
def half_precision(rng):
    """Mixed float16 with loss scaling, float32 output."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(64, "relu")]
        last = layers.Dense(10, "softmax", dtype="float32")
        model = sequential((14, 14, 1), *body, last)
    finally:
        keras.config.set_dtype_policy("float32")
    return task(model, *data.small_fashion(rng))


@healthy("precision")
def brain_float(rng):
    """Mixed bfloat16 in a small convolutional network."""
    policy = "mixed_bfloat16"
    body = [
        layers.Conv2D(16, 3, activation="relu", dtype=policy),
        layers.MaxPooling2D(dtype=policy),
        layers.Flatten(dtype=policy),
        layers.Dense(32, "relu", dtype=policy),
        layers.Dense(10, "softmax", dtype="float32"),
    ]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng))
