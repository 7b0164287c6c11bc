"""rebuild copies what layers hold beside their weights and their config."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models.rebuild import rebuild
from tests.models.rebuild_cases import functional, normal, scrambled


def test_an_adapted_normalization_is_copied():
    """It works with constants that it makes of its weights once only."""
    layer = layers.Normalization()
    layer.adapt(normal(50, 4) * 3 + 1)
    timed = functional(layers.TimeDistributed(layer), (2, 4))
    np.testing.assert_array_equal(
        rebuild(timed)(normal(3, 2, 4)), timed(normal(3, 2, 4))
    )
    model = functional(layer, (4,))
    assert np.abs(np.array(model(normal(3, 4))) - normal(3, 4)).max() > 0.1
    np.testing.assert_array_equal(rebuild(model)(normal(3, 4)), model(normal(3, 4)))


def test_bins_and_a_vocabulary_are_copied():
    bins = layers.Discretization(num_bins=4)
    bins.adapt(normal(100, 1))
    model = functional(bins, (3,))
    found = np.array(rebuild(model)(normal(5, 3)))
    np.testing.assert_array_equal(found, model(normal(5, 3)))
    assert len(np.unique(found)) > 2

    lookup = layers.IntegerLookup()
    lookup.adapt(np.array([[7, 7, 3, 3, 3, 5]]))
    model = functional(lookup, (2,), dtype="int64")
    words = np.array([[3, 7], [5, 9]])
    np.testing.assert_array_equal(rebuild(model)(words), [[1, 2], [3, 0]])


@pytest.mark.parametrize("kind", [layers.Dense, layers.EinsumDense])
def test_a_lora_keeps_its_alpha(kind):
    layer = kind(3) if kind is layers.Dense else kind("ab,bc->ac", 3)
    model = functional(layer, (4,))
    layer.enable_lora(2, lora_alpha=8)
    scrambled(model)
    np.testing.assert_array_equal(rebuild(model)(normal(3, 4)), model(normal(3, 4)))


def test_initializers_are_kept_though_none_of_them_draws():
    model = functional(layers.Dense(3, kernel_initializer=Counted(), name="d"), (4,))
    config = model.get_layer("d").get_config()
    Counted.calls = 0
    copy = rebuild(model)
    assert Counted.calls == 0
    assert copy.get_layer("d").get_config() == config


@keras.saving.register_keras_serializable(package="tests")
class Counted(keras.initializers.GlorotNormal):
    calls = 0

    def __call__(self, shape, dtype=None):
        Counted.calls += 1
        return super().__call__(shape, dtype)
