"""Dropout that stays on, everywhere a model is used, with the right share."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_dnn
from keras_dnn.layers import MCDropout

N = 200_000


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


# The share that is kept


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16", "bfloat16"])
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_the_share_kept_is_one_minus_the_rate(rate, dtype):
    kept = np.count_nonzero(of_ones(rate, dtype))
    # Binomial: five standard deviations are passed once in two million draws.
    assert abs(kept - N * (1 - rate)) < 5 * np.sqrt(N * rate * (1 - rate))


@pytest.mark.parametrize(
    ("dtype", "eps"),
    [("float32", 2**-23), ("mixed_float16", 2**-10), ("bfloat16", 2**-7)],
)
@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_what_is_kept_is_scaled_so_that_the_mean_stays(rate, dtype, eps):
    y = of_ones(rate, dtype)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=2 * eps)
    bound = 5 * np.sqrt(rate / (1 - rate) / N) + 2 * eps
    assert abs(y.mean(dtype="float64") - 1) < bound


def test_units_are_dropped_independently_of_their_place_and_each_other():
    dropped = of_ones(0.3, shape=(500, 400)) == 0
    by_row, by_column = dropped.mean(axis=1), dropped.mean(axis=0)
    for shares, n in ((by_row, 400), (by_column, 500)):
        # Chi-square with as many degrees of freedom as there are shares.
        chi_square = np.sum((shares - 0.3) ** 2) / (0.3 * 0.7 / n)
        degrees = len(shares)
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
    share = 0.25 if make_model is nested else 0.5
    for y in (first, second):
        bound = 5 * np.sqrt(N * share * (1 - share))
        assert abs(np.count_nonzero(y) - N * share) < bound
    # Two draws that do not know of each other.
    both = np.count_nonzero(first * second)
    assert abs(both - N * share**2) < 5 * np.sqrt(N * share**2 * (1 - share**2))


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


def test_config_creates_it_anew():
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


LOAD = """
import sys
import keras
import numpy as np
import keras_dnn
model = keras.saving.load_model(sys.argv[1])
x = np.ones((1, 10_000), "float32")
first, second = model.predict(x, verbose=0), model.predict(x, verbose=0)
assert type(model.layers[0]) is keras_dnn.layers.MCDropout, model.layers
assert model.layers[0].rate == 0.25
assert 7250 < np.count_nonzero(first) < 7750
assert (first != second).any()
"""


def test_a_saved_model_loads_in_a_new_process(tmp_path):
    model = keras.Sequential([keras.Input((10_000,)), MCDropout(0.25, seed=1)])
    model.save(tmp_path / "model.keras")
    subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "model.keras")],
        cwd=Path(keras_dnn.__file__).parents[1],
        check=True,
    )
