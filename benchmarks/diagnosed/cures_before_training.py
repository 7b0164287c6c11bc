"""Advice of `preflight`, followed."""

import dataclasses

import keras
import numpy as np
from keras import layers, ops

from diagnosed.cure import again, both, classifier, cure, dense, targets
from diagnosed.parts import (
    TokenAndPosition,
    adam,
    from_logits,
    functional,
    pre_norm_block,
    sequential,
)


@cure("nonfinite-data", "logarithms_of_counts")
def log_of_one_more(sick):
    """log(1 + count)."""

    def change(x):
        return np.log1p(np.exp(x)).astype("float32")

    return dataclasses.replace(sick, **both(sick, change))


@cure("labels", "plus_and_minus_one")
def zero_and_one(sick):
    """Labels 0 and 1."""
    return dataclasses.replace(sick, **targets(sick, lambda y: (y + 1) / 2))


@cure("labels", "one_class_too_few")
def ten_units(sick):
    """One unit per class."""
    body = [layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D()]
    body += [layers.Flatten(), layers.Dense(10)]
    return again(sick, sequential((14, 14, 1), *body, loss=from_logits()))


@cure("nonfinite-values", "rows_divided_by_their_deviation")
def guarded_division(sick):
    """`ops.maximum` keeps the divisor above zero."""
    x = keras.Input((10,))
    centred = x - ops.mean(x, axis=1, keepdims=True)
    h = centred / ops.maximum(ops.std(x, axis=1, keepdims=True), 1e-7)
    h = layers.Dense(32, "relu")(h)
    return again(sick, functional(x, layers.Dense(3, "softmax")(h)))


@cure("inputs-not-standardised", "bytes_as_floats")
def rescaling(sick):
    """A `Rescaling` layer in front."""
    body = [layers.Rescaling(1 / 127.5, offset=-1), layers.Flatten(), *dense(64)]
    return again(sick, classifier((14, 14, 1), *body))


@cure("inputs-not-standardised", "seconds_since_1970")
def normalization(sick):
    """The mean subtracted, divided by the deviation."""
    mean, deviation = np.float64(sick.x).mean(axis=0), np.float64(sick.x).std(axis=0)

    def change(x):
        return ((np.float64(x) - mean) / deviation).astype("float32")

    return dataclasses.replace(sick, **both(sick, change))


@cure("targets-not-standardised", "prices_in_euros")
def standardised_targets(sick):
    """Standardised targets."""
    mean, deviation = sick.y.mean(), sick.y.std()
    return dataclasses.replace(sick, **targets(sick, lambda y: (y - mean) / deviation))


@cure("nothing-trainable", "each_layer_frozen")
def unfrozen(sick):
    """`trainable=True`, compiled again."""
    for layer in sick.model.layers:
        layer.trainable = True
    sick.model.compile("adam", "sparse_categorical_crossentropy")
    return sick


@cure("loss-and-activation", "softmax_taken_for_logits")
def logits(sick):
    """No softmax before `from_logits=True`."""
    body = [*dense(32), layers.Dense(3)]
    return again(sick, sequential((10,), *body, loss=from_logits()))


@cure("loss-and-activation", "forgotten_softmax")
def softmax(sick):
    """A softmax at the end."""
    return again(sick, classifier((10,), *dense(48, 48)))


@cure("loss-and-activation", "sigmoid_for_exclusive_classes")
def softmax_for_sigmoids(sick):
    """A softmax in place of sigmoids."""
    return again(sick, classifier((14, 14, 1), layers.Flatten(), *dense(64)))


@cure("output-range", "relu_for_signed_targets")
def linear_output(sick):
    """A linear output."""
    return again(sick, sequential((6,), *dense(48), layers.Dense(1), loss="mse"))


@cure("symmetric-weights", "kernels_of_zero")
def random_kernels(sick):
    """Random kernels."""
    return again(sick, classifier((10,), *dense(32, 32)))


@cure("useless-bias", "bias_before_batch_norm")
def without_bias(sick):
    """`use_bias=False`."""
    body = []
    for filters in (12, 24):
        body += [layers.Conv2D(filters, 3, use_bias=False)]
        body += [layers.BatchNormalization(), layers.ReLU()]
    body.append(layers.GlobalAveragePooling2D())
    return again(sick, classifier((14, 14, 1), *body))


@cure("self-normalisation", "selu_of_he")
def lecun(sick):
    """LeCun's initialisation."""
    body = dense(*[48] * 6, activation="selu", initializer="lecun_normal")
    return again(sick, sequential((6,), *body, layers.Dense(1), loss="mse"))


@cure("dead-units", "biases_far_below_zero")
def biases_of_zero(sick):
    """Biases start at zero."""
    return again(sick, classifier((10,), *dense(48)))


@cure("dead-units", "killed_by_large_steps")
def smaller_steps(sick):
    """A learning rate a hundredth as large."""
    return again(sick, classifier((10,), *dense(64, 64), optimizer=adam(0.003)))


@cure("saturated-units", "wide_weights_before_tanh")
def narrow_weights(sick):
    """Glorot's initialisation."""
    body = [*dense(32, activation="tanh"), layers.Dense(2, "softmax")]
    return again(sick, sequential((100,), *body))


@cure("exploding", "standard_normal_weights")
def he(sick):
    """He's initialisation."""
    return again(sick, classifier((10,), *dense(*[64] * 6, initializer="he_normal")))


@cure("exploding", "recurrent_kernel_too_large")
def orthogonal(sick):
    """An orthogonal recurrent kernel that keeps the size of the state."""
    cell = layers.SimpleRNN(16, activation=None)
    return again(sick, sequential((48, 2), cell, layers.Dense(1), loss="mse"))


@cure("vanishing", "fourteen_sigmoids")
def relus(sick):
    """ReLU with He's initialisation."""
    return again(sick, classifier((10,), *dense(*[32] * 14, initializer="he_normal")))


@cure("vanishing", "transformer_without_norms")
def skips_and_norms(sick):
    """Skip connections and norms."""
    x = keras.Input((16,), dtype="int32")
    h = TokenAndPosition(16, 100, 32)(x)
    for _ in range(4):
        h = pre_norm_block(h, 32, rate=0.0)
    h = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(h))
    return again(sick, functional(x, layers.Dense(2, "softmax")(h)))


@cure("no-gradient", "rounded_activations")
def not_rounded(sick):
    """Not rounded."""
    return again(sick, classifier((10,), *dense(32, activation="sigmoid")))


@cure("regularisation", "reward_for_large_weights")
def small_penalty(sick):
    """L2 with a factor of 0.0001."""
    small = keras.regularizers.L2(1e-4)
    body = [layers.Dense(64, "relu", kernel_regularizer=small), layers.Dense(1)]
    return again(sick, sequential((6,), *body, loss="mse"))


@cure("initial-loss", "last_layer_too_sure")
def small_last_weights(sick):
    """Glorot's initialisation in the last layer."""
    return again(sick, classifier((14, 14, 1), layers.Flatten(), *dense(64)))
