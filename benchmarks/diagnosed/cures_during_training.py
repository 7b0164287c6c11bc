"""Advice of `Doctor`, followed."""

import dataclasses

import keras
import numpy as np
from keras import layers, ops

from diagnosed.cure import again, classifier, cure, dense
from diagnosed.parts import (
    adam,
    functional,
    sequential,
    sgd,
)


@cure("nonfinite", "root_of_a_difference")
def guarded_root(sick):
    """The root's argument is kept above zero."""
    x = keras.Input((10,))
    mean = ops.mean(x, axis=1, keepdims=True)
    variance = ops.mean(ops.square(x), axis=1, keepdims=True) - ops.square(mean)
    h = layers.Concatenate()([x, ops.sqrt(ops.maximum(variance - 1e-5, 1e-7))])
    return again(sick, functional(x, layers.Dense(3, "softmax")(dense(32)[0](h))))


@cure("rate-too-high", "descent_at_three")
def divided_twice(sick):
    """The learning rate divided by 10 twice."""
    body = [*dense(48, 48), layers.Dense(1)]
    return again(sick, sequential((6,), *body, optimizer=sgd(0.03), loss="mse"))


@cure("rate-too-high", "rms_prop_on_an_lstm")
def divided_twice_again(sick):
    """The learning rate divided by 10 twice."""
    slow = keras.optimizers.RMSprop(0.003)
    body = [layers.LSTM(16), layers.Dense(3, "softmax")]
    return again(sick, sequential((32, 1), *body, optimizer=slow))


@cure("rate-too-low", "adam_at_a_millionth")
def multiplied(sick):
    """The learning rate multiplied by 10 three times."""
    return again(sick, classifier((10,), *dense(48, 48), optimizer=adam(0.001)))


@cure("rate-too-low", "clipped_to_nothing")
def not_clipped(sick):
    """Clipped at a norm of 1."""
    optimizer = keras.optimizers.SGD(0.1, clipnorm=1.0)
    return again(sick, classifier((10,), *dense(48, 48), optimizer=optimizer))


@cure("plateau", "decayed_at_once")
def constant_rate(sick):
    """Another learning rate: one that does not fall at once."""
    return again(sick, classifier((10,), *dense(48, 48), optimizer=adam(0.001)))


@cure("underfitting", "dropout_of_nine_tenths")
def less_dropout(sick):
    """Dropout of 0.2."""
    body = [layers.Flatten()]
    for layer in dense(48, 48):
        body += [layer, layers.Dropout(0.2)]
    return again(sick, classifier((14, 14, 1), *body))


@cure("overfitting", "wide_network_and_few_rows")
def stopped_early(sick):
    """Stopped early: the best epoch of a tenth of the training."""
    return dataclasses.replace(sick, epochs=3)


@cure("overfitting", "few_pictures_and_no_augmentation")
def dropped(sick):
    """Dropout of 0.5."""
    body = [layers.Conv2D(24, 3, activation="relu"), layers.Flatten()]
    body += [layers.Dropout(0.5), *dense(64), layers.Dropout(0.5)]
    return again(sick, classifier((14, 14, 1), *body, optimizer=adam(0.003)))


@cure("validation-data", "validation_not_divided")
def divided_too(sick):
    """The validation data divided by 255 too."""
    x, y = sick.validation
    return dataclasses.replace(sick, validation=(x / 255, y))


@cure("no-better-than-a-guess", "target_of_another_row")
def rows_aligned(sick):
    """Each row with its own target."""
    y = np.concatenate([sick.y, sick.validation[1]])
    y = np.roll(y, -7, axis=0)
    rows = len(sick.y)
    return dataclasses.replace(
        sick, y=y[:rows], validation=(sick.validation[0], y[rows:])
    )


@cure("order", "sorted_by_class")
def shuffled(sick):
    """`shuffle=True`."""
    return dataclasses.replace(sick, fit={})
