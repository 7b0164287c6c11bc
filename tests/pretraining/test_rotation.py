"""Quarter turns and predictions of them."""

import keras
import numpy as np
import pytest

from keras_dnn.pretraining import rotation
from keras_dnn.pretraining._quarter_turns import RandomTurns, RightFirst
from tests.pretraining.pretraining_cases import (
    convolutional,
    dense,
    images,
    on_replicas,
)

layers = keras.layers


def turned_by_numpy(x, turns):
    pairs = zip(x, turns, strict=True)
    return np.stack([np.rot90(image, turn) for image, turn in pairs])


def test_images_are_turned_by_the_returned_number_of_quarters():
    x = images(rows=32, side=5, channels=2).astype("float32")
    layer = RandomTurns(seed=1)
    for training in (True, True, False):
        turned, turns = (t.numpy() for t in layer(x, training=training))
        np.testing.assert_array_equal(turned, turned_by_numpy(x, turns))
        assert set(turns) == {0, 1, 2, 3}


def test_all_turns_are_equally_frequent_and_in_order_outside_training():
    x, layer = np.zeros((10_000, 2, 2, 1), "float32"), RandomTurns(seed=1)
    first, second = (layer(x, training=True)[1].numpy() for _ in range(2))
    deviation = np.sqrt(0.25 * 0.75 / 10_000)
    np.testing.assert_allclose(np.bincount(first) / 10_000, 0.25, atol=4 * deviation)
    assert np.mean(first == second) == pytest.approx(0.25, abs=4 * deviation)
    assert layer(x[:6])[1].numpy().tolist() == [0, 1, 2, 3, 0, 1]


def test_turns_differ_between_replicas(two_replicas):
    with two_replicas.scope():
        layer = RandomTurns(seed=1)
    x = np.zeros((2000, 1, 1, 1), "float32")

    def turns_of(x, training):
        return layer(x, training=training)[1]

    (a, b), (c, d) = on_replicas(two_replicas, turns_of, x)
    for one, other in ((a, b), (c, d), (a, c), (b, d), (a, d), (b, c)):
        assert np.mean(one == other) == pytest.approx(0.25, abs=0.05)


def test_the_right_prediction_comes_first_and_the_others_in_order():
    predictions = np.array([[0.1, 0.2, 0.3, 0.4]] * 4)
    found = RightFirst()(predictions, np.arange(4, dtype="int32")).numpy()
    expected = [np.roll(predictions[0], -turn) for turn in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.usefixtures("in_float64")
def test_the_loss_is_that_of_the_right_turns():
    encoder, x = convolutional(), images(rows=10, side=9)
    model = rotation(encoder)
    kernel = model.get_layer("predictions").kernel
    kernel.assign(np.random.default_rng(2).normal(size=kernel.shape))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])

    loss, accuracy = model.evaluate(x, verbose=0)

    turns = np.arange(10) % 4
    scores = encoder(turned_by_numpy(x, turns)).numpy() @ kernel.numpy()
    right = scores[np.arange(10), turns]
    expected = np.mean(np.log(np.exp(scores).sum(axis=1)) - right)
    assert loss == pytest.approx(expected, rel=1e-9)
    assert accuracy == pytest.approx(np.mean(scores.argmax(axis=1) == turns))


def test_learns_the_orientation_of_images():
    """Images brighter towards one side."""
    x = np.ones((128, 6, 6, 1)) * np.linspace(0, 1, 6)[:, None, None]
    stack = [keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(8, "relu")]
    model = rotation(keras.Sequential(stack))
    model.compile(
        keras.optimizers.Adam(0.02),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x, epochs=12, verbose=0)
    assert model.evaluate(x, verbose=0)[1] == 1


@pytest.mark.parametrize("shape", [(6,), (6, 5, 1), (6, 6)])
def test_only_square_images_can_be_turned(shape):
    encoder = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match="square images"):
        rotation(encoder)


def test_features_must_be_of_a_known_shape():
    stack = [keras.Input((None, None, 1)), layers.Conv2D(2, 3)]
    with pytest.raises(ValueError, match="global pooling"):
        rotation(keras.Sequential(stack))


def test_an_encoder_must_have_a_graph():
    with pytest.raises(ValueError, match=r"keras\.Input"):
        rotation(keras.Sequential([layers.Flatten()]))
    with pytest.raises(ValueError, match="square"):
        rotation(dense())
