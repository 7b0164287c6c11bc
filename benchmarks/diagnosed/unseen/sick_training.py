"""Networks whose training goes wrong, unseen.

Do not read this file if you write or tune checks: its networks are there to judge
them, and judge only as long as nobody has looked.
"""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import sick, task
from diagnosed.parts import (
    TokenAndPosition,
    TransformerBlock,
    adam,
    conv_block,
    functional,
    sequential,
    sgd,
)
from diagnosed.words import BATCH_NORM, GUESS


def _dense(units=48, depth=2, outputs=3, activation="softmax"):
    return [layers.Dense(units, "relu") for _ in range(depth)] + [
        layers.Dense(outputs, activation)
    ]


@sick("rate-too-high", by="Doctor")
def adam_at_a_half(rng):
    """Adam at 0.5 on a small convolutional network."""
    body = [layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D()]
    body += [layers.Flatten(), layers.Dense(10, "softmax")]
    return task(
        sequential((14, 14, 1), *body, optimizer=adam(0.5)), *data.small_fashion(rng)
    )


@sick("rate-too-high", by="Doctor")
def transformer_at_a_rate_of_one(rng):
    """Adam at 1 on a Transformer."""
    x = keras.Input((16,), dtype="int32")
    h = TransformerBlock(32, 2, 64)(TokenAndPosition(16, 100, 32)(x))
    h = layers.GlobalAveragePooling1D()(h)
    model = functional(x, layers.Dense(2, "softmax")(h), adam(1.0))
    return task(model, *data.reviews(rng))


@sick("rate-too-high", "nonfinite", "exploding", "dead-units", by="Doctor")
def momentum_at_two(rng):
    """Momentum of 0.99 at a rate of 2."""
    model = sequential((10,), *_dense(), optimizer=sgd(2.0, 0.99))
    return task(model, *data.columns(rng))


@sick("rate-too-low", by="Doctor")
def descent_at_a_millionth(rng):
    """Gradient descent at 0.00001 on a convolutional network."""
    body = [*conv_block(12), layers.Flatten(), layers.Dense(10, "softmax")]
    return task(
        sequential((14, 14, 1), *body, optimizer=sgd(1e-5)), *data.small_fashion(rng)
    )


@sick("rate-too-low", by="Doctor")
def loss_divided_by_a_million(rng):
    """A loss of one's own that divides by the number of pixels of a large picture."""

    def per_pixel(y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1) / 1e6

    model = sequential(
        (6,), *_dense(outputs=1, activation=None), loss=per_pixel, optimizer=sgd(0.05)
    )
    return task(model, *data.curve(rng))


@sick("rate-too-low", by="Doctor")
def warmup_without_end(rng):
    """A warm-up of a million steps."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, 2_000_000, warmup_target=0.001, warmup_steps=1_000_000
    )
    body = [layers.Embedding(100, 16), layers.GlobalAveragePooling1D()]
    body += [layers.Dense(32, "relu"), layers.Dense(2, "softmax")]
    optimizer = keras.optimizers.Adam(schedule)
    return task(
        sequential((16,), *body, optimizer=optimizer, dtype="int32"), *data.reviews(rng)
    )


@sick("nonfinite", by="Doctor")
def one_bad_row(rng):
    """A single NaN, deep in the data."""
    x, y = data.columns(rng)
    x[411, 2] = np.nan
    return task(sequential((10,), *_dense()), x, y)


@sick("nonfinite", by="Doctor")
def power_of_a_negative(rng):
    """A fractional power of activations that may be negative."""
    inputs = keras.Input((6,))
    h = ops.power(layers.Dense(24)(inputs), 1.5)
    return task(functional(inputs, layers.Dense(1)(h), loss="mse"), *data.curve(rng))


@sick("overfitting", *GUESS, by="Doctor")
def words_learnt_by_heart(rng):
    """A large embedding for 120 sentences."""
    x, y = data.reviews(rng, 400)
    y = np.where(rng.random(400) < 0.2, 1 - y, y)
    body = [layers.Embedding(100, 64), layers.Flatten(), layers.Dense(64, "relu")]
    model = sequential(
        (16,), *body, layers.Dense(2, "softmax"), dtype="int32", optimizer=adam(0.003)
    )
    made = task(model, x, y, epochs=20)
    made.x, made.y = made.x[:120], made.y[:120]
    return made


@sick("overfitting", *GUESS, by="Doctor")
def regression_through_every_point(rng):
    """Sixty noisy points and a network that passes through all."""
    x, y = data.curve(rng, 260)
    y = y + 0.7 * rng.normal(size=y.shape).astype("float32")
    model = sequential(
        (6,), *_dense(128, 2, 1, None), optimizer=adam(0.005), loss="mse"
    )
    made = task(model, x, y, epochs=40)
    made.x, made.y = made.x[:60], made.y[:60]
    return made


@sick("underfitting", *GUESS, by="Doctor")
def inputs_dropped(rng):
    """Seven tenths of the inputs and of the units are dropped."""
    body = [layers.Dropout(0.7), layers.Dense(48, "relu"), layers.Dropout(0.7)]
    body += [layers.Dense(48, "relu"), layers.Dropout(0.7), layers.Dense(3, "softmax")]
    return task(sequential((10,), *body), *data.columns(rng), epochs=6)


@sick("batch-norm", *BATCH_NORM, by="Doctor")
def moving_means_that_do_not_move(rng):
    """A momentum of 0.9999: after 160 steps the averages have hardly moved."""
    body = [
        layers.Conv2D(12, 3, use_bias=False),
        layers.BatchNormalization(momentum=0.9999),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(10, "softmax"),
    ]
    x, y = data.small_fashion(rng)
    return task(sequential((14, 14, 1), *body), 8 * x + 4, y)


@sick("batch-norm", *BATCH_NORM, *GUESS, "vanishing", "dead-units", by="Doctor")
def batch_norm_of_one_row(rng):
    """Batch norm of dense layers with batches of a single row."""
    body = []
    for _ in range(3):
        body += [
            layers.Dense(32, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    model = sequential((10,), *body, layers.Dense(3, "softmax"))
    return task(model, *data.columns(rng, 300), epochs=3, batch_size=1)


@sick("update-ratio", by="Doctor")
def first_kernel_that_hardly_moves(rng):
    """A first kernel a hundred times too large behind a norm: it hardly changes."""
    large = keras.initializers.RandomNormal(stddev=30.0)
    body = [
        layers.Dense(48, kernel_initializer=large, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.Dense(3, "softmax"),
    ]
    return task(sequential((10,), *body), *data.columns(rng))
