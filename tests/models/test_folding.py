"""fold_batch_norm against NumPy in float64, against Keras, and over random graphs."""

import functools
import json
import re
from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_dnn.models import FoldResult, fold_batch_norm, folding


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def norms_in(model):
    found = {id(x): x for x in model._flatten_layers()}.values()
    return [x for x in found if isinstance(x, layers.BatchNormalization)]


def randomised(model, seed=0):
    """The model as if it were trained: no weight at its first value, scales of both
    signs."""
    generator = np.random.default_rng(seed)
    seen = set()
    for layer in model._flatten_layers(include_self=False):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(generator.normal(size=shape))
            layer.moving_variance.assign(generator.uniform(0.3, 2, shape))
            if layer.scale:
                sign = generator.choice([-1, 1], shape)
                layer.gamma.assign(sign * generator.uniform(0.5, 1.5, shape))
            if layer.center:
                layer.beta.assign(generator.normal(size=shape))
        elif getattr(layer, "use_bias", False) and hasattr(layer, "bias"):
            layer.bias.assign(generator.normal(size=layer.bias.shape))
    return model


def outputs(model, x):
    y = keras.tree.flatten(model(x, training=False))
    return [ops.convert_to_numpy(a).astype("float64") for a in y]


def difference(model, folded, x):
    """The largest one, in units of the outputs' spread."""
    pairs = zip(outputs(model, x), outputs(folded, x), strict=True)
    return max(np.abs(a - b).max() / (a.std() or 1.0) for a, b in pairs)


def chain(shape, *parts, dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def conv(*args, **kwargs):
    return layers.Conv2D(*(args or (4, 3)), padding="same", **kwargs)


BatchNorm = layers.BatchNormalization


# Each layer

LINEAR = {
    "Dense": (layers.Dense, (5,), {}, (6,)),
    "Dense on sequences": (layers.Dense, (5,), {}, (4, 6)),
    "Dense on images": (layers.Dense, (5,), {}, (3, 4, 6)),
    "Conv1D": (layers.Conv1D, (5, 3), {}, (9, 4)),
    "Conv1D causal": (
        layers.Conv1D,
        (5, 3),
        {"padding": "causal", "dilation_rate": 2},
        (9, 4),
    ),
    "Conv1D strided": (
        layers.Conv1D,
        (5, 4),
        {"padding": "same", "strides": 2},
        (9, 4),
    ),
    "Conv2D": (layers.Conv2D, (5, 3), {}, (6, 5, 4)),
    "Conv2D same": (
        layers.Conv2D,
        (5, (2, 4)),
        {"padding": "same", "strides": (2, 1)},
        (6, 5, 4),
    ),
    "Conv2D dilated": (layers.Conv2D, (5, 2), {"dilation_rate": 2}, (6, 5, 4)),
    "Conv2D groups": (layers.Conv2D, (6, 3), {"groups": 2}, (6, 5, 4)),
    "Conv3D": (layers.Conv3D, (5, 2), {"padding": "same"}, (4, 3, 3, 2)),
    "Conv1DTranspose": (layers.Conv1DTranspose, (5, 3), {"strides": 2}, (5, 4)),
    "Conv2DTranspose": (
        layers.Conv2DTranspose,
        (5, 3),
        {"strides": 2, "padding": "same"},
        (4, 3, 4),
    ),
    "Conv2DTranspose as many in as out": (
        layers.Conv2DTranspose,
        (4, 3),
        {"output_padding": 1, "strides": 2},
        (4, 3, 4),
    ),
    "Conv3DTranspose": (layers.Conv3DTranspose, (3, 2), {"strides": 2}, (3, 2, 2, 2)),
    "DepthwiseConv1D": (
        layers.DepthwiseConv1D,
        (3,),
        {"depth_multiplier": 2, "padding": "same"},
        (7, 3),
    ),
    "DepthwiseConv2D": (layers.DepthwiseConv2D, (3,), {"strides": 2}, (7, 6, 4)),
    "DepthwiseConv2D multiplied": (
        layers.DepthwiseConv2D,
        (3,),
        {"depth_multiplier": 2, "padding": "same"},
        (5, 6, 3),
    ),
    "DepthwiseConv2D dilated": (
        layers.DepthwiseConv2D,
        (2,),
        {"depth_multiplier": 3, "dilation_rate": 2},
        (5, 6, 2),
    ),
}
CHANNELS_FIRST = {
    "Conv2D": (layers.Conv2D, (5, 3), {"data_format": "channels_first"}, (4, 6, 5)),
    "Conv1D": (layers.Conv1D, (5, 3), {"data_format": "channels_first"}, (4, 9)),
    "DepthwiseConv2D": (
        layers.DepthwiseConv2D,
        (3,),
        {"depth_multiplier": 2, "data_format": "channels_first"},
        (3, 6, 5),
    ),
}


def kernel_and_bias(linear, norm):
    """What the folded layer must hold, one channel at a time."""
    kernel = np.array(linear.kernel, "float64")
    channels = len(np.array(norm.moving_mean))
    bias = (
        np.array(linear.bias, "float64").copy()
        if linear.use_bias
        else np.zeros(channels)
    )
    expected = kernel.copy()
    for c in range(channels):
        gamma = float(norm.gamma[c]) if norm.scale else 1.0
        beta = float(norm.beta[c]) if norm.center else 0.0
        mean, variance = float(norm.moving_mean[c]), float(norm.moving_variance[c])
        factor = gamma / (variance + norm.epsilon) ** 0.5
        kind = type(linear).__name__
        if kind.startswith("Depthwise"):
            copies = kernel.shape[-1]
            expected[..., c // copies, c % copies] *= factor
        elif kind.endswith("Transpose"):
            expected[..., c, :] *= factor
        else:
            expected[..., c] *= factor
        bias[c] = (bias[c] - mean) * factor + beta
    return expected, bias


@pytest.mark.parametrize("use_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    ("layer", "args", "kwargs", "shape"), LINEAR.values(), ids=LINEAR
)
def test_each_layer_takes_the_norm_behind_it(layer, args, kwargs, shape, use_bias):
    linear = layer(*args, **kwargs, use_bias=use_bias, name="linear")
    norm = BatchNorm(name="norm")
    model = randomised(chain(shape, linear, norm, layers.Identity(name="end")))

    result = fold_batch_norm(model)

    assert isinstance(result, FoldResult)
    assert result.folded == {"norm": "linear"}
    assert result.kept == {}
    assert result.max_error < 1e-6
    assert [x.name for x in result.model.layers] == ["linear", "end"]
    kernel, bias = kernel_and_bias(linear, norm)
    new = result.model.get_layer("linear")
    assert type(new) is layer
    np.testing.assert_allclose(new.kernel, kernel, rtol=1e-6)
    np.testing.assert_allclose(new.bias, bias, rtol=1e-6, atol=1e-6)
    assert difference(model, result.model, normal(3, *shape)) < 5e-6


@pytest.mark.parametrize(
    ("layer", "args", "kwargs", "shape"), CHANNELS_FIRST.values(), ids=CHANNELS_FIRST
)
def test_channels_first(layer, args, kwargs, shape):
    linear, norm = layer(*args, **kwargs, name="linear"), BatchNorm(axis=1, name="norm")
    model = randomised(chain(shape, linear, norm))

    result = fold_batch_norm(model)

    assert result.folded == {"norm": "linear"}
    # Whether a CPU runs such a convolution is up to TensorFlow's graph optimizer, so
    # the weights are compared and not the outputs.
    kernel, bias = kernel_and_bias(linear, norm)
    new = result.model.get_layer("linear")
    np.testing.assert_allclose(new.kernel, kernel, rtol=1e-6)
    np.testing.assert_allclose(new.bias, bias, rtol=1e-6, atol=1e-6)
    assert np.isnan(result.max_error) or result.max_error < 1e-5


@pytest.mark.parametrize(
    "flags",
    [
        {"scale": False},
        {"center": False},
        {"scale": False, "center": False},
        {"epsilon": 0.5},
        {"epsilon": 1e-7, "momentum": 0.1},
        {"axis": 3},
        {"beta_regularizer": "l2", "gamma_constraint": "non_neg"},
        {"synchronized": True},
        {"trainable": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.DepthwiseConv2D])
def test_each_form_of_the_norm(kind, flags):
    linear = kind(*((5, 3) if kind is layers.Conv2D else (3,)), name="linear")
    norm = BatchNorm(name="norm", **flags)
    model = randomised(chain((5, 5, 3), linear, norm))

    result = fold_batch_norm(model)

    assert result.folded == {"norm": "linear"}
    kernel, bias = kernel_and_bias(linear, norm)
    np.testing.assert_allclose(result.model.layers[0].kernel, kernel, rtol=1e-6)
    np.testing.assert_allclose(result.model.layers[0].bias, bias, rtol=1e-6, atol=1e-6)
    assert difference(model, result.model, normal(2, 5, 5, 3)) < 1e-5


@pytest.mark.parametrize(
    ("statistic", "value"),
    [("gamma", 0.0), ("gamma", -2.0), ("moving_variance", 1e-12), ("moving_mean", 1e6)],
)
def test_extreme_statistics(statistic, value):
    """In one channel of three; in float64, where what is left is rounding."""
    linear = layers.Dense(3, dtype="float64")
    norm = BatchNorm(epsilon=1e-12, dtype="float64")
    model = randomised(chain((4,), linear, norm, dtype="float64"))
    variable = getattr(norm, statistic)
    variable.assign([value, *np.array(variable)[1:]])

    result = fold_batch_norm(model)

    assert result.model.layers[0].kernel.dtype == "float64"
    x = normal(9, 4).astype("float64")
    assert difference(model, result.model, x) < 1e-9
    np.testing.assert_allclose(
        result.model.layers[0].kernel, kernel_and_bias(linear, norm)[0], rtol=1e-12
    )


def test_constants_of_a_norm_folded_in_float64_are_rounded_once():
    """μ·s and b·s nearly cancel here; in float32 their difference would be noise."""
    linear, norm = layers.Dense(3), BatchNorm()
    model = randomised(chain((4,), linear, norm))
    linear.bias.assign([1e4] * 3)
    norm.moving_mean.assign([1e4 + 1] * 3)
    norm.moving_variance.assign([1e-4] * 3)
    bias = fold_batch_norm(model).model.layers[0].bias
    np.testing.assert_allclose(bias, kernel_and_bias(linear, norm)[1], rtol=1e-6)


# What stays


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.norm = layers.Dense(3), BatchNorm()

    def call(self, x):
        return self.norm(self.dense(x))


class MyDense(layers.Dense):
    def call(self, x):
        return super().call(x) ** 2


class MyNorm(BatchNorm):
    def call(self, x, training=None, mask=None):
        return super().call(x, training=training, mask=mask) ** 2


def build(shape):
    """Makes a function of an input into one that makes a model."""

    def decorate(function):
        @functools.wraps(function)
        def make():
            x = keras.Input(shape)
            return keras.Model(x, function(x))

        return make

    return decorate


IMAGE = (6, 6, 3)


@build(IMAGE)
def activation_inside(x):
    return BatchNorm(name="n")(conv(4, 3, activation="relu", name="c")(x))


@build(IMAGE)
def activation_layer(x):
    return BatchNorm(name="n")(layers.ReLU(name="r")(conv(name="c")(x)))


@build(IMAGE)
def norm_first(x):
    return conv(name="c")(BatchNorm(name="n")(x))


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


@build(IMAGE)
def shared_conv(x):
    c = conv(name="c")
    return [BatchNorm(name="n")(c(x)), BatchNorm(name="m")(c(x + 1))]


@build(IMAGE)
def shared_norm(x):
    n = BatchNorm(name="n")
    return [n(conv(name="c")(x)), n(conv(name="d")(x))]


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
def after_dropout(x):
    return BatchNorm(name="n")(layers.Dropout(0.5)(conv(name="c")(x)))


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


@build((5,))
def lora(x):
    dense = layers.Dense(4, name="c")
    y = BatchNorm(name="n")(dense(x))
    dense.enable_lora(2)
    return y


@build((5,))
def quantised(x):
    dense = layers.Dense(4, name="c")
    y = BatchNorm(name="n")(dense(x))
    dense.quantize("int8")
    return y


KEPT = [
    (activation_inside, {"n": "relu"}),
    (activation_layer, {"n": "ReLU"}),
    (norm_first, {"n": "before"}),
    (two_consumers, {"n": "c is used elsewhere"}),
    (output_too, {"n": "c is used elsewhere"}),
    (two_norms, {"n": "c is used elsewhere", "m": "c is used elsewhere"}),
    (shared_conv, {"n": "c is used in several", "m": "c is used in several"}),
    (shared_norm, {"n": "used in several"}),
    (other_axis, {"n": "axis 1"}),
    (after_add, {"n": "Add"}),
    (after_concatenate, {"n": "Concatenate"}),
    (after_dropout, {"n": "Dropout"}),
    (after_an_operation, {"n": "(?i)relu"}),
    (training_mode, {"n": "training=True"}),
    (subclassed_dense, {"n": "MyDense"}),
    (wrapped, {"n": "TimeDistributed"}),
    (normalised_weights, {"n": "SpectralNormalization"}),
    (behind_a_nested_model, {"n": "Sequential|inner"}),
    (at_the_start_of_a_nested_model, {"inner/n": "before"}),
    (lora, {"n": "LoRA"}),
    (quantised, {"n": "quantised"}),
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
    x = normal(2, *model.input_shape[1:])
    assert difference(model, result.model, x) < 1e-5


def test_a_norm_of_ones_own_is_not_folded_wrongly():
    model = randomised(subclassed_norm())
    result = fold_batch_norm(model)
    assert result.folded == {}
    assert difference(model, result.model, normal(4, 5)) < 1e-5


def test_one_norm_goes_though_another_stays():
    model = randomised(
        chain(
            IMAGE,
            conv(name="c1"),
            BatchNorm(name="n1"),
            layers.ReLU(),
            BatchNorm(name="n2"),
            conv(4, 3, activation="relu", name="c2"),
            BatchNorm(name="n3"),
            layers.Flatten(),
            layers.Dense(3, name="d"),
            BatchNorm(name="n4"),
        )
    )
    result = fold_batch_norm(model)
    assert result.folded == {"n1": "c1", "n4": "d"}
    assert list(result.kept) == ["n2", "n3"]
    assert difference(model, result.model, normal(3, *IMAGE)) < 1e-5


def test_two_norms_in_a_row():
    """The first folds; nothing is said of the second but that the result is right."""
    model = randomised(
        chain((4,), layers.Dense(3, name="d"), BatchNorm(name="n"), BatchNorm(name="m"))
    )
    result = fold_batch_norm(model)
    assert result.folded["n"] == "d"
    assert len(result.folded) + len(result.kept) == 2
    assert difference(model, result.model, normal(5, 4)) < 1e-5


def test_a_norm_called_by_keyword():
    x = keras.Input((4,))
    y = BatchNorm(name="n")(inputs=layers.Dense(3, name="d")(x))
    model = randomised(keras.Model(x, y))
    result = fold_batch_norm(model)
    assert difference(model, result.model, normal(5, 4)) < 1e-5


# Models


def small_block(name="block"):
    x = keras.Input((6, 6, 4))
    y = layers.ReLU()(BatchNorm(name="n")(conv(name="c")(x)))
    return keras.Model(x, y, name=name)


def test_nested_models_are_named_by_their_path():
    deep = keras.Sequential(
        [keras.Input((6, 6, 4)), conv(name="c"), BatchNorm(name="n"), small_block()],
        name="deep",
    )
    model = randomised(chain((6, 6, 4), deep, conv(name="c"), BatchNorm(name="n")))

    result = fold_batch_norm(model)

    assert result.folded == {
        "deep/n": "deep/c",
        "deep/block/n": "deep/block/c",
        "n": "c",
    }
    assert norms_in(result.model) == []
    assert result.model.get_layer("deep").get_layer("block").name == "block"
    assert difference(model, result.model, normal(2, 6, 6, 4)) < 1e-5


def test_a_nested_model_used_twice_is_folded_once():
    block = small_block()
    x = keras.Input((6, 6, 4))
    model = randomised(keras.Model(x, block(block(x) + 1)))

    result = fold_batch_norm(model)

    assert result.folded == {"block/n": "block/c"}
    assert norms_in(result.model) == []
    assert sum(x.name == "block" for x in result.model.layers) == 1
    assert difference(model, result.model, normal(2, 6, 6, 4)) < 1e-5


def test_a_layer_used_inside_and_outside_a_nested_model_stays_shared():
    c = conv(name="c")
    x = keras.Input((6, 6, 4))
    inner = keras.Model(x, BatchNorm(name="n")(c(x)), name="inner")
    y = keras.Input((6, 6, 4))
    model = randomised(keras.Model(y, [inner(y), c(y)]))

    result = fold_batch_norm(model)

    assert result.folded == {}
    assert "c" in result.kept["inner/n"]
    assert difference(model, result.model, normal(2, 6, 6, 4)) < 1e-5


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_several_inputs_and_outputs(structure):
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    one = BatchNorm(name="n1")(layers.Dense(5, name="d1")(a))
    two = BatchNorm(name="n2")(layers.Dense(5, name="d2")(b))
    both = layers.ReLU()(one + two)
    x = {"b": normal(6, 3), "a": normal(6, 4)}
    if structure == "dict":
        model = keras.Model({"a": a, "b": b}, {"z": both, "one": layers.Dense(2)(one)})
    else:
        model, x = keras.Model([a, b], [both, one]), [x["a"], x["b"]]
    randomised(model)

    result = fold_batch_norm(model, x)

    assert result.folded == {"n1": "d1", "n2": "d2"}
    assert [i.name for i in result.model.inputs] == ["a", "b"]
    before, after = model(x), result.model(x)
    keras.tree.assert_same_structure(before, after)
    assert difference(model, result.model, x) < 1e-5
    assert fold_batch_norm(model).max_error < 1e-5


def test_residual_blocks():
    x = keras.Input((8, 8, 3))
    y = layers.ReLU()(BatchNorm()(conv(use_bias=False)(x)))
    for _ in range(2):
        z = layers.ReLU()(BatchNorm()(layers.DepthwiseConv2D(3, padding="same")(y)))
        y = layers.ReLU()(layers.Add()([y, BatchNorm()(conv(4, 1)(z))]))
    model = randomised(keras.Model(x, layers.GlobalAveragePooling2D()(y)))

    result = fold_batch_norm(model)

    assert len(result.folded) == 5
    assert norms_in(result.model) == []
    assert difference(model, result.model, normal(3, 8, 8, 3)) < 1e-5


def test_sequential_stays_sequential():
    model = randomised(
        keras.Sequential(
            [keras.Input(IMAGE, name="pictures"), conv(), BatchNorm()], name="net"
        )
    )
    folded = fold_batch_norm(model).model
    assert type(folded) is keras.Sequential
    assert folded.name == "net"
    assert folded.inputs[0].name == "pictures"


def test_a_sequential_built_by_its_data():
    model = keras.Sequential([layers.Dense(4, name="d"), BatchNorm(name="n")])
    model(normal(3, 5))
    result = fold_batch_norm(randomised(model))
    assert result.folded == {"n": "d"}
    assert difference(model, result.model, normal(3, 5)) < 1e-5


def test_open_height_and_width():
    model = randomised(chain((None, None, 3), conv(name="c"), BatchNorm(name="n")))
    result = fold_batch_norm(model)
    assert result.model.input_shape == (None, None, None, 3)
    assert difference(model, result.model, normal(2, 7, 4, 3)) < 1e-5


def test_open_height_and_width_that_need_large_images():
    model = chain((None, None, 3), layers.Conv2D(4, 40, name="c"), BatchNorm(name="n"))
    assert fold_batch_norm(randomised(model)).folded == {"n": "c"}


def test_whole_numbers_as_input():
    model = randomised(
        keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                layers.Embedding(7, 4),
                layers.Conv1D(3, 2, name="c"),
                BatchNorm(name="n"),
            ]
        )
    )
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c"}
    assert result.max_error < 1e-5


def test_masks_go_on_behind_a_folded_norm():
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(7, 4, mask_zero=True)(x)
    y = BatchNorm(name="n")(layers.Dense(3, name="d")(y))
    model = randomised(keras.Model(x, layers.LSTM(2)(y)))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "d"}
    words = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 1]])
    assert difference(model, result.model, words) < 1e-5


def test_a_model_without_norms_is_copied():
    model = randomised(chain((4,), layers.Dense(3), layers.Dropout(0.5)))
    result = fold_batch_norm(model)
    assert (result.folded, result.kept, result.max_error) == ({}, {}, 0.0)
    x = normal(3, 4)
    np.testing.assert_array_equal(result.model(x), model(x))


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 1e-2), ("mixed_bfloat16", 8e-2)]
)
def test_mixed_precision(policy, tolerance):
    linear = conv(dtype=policy, name="c")
    model = randomised(chain(IMAGE, linear, BatchNorm(dtype=policy, name="n")))

    result = fold_batch_norm(model)

    new = result.model.layers[0]
    assert new.dtype_policy.name == policy
    assert new.kernel.dtype == "float32"
    assert result.max_error < 1e-5
    assert difference(model, result.model, normal(3, *IMAGE)) < tolerance


def test_all_in_bfloat16():
    model = chain(IMAGE, conv(dtype="bfloat16"), BatchNorm(dtype="bfloat16"))
    result = fold_batch_norm(randomised(model))
    assert result.model.layers[0].kernel.dtype == "bfloat16"
    assert difference(model, result.model, normal(3, *IMAGE)) < 8e-2


@pytest.mark.parametrize("change", ["quantised", "lora"])
def test_a_changed_dense_elsewhere_does_not_matter(change):
    dense = layers.Dense(3, name="d")
    model = chain((4,), layers.Dense(6, name="e"), BatchNorm(name="n"), dense)
    randomised(model)
    dense.quantize("int8") if change == "quantised" else dense.enable_lora(2)

    result = fold_batch_norm(model)

    assert result.folded == {"n": "e"}
    assert difference(model, result.model, normal(5, 4)) < 1e-2


def test_a_layer_that_is_random_at_inference_does_not_matter():
    from keras_dnn.layers import MCDropout

    model = chain((4,), layers.Dense(6, name="d"), BatchNorm(name="n"), MCDropout(0.5))
    result = fold_batch_norm(randomised(model))
    assert result.folded == {"n": "d"}
    assert result.max_error < 1e-5


def test_a_lambda_layer():
    model = chain(
        (4,),
        layers.Dense(6, name="d"),
        BatchNorm(name="n"),
        layers.Lambda(lambda x: 2 * x, output_shape=(6,)),
    )
    result = fold_batch_norm(randomised(model))
    assert difference(model, result.model, normal(5, 4)) < 1e-5


@pytest.mark.parametrize(
    "make",
    [lambda: keras.Sequential([layers.Dense(3), BatchNorm()]), Subclassed],
    ids=["unbuilt", "subclassed"],
)
def test_a_model_without_a_graph_is_an_error(make):
    with pytest.raises(ValueError, match="Received: model="):
        fold_batch_norm(make())


def test_a_nested_subclassed_model_is_copied_as_a_layer():
    x = keras.Input((4,))
    y = Subclassed()(x)
    model = keras.Model(x, BatchNorm(name="n")(layers.Dense(4, name="d")(y)))
    result = fold_batch_norm(randomised(model))
    assert result.folded == {"n": "d"}
    assert difference(model, result.model, normal(3, 4)) < 1e-5


# What it does not touch


def test_the_model_given_is_untouched():
    model = randomised(
        chain(
            IMAGE,
            conv(trainable=False),
            BatchNorm(),
            layers.ReLU(),
            conv(),
            BatchNorm(),
        )
    )
    model.compile("adam", "mse")
    optimizer = model.optimizer
    weights = model.get_weights()
    used = [len(x._inbound_nodes) + len(x._outbound_nodes) for x in model.layers]
    flags = [x.trainable for x in model._flatten_layers()]

    fold_batch_norm(model)

    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert model.compiled
    assert model.optimizer is optimizer
    assert flags == [x.trainable for x in model._flatten_layers()]
    assert used == [
        len(x._inbound_nodes) + len(x._outbound_nodes) for x in model.layers
    ]


def test_the_models_share_nothing():
    model = randomised(chain(IMAGE, conv(), BatchNorm(), layers.ReLU(), conv()))
    folded = fold_batch_norm(model).model
    ids = {id(v) for v in model.variables}
    assert not any(id(v) in ids for v in folded.variables)
    assert not {id(x) for x in model.layers} & {id(x) for x in folded.layers}
    x = normal(2, *IMAGE)
    before = np.array(folded(x)), np.array(model(x))
    model.set_weights([w + 1 for w in model.get_weights()])
    np.testing.assert_array_equal(folded(x), before[0])
    after = np.array(model(x))
    folded.set_weights([w - 1 for w in folded.get_weights()])
    np.testing.assert_array_equal(model(x), after)


def test_trainable_flags_are_kept():
    model = chain(
        IMAGE,
        conv(name="frozen", trainable=False),
        BatchNorm(),
        layers.ReLU(),
        conv(name="free"),
        BatchNorm(),
    )
    folded = fold_batch_norm(randomised(model)).model
    assert not folded.get_layer("frozen").trainable
    assert folded.get_layer("free").trainable


def test_regularizers_and_constraints_of_folded_layers_are_gone():
    model = chain(
        IMAGE,
        conv(
            name="c",
            kernel_regularizer="l2",
            bias_regularizer="l1",
            activity_regularizer="l2",
            kernel_constraint="non_neg",
            bias_constraint="non_neg",
        ),
        BatchNorm(gamma_regularizer="l2"),
        conv(name="other", kernel_regularizer="l2"),
    )
    folded = fold_batch_norm(randomised(model)).model
    new = folded.get_layer("c")
    assert new.kernel_regularizer is new.bias_regularizer is None
    assert new.activity_regularizer is new.kernel_constraint is None
    assert folded.get_layer("other").kernel_regularizer is not None
    folded(normal(1, *IMAGE))
    assert len(folded.losses) == 1


def test_folding_twice_changes_nothing():
    model = randomised(chain(IMAGE, conv(), BatchNorm(), layers.ReLU(), BatchNorm()))
    once = fold_batch_norm(model)
    twice = fold_batch_norm(once.model)
    assert twice.folded == {}
    assert twice.kept.keys() == once.kept.keys()
    assert twice.max_error == 0
    for one, other in zip(
        once.model.get_weights(), twice.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_folded_model_is_saved_and_loaded(tmp_path):
    model = randomised(chain(IMAGE, conv(use_bias=False), BatchNorm(), small_fork()))
    folded = fold_batch_norm(model).model
    folded.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    x = normal(3, *IMAGE)
    np.testing.assert_array_equal(loaded(x), folded(x))


def small_fork():
    x = keras.Input((6, 6, 4))
    y = layers.Concatenate()([layers.ReLU()(BatchNorm()(conv()(x))), x])
    return keras.Model(x, y, name="fork")


def test_the_folded_model_can_be_fitted():
    model = randomised(
        chain((4,), layers.Dense(8, use_bias=False), BatchNorm(), layers.Dense(1))
    )
    folded = fold_batch_norm(model).model
    folded.compile("sgd", "mse")
    x = normal(32, 4)
    losses = folded.fit(x, x.sum(1), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_an_application_style_model_from_inner_tensors():
    """A model cut out of another one shares its layers; only its own calls count."""
    x = keras.Input(IMAGE)
    y = conv(name="c")(x)
    z = BatchNorm(name="n")(y)
    keras.Model(x, y)
    model = randomised(keras.Model(x, z))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c"}


# The measurement


def test_the_error_is_measured_on_the_data_given():
    """A channel that is large on these data only."""
    model = randomised(chain((4,), layers.Dense(3), BatchNorm(), layers.ReLU()))
    x = normal(5, 4)
    result = fold_batch_norm(model, data=x)
    assert result.max_error < 1e-5
    with pytest.raises(Exception, match=r"."):
        fold_batch_norm(model, data=normal(5, 7))


@pytest.fixture
def spoilt(monkeypatch):
    """Folding that is wrong by one part in a thousand."""
    right = folding._write_weights

    def wrong(target, linear, norm):
        right(target, linear, norm)
        target.kernel.assign(target.kernel * 1.001)

    monkeypatch.setattr(folding, "_write_weights", wrong)


@pytest.mark.usefixtures("spoilt")
@pytest.mark.parametrize("data", [None, normal(20, 4)], ids=["random", "data"])
def test_the_error_is_really_measured(data):
    model = randomised(chain((4,), layers.Dense(3), BatchNorm()))
    assert 1e-4 < fold_batch_norm(model, data).max_error < 1e-2


@pytest.mark.usefixtures("spoilt")
def test_the_error_of_any_output_counts():
    x = keras.Input((4,))
    y = BatchNorm()(layers.Dense(3)(x))
    model = randomised(keras.Model(x, [layers.Dense(2)(x), y]))
    assert fold_batch_norm(model).max_error > 1e-4


@pytest.mark.usefixtures("spoilt")
def test_the_error_is_a_share_of_the_spread():
    errors = []
    for size in (1.0, 1e4):
        keras.utils.set_random_seed(0)
        model = chain((4,), layers.Dense(3), BatchNorm(), layers.Rescaling(size))
        errors.append(fold_batch_norm(randomised(model)).max_error)
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-6)


def test_an_output_that_is_no_number_is_not_hidden(monkeypatch):
    def wrong(target, linear, norm):
        target.kernel.assign(np.full(target.kernel.shape, np.nan))

    monkeypatch.setattr(folding, "_write_weights", wrong)
    x = keras.Input((4,))
    y = BatchNorm()(layers.Dense(3)(x))
    error = fold_batch_norm(keras.Model(x, [layers.Dense(2)(x), y])).max_error
    assert not error < 1e-5


def test_the_result_as_text_and_for_json():
    model = chain(
        (4,),
        layers.Dense(3, name="d"),
        BatchNorm(name="n"),
        layers.ReLU(),
        BatchNorm(name="m"),
    )
    result = fold_batch_norm(randomised(model))
    text = str(result)
    assert "1 of 2" in text
    assert "n -> d" in text
    assert result.kept["m"] in text
    found = json.loads(json.dumps(result.to_dict()))
    assert found == {
        "folded": result.folded,
        "kept": result.kept,
        "max_error": result.max_error,
    }


# Whole networks


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_applications_lose_all_their_norms(name):
    model = getattr(keras.applications, name)(
        input_shape=(64, 64, 3), weights=None, classes=10, classifier_activation=None
    )
    randomised(model)
    count = len(norms_in(model))

    result = fold_batch_norm(model)

    assert len(result.folded) == count
    assert result.kept == {}
    assert norms_in(result.model) == []
    assert result.max_error <= 1e-5


# Random graphs


class RandomGraph:
    """A random image network that keeps its own books on what must be folded."""

    STEPS = ("conv", "norm", "norm", "norm", "depthwise", "simple", "add", "op")

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.calls = []  # (layer, its inputs, its output)
        self.expected = {}
        x = keras.Input((5, 5, 4))
        self.tensors = [x]
        for _ in range(self.random.integers(4, 12)):
            step = self.random.choice([*self.STEPS, "shared", "nested"])
            self.tensors.append(getattr(self, step)())
        outputs = [self.tensors[-1]]
        if self.random.random() < 0.3:
            outputs.append(self.any())
        self.model = randomised(keras.Model(x, outputs), seed)
        self.expect(outputs)

    def expect(self, outputs):
        """What must be folded, from the calls that the outputs need."""
        live, wanted = [], {id(y) for y in outputs}
        for call in reversed(self.calls):
            if id(call[2]) in wanted:
                live.append(call)
                wanted.update(id(x) for x in call[1])
        used = Counter(layer.name for layer, *_ in live if layer)
        taken = Counter(id(x) for _, inputs, _ in live for x in inputs)
        taken.update(id(y) for y in outputs)
        made_by = {id(y): layer for layer, _, y in live}
        self.norms = {x.name for x, *_ in live if isinstance(x, BatchNorm)}
        for layer, inputs, _ in live:
            if layer is None:
                continue
            if layer.name.startswith("nested"):
                self.expected[f"{layer.name}/n"] = f"{layer.name}/c"
                self.norms.add(f"{layer.name}/n")
            elif isinstance(layer, BatchNorm) and used[layer.name] == 1:
                before = made_by.get(id(inputs[0]))
                if (
                    isinstance(before, layers.Conv2D | layers.DepthwiseConv2D)
                    and before.activation is keras.activations.linear
                    and used[before.name] == 1
                    and taken[id(inputs[0])] == 1
                ):
                    self.expected[layer.name] = before.name

    def any(self):
        return self.tensors[self.random.integers(len(self.tensors))]

    def recent(self):
        """Mostly the newest tensor, so that chains grow."""
        return self.tensors[-1] if self.random.random() < 0.75 else self.any()

    def name(self, kind):
        return f"{kind}{len(self.calls)}"

    def flag(self):
        return bool(self.random.integers(2))

    def call(self, layer, *inputs):
        y = layer(list(inputs) if len(inputs) > 1 else inputs[0])
        self.calls.append((layer, inputs, y))
        return y

    def conv(self):
        layer = layers.Conv2D(
            4,
            int(self.random.integers(1, 4)),
            padding="same",
            use_bias=self.flag(),
            activation=str(self.random.choice(["linear", "linear", "tanh"])),
            name=self.name("conv"),
        )
        return self.call(layer, self.recent())

    def depthwise(self):
        layer = layers.DepthwiseConv2D(3, padding="same", name=self.name("depthwise"))
        return self.call(layer, self.recent())

    def norm(self):
        layer = BatchNorm(scale=self.flag(), center=self.flag(), name=self.name("norm"))
        return self.call(layer, self.recent())

    def simple(self):
        kind = (layers.ReLU, layers.Dropout, layers.MaxPooling2D)[
            self.random.integers(3)
        ]
        kwargs = {"rate": 0.5} if kind is layers.Dropout else {}
        if kind is layers.MaxPooling2D:
            kwargs = {"pool_size": 2, "strides": 1, "padding": "same"}
        return self.call(kind(name=self.name("simple"), **kwargs), self.recent())

    def add(self):
        return self.call(layers.Add(name=self.name("add")), self.any(), self.any())

    def op(self):
        x = self.recent()
        y = ops.tanh(x)
        self.calls.append((None, (x,), y))
        return y

    def shared(self):
        shareable = [
            layer
            for layer, *_ in self.calls
            if isinstance(layer, layers.Conv2D | BatchNorm)
        ]
        if not shareable:
            return self.conv()
        return self.call(shareable[self.random.integers(len(shareable))], self.recent())

    def nested(self):
        parts = [keras.Input((5, 5, 4)), conv(name="c"), BatchNorm(name="n")]
        layer = keras.Sequential(parts, name=self.name("nested"))
        return self.call(layer, self.recent())


def assert_folds_as_expected(seed):
    graph = RandomGraph(seed)

    result = fold_batch_norm(graph.model)

    assert result.folded == graph.expected
    assert result.kept.keys() == graph.norms - graph.expected.keys()
    assert len(norms_in(result.model)) == len(result.kept)
    assert result.max_error < 1e-5
    assert difference(graph.model, result.model, normal(2, 5, 5, 4)) < 1e-4


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed):
    assert_folds_as_expected(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8, 80))
def test_many_random_graphs(seed):
    assert_folds_as_expected(seed)
