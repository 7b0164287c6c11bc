"""Networks whose weights or layers are wrong."""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import sick, task
from diagnosed.parts import (
    TokenAndPosition,
    adam,
    functional,
    sequential,
)

normal = keras.initializers.RandomNormal


@sick("nonfinite-values")
def weights_of_a_training_that_diverged(rng):
    """Weights that became NaN in an earlier training."""
    x, y = data.columns(rng)
    model = sequential((10,), layers.Dense(32, "relu"), layers.Dense(3, "softmax"))
    kernel = np.array(model.layers[0].kernel)
    kernel[:, 5] = np.nan
    model.layers[0].kernel.assign(kernel)
    return task(model, x, y)


@sick("nonfinite-values")
def rows_divided_by_their_deviation(rng):
    """A layer divides each row by its deviation, and one row is constant."""
    x, y = data.columns(rng)
    x[::9] = 1.5
    inputs = keras.Input((10,))
    centred = inputs - ops.mean(inputs, axis=1, keepdims=True)
    h = centred / ops.std(inputs, axis=1, keepdims=True)
    h = layers.Dense(32, "relu")(h)
    return task(functional(inputs, layers.Dense(3, "softmax")(h)), x, y)


@sick("nothing-trainable")
def each_layer_frozen(rng):
    """A loop over all layers freezes the new one too."""
    x, y = data.columns(rng)
    model = sequential((10,), layers.Dense(32, "relu"), layers.Dense(3, "softmax"))
    for layer in model.layers:
        layer.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    return task(model, x, y)


@sick("symmetric-weights")
def kernels_of_zero(rng):
    """Every kernel starts at zero."""
    zero = {"kernel_initializer": "zeros"}
    body = [layers.Dense(32, "relu", **zero), layers.Dense(32, "relu", **zero)]
    model = sequential((10,), *body, layers.Dense(3, "softmax", **zero))
    return task(model, *data.columns(rng))


@sick("dead-units")
def biases_far_below_zero(rng):
    """Biases of -12 before ReLUs."""
    low = keras.initializers.Constant(-12.0)
    body = [layers.Dense(48, "relu", bias_initializer=low), layers.Dense(3, "softmax")]
    return task(sequential((10,), *body), *data.columns(rng))


@sick("dead-units", "rate-too-high", by="Doctor")
def killed_by_large_steps(rng):
    """Steps so large that most ReLUs end below zero for every row."""
    body = [
        layers.Dense(64, "relu"),
        layers.Dense(64, "relu"),
        layers.Dense(3, "softmax"),
    ]
    model = sequential((10,), *body, optimizer=adam(0.3))
    return task(model, *data.columns(rng), epochs=6)


@sick("saturated-units")
def wide_weights_before_tanh(rng):
    """Standard normal weights, a hundred inputs, tanh."""
    x = rng.normal(size=(data.ROWS, 100)).astype("float32")
    y = (x[:, :5].sum(axis=1) > 0).astype("int32")
    body = [layers.Dense(32, "tanh", kernel_initializer=normal(stddev=1.0))]
    return task(sequential((100,), *body, layers.Dense(2, "softmax")), x, y)


@sick("exploding")
def standard_normal_weights(rng):
    """Six wide layers with standard normal weights."""
    first = {"kernel_initializer": normal(stddev=1.0)}
    body = [layers.Dense(64, "relu", **first) for _ in range(6)]
    return task(
        sequential((10,), *body, layers.Dense(3, "softmax")), *data.columns(rng)
    )


@sick("exploding")
def recurrent_kernel_too_large(rng):
    """A linear recurrent network whose state grows by half at each of 48 steps."""
    x = rng.normal(size=(data.ROWS, 48, 2)).astype("float32")
    y = x[:, :, 0].mean(axis=1, keepdims=True) * 7
    large = keras.initializers.Orthogonal(gain=1.5)
    cell = layers.SimpleRNN(16, activation=None, recurrent_initializer=large)
    return task(sequential((48, 2), cell, layers.Dense(1), loss="mse"), x, y)


@sick("vanishing")
def fourteen_sigmoids(rng):
    """Fourteen layers of sigmoids."""
    body = [layers.Dense(32, "sigmoid") for _ in range(14)]
    return task(
        sequential((10,), *body, layers.Dense(3, "softmax")), *data.columns(rng)
    )


@sick("vanishing")
def weights_of_a_hundredth(rng):
    """A deep convolutional network with the deviation of 0.01 of 2012."""
    small = {"kernel_initializer": normal(stddev=0.01), "activation": "relu"}
    body = [layers.Conv2D(16, 3, padding="same", **small) for _ in range(6)]
    body += [layers.Flatten(), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng))


@sick("vanishing")
def transformer_without_norms(rng):
    """Blocks without norms and residuals, small initial weights."""
    small = {"kernel_initializer": normal(stddev=0.02)}
    x = keras.Input((16,), dtype="int32")
    h = TokenAndPosition(16, 100, 32)(x)
    for _ in range(4):
        h = layers.MultiHeadAttention(2, 16, **small)(h, h)
        h = layers.Dense(32, **small)(layers.Dense(64, "gelu", **small)(h))
    h = layers.GlobalAveragePooling1D()(h)
    model = functional(x, layers.Dense(2, "softmax")(h))
    return task(model, *data.reviews(rng))


@sick("no-gradient", "vanishing", "dead-units")
def rounded_activations(rng):
    """Activations rounded to integers: the slope is zero everywhere."""
    x = keras.Input((10,))
    h = ops.round(4 * layers.Dense(32, "sigmoid")(x)) / 4
    return task(functional(x, layers.Dense(3, "softmax")(h)), *data.columns(rng))


@sick("no-gradient")
def auxiliary_head_without_loss(rng):
    """A second head of three layers that has no loss."""
    x, y = data.columns(rng)
    inputs = keras.Input((10,))
    h = layers.Dense(32, "relu")(inputs)
    side = layers.Dense(1, name="side")(layers.Dense(16, "relu")(h))
    model = keras.Model(inputs, [layers.Dense(3, "softmax", name="label")(h), side])
    model.compile("adam", ["sparse_categorical_crossentropy", None])
    return task(model, x, [y, x[:, :1]])


@sick("regularisation")
def reward_for_large_weights(rng):
    """A penalty with the wrong sign."""

    def spread(kernel):
        return -0.01 * ops.sum(ops.square(kernel))

    body = [layers.Dense(64, "relu", kernel_regularizer=spread), layers.Dense(1)]
    return task(sequential((6,), *body, loss="mse"), *data.curve(rng))


@sick("initial-loss")
def last_layer_too_sure(rng):
    """Last weights with a standard deviation of 3."""
    last = layers.Dense(10, "softmax", kernel_initializer=normal(stddev=3.0))
    body = [layers.Flatten(), layers.Dense(64, "relu"), last]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng))


@sick("initial-loss")
def logits_not_divided(rng):
    """Products of long vectors as scores, not divided by the root of their length."""
    people = rng.normal(size=(800, 8)).astype("float32")
    y = rng.integers(0, 6, 800) * 0 + people[:, :6].argmax(axis=1)
    x = keras.Input((8,))
    h = layers.Dense(256, kernel_initializer=normal(stddev=1.0))(x)
    out = layers.Dense(6, "softmax", kernel_initializer=normal(stddev=1.0))(h)
    return task(functional(x, out), people, y.astype("int32"))


@sick("useless-bias")
def bias_before_batch_norm(rng):
    """Convolutions with a bias before batch norm."""
    body = []
    for filters in (12, 24):
        body += [layers.Conv2D(filters, 3), layers.BatchNormalization(), layers.ReLU()]
    body += [layers.GlobalAveragePooling2D(), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng))


@sick("self-normalisation")
def selu_of_glorot_with_dropout(rng):
    """SELU with Keras's default initialisation and plain dropout."""
    body = []
    for _ in range(3):
        body += [layers.Dense(48, "selu"), layers.Dropout(0.2)]
    return task(
        sequential((10,), *body, layers.Dense(3, "softmax")), *data.columns(rng)
    )


@sick("self-normalisation")
def selu_of_he(rng):
    """SELU with He's initialisation, six layers."""
    he = {"kernel_initializer": "he_normal"}
    body = [layers.Dense(48, "selu", **he) for _ in range(6)]
    return task(sequential((6,), *body, layers.Dense(1), loss="mse"), *data.curve(rng))
