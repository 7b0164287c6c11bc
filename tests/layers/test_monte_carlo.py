"""The wrapper that keeps layers random at inference, and what all of them share."""

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
    MonteCarlo,
    RReLU,
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
    """Dropout and batch norm in a layer of the user."""

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


class Gate(layers.Layer):
    """Its arguments have other names than `inputs`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dropout = layers.Dropout(0.4)

    def call(self, features, context=None, training=None):
        features = features if context is None else features + context
        return self.dropout(features, training=training)


def attention():
    return layers.MultiHeadAttention(2, 3, dropout=0.4)


CALLS = {
    "by keyword": (attention, lambda f, x, m: f(query=x, value=x)),
    "tensors and flags": (
        attention,
        lambda f, x, m: f(x, x, attention_mask=m, use_causal_mask=True),
    ),
    "names of ones own": (Gate, lambda f, x, m: f(features=x, context=x)),
    "a list": (
        lambda: layers.Attention(dropout=0.4),
        lambda f, x, m: f([x, x], use_causal_mask=True),
    ),
    "states": (
        lambda: layers.LSTM(4, dropout=0.4),
        lambda f, x, m: f(x, initial_state=[x[:, 0], x[:, 1]]),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_wrapper_is_called_as_its_layer_is(name):
    make, call = CALLS[name]
    x, mask = keras.Input((5, 4)), keras.Input((5, 5), dtype="bool")
    layer = make()
    outputs = call(MonteCarlo(layer), x, mask)
    # Keras before 3.15 refuses inputs that nothing uses.
    count = 2 if name == "tensors and flags" else 1
    model = keras.Model([x, mask][:count], outputs)
    batch = [normal(3, 5, 4), np.tril(np.ones((3, 5, 5))) > 0]
    one, other = (np.array(model(batch[:count])) for _ in range(2))
    assert np.mean(one != other) > 0.3
    for part in layer._flatten_layers():
        for rate in ("rate", "dropout", "_dropout"):
            if isinstance(vars(part).get(rate), float):
                setattr(part, rate, 0.0)
    expected = call(layer, *map(tf.constant, batch))
    np.testing.assert_array_equal(model(batch[:count]), expected)


def test_the_wrapper_computes_in_the_dtype_of_its_layer():
    layer = MonteCarlo(layers.Dropout(1e-9, dtype="float64"))
    x = np.array([[1e300]])
    np.testing.assert_allclose(layer(x), x)


def test_a_layer_whose_rate_is_set_to_zero_later_is_called_as_it_is():
    layer = MonteCarlo(layers.Dropout(0.5))
    x = normal(3, 4)
    assert np.any(layer(x) != x)
    layer.layer.rate = 0.0
    np.testing.assert_array_equal(layer(x), x)


def test_anything_but_a_layer_is_refused():
    with pytest.raises(ValueError, match=r"layer must be a Keras layer.*layer=3"):
        MonteCarlo(3)


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


def test_what_comes_after_a_wrapped_layer_stays_in_inference_mode():
    """Keras hands the `training` of a cell on to all layers that are called later."""
    norm = layers.BatchNormalization()
    model = keras.Sequential(
        [keras.Input((3, 2)), MonteCarlo(layers.GRU(3, dropout=0.5)), norm]
    )
    model(5 + normal(4, 3, 2))
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(3))
    np.testing.assert_array_equal(norm.moving_variance, np.ones(3))


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
dropout = model.layers[-1]
assert type(dropout) is keras_dnn.layers.MCDropout
assert dropout.rate == 0.2
zeros = np.count_nonzero(dropout(np.ones((1, 10_000), "float32")) == 0)
assert 1_800 < zeros < 2_200
print(sorted(type(layer).__name__ for layer in model.layers))
"""


@pytest.mark.quick
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
