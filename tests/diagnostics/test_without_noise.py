"""Training mode without dropout and noise: everything else as in training."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.diagnostics._without_noise import without_noise
from keras_dnn.layers import RReLU


class Noisy(layers.Layer):
    """A block of one's own: a batch norm, dropout and noise from its own generator."""

    def __init__(self, noise=True, **kwargs):
        super().__init__(**kwargs)
        self.noise = noise
        self.generator = keras.random.SeedGenerator(1)
        self.norm = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.5 if noise else 0.0)

    def call(self, x, training=False):
        x = self.dropout(self.norm(x, training=training), training=training)
        if training and self.noise:
            x += keras.random.normal(keras.ops.shape(x), seed=self.generator)
        return x


KINDS = {
    "dropout": lambda noise: layers.Dropout(0.5 * noise),
    "Gaussian": lambda noise: layers.GaussianNoise(0.5 * noise),
    "recurrent": lambda noise: layers.GRU(
        3, dropout=0.5 * noise, recurrent_dropout=0.5 * noise, seed=1
    ),
    "RReLU": lambda noise: RReLU() if noise else RReLU(11 / 48, 11 / 48),
    "own": Noisy,
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_training_mode_without_noise(kind):
    models = []
    for noise in (True, False):
        keras.utils.set_random_seed(1)
        i = keras.Input((4, 3))
        y = layers.BatchNormalization()(i)
        models.append(keras.Model(i, KINDS[kind](noise)(y)))
    noisy, quiet = models
    quiet.set_weights(noisy.get_weights())
    x = 3 + np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
    expected = quiet(x, training=True)
    with without_noise(noisy):
        found = noisy(x, training=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    # The batch norms, also that in the block, have seen the same batch.
    for one, other in zip(noisy.weights, quiet.weights, strict=True):
        if "moving" in one.path:
            assert np.asarray(other).tolist() not in ([0.0] * 3, [1.0] * 3)
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert not np.allclose(noisy(x, training=True), expected, atol=1e-3)
