"""A norm whose fold would not be exact stays, and the result says why."""

import re

import keras
import pytest
from keras import layers, ops

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    build,
    conv,
    difference,
    normal,
    norms_in,
    randomised,
)


@keras.saving.register_keras_serializable(package="tests")
class Block(layers.Layer):
    """A layer whose graph is not known."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = BatchNorm(name="norm")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x)

    def compute_output_shape(self, shape):
        return shape


class MyDense(layers.Dense):
    def call(self, x):
        return super().call(x) ** 2


class MyNorm(BatchNorm):
    def call(self, x, training=None, mask=None):
        return super().call(x, training=training, mask=mask) ** 2


@build(IMAGE)
def activation_inside(x):
    return BatchNorm(name="n")(conv(4, 3, activation="relu", name="c")(x))


@build(IMAGE)
def activation_layer(x):
    return BatchNorm(name="n")(layers.ReLU(name="r")(conv(name="c")(x)))


@build(IMAGE)
def two_consumers(x):
    y = conv(name="c")(x)
    return layers.Add()([BatchNorm(name="n")(y), y])


@build(IMAGE)
def output_too(x):
    y = conv(name="c")(x)
    return [BatchNorm(name="n")(y), y]


@build(IMAGE)
def two_norms(x):
    y = conv(name="c")(x)
    return [BatchNorm(name="n")(y), BatchNorm(name="m")(y)]


@build((5, 5))
def other_axis(x):
    return BatchNorm(axis=1, name="n")(layers.Dense(5, name="c")(x))


@build(IMAGE)
def after_add(x):
    y = layers.Add(name="a")([conv(name="c")(x), conv(name="d")(x)])
    return BatchNorm(name="n")(y)


@build(IMAGE)
def after_concatenate(x):
    return BatchNorm(name="n")(layers.Concatenate()([conv(name="c")(x), x]))


@build(IMAGE)
def after_an_operation(x):
    return BatchNorm(name="n")(ops.relu(conv(name="c")(x)))


@build(IMAGE)
def training_mode(x):
    return BatchNorm(name="n")(conv(name="c")(x), training=True)


@build((5,))
def subclassed_dense(x):
    return BatchNorm(name="n")(MyDense(4, name="c")(x))


@build((5,))
def subclassed_norm(x):
    return MyNorm(name="n")(layers.Dense(4, name="c")(x))


@build((3, *IMAGE))
def wrapped(x):
    return BatchNorm(name="n")(layers.TimeDistributed(conv(name="c"))(x))


@build(IMAGE)
def normalised_weights(x):
    return BatchNorm(name="n")(layers.SpectralNormalization(conv(name="c"))(x))


@build(IMAGE)
def behind_a_nested_model(x):
    inner = keras.Sequential([keras.Input(IMAGE), conv(name="c")], name="inner")
    return BatchNorm(name="n")(inner(x))


@build(IMAGE)
def at_the_start_of_a_nested_model(x):
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), BatchNorm(name="n")], name="inner"
    )
    return inner(conv(name="c")(x))


@build(IMAGE)
def shared_norm(x):
    """One call of it could be folded, the other could not."""
    n = BatchNorm(name="n")
    return [n(conv(3, 3, name="c")(x)), n(layers.ReLU()(x))]


@build((6, 6, 12))
def negative_scale_before_pooling(x):
    return conv(name="c")(layers.MaxPooling2D(2, name="p")(BatchNorm(name="n")(x)))


@build((None, None, 3))
def padding_of_open_size(x):
    return conv(name="c")(BatchNorm(name="n")(x))


@build((None, None, 3))
def explicit_padding_of_open_size(x):
    y = layers.ZeroPadding2D(name="p")(BatchNorm(name="n")(x))
    return layers.Conv2D(4, 3, name="c")(y)


@build(IMAGE)
def zeros_between(x):
    return BatchNorm(name="n")(layers.ZeroPadding2D(name="p")(conv(name="c")(x)))


@build(IMAGE)
def one_branch_cannot(x):
    y = BatchNorm(name="n")(x)
    return [conv(name="c")(y), layers.ReLU()(y)]


@build(IMAGE)
def into_a_norm_that_stays(x):
    return layers.ReLU()(BatchNorm(name="m")(BatchNorm(name="n")(x)))


@build((6, 4))
def flattened_behind_an_activation(x):
    y = layers.Dense(4, "relu", name="c")(x)
    return layers.ReLU()(layers.Flatten()(BatchNorm(name="n")(y)))


@build((6, 4))
def other_axis_in_front(x):
    return layers.Dense(3, "relu", name="c")(BatchNorm(axis=1, name="n")(x))


@build((5,))
def int8_in_front(x):
    dense = layers.Dense(4, name="c")
    y = dense(BatchNorm(name="n")(x))
    dense.quantize("int8")
    return y


@build((3, 5))
def int8_by_place(x):
    dense = layers.Dense(2, name="c")
    n = BatchNorm(scale=False, name="n")
    y = n(layers.Flatten()(dense(x)))
    dense.quantize("int8")
    return y


@build((5,))
def int4(x):
    dense = layers.Dense(4, name="c")
    y = BatchNorm(name="n")(dense(x))
    dense.quantize("int4")
    return y


@build((5,))
def another_dtype(x):
    y = BatchNorm(name="n", dtype="float32")(
        layers.Dense(4, dtype="mixed_float16", name="c")(x)
    )
    return y


@build((5,))
def training_dropout_between(x):
    y = layers.Dropout(0.0)(layers.Dense(4, name="c")(x), training=True)
    return BatchNorm(name="n")(y)


@build((2, 5))
def inside_a_wrapper(x):
    return layers.TimeDistributed(Block(name="b"), name="t")(x)


KEPT = [
    (activation_inside, {"n": "relu"}),
    (activation_layer, {"n": "ReLU"}),
    (two_consumers, {"n": "c is used elsewhere"}),
    (output_too, {"n": "c is used elsewhere"}),
    (two_norms, {"n": "c is used elsewhere", "m": "c is used elsewhere"}),
    (shared_norm, {"n": "the ReLU before it"}),
    (negative_scale_before_pooling, {"n": "p lies between, and a scale is negative"}),
    (padding_of_open_size, {"n": "border of c, whose input is of open size"}),
    (explicit_padding_of_open_size, {"n": "p pads an axis of open length"}),
    (zeros_between, {"n": "zeros of p"}),
    (one_branch_cannot, {"n": "ReLU behind it"}),
    (into_a_norm_that_stays, {"n": "BatchNormalization behind", "m": "ReLU behind"}),
    (flattened_behind_an_activation, {"n": "activation relu of c.*ReLU behind"}),
    (other_axis_in_front, {"n": "scales axis 1, not the channels of c"}),
    (int8_in_front, {"n": "c is quantised to int8, after its input"}),
    (int4, {"n": "c is quantised to int4"}),
    (another_dtype, {"n": "float16 into float32"}),
    (training_dropout_between, {"n": "Dropout"}),
    (inside_a_wrapper, {"t/norm": "inside a TimeDistributed"}),
    (other_axis, {"n": "axis 1"}),
    (after_add, {"n": "Add"}),
    (after_concatenate, {"n": "Concatenate"}),
    (after_an_operation, {"n": "(?i)relu"}),
    (training_mode, {"n": "training=True"}),
    (subclassed_dense, {"n": "MyDense"}),
    (wrapped, {"n": "TimeDistributed"}),
    (normalised_weights, {"n": "SpectralNormalization"}),
    (behind_a_nested_model, {"n": "Sequential|inner"}),
    (at_the_start_of_a_nested_model, {"inner/n": "before"}),
]


@pytest.mark.parametrize(("make", "reasons"), KEPT)
def test_what_would_not_be_exact_stays(make, reasons):
    model = randomised(make())

    result = fold_batch_norm(model)

    assert result.folded == {}
    assert result.kept.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert re.search(reason, result.kept[name])
    assert len(norms_in(result.model)) == len(norms_in(model))
    x = normal(2, *(n or 5 for n in model.input_shape[1:]))
    assert difference(model, result.model, x) < 1e-5
    assert result.max_error < 1e-5


def test_shifts_by_place_do_not_go_into_a_dense_layer_of_whole_numbers():
    model = int8_by_place()
    model.get_layer("n").beta.assign(range(6))
    result = fold_batch_norm(model)
    assert "c is quantised to int8" in result.kept["n"]
    assert difference(model, result.model, normal(3, 3, 5)) == 0


def test_a_norm_of_the_user_is_not_folded_wrongly():
    model = randomised(subclassed_norm())
    result = fold_batch_norm(model)
    assert result.folded == {}
    assert "MyNorm" in result.kept["n"]
    assert difference(model, result.model, normal(4, 5)) < 1e-5
