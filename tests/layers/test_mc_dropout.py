"""Dropout that stays on: its distribution, and that it is on in any use of a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.layers import (
    MCAlphaDropout,
    MCDropout,
    MCGaussianDropout,
    MCSpatialDropout1D,
    MCSpatialDropout2D,
    MCSpatialDropout3D,
)

N = 200_000
SPATIAL = (
    (MCSpatialDropout1D, (50, 7, 400)),
    (MCSpatialDropout2D, (50, 3, 3, 400)),
    (MCSpatialDropout3D, (50, 3, 2, 3, 400)),
)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def as_float64(y):
    return np.asarray(tf.cast(y, "float64"))


def of_ones(rate, dtype="float32", shape=(1, N), **options):
    layer = MCDropout(rate, seed=7, dtype=dtype, **options)
    output = layer(np.ones(shape, "float32"))
    assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
    return keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))


def sequential(seed=1):
    return keras.Sequential([keras.Input((N,)), MCDropout(0.5, seed=seed)])


def functional():
    x = keras.Input((N,))
    return keras.Model(x, MCDropout(0.5, seed=1)(x))


def nested():
    x = keras.Input((N,))
    return keras.Model(x, sequential(seed=2)(functional()(x)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dropout = MCDropout(0.5, seed=1)

    def call(self, x):
        return self.dropout(x)


# The fraction that is dropped


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "float64", "mixed_float16"]
)
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_dropout_keeps_rate_and_mean(rate, dtype):
    y = as_float64(
        MCDropout(rate, seed=1, dtype=dtype)(np.ones((1000, 1000), "float32"))
    )
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 4.5 * deviation
    assert abs(y.mean() - 1) < 4.5 * deviation / (1 - rate)
    assert abs(y[y > 0].mean() * (1 - rate) - 1) < 1e-4


@pytest.mark.parametrize("jit_compile", [True, False])
def test_dropout_is_the_same_in_every_mode(jit_compile):
    layer = MCDropout(0.3, seed=1)
    function = tf.function(layer, jit_compile=jit_compile)
    x = tf.ones((300, 1000))
    one, other = function(x).numpy(), function(x).numpy()
    deviation = np.sqrt(0.21 / one.size)
    for y in (one, other):
        assert abs((y == 0).mean() - 0.3) < 4.5 * deviation
        np.testing.assert_allclose(y[y > 0], 1 / 0.7, rtol=2e-5)
    # Equal where both or neither are dropped.
    assert abs((one == other).mean() - 0.58) < 0.01


@pytest.mark.parametrize(
    ("dtype", "eps"),
    [("float32", 2**-23), ("mixed_float16", 2**-10), ("bfloat16", 2**-7)],
)
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_other_units_are_scaled_so_that_the_mean_is_right(rate, dtype, eps):
    y = of_ones(rate, dtype)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=2 * eps)
    bound = 5 * np.sqrt(rate / (1 - rate) / N) + 2 * eps
    assert abs(y.mean(dtype="float64") - 1) < bound


def test_units_are_dropped_independently_of_each_other():
    dropped = of_ones(0.3, shape=(500, 400)) == 0
    by_row, by_column = dropped.mean(axis=1), dropped.mean(axis=0)
    for fractions, n in ((by_row, 400), (by_column, 500)):
        # Chi-square with as many degrees of freedom as there are fractions.
        chi_square = np.sum((fractions - 0.3) ** 2) / (0.3 * 0.7 / n)
        degrees = len(fractions)
        assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)
    pairs = (dropped[:, 1:] & dropped[:, :-1]).mean()
    assert abs(pairs - 0.09) < 5 * np.sqrt(0.09 * 0.91 / dropped.size) * 1.5


def test_rate_zero_changes_nothing():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(MCDropout(0.0)(x), x)


def test_rate_one_drops_all():
    assert not of_ones(1.0, shape=(3, 4)).any()


@pytest.mark.parametrize("shape", [(8, 1, 5), (None, 1, None)])
def test_noise_shape_shares_the_mask_along_an_axis(shape):
    y = of_ones(0.5, shape=(8, 50, 5), noise_shape=shape)
    assert (y == y[:, :1]).all()
    assert 0 < np.count_nonzero(y[:, 0]) < 40


# The other kinds


@pytest.mark.parametrize(("kind", "shape"), SPATIAL)
def test_spatial_dropout_drops_whole_features(kind, shape):
    y = kind(0.3, seed=1)(np.ones(shape, "float32")).numpy()
    inner = tuple(range(1, len(shape) - 1))
    dropped = y.max(axis=inner)
    np.testing.assert_array_equal(dropped, y.min(axis=inner))
    deviation = np.sqrt(0.21 / dropped.size)
    assert abs((dropped == 0).mean() - 0.3) < 4.5 * deviation


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


# Where it is on


@pytest.mark.parametrize("make_model", [sequential, functional, nested, Subclassed])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda model, x: model(x), id="call"),
        pytest.param(lambda model, x: model(x, training=False), id="training=False"),
        pytest.param(lambda model, x: model(x, training=True), id="training=True"),
        pytest.param(lambda model, x: model.predict(x, verbose=0), id="predict"),
        pytest.param(lambda model, x: model.predict_on_batch(x), id="on_batch"),
        pytest.param(
            lambda model, x: tf.function(model, jit_compile=True)(x),
            id="jit",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_it_is_random_however_the_model_is_called(make_model, call):
    model, x = make_model(), np.ones((1, N), "float32")
    first, second = np.array(call(model, x)), np.array(call(model, x))
    rate = 0.25 if make_model is nested else 0.5
    for y in (first, second):
        bound = 5 * np.sqrt(N * rate * (1 - rate))
        assert abs(np.count_nonzero(y) - N * rate) < bound
    # Two independent draws.
    both = np.count_nonzero(first * second)
    assert abs(both - N * rate**2) < 5 * np.sqrt(N * rate**2 * (1 - rate**2))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_evaluate_is_random(jit_compile):
    model = sequential()
    model.compile(loss="mse", jit_compile=jit_compile)
    x = np.ones((1, N), "float32")
    losses = {model.evaluate(x, 0 * x, verbose=0) for _ in range(4)}
    assert len(losses) == 4


def test_an_exported_model_is_random(tmp_path):
    sequential().export(tmp_path / "model", format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    x = tf.ones((1, N))
    first, second = loaded.serve(x).numpy(), loaded.serve(x).numpy()
    assert abs(np.count_nonzero(first) - N / 2) < 5 * np.sqrt(N / 4)
    assert (first != second).any()


def test_batch_normalization_stays_in_inference_mode():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(), MCDropout(0.5)]
    )
    norm = model.layers[0]
    norm.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    norm.moving_variance.assign([4.0] * 4)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    before = [w.numpy() for w in norm.weights]
    expected = (x - [1, 2, 3, 4]) / np.sqrt(4 + norm.epsilon)
    for y in (model(x).numpy(), model.predict(x, verbose=0)):
        assert 0 < np.count_nonzero(y) < y.size
        np.testing.assert_allclose(y[y != 0], 2 * expected[y != 0], rtol=1e-5)
    for weight, was in zip(norm.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), was)


def test_in_fit_it_is_ordinary_dropout():
    """The mean loss of a fit that learns nothing is that of many masks."""

    def loss(layer):
        ones = keras.layers.Dense(1, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((6,)), layer, ones])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x = np.random.default_rng(0).normal(size=(20_000, 6)).astype("float32")
        return model.fit(x, x[:, :1], batch_size=200, verbose=0).history["loss"]

    np.testing.assert_allclose(
        loss(MCDropout(0.5, seed=3)), loss(keras.layers.Dropout(0.5, seed=4)), rtol=0.04
    )


# Seeds, configuration, files


def test_the_seed_decides_the_sequence_of_masks():
    def masks(seed):
        layer = MCDropout(0.5, seed=seed)
        return [layer(np.ones((1, 100), "float32")).numpy() for _ in range(3)]

    np.testing.assert_array_equal(masks(1), masks(1))
    assert (np.array(masks(1)) != np.array(masks(2))).any()
    assert (masks(1)[0] != masks(1)[1]).any()


def test_config_creates_it_again():
    layer = MCDropout(0.3, noise_shape=(None, 1), seed=5, name="doubt")
    config = layer.get_config()
    again = MCDropout.from_config(config)
    assert again.get_config() == config
    assert (config["rate"], config["seed"], config["name"]) == (0.3, 5, "doubt")
    assert tuple(config["noise_shape"]) == (None, 1)
    assert isinstance(layer, keras.layers.Dropout)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_outside_zero_and_one_is_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        MCDropout(rate)
