"""Networks whose weights or layers are wrong, unseen.

Do not read this file if you write or tune checks: its networks are there to judge
them, and judge only as long as nobody has looked.
"""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import sick, task
from diagnosed.parts import (
    conv_block,
    functional,
    sequential,
)
from diagnosed.words import GUESS

normal = keras.initializers.RandomNormal


@sick("nonfinite-values")
def logarithm_of_a_relu(rng):
    """The logarithm of a ReLU's outputs."""
    x, y = data.small_fashion(rng)
    inputs = keras.Input((14, 14, 1))
    h = ops.log(layers.Dense(24, "relu")(layers.Flatten()(inputs)))
    return task(functional(inputs, layers.Dense(10, "softmax")(h)), x, y)


@sick("nonfinite-values", "no-gradient")
def distance_of_equal_vectors(rng):
    """The root of a distance that is zero for some pairs: its slope is infinite."""
    a = rng.normal(size=(data.ROWS, 6)).astype("float32")
    b = np.where(rng.random((data.ROWS, 1)) < 0.3, a, rng.normal(size=a.shape))
    y = (np.abs(a - b).sum(axis=1, keepdims=True) < 1).astype("float32")
    inputs = [keras.Input((6,)), keras.Input((6,))]
    shared = layers.Dense(16, "tanh")
    squares = ops.sum(
        ops.square(shared(inputs[0]) - shared(inputs[1])), -1, keepdims=True
    )
    out = layers.Dense(1, "sigmoid")(ops.sqrt(squares))
    model = functional(inputs, out, loss="binary_crossentropy")
    return task(model, [a, b.astype("float32")], y)


@sick("nothing-trainable")
def frozen_with_its_head(rng):
    """`trainable = False` on the whole model in place of its trunk."""
    x, y = data.small_fashion(rng)
    trunk = keras.Sequential(
        [keras.Input((14, 14, 1)), *conv_block(8), layers.Flatten()]
    )
    model = keras.Sequential([trunk, layers.Dense(10, "softmax")])
    model.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    return task(model, x, y)


@sick("symmetric-weights")
def filters_of_a_constant(rng):
    """All filters of a convolutional network start as 0.1."""
    same = {
        "kernel_initializer": keras.initializers.Constant(0.1),
        "activation": "relu",
    }
    body = [
        layers.Conv2D(12, 3, **same),
        layers.MaxPooling2D(),
        layers.Conv2D(12, 3, **same),
    ]
    model = sequential(
        (14, 14, 1), *body, layers.Flatten(), layers.Dense(10, "softmax")
    )
    return task(model, *data.small_fashion(rng))


@sick("symmetric-weights")
def gates_of_ones(rng):
    """A recurrent layer whose kernels all start at one."""
    ones = {"kernel_initializer": "ones", "recurrent_initializer": "ones"}
    body = [layers.GRU(12, **ones), layers.Dense(1)]
    return task(sequential((24, 1), *body, loss="mse"), *data.forecast(rng))


@sick("dead-units")
def filters_below_zero(rng):
    """Filters that start negative, on pictures that are not."""
    below = keras.initializers.RandomUniform(-0.4, 0.0)
    body = [layers.Conv2D(16, 3, activation="relu", kernel_initializer=below)]
    body += [layers.Flatten(), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng))


@sick("saturated-units")
def sigmoids_far_from_zero(rng):
    """Sigmoids whose biases start at 10."""
    high = keras.initializers.Constant(10.0)
    body = [layers.Flatten(), layers.Dense(48, "sigmoid", bias_initializer=high)]
    model = sequential((14, 14, 1), *body, layers.Dense(10, "softmax"))
    return task(model, *data.small_fashion(rng))


@sick("exploding", "initial-loss")
def thirty_additions_without_norm(rng):
    """Residual branches of He's size, never normalised: each doubles the signal."""
    x = keras.Input((10,))
    h = layers.Dense(32)(x)
    for _ in range(16):
        r = layers.Dense(32, "relu", kernel_initializer="he_normal")(h)
        r = layers.Dense(32, kernel_initializer=normal(stddev=0.35))(r)
        h = layers.Add()([h, r])
    return task(functional(x, layers.Dense(3, "softmax")(h)), *data.columns(rng))


@sick("exploding")
def deep_convolutions_too_large(rng):
    """Twelve convolutions with a standard deviation of 0.3."""
    wide = {"kernel_initializer": normal(stddev=0.3), "activation": "relu"}
    body = [layers.Conv2D(16, 3, padding="same", **wide) for _ in range(12)]
    body += [layers.GlobalAveragePooling2D(), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng))


@sick("vanishing")
def simple_network_over_a_long_series(rng):
    """A recurrent kernel that halves the state: the first of 40 steps is forgotten."""
    x = rng.normal(size=(data.ROWS, 40, 1)).astype("float32")
    y = (x[:, 0] > 0).astype("float32")
    small = keras.initializers.Orthogonal(gain=0.4)
    body = [layers.SimpleRNN(16, recurrent_initializer=small, return_sequences=True)]
    for _ in range(3):
        cell = layers.SimpleRNN(
            16,
            kernel_initializer=normal(stddev=0.02),
            recurrent_initializer=small,
            return_sequences=True,
        )
        body.append(cell)
    body += [layers.GlobalAveragePooling1D(), layers.Dense(1, "sigmoid")]
    return task(sequential((40, 1), *body, loss="binary_crossentropy"), x, y)


@sick("vanishing")
def twelve_squashed_tanh(rng):
    """Twelve layers of tanh whose weights are half of what they should be."""
    small = keras.initializers.VarianceScaling(0.2, "fan_in")
    body = [
        layers.Dense(32, "tanh", kernel_initializer=small.clone()) for _ in range(12)
    ]
    return task(sequential((6,), *body, layers.Dense(1), loss="mse"), *data.curve(rng))


@sick("no-gradient")
def argmax_between_layers(rng):
    """The most likely of twelve topics goes on as a one-hot row."""
    x = keras.Input((10,))
    topic = ops.one_hot(ops.argmax(layers.Dense(12)(x), axis=-1), 12)
    h = layers.Dense(32, "relu")(topic)
    return task(functional(x, layers.Dense(3, "softmax")(h)), *data.columns(rng))


@sick("no-gradient")
def features_detached(rng):
    """`stop_gradient` where the trunk should learn too."""
    x = keras.Input((14, 14, 1))
    h = layers.Conv2D(12, 3, activation="relu")(x)
    h = layers.Lambda(ops.stop_gradient)(layers.Flatten()(h))
    return task(functional(x, layers.Dense(10, "softmax")(h)), *data.small_fashion(rng))


@sick("regularisation")
def weight_decay_of_a_half(rng):
    """L2 with a factor of 0.5 on every kernel."""
    strong = keras.regularizers.L2(0.5)
    body = [layers.Dense(64, "relu", kernel_regularizer=strong) for _ in range(3)]
    return task(
        sequential((10,), *body, layers.Dense(3, "softmax")), *data.columns(rng)
    )


@sick("regularisation")
def penalised_activations(rng):
    """An L1 penalty of 0.1 on activations, which are many."""
    strong = keras.regularizers.L1(0.1)
    body = [layers.Conv2D(16, 3, activation="relu", activity_regularizer=strong)]
    body += [layers.Flatten(), layers.Dense(10, "softmax")]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng))


@sick("tiny-batch", "dead-units", "no-gradient", *GUESS)
def spatial_mean_of_centred_pictures(rng):
    """Each picture's mean is subtracted, then all that is left is its mean."""
    x, y = data.small_fashion(rng)
    inputs = keras.Input((14, 14, 1))
    h = inputs - ops.mean(inputs, axis=(1, 2), keepdims=True)
    h = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 1)(h))
    h = layers.Dense(32, "relu")(h)
    return task(functional(inputs, layers.Dense(10, "softmax")(h)), x, y)


@sick("initializer")
def eight_of_glorot(rng):
    """Eight layers of ReLUs with Keras's default initialisation."""
    body = [layers.Dense(64, "relu") for _ in range(8)]
    return task(
        sequential((10,), *body, layers.Dense(3, "softmax")), *data.columns(rng)
    )
