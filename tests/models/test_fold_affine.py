"""Layers besides batch norms that multiply by fixed numbers and add some."""

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications.convnext import LayerScale

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    chain,
    conv,
    difference,
    normal,
    randomised,
)

AFFINE = {
    "Rescaling": lambda: layers.Rescaling(0.3, -1.0),
    "Rescaling of channels": lambda: layers.Rescaling(
        [2.0, 3.0, -4.0], [1.0, 0.0, 5.0]
    ),
    "Normalization": layers.Normalization,
    "Normalization given": lambda: layers.Normalization(
        mean=[1.0, 2.0, 3.0], variance=[4.0, 0.5, 0.0]
    ),
    "Normalization of all": lambda: layers.Normalization(
        axis=None, mean=2.0, variance=9.0
    ),
    "Normalization inverted": lambda: layers.Normalization(
        mean=[1.0, 2.0, 3.0], variance=[4.0, 0.5, 2.0], invert=True
    ),
    "LayerScale": lambda: LayerScale(0.3, 3),
}


@pytest.mark.parametrize("after", [True, False], ids=["behind", "in front"])
@pytest.mark.parametrize("make", AFFINE.values(), ids=AFFINE)
def test_each_is_folded(make, after):
    layer = make()
    dense = layers.Dense(3, name="d")
    parts = [dense, layer] if after else [layer, layers.Dropout(0.5), dense]
    model = randomised(chain((5, 3), *parts))

    result = fold_batch_norm(model)

    assert result.affine_folded == {layer.name: "d"}
    assert result.folded == result.kept == result.affine_kept == {}
    assert layer.name not in [x.name for x in result.model.layers]
    assert 0 < result.max_error < 1e-6
    assert difference(model, result.model, normal(4, 5, 3)) < 5e-6


def test_a_normalization_of_two_axes_in_front_of_a_dense_layer_of_both():
    norm = layers.Normalization(axis=(1, 2), name="s")
    layer = layers.EinsumDense("abc,bcd->ad", 4, name="d")
    model = randomised(chain((3, 2), norm, layer))
    result = fold_batch_norm(model)
    assert result.affine_folded == {"s": "d"}
    assert difference(model, result.model, normal(5, 3, 2)) < 5e-6


def test_the_first_layers_of_an_application():
    """Both go through the padding, whose shift leaves a map of biases."""
    model = randomised(
        chain(
            (8, 8, 3),
            layers.Rescaling(1 / 255, name="r"),
            layers.Normalization(name="s"),
            layers.ZeroPadding2D(((0, 1), (0, 1))),
            layers.Conv2D(4, 3, 2, use_bias=False, name="c"),
            BatchNorm(name="n"),
            layers.ReLU(),
        )
    )
    result = fold_batch_norm(model)
    assert result.affine_folded == {"r": "c", "s": "c"}
    assert result.folded == {"n": "c"}
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype("float32")
    assert difference(model, result.model, x) < 1e-5


def test_channels_first_images_everywhere():
    """Then a list of scales belongs to the first axis."""
    keras.config.set_image_data_format("channels_first")
    try:
        x = keras.Input((3, 4, 1))
        layer = layers.EinsumDense("abcd,be->aecd", (2, 4, 1), name="d")
        model = keras.Model(x, layer(layers.Rescaling([1.0, 2.0, 3.0], name="s")(x)))
        result = fold_batch_norm(model)
        assert result.affine_folded == {"s": "d"}
        assert difference(model, result.model, normal(2, 3, 4, 1)) < 5e-6
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    ("shape", "parts", "reason"),
    [
        ((3,), lambda: [layers.Rescaling(2.0, name="s"), layers.ReLU()], "ReLU behind"),
        (
            (3,),
            lambda: [layers.Dense(2, "relu"), layers.Rescaling(2.0, name="s")],
            "relu",
        ),
        (
            (3, 4),
            lambda: [layers.Normalization(axis=1, name="s"), layers.Dense(2, name="d")],
            "axis 1, not the channels of d",
        ),
    ],
)
def test_what_would_not_be_exact_stays(shape, parts, reason):
    model = randomised(chain(shape, *parts()))
    result = fold_batch_norm(model)
    assert reason in result.affine_kept["s"]
    assert result.affine_folded == {}
    assert difference(model, result.model, normal(3, *shape)) == 0


def test_integers_are_not_passed_to_a_convolution():
    x = keras.Input(IMAGE, dtype="uint8")
    model = keras.Model(x, conv()(layers.Rescaling(1 / 255, name="s")(x)))
    result = fold_batch_norm(model)
    assert result.affine_kept == {"s": "it turns uint8 into float32"}


def test_the_scales_of_convnext_go_into_the_layer_before():
    x = keras.Input((4, 4, 3))
    y = layers.LayerNormalization(name="norm")(
        layers.DepthwiseConv2D(3, padding="same")(x)
    )
    y = layers.Dense(3, name="project")(layers.Dense(12, "gelu")(y))
    model = keras.Model(x, layers.Add()([x, LayerScale(1e-6, 3, name="scale")(y)]))
    result = fold_batch_norm(randomised(model))
    assert result.affine_folded == {"scale": "project"}
    assert difference(model, result.model, normal(2, 4, 4, 3)) < 5e-6
