"""How samples of mc_predict are distributed: closed forms, and Keras in training
mode."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import mc_predict
from tests.models.mc_cases import (
    INSIDE,
    QUICK,
    assert_as_it_was,
    inside,
    normal,
    only_dropout,
    same_distribution,
    state_of,
)


def test_samples_have_the_mean_and_covariance_of_the_closed_form():
    """Of h·W + b with dropout on h: hW + b and p/(1 − p) Σ h² W Wᵀ."""
    rate, count = 0.3, 20_000
    x = keras.Input((6,))
    head = layers.Dense(3, bias_initializer="random_normal")
    model = keras.Model(x, head(layers.Dropout(rate)(x)))
    h = 1 + np.abs(normal(1, 6))
    w, b = (np.array(v, "float64") for v in head.weights)

    y = mc_predict(model, h, count, seed=1, return_samples=True).samples[:, 0]

    mean = h[0] @ w + b
    covariance = rate / (1 - rate) * np.einsum("i,ij,ik->jk", h[0] ** 2, w, w)
    assert np.all(np.abs(y.mean(0) - mean) < 5 * y.std(0) / np.sqrt(count))
    products = (y - mean)[:, :, None] * (y - mean)[:, None, :]
    error = products.std(0) / np.sqrt(count)
    assert np.all(np.abs(products.mean(0) - covariance) < 5 * error)


def test_no_two_samples_are_equal():
    """Neither within a chunk of samples, nor between chunks, nor between batches."""
    x = keras.Input((64,))
    model = keras.Model(x, layers.Dropout(0.5)(x))

    drawn = mc_predict(
        model, np.ones((60, 64)), 90, batch_size=30, return_samples=True
    ).samples

    assert len(np.unique(drawn.reshape(-1, 64), axis=0)) == 60 * 90


def test_rows_of_a_sample_are_independent():
    count = 4000
    drawn = mc_predict(
        only_dropout(), np.ones((5, 1)), count, seed=2, return_samples=True
    ).samples[..., 0]

    correlation = np.corrcoef(drawn.T) - np.eye(5)
    assert np.abs(correlation).max() < 5 / np.sqrt(count)


def test_layers_of_a_sample_are_independent():
    """Two layers with the same seed would drop the same units in training."""
    x = keras.Input((1,))
    model = keras.Model(x, [layers.Dropout(0.5, seed=1)(x) for _ in range(2)])

    one, other = mc_predict(
        model, np.ones((1, 1)), 4000, seed=2, return_samples=True
    ).samples

    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(4000)


def assert_samples_are_those_of_keras(build, shape):
    """They are, and drawing them changes nothing in the model."""
    count = 1000
    model, x = build(), 1 + normal(1, *shape)
    model(x)
    before = state_of(model)

    drawn = mc_predict(model, x, count, seed=1, return_samples=True).samples

    assert_as_it_was(model, before)
    expected = model(np.repeat(x, count, 0), training=True)

    drawn, expected = (np.array(a).reshape(count, -1) for a in (drawn, expected))
    assert drawn.std(0).max() > 0
    weights = normal(drawn.shape[1], seed=9)
    for projection in (weights, weights[::-1] ** 2):
        assert same_distribution(drawn @ projection, expected @ projection)


@inside(QUICK)
def test_samples_are_those_of_keras_in_training_mode(build, shape):
    """Of models in which nothing but dropout heeds the training mode."""
    assert_samples_are_those_of_keras(build, shape)


@pytest.mark.quick
@pytest.mark.slow
@inside([name for name in INSIDE if name not in QUICK])
def test_samples_of_any_dropout_are_those_of_keras(build, shape):
    assert_samples_are_those_of_keras(build, shape)
