"""RReLU: random slopes in training, their mean at inference."""

import keras
import numpy as np
import pytest

from keras_dnn.layers import RReLU


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_it_has_slopes_between_its_bounds_in_training():
    x = -np.ones((500, 1000), "float32")
    slopes = -RReLU(0.1, 0.4, seed=1)(x, training=True).numpy()
    assert 0.1 <= slopes.min() < 0.1001
    assert 0.3999 < slopes.max() <= 0.4
    np.testing.assert_allclose(slopes.mean(), 0.25, atol=4.5 * 0.0866 / 700)
    np.testing.assert_allclose(slopes.var(), 0.09 / 12, rtol=0.01)


def test_it_has_the_mean_slope_at_inference():
    x = normal(20, 30)
    expected = np.where(x < 0, x * (1 / 8 + 1 / 3) / 2, x)
    np.testing.assert_allclose(RReLU()(x), expected, rtol=1e-6)


@pytest.mark.parametrize("bounds", [(-0.1, 0.2), (0.3, 0.2), ("a", 0.2)])
def test_bad_slopes_are_named(bounds):
    with pytest.raises(ValueError, match=r"(lower|upper) must"):
        RReLU(*bounds)


def test_the_seed_decides_the_slopes():
    x = -np.ones((2, 50), "float32")
    one, again, other = (RReLU(seed=s)(x, training=True).numpy() for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)


def test_config_creates_it_again():
    layer = RReLU(0.1, 0.2, seed=3, name="slopes")
    config = layer.get_config()
    assert RReLU.from_config(config).get_config() == config
    assert (config["lower"], config["upper"], config["seed"]) == (0.1, 0.2, 3)


def test_it_passes_masks_on():
    x = keras.Input((None, 2))
    model = keras.Model(x, keras.layers.LSTM(2)(RReLU()(keras.layers.Masking()(x))))
    inputs = normal(1, 3, 2)
    inputs[:, 2] = 0
    shorter = model(inputs[:, :2]).numpy()
    np.testing.assert_allclose(model(inputs), shorter, rtol=1e-6)
