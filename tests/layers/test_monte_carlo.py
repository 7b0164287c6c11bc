"""Layers that stay random at inference: each kind, the wrapper and RReLU."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn.layers import (
    MCAlphaDropout,
    MCDropout,
    MCGaussianDropout,
    MCSpatialDropout1D,
    MCSpatialDropout2D,
    MCSpatialDropout3D,
    MonteCarlo,
    RReLU,
)

SPATIAL = (
    (MCSpatialDropout1D, (50, 7, 400)),
    (MCSpatialDropout2D, (50, 3, 3, 400)),
    (MCSpatialDropout3D, (50, 3, 2, 3, 400)),
)
ALL = (
    lambda: MCDropout(0.4),
    lambda: MCGaussianDropout(0.4),
    lambda: MCAlphaDropout(0.4),
    lambda: MonteCarlo(layers.GaussianNoise(0.4)),
    lambda: MonteCarlo(RReLU()),
)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def as_float64(y):
    return np.asarray(tf.cast(y, "float64"))


# Distributions


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_rate_and_mean(rate, dtype):
    y = as_float64(MCDropout(rate, seed=1, dtype=dtype)(np.ones((1000, 1000), dtype)))
    spread = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 4.5 * spread
    assert abs(y.mean() - 1) < 4.5 * spread / (1 - rate)
    assert abs(y[y > 0].mean() * (1 - rate) - 1) < 1e-4


@pytest.mark.parametrize("jit_compile", [True, False])
def test_dropout_is_the_same_in_every_mode(jit_compile):
    layer = MCDropout(0.3, seed=1)
    function = tf.function(layer, jit_compile=jit_compile)
    x = tf.ones((300, 1000))
    one, other = function(x).numpy(), function(x).numpy()
    spread = np.sqrt(0.21 / one.size)
    for y in (one, other):
        assert abs((y == 0).mean() - 0.3) < 4.5 * spread
        np.testing.assert_allclose(y[y > 0], 1 / 0.7, rtol=2e-5)
    # Equal where both or neither are dropped.
    assert abs((one == other).mean() - 0.58) < 0.01


@pytest.mark.parametrize(("kind", "shape"), SPATIAL)
def test_spatial_dropout_drops_whole_features(kind, shape):
    y = kind(0.3, seed=1)(np.ones(shape, "float32")).numpy()
    inner = tuple(range(1, len(shape) - 1))
    dropped = y.max(axis=inner)
    np.testing.assert_array_equal(dropped, y.min(axis=inner))
    spread = np.sqrt(0.21 / dropped.size)
    assert abs((dropped == 0).mean() - 0.3) < 4.5 * spread


def test_gaussian_dropout_has_the_variance_of_dropout():
    y = MCGaussianDropout(0.2, seed=1)(np.ones((1000, 1000), "float32")).numpy()
    assert abs(y.mean() - 1) < 4.5 * 0.5 / 1000
    assert abs(y.var() - 0.25) < 4.5 * 0.25 * np.sqrt(2) / 1000


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_alpha_dropout_keeps_mean_and_variance_of_selu(rate):
    z = keras.activations.selu(normal(1000, 1000)).numpy()
    y = MCAlphaDropout(rate, seed=1)(z).numpy()
    assert abs(z.mean()) < 0.01
    assert abs(z.var() - 1) < 0.01
    assert abs(y.mean() - z.mean()) < 0.005
    assert abs(y.var() - z.var()) < 0.01


def test_rrelu_has_slopes_between_its_bounds_in_training():
    x = -np.ones((500, 1000), "float32")
    slopes = -RReLU(0.1, 0.4, seed=1)(x, training=True).numpy()
    assert 0.1 <= slopes.min() < 0.1001
    assert 0.3999 < slopes.max() <= 0.4
    np.testing.assert_allclose(slopes.mean(), 0.25, atol=4.5 * 0.0866 / 700)
    np.testing.assert_allclose(slopes.var(), 0.09 / 12, rtol=0.01)


def test_rrelu_has_the_mean_slope_at_inference():
    x = normal(20, 30)
    expected = np.where(x < 0, x * (1 / 8 + 1 / 3) / 2, x)
    np.testing.assert_allclose(RReLU()(x), expected, rtol=1e-6)


@pytest.mark.parametrize("bounds", [(-0.1, 0.2), (0.3, 0.2), ("a", 0.2)])
def test_bad_slopes_are_named(bounds):
    with pytest.raises(ValueError, match=r"(lower|upper) must"):
        RReLU(*bounds)


# On at inference, and only that


@pytest.mark.parametrize("make", ALL)
def test_layers_are_random_in_predict(make):
    model = keras.Sequential([keras.Input((50,)), make()])
    x = normal(4, 50)
    one, other = (model.predict(x, verbose=0) for _ in range(2))
    assert np.mean(one != other) > 0.3
    assert len(np.unique(one, axis=0)) == 4


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a model"])
@pytest.mark.parametrize("make", ALL)
def test_layers_refuse_to_be_vectorized(make, inside):
    """`tf.vectorized_map` hoists what is random: it would draw once for all calls."""
    layer, x = make(), tf.constant(normal(2, 50))
    model = keras.Sequential([keras.Input((50,)), layer]) if inside else layer

    def sample(_):
        return model(x)

    for run in (tf.vectorized_map, tf.function(tf.vectorized_map)):
        with pytest.raises(RuntimeError, match=rf"vectorized_map.*{layer.name!r}"):
            run(sample, tf.range(3))
    drawn = tf.map_fn(sample, tf.range(3), fn_output_signature=tf.float32)
    assert len(np.unique(drawn[:, 0], axis=0)) == 3


class Block(layers.Layer):
    """Dropout and batch norm in a layer of one's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.dropout(self.norm(x, training=training), training=training)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(6, dropout=0.4),
        lambda: layers.GRU(6, recurrent_dropout=0.4, return_sequences=True),
        lambda: layers.Bidirectional(layers.SimpleRNN(5, dropout=0.4)),
        lambda: layers.RNN(layers.LSTMCell(5, dropout=0.4)),
        Block,
        lambda: keras.Sequential([layers.Dense(5), layers.Dropout(0.4)]),
    ],
)
def test_the_wrapper_switches_on_what_is_random_inside(make):
    layer = MonteCarlo(make())
    model = keras.Sequential([keras.Input((5, 4)), layer])
    x = normal(3, 5, 4)
    weights = [w.numpy() for w in model.weights]
    one, other = (model.predict(x, verbose=0) for _ in range(2))
    assert np.mean(one != other) > 0.3
    for before, after in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_wrapper_takes_several_inputs():
    x = keras.Input((5, 4))
    attend = MonteCarlo(layers.MultiHeadAttention(2, 3, dropout=0.4))
    model = keras.Model(x, attend(x, x))
    batch = normal(3, 5, 4)
    one, other = (model.predict(batch, verbose=0) for _ in range(2))
    assert np.mean(one != other) > 0.5


def test_the_wrapper_takes_masks():
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            layers.Masking(),
            MonteCarlo(layers.LSTM(3, dropout=1e-9)),
        ]
    )
    x = normal(2, 5, 4)
    x[:, 3:] = 0
    plain = layers.LSTM(3)
    plain.build(x.shape)
    plain.set_weights([w.numpy() for w in model.weights])
    np.testing.assert_allclose(
        model.predict(x, verbose=0), plain(x[:, :3]), rtol=1e-5, atol=1e-6
    )


def test_wrapped_layers_train():
    model = keras.Sequential(
        [keras.Input((5, 4)), MonteCarlo(layers.LSTM(6, dropout=0.2)), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    history = model.fit(normal(64, 5, 4), np.ones(64), epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.7 * history.history["loss"][0]


def test_a_layer_without_randomness_is_an_error():
    with pytest.raises(ValueError, match=r"layer must be random .*'dense_of_mine'"):
        MonteCarlo(layers.Dense(2, name="dense_of_mine"))(normal(2, 3))


# Saving

LOAD = """
import sys
import numpy as np, keras
import keras_dnn

model = keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
one, other = (model.predict(x, verbose=0) for _ in range(2))
assert np.mean(one != other) > 0.3
print(sorted(type(layer).__name__ for layer in model.layers))
"""


@pytest.mark.slow
def test_a_new_process_loads_all_of_them(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4, 6, 8)),
            MCSpatialDropout2D(0.2),
            layers.Reshape((24, 8)),
            MCSpatialDropout1D(0.2),
            MonteCarlo(layers.GRU(6, dropout=0.2, return_sequences=True)),
            MCAlphaDropout(0.1),
            MCGaussianDropout(0.1),
            RReLU(0.1, 0.2),
            MCDropout(0.2),
        ]
    )
    x = normal(3, 4, 6, 8)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    arguments = [str(tmp_path / "model.keras"), str(tmp_path / "x.npy")]
    run = subprocess.run(
        [sys.executable, "-c", LOAD, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    expected = sorted(type(layer).__name__ for layer in model.layers)
    assert run.stdout.strip() == str(expected)
