"""Twenty small networks on which other tools for folding fail, crash or are wrong."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    chain,
    conv,
    difference,
    normal,
    norms_in,
    randomised,
)


def relu_norm_conv(*between, padding="same"):
    first = layers.Conv2D(4, 3, activation="relu")
    last = layers.Conv2D(4, 2, padding=padding)
    return lambda: chain(IMAGE, first, BatchNorm(name="n"), *between, last)


def output_too():
    x = keras.Input(IMAGE)
    y = conv()(x)
    return keras.Model(x, [BatchNorm(name="n")(y), y])


def residual():
    x = keras.Input(IMAGE)
    y = conv()(x)
    return keras.Model(x, layers.Add()([BatchNorm(name="n")(y), y]))


def shared():
    x, c = keras.Input(IMAGE), conv()
    return keras.Model(x, [BatchNorm(name="n")(c(x)), BatchNorm(name="m")(c(x + 1))])


def nested():
    return chain(IMAGE, chain(IMAGE, conv(), BatchNorm(name="n")), layers.ReLU())


NETWORKS = {
    "conv, norm": (lambda: chain(IMAGE, conv(), BatchNorm()), 1),
    "no scale": (lambda: chain(IMAGE, conv(), BatchNorm(scale=False)), 1),
    "no center": (lambda: chain(IMAGE, conv(), BatchNorm(center=False)), 1),
    "groups": (lambda: chain(IMAGE, conv(6, 3, groups=3), BatchNorm()), 1),
    "no bias": (lambda: chain(IMAGE, conv(use_bias=False), BatchNorm()), 1),
    "relu in conv, norm, conv same": (relu_norm_conv(), 1),
    "relu layer, norm, conv same": (
        lambda: chain(IMAGE, conv(), layers.ReLU(), BatchNorm(), conv()),
        1,
    ),
    "relu in conv, norm, conv valid": (relu_norm_conv(padding="valid"), 1),
    "before pooling, positive": (relu_norm_conv(layers.MaxPooling2D(2)), 1),
    "before pooling, negative": (relu_norm_conv(layers.MaxPooling2D(2)), 0),
    "depthwise, multiplied": (
        lambda: chain(
            IMAGE, layers.DepthwiseConv2D(3, depth_multiplier=2), BatchNorm()
        ),
        1,
    ),
    "transposed": (
        lambda: chain(IMAGE, layers.Conv2DTranspose(4, 3), BatchNorm()),
        1,
    ),
    "separable": (
        lambda: chain(IMAGE, layers.SeparableConv2D(4, 3), BatchNorm()),
        1,
    ),
    "relu in dense, norm, dense": (
        lambda: chain((5,), layers.Dense(4, "relu"), BatchNorm(), layers.Dense(3)),
        1,
    ),
    "dropout between": (
        lambda: chain(IMAGE, conv(), layers.Dropout(0.5), BatchNorm()),
        1,
    ),
    "conv's output is an output": (output_too, 0),
    "conv's output goes around": (residual, 0),
    "one conv, two norms": (shared, 2),
    "nested": (nested, 1),
    "norm on the input": (lambda: chain(IMAGE, BatchNorm(), conv()), 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_each_is_folded_exactly_or_refused_by_name(name):
    make, count = NETWORKS[name]
    model = randomised(make())
    for norm in norms_in(model):
        if "positive" in name:
            norm.gamma.assign(np.abs(norm.gamma))
        elif norm.scale:
            # One of each sign, whatever was drawn.
            norm.gamma.assign(
                np.abs(norm.gamma) * (-1) ** np.arange(norm.gamma.shape[0])
            )
    total = len(norms_in(model))

    result = fold_batch_norm(model)

    assert len(result.folded) == count
    assert len(norms_in(result.model)) == total - count
    assert len(result.kept) == total - count
    assert all(result.kept.values())
    assert result.max_error < 1e-6
    assert difference(model, result.model, normal(3, *model.input_shape[1:])) < 1e-5


def test_there_are_twenty():
    assert len(NETWORKS) == 20
