"""Batch norms folded into the linear layer before them, against NumPy in float64."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import FoldResult, fold_batch_norm
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    chain,
    difference,
    kernel_and_bias,
    normal,
    randomised,
)

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


OTHERS = {
    "SeparableConv1D": (layers.SeparableConv1D, (5, 3), {"padding": "same"}, (7, 3)),
    "SeparableConv2D": (
        layers.SeparableConv2D,
        (5, 3),
        {"depth_multiplier": 2, "strides": 2, "padding": "same"},
        (7, 6, 3),
    ),
    "EinsumDense": (layers.EinsumDense, ("abc,cd->abd", (None, 5)), {}, (4, 6)),
    "EinsumDense of heads": (
        layers.EinsumDense,
        ("abc,cde->abde", (None, 3, 5)),
        {},
        (4, 6),
    ),
    "EinsumDense that moves axes": (
        layers.EinsumDense,
        ("abcd,dce->aeb", (5, None)),
        {"axis": 1},
        (4, 3, 6),
    ),
    "EinsumDense with dots": (layers.EinsumDense, ("...x,xy->...y", 5), {}, (2, 3, 6)),
}
"""Layers whose weights are compared by their outputs."""

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
    """In one channel of three; in float64, so that only rounding is left."""
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


def test_a_norm_called_by_keyword():
    x = keras.Input((4,))
    y = BatchNorm(name="n")(inputs=layers.Dense(3, name="d")(x))
    model = randomised(keras.Model(x, y))
    result = fold_batch_norm(model)
    assert difference(model, result.model, normal(5, 4)) < 1e-5


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    ("layer", "args", "kwargs", "shape"), OTHERS.values(), ids=OTHERS
)
def test_layers_of_more_than_one_kernel_or_any_axes(layer, args, kwargs, shape, bias):
    kwargs = dict(kwargs)
    axis = kwargs.pop("axis", -1)
    if layer is layers.EinsumDense:
        channels = args[0].partition("->")[2][axis].strip(".")
        kwargs["bias_axes"] = channels if bias else None
    else:
        kwargs["use_bias"] = bias
    linear, norm = layer(*args, **kwargs, name="linear"), BatchNorm(axis, name="norm")
    model = randomised(chain(shape, linear, norm))

    result = fold_batch_norm(model)

    assert result.folded == {"norm": "linear"}
    assert [type(x) for x in result.model.layers] == [layer]
    assert 0 < result.max_error < 1e-6
    assert difference(model, result.model, normal(3, *shape)) < 5e-6


def test_the_depthwise_part_of_a_separable_convolution_stays():
    linear = layers.SeparableConv2D(5, 3, depth_multiplier=2, name="linear")
    model = randomised(chain((6, 6, 3), linear, BatchNorm(name="norm")))
    norm = model.layers[1]
    new = fold_batch_norm(model).model.layers[0]
    np.testing.assert_array_equal(new.depthwise_kernel, linear.depthwise_kernel)
    s = np.array(norm.gamma) / np.sqrt(np.array(norm.moving_variance) + norm.epsilon)
    expected = np.array(linear.pointwise_kernel) * s
    np.testing.assert_allclose(new.pointwise_kernel, expected, rtol=1e-5)


def test_a_bias_of_several_axes():
    """The bias has heads and features, the norm features only."""
    linear = layers.EinsumDense("abc,cde->abde", (None, 3, 5), bias_axes="de")
    model = randomised(chain((4, 6), linear, BatchNorm()))
    folded = fold_batch_norm(model).model
    assert folded.layers[0].bias.shape == (3, 5)
    assert difference(model, folded, normal(3, 4, 6)) < 5e-6


# Layers that were changed after they were built


@pytest.mark.parametrize("kind", [layers.Dense, layers.Conv2D, layers.EinsumDense])
def test_a_lora_is_merged(kind):
    args = {
        layers.Dense: (4,),
        layers.Conv2D: (4, 3),
        layers.EinsumDense: ("abcd,de->abce", (6, 6, 4)),
    }
    linear = kind(*args[kind], name="c")
    model = chain(IMAGE, linear, BatchNorm(name="n"))
    linear.enable_lora(2, lora_alpha=6)
    linear.lora_kernel_b.assign(normal(*linear.lora_kernel_b.shape))
    randomised(model)

    result = fold_batch_norm(model)

    assert result.folded == {"n": "c"}
    assert not result.model.layers[0].lora_enabled
    assert len(result.model.layers[0].weights) == 2
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


@pytest.mark.parametrize("use_bias", [True, False])
def test_an_int8_dense_layer(use_bias):
    """The norm goes into the scales that it divides by: nothing is rounded again."""
    dense, norm = layers.Dense(4, use_bias=use_bias, name="c"), BatchNorm(name="n")
    model = chain((6,), dense, norm)
    dense.quantize("int8")
    randomised(model)
    norm.gamma.assign([1.5, -0.5, 0.0, 2.0])

    result = fold_batch_norm(model)

    assert result.folded == {"n": "c"}
    new = result.model.layers[0]
    assert new.quantization_mode == "int8"
    left = [0, 1, 3]
    np.testing.assert_array_equal(
        np.array(new.kernel)[:, left], np.array(dense.kernel)[:, left]
    )
    assert difference(model, result.model, normal(9, 6)) < 2e-6
    assert result.max_error < 1e-5
