"""Batch norms behind an activation, folded into the linear layers behind them."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.layers import BiasMap
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

C1, C2, C3 = (9, 4), (7, 6, 4), (5, 4, 4, 2)
EVERYWHERE = {
    "Dense": (lambda: layers.Dense(5, "tanh"), (6,)),
    "Dense without bias": (lambda: layers.Dense(5, use_bias=False), (6,)),
    "Dense on images": (lambda: layers.Dense(5), C2),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cde->abde", (9, 2, 3)), C1),
    "EinsumDense over two": (lambda: layers.EinsumDense("abc,bcd->ad", 3), C1),
    "EinsumDense over one": (lambda: layers.EinsumDense("abc,cd->ad", 3), C1),
    "EinsumDense with dots": (lambda: layers.EinsumDense("...x,xy->...y", 3), C1),
    "Conv1D": (lambda: layers.Conv1D(5, 3, dilation_rate=2), C1),
    "Conv2D": (lambda: layers.Conv2D(6, (2, 3), 2, activation="relu"), C2),
    "Conv2D groups": (lambda: layers.Conv2D(6, 3, groups=2, use_bias=False), C2),
    "Conv2D of size 1": (lambda: layers.Conv2D(6, 1, 2, padding="same"), C2),
    "Conv3D": (lambda: layers.Conv3D(3, 2), C3),
    "Depthwise1D": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), C1),
    "Depthwise2D": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), C2),
    "Separable1D": (lambda: layers.SeparableConv1D(3, 3, depth_multiplier=2), C1),
    "Separable2D": (lambda: layers.SeparableConv2D(3, 3), C2),
}
"""Layers whose new bias is the same at each place."""

IN_PLACES = {
    "causal": (lambda: layers.Conv1D(5, 3, padding="causal", dilation_rate=2), C1),
    "same": (lambda: layers.Conv1D(5, 4, padding="same"), C1),
    "same, strided": (lambda: layers.Conv2D(6, 3, 2, padding="same"), C2),
    "same, even": (lambda: layers.Conv2D(6, (2, 4), padding="same"), C2),
    "same, dilated": (lambda: layers.Conv2D(6, 3, padding="same", dilation_rate=2), C2),
    "same, groups": (lambda: layers.Conv2D(6, 3, padding="same", groups=2), C2),
    "same, no bias": (
        lambda: layers.Conv2D(3, 3, padding="same", use_bias=False, activation="elu"),
        C2,
    ),
    "same, 3D": (lambda: layers.Conv3D(3, 2, padding="same"), C3),
    "same, depthwise": (
        lambda: layers.DepthwiseConv2D(
            3, 2, padding="same", depth_multiplier=2, activation="relu"
        ),
        C2,
    ),
    "same, separable": (lambda: layers.SeparableConv2D(3, 3, padding="same"), C2),
    "transposed": (lambda: layers.Conv1DTranspose(3, 3, strides=2), C1),
    "transposed, no overlap": (lambda: layers.Conv2DTranspose(3, 2, 2), C2),
    "transposed, same": (
        lambda: layers.Conv2DTranspose(3, 3, strides=2, padding="same"),
        C2,
    ),
    "transposed, padded": (
        lambda: layers.Conv2DTranspose(3, 3, strides=2, output_padding=1),
        C2,
    ),
    "transposed, 3D": (lambda: layers.Conv3DTranspose(2, 2), C3),
}
"""Layers that pad with zeros, so that a map holds the bias."""


def behind_activation(shape, *parts):
    norm = BatchNorm(name="n")
    return randomised(chain(shape, layers.ReLU(name="r"), norm, *parts))


@pytest.mark.parametrize(("make", "shape"), EVERYWHERE.values(), ids=EVERYWHERE)
def test_into_the_next_layer(make, shape):
    layer = make()
    model = behind_activation(shape, layer)

    result = fold_batch_norm(model)

    assert result.folded == {"n": layer.name}
    assert [x.name for x in result.model.layers] == ["r", layer.name]
    assert type(result.model.layers[1]) is type(layer)
    assert 0 < result.max_error < 1e-6
    assert difference(model, result.model, normal(4, *shape)) < 5e-6


@pytest.mark.parametrize(("make", "shape"), IN_PLACES.values(), ids=IN_PLACES)
def test_into_the_next_layer_that_pads(make, shape):
    layer = make()
    model = behind_activation(shape, layer)

    result = fold_batch_norm(model)

    assert result.folded == {"n": layer.name}
    assert [type(x) for x in result.model.layers[1:]] == [type(layer), BiasMap]
    assert result.model.layers[1].bias is None
    assert result.model.layers[2].bias.shape == model.output_shape[1:]
    assert 0 < result.max_error < 1e-6
    assert difference(model, result.model, normal(4, *shape)) < 5e-6


def test_the_weights_of_a_dense_layer():
    """W' = W·s and b' = b + W·t, each number by itself."""
    dense, norm = layers.Dense(3, name="d"), BatchNorm(name="n")
    model = randomised(chain((4,), layers.ReLU(), norm, dense))

    new = fold_batch_norm(model).model.get_layer("d")

    kernel, bias = np.zeros((4, 3)), np.array(dense.bias, "float64")
    for i in range(4):
        s = float(norm.gamma[i]) / (float(norm.moving_variance[i]) + 1e-3) ** 0.5
        t = float(norm.beta[i]) - float(norm.moving_mean[i]) * s
        for j in range(3):
            kernel[i, j] = float(dense.kernel[i, j]) * s
            bias[j] += float(dense.kernel[i, j]) * t
    np.testing.assert_allclose(new.kernel, kernel, rtol=1e-6)
    np.testing.assert_allclose(new.bias, bias, rtol=1e-5)


def test_the_map_of_biases():
    """Inside as a convolution without zeros would have it, less in the border."""
    model = behind_activation((5, 5, 1), conv(1, 3, name="c", use_bias=False))
    norm, kernel = model.layers[1], np.array(model.layers[2].kernel, "float64")
    s = float(norm.gamma[0]) / (float(norm.moving_variance[0]) + 1e-3) ** 0.5
    t = float(norm.beta[0]) - float(norm.moving_mean[0]) * s

    found = np.array(fold_batch_norm(model).model.layers[2].bias)[..., 0]

    kernel = kernel[..., 0, 0] * t
    np.testing.assert_allclose(found[1:-1, 1:-1], kernel.sum(), rtol=1e-5)
    np.testing.assert_allclose(found[0, 0], kernel[1:, 1:].sum(), rtol=1e-5)
    np.testing.assert_allclose(found[4, 2], kernel[:2].sum(), rtol=1e-5)


@pytest.mark.parametrize("shift", [True, False])
def test_without_a_shift_there_is_no_map(shift):
    layer = conv(4, 3, activation="relu", name="c")
    norm = BatchNorm(center=False, name="n")
    model = randomised(chain(IMAGE, layers.ReLU(), norm, layer))
    if not shift:
        norm.moving_mean.assign(np.zeros(3))
    folded = fold_batch_norm(model).model
    assert any(isinstance(x, BiasMap) for x in folded.layers) is shift
    assert difference(model, folded, normal(3, *IMAGE)) < 5e-6


BETWEEN = {
    "dropout": lambda: [layers.Dropout(0.5), layers.GaussianNoise(0.1)],
    "mean": lambda: [layers.AveragePooling2D(3, 2, padding="same")],
    "crop": lambda: [layers.Cropping2D(1)],
    "upsample": lambda: [layers.UpSampling2D(2)],
    "mean of all": lambda: [layers.GlobalAveragePooling2D()],
    "flatten": lambda: [layers.Flatten()],
    "reshape": lambda: [layers.Reshape((36, 3)), layers.Dropout(0.5)],
    "permute, then flatten": lambda: [layers.Permute((3, 1, 2)), layers.Flatten()],
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_across_layers_that_only_move_or_average(between):
    model = behind_activation(IMAGE, *between(), layers.Dense(4, name="d"))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "d"}
    assert not norms_in(result.model)
    assert 0 < result.max_error < 1e-6
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


@pytest.mark.parametrize("kind", ["Conv1D", "Conv2D", "Conv3D"])
def test_across_zero_padding(kind):
    """The shift is missing in the padding, so the layer gets a map of biases."""
    rank = int(kind[4])
    pad = getattr(layers, f"ZeroPadding{rank}D")
    width = (1, 2) if rank == 1 else ((1, 2), *[(0, 1)] * (rank - 1))
    layer = getattr(layers, kind)(3, 2, activation="tanh", name="c")
    shape = (*(5, 4, 3)[:rank], 2)
    model = behind_activation(shape, pad(width), layer)

    result = fold_batch_norm(model)

    assert result.folded == {"n": "c"}
    assert isinstance(result.model.layers[-1], BiasMap)
    assert difference(model, result.model, normal(3, *shape)) < 5e-6


@pytest.mark.parametrize("kind", [layers.MaxPooling2D, layers.GlobalMaxPooling2D])
def test_across_the_maximum_where_no_scale_is_negative(kind):
    model = behind_activation(IMAGE, kind(name="p"), layers.Dense(4, name="d"))
    norm = model.get_layer("n")
    norm.gamma.assign([1.0, -1.0, 1.0])
    assert "p lies between, and a scale is negative" in fold_batch_norm(model).kept["n"]
    norm.gamma.assign(np.abs(norm.gamma) * [1, 0, 1])
    result = fold_batch_norm(model)
    assert result.folded == {"n": "d"}
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


def test_into_all_the_layers_behind():
    x = keras.Input(IMAGE)
    y = BatchNorm(name="n")(layers.ReLU()(x))
    z = layers.Dropout(0.5)(y)
    outputs = [conv(name="a")(y), layers.Dense(3, name="b")(z), conv(1, 1, name="c")(z)]
    model = randomised(keras.Model(x, outputs))

    result = fold_batch_norm(model)

    assert set(result.folded["n"].split(", ")) == {"a", "b", "c"}
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


def test_a_layer_used_elsewhere_too_becomes_two():
    x = keras.Input((4,))
    dense = layers.Dense(4, name="d")
    y = dense(BatchNorm(name="n")(layers.ReLU()(dense(x))))
    model = randomised(keras.Model(x, y))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "d_1"}
    assert difference(model, result.model, normal(5, 4)) < 5e-6


def test_one_layer_takes_norms_in_from_both_sides():
    model = behind_activation(IMAGE, conv(name="c"), BatchNorm(name="m"))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c", "m": "c"}
    assert [type(x) for x in result.model.layers[1:]] == [layers.Conv2D, BiasMap]
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


def test_two_norms_in_a_row_behind_an_activation():
    model = behind_activation((6,), BatchNorm(name="m"), layers.Dense(4, name="d"))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "d", "m": "d"}
    assert difference(model, result.model, normal(3, 6)) < 5e-6


def test_open_axes_where_nothing_is_padded():
    model = behind_activation(
        (None, None, 3), layers.MaxPooling2D(1), layers.Conv2D(4, 3, name="c")
    )
    model.get_layer("n").gamma.assign([1.0, 2.0, 3.0])
    result = fold_batch_norm(randomised_but(model, "n"))
    assert result.folded == {"n": "c"}
    assert difference(model, result.model, normal(2, 7, 5, 3)) < 5e-6


def randomised_but(model, name):
    """The model as it is: its norm was set by hand."""
    assert (np.array(model.get_layer(name).gamma) > 0).all()
    return model


def test_channels_first():
    layer = layers.Conv2D(
        5, 3, padding="same", data_format="channels_first", activation="relu", name="c"
    )
    norm = BatchNorm(axis=1, name="n")
    model = randomised(chain((4, 6, 5), layers.ReLU(), norm, layer))
    twin = layers.Conv2D(5, 3, padding="same", activation="relu", name="c")
    last = chain((6, 5, 4), layers.ReLU(), BatchNorm(name="n"), twin)
    for source, target in zip(model.weights, last.weights, strict=True):
        target.assign(source)

    first, second = (fold_batch_norm(m).model for m in (model, last))

    # What a CPU does not run is compared with its twin, weight by weight.
    np.testing.assert_allclose(first.layers[1].kernel, second.layers[1].kernel)
    maps = [np.array(m.layers[2].bias) for m in (first, second)]
    np.testing.assert_allclose(maps[0], np.moveaxis(maps[1], -1, 0), rtol=1e-6)


def test_mixed_precision():
    policy = "mixed_bfloat16"
    parts = [layers.ReLU(dtype=policy), BatchNorm(dtype=policy, name="n")]
    model = randomised(chain(IMAGE, *parts, conv(dtype=policy, name="c")))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c"}
    kinds = [x.dtype_policy.name for x in result.model.layers]
    assert kinds == [policy] * 3
    assert result.model.layers[2].bias.dtype == "float32"
    assert result.max_error < 1e-5
    assert difference(model, result.model, normal(3, *IMAGE)) < 8e-2


def test_activations_in_layers_and_norms_behind_them(tmp_path):
    """Activations in the layers, norms behind them, pooling and dropout between."""
    model = chain(
        (12, 12, 1),
        layers.Conv2D(4, 3, activation="relu", padding="same"),
        BatchNorm(name="n1"),
        layers.Conv2D(4, 3, activation="relu"),
        BatchNorm(name="n2"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.2),
        layers.Conv2D(6, 3, activation="relu", padding="same"),
        BatchNorm(name="n3"),
        layers.Dropout(0.2),
        layers.Flatten(),
        layers.Dense(8, activation="relu"),
        BatchNorm(name="n4"),
        layers.Dense(3, activation="softmax"),
    )
    randomised(model)
    model.get_layer("n2").gamma.assign([0.5, 1.0, 1.5, 2.0])

    result = fold_batch_norm(model)

    assert len(result.folded) == 4
    assert result.kept == {}
    assert result.max_error < 2e-6
    x = normal(5, 12, 12, 1)
    assert difference(model, result.model, x) < 1e-5
    result.model.save(tmp_path / "folded.keras")
    loaded = keras.saving.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(loaded(x), result.model(x))
    assert fold_batch_norm(result.model).max_error == 0
