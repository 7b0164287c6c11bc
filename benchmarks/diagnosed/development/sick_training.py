"""Networks whose training goes wrong."""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import sick, task
from diagnosed.parts import (
    adam,
    functional,
    sequential,
    sgd,
)
from diagnosed.words import GUESS, ORDER


def _dense(units=48, depth=2, outputs=3, activation="softmax"):
    return [layers.Dense(units, "relu") for _ in range(depth)] + [
        layers.Dense(outputs, activation)
    ]


@sick("rate-too-high", "nonfinite", "exploding", by="Doctor")
def descent_at_three(rng):
    """Plain gradient descent at 3 on a regression."""
    body = [layers.Dense(48, "relu"), layers.Dense(48, "relu"), layers.Dense(1)]
    model = sequential((6,), *body, optimizer=sgd(3.0), loss="mse")
    return task(model, *data.curve(rng))


@sick("rate-too-high", by="Doctor")
def rms_prop_on_an_lstm(rng):
    """RMSprop at 0.3 on a recurrent network."""
    fast = keras.optimizers.RMSprop(0.3)
    body = [layers.LSTM(16), layers.Dense(3, "softmax")]
    return task(sequential((32, 1), *body, optimizer=fast), *data.waves(rng))


@sick("rate-too-low", by="Doctor")
def adam_at_a_millionth(rng):
    """Adam at 0.000001."""
    model = sequential((10,), *_dense(), optimizer=adam(1e-6))
    return task(model, *data.columns(rng))


@sick("rate-too-low", "plateau", *GUESS, by="Doctor")
def decayed_at_once(rng):
    """A schedule whose decay counts steps where epochs were meant."""
    rate = keras.optimizers.schedules.ExponentialDecay(0.001, 1, 0.5)
    model = sequential((10,), *_dense(), optimizer=keras.optimizers.Adam(rate))
    return task(model, *data.columns(rng), epochs=8)


@sick("rate-too-low", "clipping", by="Doctor")
def clipped_to_nothing(rng):
    """`clipnorm` of a hundred-thousandth with gradient descent."""
    optimizer = keras.optimizers.SGD(0.1, clipnorm=1e-5)
    model = sequential((10,), *_dense(), optimizer=optimizer)
    return task(model, *data.columns(rng))


@sick("nonfinite", "rate-too-high", by="Doctor")
def logarithm_of_a_probability(rng):
    """A loss of one's own: the logarithm of a sigmoid that reaches zero."""

    def by_hand(y_true, y_pred):
        return -ops.mean(y_true * ops.log(y_pred) + (1 - y_true) * ops.log(1 - y_pred))

    x, y = data.columns(rng, classes=2)
    model = sequential(
        (10,),
        *_dense(outputs=1, activation="sigmoid"),
        loss=by_hand,
        optimizer=sgd(20.0),
    )
    return task(model, 3 * x, y[:, None].astype("float32"))


@sick("nonfinite", by="Doctor")
def root_of_a_difference(rng):
    """The root of a difference of two means, which may fall below zero."""
    x, y = data.columns(rng)
    x[::5] = 3.3 + 1e-4 * x[::5]
    inputs = keras.Input((10,))
    mean = ops.mean(inputs, axis=1, keepdims=True)
    variance = ops.mean(ops.square(inputs), axis=1, keepdims=True) - ops.square(mean)
    h = layers.Concatenate()([inputs, ops.sqrt(variance - 1e-5)])
    h = layers.Dense(32, "tanh")(h)
    return task(functional(inputs, layers.Dense(3, "softmax")(h)), x, y)


@sick("overfitting", *GUESS, by="Doctor")
def wide_network_and_few_rows(rng):
    """Eighty noisy rows and two layers of 256 units, for thirty epochs."""
    x, y = data.columns(rng, 300)
    y = np.where(rng.random(300) < 0.3, rng.integers(0, 3, 300), y).astype("int32")
    model = sequential((10,), *_dense(256), optimizer=adam(0.003))
    made = task(model, x, y, epochs=30)
    made.x, made.y = made.x[:80], made.y[:80]
    return made


@sick("overfitting", by="Doctor")
def few_pictures_and_no_augmentation(rng):
    """A hundred noisy pictures, forty epochs."""
    x, y = data.small_fashion(rng, 500)
    x = x + 0.3 * rng.normal(size=x.shape).astype("float32")
    body = [layers.Conv2D(24, 3, activation="relu"), layers.Flatten()]
    body += [layers.Dense(64, "relu"), layers.Dense(10, "softmax")]
    made = task(sequential((14, 14, 1), *body, optimizer=adam(0.003)), x, y, epochs=25)
    made.x, made.y = made.x[:100], made.y[:100]
    return made


@sick("underfitting", *GUESS, by="Doctor")
def dropout_of_nine_tenths(rng):
    """Dropout of 0.9 after each dense layer."""
    body = [layers.Flatten()]
    for _ in range(2):
        body += [layers.Dense(48, "relu"), layers.Dropout(0.9)]
    body.append(layers.Dense(10, "softmax"))
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng), epochs=6)


@sick("underfitting", *GUESS, by="Doctor")
def dropped_channels(rng):
    """Spatial dropout of 0.8 between convolutions."""
    body = [
        layers.Conv2D(16, 3, activation="relu"),
        layers.SpatialDropout2D(0.8),
        layers.Conv2D(16, 3, activation="relu"),
        layers.SpatialDropout2D(0.8),
        layers.Flatten(),
        layers.Dense(10, "softmax"),
    ]
    return task(sequential((14, 14, 1), *body), *data.small_fashion(rng), epochs=6)


@sick("order", *ORDER, by="Doctor")
def sorted_by_class(rng):
    """Rows sorted by class and `shuffle=False`."""
    x, y = data.small_fashion(rng)
    made = task(sequential((14, 14, 1), layers.Flatten(), *_dense(outputs=10)), x, y)
    order = np.argsort(made.y, kind="stable")
    made.x, made.y, made.fit = made.x[order], made.y[order], {"shuffle": False}
    return made
