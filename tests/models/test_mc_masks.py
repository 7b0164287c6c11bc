"""Which masks `mc_predict` draws: what they depend on and how they are distributed."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn.models import mc_predict
from keras_dnn.models._sampling import sampler
from keras_dnn.models._sampling.random_stream import MASKS
from tests.models.mc_cases import all_random, normal


def sequential(shape, *stack):
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input(shape), *stack])


def attention():
    keras.utils.set_random_seed(3)
    x = keras.Input((5, 6))
    y = layers.MultiHeadAttention(2, 3, dropout=0.3)(x, x)
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))


def rows_merged():
    """Between two reshapes there is a row for each position of each input."""
    keras.utils.set_random_seed(3)
    x = keras.Input((3, 4))
    y = layers.Dense(5, "relu")(keras.ops.reshape(x, (-1, 4)))
    y = layers.Dense(2)(layers.Dropout(0.4)(y))
    return keras.Model(x, keras.ops.reshape(y, (-1, 3, 2)))


def shortcut():
    """Two dropouts of different widths in a row, and a shortcut around the second."""
    keras.utils.set_random_seed(3)
    x = keras.Input((9,))
    a = layers.Dense(7, "relu")(layers.Dropout(0.2)(x))
    b = layers.Dense(7)(layers.Dropout(0.5)(a))
    return keras.Model(x, layers.Dense(3, "softmax")(layers.Add()([a, b])))


@functools.cache
def mlp():
    return sequential(
        (9,),
        layers.Dropout(0.2),
        layers.Dense(16, "relu"),
        layers.Dropout(0.5),
        layers.Dense(8, "relu"),
        layers.Dropout(0.5),
        layers.Dense(3, "softmax"),
    )


def image(*stack):
    return sequential((4, 4, 3), layers.Conv2D(5, 2), *stack)


MODELS = {
    "mlp": (mlp, (9,)),
    "shortcut": (shortcut, (9,)),
    "attention": (attention, (5, 6)),
    "rows merged": (rows_merged, (3, 4)),
    "spatial": (lambda: image(layers.SpatialDropout2D(0.4)), (4, 4, 3)),
    "shared along axes": (
        lambda: image(layers.Dropout(0.4, (None, 1, 3, 1))),
        (4, 4, 3),
    ),
    "shared by all rows": (lambda: image(layers.Dropout(0.4, (1, 3, 3, 1))), (4, 4, 3)),
    "gaussian": (lambda: sequential((6,), layers.GaussianDropout(0.3)), (6,)),
    "alpha": (lambda: sequential((6,), layers.AlphaDropout(0.3)), (6,)),
    "lstm": (lambda: sequential((5, 4), layers.LSTM(3, dropout=0.3)), (5, 4)),
    "recurrent": (
        lambda: sequential((5, 4), layers.GRU(3, recurrent_dropout=0.3)),
        (5, 4),
    ),
    "each step": (
        lambda: sequential((5, 4), layers.TimeDistributed(layers.Dropout(0.3))),
        (5, 4),
    ),
}


def samples_of(model, x, masks, batch_size=32, samples=11):
    return mc_predict(
        model,
        x,
        samples,
        masks=masks,
        batch_size=batch_size,
        seed=5,
        return_samples=True,
    ).samples


# What a mask depends on


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("name", MODELS)
def test_samples_do_not_depend_on_the_division(name, masks, monkeypatch):
    """Of the inputs into batches, or of the samples into chunks."""
    build, shape = MODELS[name]
    model, x = build(), normal(7, *shape)

    expected = samples_of(model, x, masks)
    in_batches = samples_of(model, x, masks, batch_size=3)
    monkeypatch.setattr(sampler, "ROWS", 4)
    in_small_chunks = samples_of(model, x, masks)
    monkeypatch.setattr(sampler, "ROWS", 15)
    in_large_chunks = samples_of(model, x, masks)

    # Few units have few different masks, so coherent samples may be equal.
    different = len(np.unique(expected.reshape(11, -1), axis=0))
    assert different == 11 or (masks == "coherent" and different > 3)
    for other in (in_batches, in_small_chunks, in_large_chunks):
        np.testing.assert_allclose(other, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("build", [mlp, shortcut, attention])
def test_the_split_changes_no_sample(build, masks, monkeypatch):
    """The same masks through the whole model, from its inputs on."""
    model = build()
    x = normal(6, *model.input_shape[1:])

    found = samples_of(model, x, masks)

    all_random(monkeypatch)
    expected = samples_of(keras.Model(model.inputs, model.outputs), x, masks)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("masks", MASKS)
def test_a_seed_repeats_the_samples_and_another_does_not(masks):
    model, x = mlp(), normal(4, 9)
    one, again = (mc_predict(model, x, 5, masks=masks, seed=1) for _ in range(2))
    other = mc_predict(model, x, 5, masks=masks, seed=2)
    np.testing.assert_array_equal(one.mean, again.mean)
    assert np.all(one.mean != other.mean)


def test_an_unknown_kind_of_masks_is_named():
    with pytest.raises(ValueError, match=r"masks must be .*'stratified'.*'same'"):
        mc_predict(mlp(), normal(2, 9), masks="same")


# How masks are distributed


def dropped_ones(rate, masks, rows, units, samples, dtype="float32"):
    """Samples of a dropout of ones, of shape samples × rows × units."""
    model = keras.Sequential(
        [keras.Input((units,), dtype=dtype), layers.Dropout(rate, dtype=dtype)]
    )
    y = samples_of(model, np.ones((rows, units), dtype), masks, samples=samples)
    return np.asarray(tf.cast(y, "float64"))


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.83])
def test_each_sample_drops_at_the_rate(rate, masks):
    y = dropped_ones(rate, masks, rows=40, units=250, samples=30)
    if masks == "coherent":
        y = dropped_ones(rate, masks, rows=1, units=10_000, samples=30)
    dropped = (y == 0).sum(axis=(1, 2))
    scores = (dropped - 10_000 * rate) / np.sqrt(10_000 * rate * (1 - rate))
    # The sum of 30 squares of normal numbers is outside these in 1 of 10⁵ cases.
    assert np.sum(scores**2) < 76
    if masks != "stratified":
        assert np.sum(scores**2) > 7


@pytest.mark.parametrize("masks", MASKS)
def test_units_of_a_sample_are_independent(masks):
    rows = 1 if masks == "coherent" else 2000
    y = dropped_ones(0.3, masks, rows, units=6, samples=2000 if rows == 1 else 2)
    dropped = (y[0] == 0) if rows > 1 else (y[:, 0] == 0)
    correlations = np.corrcoef(dropped.T)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(2000)


@pytest.mark.parametrize("masks", ["independent", "stratified"])
def test_rows_have_their_own_masks(masks):
    y = dropped_ones(0.5, masks, rows=50, units=64, samples=3)
    for sample in y:
        assert len(np.unique(sample, axis=0)) == 50


def test_coherent_masks_are_those_of_all_rows():
    y = dropped_ones(0.5, "coherent", rows=50, units=64, samples=20)
    assert np.all(y == y[:, :1])
    assert len(np.unique(y[:, 0], axis=0)) == 20


@pytest.mark.parametrize(("rows", "samples"), [(5, 1), (2050, 2)])
def test_a_coherent_mask_is_seen_in_every_output(rows, samples):
    """Samples come one by one here, and a mask may then go into the weights."""
    x = keras.Input((64,))
    dropped = layers.Dropout(0.5)(x)
    model = keras.Model(x, [dropped, layers.Dense(2)(dropped)])
    inputs = np.ones((rows, 64), "float32")

    y, sums = samples_of(model, inputs, "coherent", batch_size=rows, samples=samples)

    assert set(np.unique(y)) == {0, 2}
    kernel = np.array(model.layers[-1].kernel)
    np.testing.assert_allclose(sums, y @ kernel, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masks", MASKS)
def test_a_mask_of_a_given_number_of_rows(masks):
    """No batch can be divided then; each sample is one of the whole batch."""
    model = sequential((3, 4), layers.Dropout(0.5, noise_shape=(6, 1, 4)))
    y = samples_of(model, np.ones((6, 3, 4)), masks, samples=50)
    assert np.all(y == y[:, :, :1])
    assert 0.4 < (y == 0).mean() < 0.6
    assert len(np.unique(y.reshape(50, -1), axis=0)) > (
        5 if masks == "coherent" else 45
    )


@pytest.mark.parametrize("samples", [7, 20, 100])
@pytest.mark.parametrize("rate", [0.1, 0.37, 0.5])
def test_stratified_masks_drop_each_unit_as_often_as_they_should(samples, rate):
    y = dropped_ones(rate, "stratified", rows=60, units=50, samples=samples)
    times = (y == 0).sum(axis=0)
    expected = rate * samples
    # Strata end at multiples of 2^-16 only, so that one sample may cross the rate.
    crossing = abs(expected - round(expected)) < 1e-9
    assert times.min() >= np.floor(expected) - crossing
    assert times.max() <= np.ceil(expected) + crossing
    error = np.sqrt(0.25 / times.size)
    assert abs(times.mean() - expected) < 4.5 * error + 1e-3 * samples


def test_stratified_normal_numbers_are_even():
    model = sequential((40,), layers.GaussianDropout(0.5))
    y = samples_of(model, np.ones((30, 40)), "stratified", samples=50)
    # One in each of 50 parts: the mean of a unit hardly varies, its variance is 1.
    assert np.abs(y.mean(axis=0) - 1).max() < 0.1
    assert abs(y.var(axis=0).mean() - 1) < 0.05
    assert abs(y[0].var() - 1) < 0.2


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_means_are_right_in_every_dtype(dtype, masks):
    y = dropped_ones(0.1, masks, 40, 250, 200, dtype)
    count = y.size if masks != "coherent" else 50_000
    assert abs((y == 0).mean() - 0.1) < 4.5 * np.sqrt(0.09 / count)
    kept = y[y > 0].mean()
    assert abs(kept - 1 / 0.9) < 2e-4


# The value of stratified masks


def digits(rng, rows):
    """Ten noisy patterns of 8 × 8."""
    patterns = np.random.default_rng(0).normal(size=(10, 8, 8, 1))
    y = rng.integers(0, 10, rows)
    return (patterns[y] + 1.5 * rng.normal(size=(rows, 8, 8, 1))).astype("float32"), y


def trained(*stack):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*digits(np.random.default_rng(1), 2000), epochs=4, verbose=0)
    return model


def trained_mlp():
    return trained(
        layers.Flatten(),
        layers.Dense(64, "relu"),
        layers.Dropout(0.3),
        layers.Dense(32, "relu"),
        layers.Dropout(0.5),
        layers.Dense(10, "softmax"),
    )


def trained_cnn():
    return trained(
        layers.Conv2D(16, 3, activation="relu"),
        layers.Dropout(0.2),
        layers.Conv2D(16, 3, activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, "softmax"),
    )


@pytest.fixture(scope="module", params=[trained_mlp, trained_cnn])
def trained_model(request):
    """A network, inputs, and the limit of many samples of them."""
    model = request.param()
    x, _ = digits(np.random.default_rng(2), 40)
    # Their error is a hundredth of that of 50 samples.
    return model, x, mc_predict(model, x, 6000, masks="stratified", seed=0, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [20, 50])
def test_half_the_samples_are_enough_if_they_are_stratified(trained_model, samples):
    model, x, truth = trained_model

    def errors(masks, count):
        found = [mc_predict(model, x, count, masks=masks, seed=s) for s in range(1, 21)]
        mean = np.mean([(f.mean - truth.mean) ** 2 for f in found])
        entropy = np.mean([(f.entropy - truth.entropy) ** 2 for f in found])
        return np.array([mean, entropy])

    ratio = errors("stratified", samples // 2) / errors("independent", samples)
    assert np.all(ratio < 1.1), ratio
    assert ratio[0] < 1.0


# Quantiles


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("samples", [1, 2, 25, 100])
def test_quantiles_are_those_of_numpy(samples, masks, monkeypatch):
    monkeypatch.setattr(sampler, "ROWS", 40)
    levels = [0.0, 0.05, 0.5, 0.731, 1.0]
    found = mc_predict(
        mlp(),
        normal(5, 9),
        samples,
        masks=masks,
        seed=1,
        quantiles=levels,
        return_samples=True,
    )
    expected = np.quantile(found.samples.astype("float64"), levels, axis=0)
    assert found.quantiles.shape == (5, 5, 3)
    np.testing.assert_allclose(found.quantiles, expected, rtol=1e-12, atol=1e-15)


def test_quantiles_come_without_the_samples():
    found = mc_predict(mlp(), normal(5, 9), 10, batch_size=2, quantiles=[0.5])
    assert found.quantiles.shape == (1, 5, 3)
    assert found.samples is None


@pytest.mark.parametrize("bad", [[1.5], [-0.1], ["half"]])
def test_a_bad_quantile_is_named(bad):
    with pytest.raises(ValueError, match="quantiles must be a number in"):
        mc_predict(mlp(), normal(2, 9), quantiles=bad)


# Bounds

MEMORY = """
import resource, keras, numpy as np
from keras_dnn.models import mc_predict

layers = keras.layers
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.Dropout(0.25),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ]
)
x = np.random.default_rng(1).normal(size=(800, 28, 28, 1)).astype("float32")
mc_predict(model, x[:32], 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = mc_predict(model, x, 100, verbose=0)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert found.mean.shape == (800, 10)
print((after - before) / 1024)
"""


@pytest.mark.slow
def test_memory_is_bounded():
    """20,000 images would need no more than 800: the rows at once are the same."""
    run = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    assert float(run.stdout.split()[-1]) < 600
