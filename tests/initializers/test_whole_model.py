"""New kernels of a model, each with the fans of its layer."""

import math

import keras
import numpy as np
import pytest

from keras_dnn.initializers import (
    DeltaOrthogonal,
    GlorotUniform,
    HeNormal,
    VarianceScaling,
    initialize,
)

layers = keras.layers


def all_kinds():
    x = inputs = keras.Input((16, 16, 64))
    x = layers.Conv2D(64, 3, groups=4, strides=2, name="grouped")(x)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, name="depthwise", padding="same")(x)
    x = layers.Conv2DTranspose(64, 4, strides=2, name="transposed")(x)
    x = layers.SeparableConv2D(64, 3, name="separable")(x)
    x = layers.Reshape((-1, 64))(x)
    x = layers.EinsumDense("abc,cde->abde", (None, 8, 16), name="einsum")(x)
    x = layers.GlobalAveragePooling1D()(layers.Reshape((-1, 128))(x))
    x = keras.Sequential([layers.Dense(128, name="dense")], name="nested")(x)
    return keras.Model(inputs, layers.Dense(128, name="head")(x))


FANS = {  # fan_in, fan_out, scale
    "grouped": (9 * 16, 9 * 16 / 4, 2),
    "depthwise": (9, 9, 2),
    "transposed": (16 * 64 / 4, 16 * 64, 2),
    "separable": (9, 9, 1),
    "einsum": (64, 128, 2),
    "head": (128, 128, 2),
}


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_each_kernel_has_the_variance_of_its_kind(mode):
    model = all_kinds()
    initialize(model, VarianceScaling(2.0, mode, seed=1))
    for name, (fan_in, fan_out, scale) in FANS.items():
        layer = model.get_layer(name)
        kernel = getattr(layer, "depthwise_kernel", getattr(layer, "kernel", None))
        n = fan_in if mode == "fan_in" else fan_out
        bound = 6 * math.sqrt(2 / math.prod(kernel.shape))
        assert np.var(kernel) == pytest.approx(scale / n, rel=bound), name
    separable = model.get_layer("separable")
    assert np.var(separable.pointwise_kernel) == pytest.approx(2 / 64, rel=0.1)
    nested = model.get_layer("nested").layers[0].kernel
    assert np.var(nested) == pytest.approx(2 / 128, rel=0.1)


def two():
    return keras.Sequential([keras.Input((6,)), *(layers.Dense(6) for _ in range(2))])


@pytest.mark.parametrize("seed", [None, 3, "generator"])
def test_no_two_kernels_are_equal_and_seeds_determine_them(seed):
    def drawn():
        keras.utils.set_random_seed(1)
        model = two()
        generator = keras.random.SeedGenerator(1) if seed == "generator" else seed
        initialize(model, HeNormal(generator))
        return [np.array(layer.kernel) for layer in model.layers]

    first, second = drawn()
    assert (first != second).all()
    np.testing.assert_array_equal(drawn(), [first, second])


def test_frozen_layers_biases_and_the_initializer_are_unchanged():
    model = all_kinds()
    model.get_layer("grouped").trainable = False
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(layer.bias + 1.0)
    before = {v.path: np.array(v) for v in model.variables}
    initializer = HeNormal(gain=3.0)
    initialize(model, initializer)
    changed = {v.path for v in model.variables if (np.array(v) != before[v.path]).any()}
    assert changed == {
        v.path
        for v in model.variables
        if "kernel" in v.path and not v.path.startswith("grouped")
    }
    assert (initializer.scale, initializer.gain) == (2.0, 3.0)


def test_one_layer_can_be_initialised_alone():
    model = two()
    first = np.array(model.layers[0].kernel)
    initialize(model.layers[1], GlorotUniform(seed=1))
    np.testing.assert_array_equal(model.layers[0].kernel, first)
    np.testing.assert_allclose(
        model.layers[1].kernel.numpy().max(), math.sqrt(3 / 6), rtol=0.15
    )


def test_attention_is_initialized_too():
    layer = layers.MultiHeadAttention(4, 16)
    layer.build((None, 5, 64), (None, 5, 64))
    initialize(layer, HeNormal(seed=1))
    kernel = np.array(layer.query_dense.kernel)
    assert kernel.shape == (64, 4, 16)
    assert kernel.var() == pytest.approx(2 / 64, rel=0.15)
    assert np.var(layer.output_dense.kernel) == pytest.approx(2 / 64, rel=0.15)


@pytest.mark.parametrize(
    "initializer",
    ["he_normal", keras.initializers.HeNormal(), HeNormal, DeltaOrthogonal()],
)
def test_other_initializers_are_refused(initializer):
    with pytest.raises(
        ValueError, match=r"initializer must be a VarianceScaling.*Received: i"
    ):
        initialize(two(), initializer)


@pytest.mark.parametrize(
    "model", [layers.Dense(3), layers.Flatten(), keras.Sequential([layers.Dense(3)])]
)
def test_models_without_kernels_are_refused(model):
    with pytest.raises(ValueError, match="model must be built, and have dense"):
        initialize(model, HeNormal())


def test_refuses_a_model_in_which_nothing_could_be_drawn():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.layers[0].quantize("int8")
    with pytest.raises(ValueError, match="neither frozen nor quantised"):
        initialize(model, HeNormal())
