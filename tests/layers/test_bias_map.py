"""BiasMap adds one number to each place."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.layers import BiasMap


def made(shape, activation=None, size=(4, 5, 3), **kwargs):
    layer = BiasMap(shape, activation, **kwargs)
    layer.build((None, *size))
    layer.bias.assign(np.random.default_rng(0).normal(size=shape))
    return layer


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 1, 3), (1, 1, 1), (3,)])
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_it_adds_its_bias_and_applies_its_activation(shape, activation):
    layer = made(shape, activation, dtype="float64")
    x = np.random.default_rng(1).normal(size=(2, 4, 5, 3))
    function = {None: lambda y: y, "relu": lambda y: np.maximum(y, 0), "tanh": np.tanh}
    expected = function[activation](x + np.array(layer.bias))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)


def test_it_is_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((4, 5, 3)), BiasMap((4, 5, 3), "elu")])
    model.layers[0].bias.assign(np.random.default_rng(0).normal(size=(4, 5, 3)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(1).normal(size=(2, 4, 5, 3))
    np.testing.assert_array_equal(loaded(x), model(x))


def test_it_trains_and_passes_masks_on():
    x = keras.Input((3,), dtype="int32")
    y = BiasMap((3, 2))(layers.Embedding(5, 2, mask_zero=True)(x))
    model = keras.Model(x, layers.GlobalAveragePooling1D()(y))
    assert [v.name for v in model.trainable_variables] == ["embeddings", "bias"]
    words = np.array([[1, 2, 0]])
    expected = np.array(model.layers[1](words))[0, :2].mean(0)
    np.testing.assert_allclose(np.array(model(words))[0], expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [3, (0, 2), (None, 2), (1.5,)])
def test_bad_shapes_are_errors(shape):
    with pytest.raises(ValueError, match=r"shape.*Received: shape="):
        BiasMap(shape)
