"""mc_predict leaves the model as it was; for each layer, see test_mc_distribution."""

import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn.layers import MCDropout
from keras_dnn.models import mc_predict
from tests.models.mc_cases import (
    NEVER,
    assert_as_it_was,
    classifier,
    normal,
    of,
    state_of,
)


def everything():
    """A network in which training mode would change many things."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.RandomFlip(),
            layers.RandomRotation(0.2),
            layers.SpectralNormalization(layers.Conv2D(6, 3, activation="relu")),
            layers.BatchNormalization(),
            layers.SpatialDropout2D(0.2),
            layers.GaussianNoise(0.5),
            layers.Reshape((6, 36)),
            layers.LSTM(5, dropout=0.2, recurrent_dropout=0.2, return_sequences=True),
            layers.BatchNormalization(),
            layers.Flatten(),
            MCDropout(0.2),
            layers.Dropout(0.5),
            layers.Dense(3, "softmax"),
        ]
    )


def fit(model):
    x, y = normal(16, *model.input_shape[1:]), np.arange(16) % 3
    if not model.compiled:
        model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)


def test_nothing_in_the_model_changes():
    model = everything()
    model(normal(4, 8, 8, 3), training=True)
    before = state_of(model)

    prediction = mc_predict(model, normal(5, 8, 8, 3), 20, batch_size=2)

    assert_as_it_was(model, before)
    assert prediction.std.min() > 0


@pytest.mark.slow
def test_later_training_and_prediction_are_the_same():
    seen = []
    for sampled in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((3, 4)),
                layers.SimpleRNN(5, dropout=0.2),
                layers.BatchNormalization(),
                MCDropout(0.2),
                layers.Dropout(0.5),
                layers.Dense(3, "softmax"),
            ]
        )
        fit(model)
        x = normal(6, 3, 4, seed=3)
        if sampled:
            mc_predict(model, x, 5, seed=1)
        # The layer that is always on draws from the model's seed state too.
        predicted = model.predict(x, verbose=0)
        fit(model)
        seen.append([predicted, *model.get_weights()])

    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, other)


def test_predict_and_mc_predict_do_not_disturb_each_other():
    model, x = classifier(), normal(5, 4)
    expected = model.predict(x, verbose=0)
    sampled = mc_predict(model, x, 10, seed=1).mean

    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(mc_predict(model, x, 10, seed=1).mean, sampled)


def test_all_but_dropout_stays_in_inference_mode():
    """A sample is 0 or twice the output of the rest of the model without dropout."""
    x = keras.Input((4, 4, 3))
    rest = layers.RandomFlip()(x)
    rest = layers.SpectralNormalization(layers.Conv2D(4, 3))(rest)
    rest = layers.BatchNormalization()(rest)
    rest = layers.GaussianNoise(1.0)(rest)
    model = keras.Model(x, layers.Dropout(0.5)(rest))
    inputs = normal(5, 4, 4, 3)

    samples = mc_predict(model, inputs, 10, seed=1, return_samples=True).samples

    expected = 2 * keras.Model(x, rest).predict(inputs, verbose=0)
    kept = samples != 0
    assert 0.4 < kept.mean() < 0.6
    expected = np.broadcast_to(expected, samples.shape)
    np.testing.assert_allclose(samples[kept], expected[kept], rtol=1e-5, atol=1e-6)


def test_all_but_dropout_stays_in_inference_mode_after_it():
    x = keras.Input((4, 4, 3))
    y = layers.Dropout(NEVER)(x)
    y = layers.RandomFlip()(y)
    y = layers.BatchNormalization()(layers.GaussianNoise(1.0)(y))
    model = keras.Model(x, layers.SpectralNormalization(layers.Conv2D(4, 3))(y))
    inputs = normal(5, 4, 4, 3)
    model(inputs)
    before = state_of(model)

    samples = mc_predict(model, inputs, 3, seed=1, return_samples=True).samples

    assert_as_it_was(model, before)
    for sample in samples:
        expected = model.predict(inputs, verbose=0)
        np.testing.assert_allclose(sample, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("called_before", [False, True])
def test_an_exception_inside_leaves_the_model_as_it_was(called_before):
    model = everything()
    model.predict(normal(2, 8, 8, 3), verbose=0)
    if called_before:
        mc_predict(model, normal(2, 8, 8, 3), 2)
    before = state_of(model)

    with pytest.raises(Exception, match=r"."):
        mc_predict(model, normal(2, 7, 5, 2), 2)

    assert_as_it_was(model, before)
    assert mc_predict(model, normal(2, 8, 8, 3), 2).mean.shape == (2, 3)


class FailsOnNaN(layers.Layer):
    """Fails while the graph runs, not while it is traced."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_all_finite(x, "not finite")]):
            return tf.identity(x)


def test_an_exception_while_sampling_leaves_the_model_as_it_was():
    model = of(layers.Dropout(0.5), 4)
    model.add(FailsOnNaN())
    mc_predict(model, normal(2, 4), 2)
    before = state_of(model)

    with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
        mc_predict(model, np.full((2, 4), np.nan), 2)

    assert_as_it_was(model, before)


def test_a_stateful_layer_after_the_dropout_is_an_error():
    x = keras.Input(batch_shape=(2, 3, 4))
    recurrent = layers.LSTM(5, stateful=True, name="memory")
    model = keras.Model(x, recurrent(layers.Dropout(0.5)(x)))
    with pytest.raises(ValueError, match=r"memory is stateful.*stateful=True"):
        mc_predict(model, normal(2, 3, 4), 3)


def test_the_state_of_a_stateful_layer_does_not_change():
    x = keras.Input(batch_shape=(2, 3, 4))
    recurrent = layers.LSTM(5, stateful=True)
    model = keras.Model(x, layers.Dropout(0.5)(recurrent(x)))
    model(normal(2, 3, 4))
    before = [np.array(state) for state in recurrent.states]

    mc_predict(model, normal(2, 3, 4), 3)

    np.testing.assert_array_equal(recurrent.states, before)


def test_model_is_saved_and_pickled_as_before(tmp_path):
    model, x = classifier(), normal(5, 4)
    mc_predict(model, x, 3)
    expected = model.predict(x, verbose=0)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    copies = [
        loaded,
        pickle.loads(pickle.dumps(model)),
        keras.models.clone_model(model),
    ]
    copies[-1].set_weights(model.get_weights())

    for copy in copies:
        np.testing.assert_array_equal(copy.predict(x, verbose=0), expected)
        assert mc_predict(copy, x, 3).std.max() > 0
