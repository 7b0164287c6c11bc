"""`samples=0`: mean and covariance in closed form, where dropout feeds a last layer."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.layers import MCDropout, MCGaussianDropout
from keras_dnn.models import mc_predict
from tests.models.mc_cases import normal


def regression(dropout, use_bias=True):
    keras.utils.set_random_seed(2)
    head = layers.Dense(3, use_bias=use_bias, bias_initializer="random_normal")
    return keras.Sequential([keras.Input((5,)), layers.Dense(8, "relu"), dropout, head])


@pytest.mark.quick
@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dropout(0.3),
        lambda: MCDropout(0.6),
        lambda: layers.GaussianDropout(0.3),
        lambda: MCGaussianDropout(0.5),
    ],
)
def test_it_is_the_limit_of_many_samples(make):
    model, x, count = regression(make()), normal(4, 5), 100_000

    exact = mc_predict(model, x, samples=0)

    drawn = mc_predict(model, x, count, seed=1, return_samples=True, verbose=0)
    error = exact.std / np.sqrt(count)
    assert np.abs((drawn.mean - exact.mean) / error).max() < 4.5
    np.testing.assert_allclose(drawn.std, exact.std, rtol=0.015)
    for i in range(4):
        scale = np.outer(exact.std[i], exact.std[i])
        found = np.cov(drawn.samples[:, i].T, bias=True)
        assert np.abs((found - exact.covariance[i]) / scale).max() < 0.03


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_it_is_the_closed_form(rate, use_bias):
    model, x = regression(layers.Dropout(rate), use_bias), normal(6, 5)
    first, _, last = model.layers
    h = np.maximum(x @ np.asarray(first.kernel) + np.asarray(first.bias), 0)
    h, w = h.astype("float64"), np.asarray(last.kernel, "float64")
    bias = np.asarray(last.bias) if use_bias else 0.0

    found = mc_predict(model, x, samples=0, batch_size=4)

    np.testing.assert_allclose(found.mean, h @ w + bias, rtol=1e-5, atol=1e-6)
    for i in range(6):
        expected = rate / (1 - rate) * (w.T * h[i] ** 2) @ w
        np.testing.assert_allclose(found.covariance[i], expected, rtol=1e-5, atol=1e-9)
    variances = np.diagonal(found.covariance, axis1=1, axis2=2)
    np.testing.assert_allclose(found.std**2, variances, rtol=1e-12)
    assert found.entropy is None
    assert found.samples is None


@pytest.mark.parametrize(
    "stack",
    [
        [layers.Dropout(0.5), layers.Dense(3, "softmax")],
        [layers.Dropout(0.5), layers.Dense(4), layers.Dense(3)],
        [layers.Dropout(0.5), layers.Dense(4), layers.Dropout(0.5), layers.Dense(3)],
        [layers.AlphaDropout(0.5), layers.Dense(3)],
        [layers.Dropout(0.5, noise_shape=(None, 1)), layers.Dense(3)],
        [layers.Dense(3), layers.Dropout(0.5)],
    ],
)
def test_other_models_are_refused(stack):
    model = keras.Sequential([keras.Input((5,)), *stack], name="mine")
    with pytest.raises(ValueError, match=r"samples=0 needs .*'mine'"):
        mc_predict(model, normal(2, 5), samples=0)


@pytest.mark.parametrize("asked", [{"return_samples": True}, {"quantiles": [0.5]}])
def test_there_are_no_samples_to_return(asked):
    with pytest.raises(ValueError, match="samples=0 draws no samples"):
        mc_predict(regression(layers.Dropout(0.3)), normal(2, 5), samples=0, **asked)
