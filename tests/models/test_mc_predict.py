"""mc_predict against NumPy on its own samples, closed forms and Keras; and the model
that it must leave as it was."""

import json
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from matplotlib.figure import Figure

from keras_dnn.layers import MCDropout
from keras_dnn.models import MCPrediction, mc_predict

CLASS_MEASURES = ("entropy", "expected_entropy", "mutual_information")
MEASURES = ("mean", "std", *CLASS_MEASURES, "variation_ratio")

# A rate at which nothing is ever dropped: samples must equal `predict`, yet the model
# is cut and tiled as for any other.
NEVER = 1e-9


# The same a second time


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def measured(samples, classes=True):
    """The measures of `(samples, inputs, ..., classes)`, one input at a time."""
    samples = samples.astype("float64")
    count = len(samples)
    mean = sum(samples) / count
    found = {
        "mean": mean,
        "std": np.sqrt(sum((s - mean) ** 2 for s in samples) / count),
    }
    if not classes:
        return found
    if samples.shape[-1] == 1:
        samples = np.concatenate([1 - samples, samples], -1)
        mean = samples.mean(0)
    shape = mean.shape[:-1]
    for name in (*CLASS_MEASURES, "variation_ratio"):
        found[name] = np.empty(shape)
    for i in np.ndindex(shape):
        drawn = [s[i] for s in samples]
        found["entropy"][i] = entropy(mean[i])
        found["expected_entropy"][i] = sum(map(entropy, drawn)) / count
        found["mutual_information"][i] = entropy(mean[i]) - found["expected_entropy"][i]
        votes = [int(np.argmax(p)) for p in drawn]
        most = max(votes.count(c) for c in set(votes))
        found["variation_ratio"][i] = 1 - most / count
    return found


def entropy(p):
    return -sum(q * np.log(q) for q in p if q > 0)


def same_distribution(one, other):
    """Kolmogorov and Smirnov's test, with one false alarm in a million."""
    one, other = (np.sort(np.round(a.astype("float64"), 3)) for a in (one, other))
    values = np.concatenate([one, other])
    below = [np.searchsorted(a, values, "right") / a.size for a in (one, other)]
    limit = np.sqrt(-np.log(1e-6 / 2) / 2 * (1 / one.size + 1 / other.size))
    return np.abs(below[0] - below[1]).max() < limit


def assert_measures(prediction, *, classes=True):
    expected = measured(prediction.samples, classes)
    for name, value in expected.items():
        found = getattr(prediction, name)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-12, err_msg=name)


def state_of(model):
    """Each variable's bytes, and the attributes of each layer inside."""
    variables = {v.path: np.array(v).tobytes() for v in all_variables(model)}
    attributes = {
        id(layer): {
            # A list may be refilled in place.
            name: list(value) if isinstance(value, list) else value
            for name, value in vars(layer).items()
            # Keras itself adds to it at each call of a recurrent cell.
            if name != "_tracked"
        }
        for layer in model._flatten_layers(include_self=False)
    }
    return variables, attributes


def all_variables(model):
    seen = {id(v): v for v in model.variables}
    for layer in model._flatten_layers():
        seen.update((id(v), v) for v in layer.variables)
    return seen.values()


def assert_as_it_was(model, before):
    variables, attributes = state_of(model)
    changed = [path for path, v in before[0].items() if variables.get(path) != v]
    assert not changed, f"variables changed: {changed}"
    assert variables.keys() == before[0].keys()
    for layer in model._flatten_layers(include_self=False):
        old, new = before[1][id(layer)], attributes[id(layer)]
        assert new.keys() == old.keys(), f"{layer.name} has other attributes"
        for name, value in old.items():
            assert same(new[name], value), f"{layer.name}.{name} changed"


def same(one, other):
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or (isinstance(one, int | float | str) and one == other)


# Models


def classifier(rate=0.5, outputs=3, activation="softmax"):
    """Weights so large that samples vote for several classes."""
    large = keras.initializers.RandomNormal(stddev=1.0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(16, activation="relu"),
            layers.Dropout(rate, name="drop"),
            layers.Dense(outputs, activation, kernel_initializer=large),
        ]
    )


def only_dropout(rate=0.5, **kwargs):
    """A sample of an input is either 0 or twice the input."""
    return keras.Sequential([keras.Input((1,), **kwargs), layers.Dropout(rate)])


def assert_zero_or_twice(samples, x):
    """Each sample is one of its own input, and both happen."""
    zero, twice = samples == 0, samples == 2 * x
    assert np.all(zero | twice)
    assert zero.any()
    assert twice.any()


# The measures


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_measures_are_those_of_the_samples(activation):
    model = classifier(
        outputs=3 if activation == "softmax" else 1, activation=activation
    )

    prediction = mc_predict(model, normal(9, 4), 50, seed=1, return_samples=True)

    assert isinstance(prediction, MCPrediction)
    assert prediction.samples.shape == (50, *prediction.mean.shape)
    assert prediction.variation_ratio.max() > 0
    assert_measures(prediction)


def test_measures_of_certain_votes_are_finite():
    """Probabilities of exactly 0 and 1 have no entropy."""
    x = keras.Input((4,))
    model = keras.Model(x, layers.Softmax()(layers.Dropout(0.5)(x) * 1e4))

    prediction = mc_predict(model, normal(5, 4), 20, seed=1, return_samples=True)

    assert 0.0 in prediction.samples
    assert np.isfinite(prediction.mutual_information).all()
    assert_measures(prediction)


def test_classes_at_each_position_of_a_sequence():
    x = keras.Input((5, 4))
    model = keras.Model(x, layers.Dense(3, "softmax")(layers.Dropout(0.5)(x)))

    prediction = mc_predict(model, normal(2, 5, 4), 30, seed=1, return_samples=True)

    assert prediction.mean.shape == (2, 5, 3)
    assert prediction.entropy.shape == (2, 5)
    assert_measures(prediction)


@pytest.mark.parametrize("end", ["activation layer", "nested model", "position-wise"])
def test_one_sigmoid_unit_is_one_of_two_classes(end):
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    if end == "activation layer":
        y = layers.Activation("sigmoid")(layers.Dense(1)(y))
    elif end == "nested model":
        y = keras.Sequential([keras.Input((4,)), layers.Dense(1, "sigmoid")])(y)
    else:
        y = layers.Dense(1, "sigmoid")(layers.Reshape((2, 2))(y))
    model = keras.Model(x, y)

    prediction = mc_predict(model, 3 * normal(6, 4), 20, seed=1, return_samples=True)

    assert prediction.entropy.shape == prediction.mean.shape[:-1]
    assert_measures(prediction)


@pytest.mark.parametrize(
    ("outputs", "activation"),
    [(1, "linear"), (3, "linear"), (3, "relu"), (3, "sigmoid"), (1, "tanh")],
)
def test_numbers_have_no_class_measures(outputs, activation):
    model = classifier(outputs=outputs, activation=activation)

    prediction = mc_predict(model, normal(5, 4), 20, seed=1, return_samples=True)

    for name in (*CLASS_MEASURES, "variation_ratio"):
        assert getattr(prediction, name) is None
    assert_measures(prediction, classes=False)


def test_what_an_output_holds_is_judged_again_after_training():
    model = classifier(outputs=2, activation="linear")
    kernel, bias = model.layers[-1].weights
    kernel.assign(ops.zeros_like(kernel))
    bias.assign([0.5, 0.5])
    mc_predict(model, normal(5, 4), 5)
    kernel.assign(normal(*kernel.shape))

    assert mc_predict(model, normal(5, 4), 5).entropy is None


def test_mutual_information_lies_between_zero_and_the_entropy():
    for rate in (1e-4, 0.1, 0.5, 0.9):
        p = mc_predict(classifier(rate), normal(50, 4), 40)
        assert np.all(p.mutual_information >= 0)
        assert np.all(p.mutual_information <= p.entropy + 1e-12)
        assert np.all(p.entropy <= np.log(3) + 1e-6)
        assert np.all((p.variation_ratio >= 0) & (p.variation_ratio <= 1 - 1 / 3))


def test_spread_of_large_numbers_keeps_its_digits():
    x = keras.Input((1,))
    model = keras.Model(x, layers.Dropout(0.5)(x) + 1e6)

    prediction = mc_predict(model, np.ones((3, 1)), 500, seed=1, return_samples=True)

    expected = (prediction.samples.astype("float64") - 1e6).std(0)
    np.testing.assert_allclose(prediction.std, expected, rtol=1e-9)
    assert prediction.std.min() > 0.9


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_several_outputs_make_lists(structure):
    x = keras.Input((4,))
    dropped = layers.Dropout(0.5)(x)
    outputs = {
        "classes": layers.Dense(3, "softmax")(dropped),
        "certain": layers.Dense(2)(x),
        "numbers": layers.Dense(2)(dropped),
        "yes_or_no": layers.Dense(1, "sigmoid")(dropped),
    }
    names = list(outputs) if structure == "list" else sorted(outputs)
    model = keras.Model(x, outputs if structure == "dict" else list(outputs.values()))
    inputs = normal(5, 4)

    prediction = mc_predict(model, inputs, 20, seed=1, return_samples=True)

    for i, name in enumerate(names):
        one = MCPrediction(
            **{m: getattr(prediction, m)[i] for m in (*MEASURES, "samples")}
        )
        classes = name in ("classes", "yes_or_no")
        assert (one.entropy is not None) == classes
        assert_measures(one, classes=classes)
        if name == "certain":
            assert np.all(one.std == 0)
            expected = keras.tree.flatten(model.predict(inputs, verbose=0))[i]
            np.testing.assert_allclose(one.mean, expected, rtol=1e-5, atol=1e-6)
        else:
            assert np.all(one.std > 0)
    assert mc_predict(model, inputs, 2).samples is None


def test_one_output_in_a_list_is_not_several():
    x = keras.Input((4,))
    model = keras.Model(x, [layers.Dropout(0.5)(x)])
    assert mc_predict(model, normal(2, 4), 3).mean.shape == (2, 4)


def test_samples_are_kept_only_if_asked_for():
    model, x = classifier(), normal(50, 4)

    streamed = mc_predict(model, x, 130, seed=3)
    stored = mc_predict(model, x, 130, seed=3, return_samples=True)

    assert streamed.samples is None
    assert stored.samples.shape == (130, 50, 3)
    for name in MEASURES:
        np.testing.assert_array_equal(getattr(streamed, name), getattr(stored, name))


@pytest.mark.parametrize(
    ("samples", "rows", "batch_size"),
    [
        (1, 5, 32),
        (100, 1, 32),
        (7, 5, 2),
        (70, 100, 64),  # in chunks of 32, the last of 6; then in chunks of 56
        (3, 2500, 2500),  # more rows than a chunk holds
        (2049, 1, 1),
    ],
)
def test_any_number_of_samples_and_rows(samples, rows, batch_size):
    x = 1 + np.arange(rows, dtype="float32")[:, None]

    prediction = mc_predict(
        only_dropout(), x, samples, batch_size=batch_size, seed=1, return_samples=True
    )

    assert prediction.samples.shape == (samples, rows, 1)
    assert_zero_or_twice(prediction.samples, x)
    assert_measures(prediction, classes=False)


@pytest.mark.parametrize(
    "nothing",
    [
        np.empty((0, 4)),
        tf.data.Dataset.from_tensor_slices(np.empty((0, 4))).batch(2),
    ],
    ids=["array", "dataset"],
)
def test_no_inputs_are_an_error(nothing):
    with pytest.raises(ValueError, match="at least one"):
        mc_predict(classifier(), nothing)


# The distribution


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


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(8, "relu")
        self.drop = layers.Dropout(0.5)

    def call(self, x):
        return self.drop(self.hidden(x))


class WithTraining(Subclassed):
    def call(self, x, training=None):
        return self.drop(self.hidden(x), training=training)


class AlwaysOn(layers.Dropout):
    """As books write it: without a training argument."""

    def call(self, inputs):
        return super().call(inputs, training=True)


class Block(layers.Layer):
    """A layer that holds others."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(8, "relu")
        self.drop = layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.drop(self.hidden(x), training=training)


def nested():
    inner = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(4)])
    return keras.Sequential([keras.Input((5, 4)), layers.TimeDistributed(inner)])


def shared():
    x = keras.Input((6,))
    drop, dense = layers.Dropout(0.5), layers.Dense(6)
    return keras.Model(x, dense(drop(dense(drop(x)))))


def attending(layer, *arguments):
    x = keras.Input((5, 4))
    return keras.Model(x, layer(*[x] * len(arguments)) if arguments else layer([x, x]))


def of(layer, *shape):
    return keras.Sequential([keras.Input(shape), layer])


INSIDE = {
    "Dropout": (lambda: of(layers.Dropout(0.5), 8), (8,)),
    "GaussianDropout": (lambda: of(layers.GaussianDropout(0.5), 8), (8,)),
    "AlphaDropout": (lambda: of(layers.AlphaDropout(0.5), 8), (8,)),
    "SpatialDropout1D": (lambda: of(layers.SpatialDropout1D(0.5), 3, 4), (3, 4)),
    "SpatialDropout2D": (lambda: of(layers.SpatialDropout2D(0.5), 2, 2, 4), (2, 2, 4)),
    "noise_shape": (
        lambda: of(layers.Dropout(0.5, noise_shape=(None, 1, 4)), 3, 4),
        (3, 4),
    ),
    "MCDropout": (lambda: of(MCDropout(0.5), 8), (8,)),
    "AlwaysOn": (lambda: of(AlwaysOn(0.5), 8), (8,)),
    "LSTM dropout": (lambda: of(layers.LSTM(4, dropout=0.5), 5, 4), (5, 4)),
    "LSTM recurrent": (lambda: of(layers.LSTM(4, recurrent_dropout=0.5), 5, 4), (5, 4)),
    "GRU dropout": (lambda: of(layers.GRU(4, dropout=0.5), 5, 4), (5, 4)),
    "GRU recurrent": (lambda: of(layers.GRU(4, recurrent_dropout=0.5), 5, 4), (5, 4)),
    "SimpleRNN": (
        lambda: of(layers.SimpleRNN(4, dropout=0.5, recurrent_dropout=0.5), 5, 4),
        (5, 4),
    ),
    "RNN of cells": (
        lambda: of(
            layers.RNN(
                [
                    layers.LSTMCell(4, dropout=0.5),
                    layers.GRUCell(4, recurrent_dropout=0.5),
                ]
            ),
            *(5, 4),
        ),
        (5, 4),
    ),
    "Bidirectional": (
        lambda: of(layers.Bidirectional(layers.LSTM(3, dropout=0.5)), 5, 4),
        (5, 4),
    ),
    "ConvLSTM1D": (
        lambda: of(layers.ConvLSTM1D(2, 2, dropout=0.5), 3, 4, 2),
        (3, 4, 2),
    ),
    "ConvLSTM2D": (
        lambda: of(layers.ConvLSTM2D(2, 2, recurrent_dropout=0.5), 3, 4, 4, 2),
        (3, 4, 4, 2),
    ),
    "TimeDistributed": (
        lambda: of(layers.TimeDistributed(layers.Dropout(0.5)), 3, 4),
        (3, 4),
    ),
    "MultiHeadAttention": (
        lambda: attending(layers.MultiHeadAttention(2, 3, dropout=0.5), "query", "key"),
        (5, 4),
    ),
    "GroupQueryAttention": (
        lambda: attending(
            layers.GroupQueryAttention(3, 4, 2, dropout=0.5), "query", "key"
        ),
        (5, 4),
    ),
    "Attention": (lambda: attending(layers.Attention(dropout=0.5)), (5, 4)),
    "AdditiveAttention": (
        lambda: attending(layers.AdditiveAttention(dropout=0.5)),
        (5, 4),
    ),
    "layer of layers": (lambda: of(Block(), 4), (4,)),
    "nested": (nested, (5, 4)),
    "shared": (shared, (6,)),
    "subclassed": (Subclassed, (4,)),
    "subclassed, training": (WithTraining, (4,)),
}


QUICK = ("Dropout", "LSTM recurrent", "MultiHeadAttention", "layer of layers", "nested")


def inside(names):
    return pytest.mark.parametrize(
        ("build", "shape"), [INSIDE[n] for n in names], ids=names
    )


def assert_samples_are_those_of_keras(build, shape):
    count = 1000
    model, x = build(), 1 + normal(1, *shape)
    model(x)

    drawn = mc_predict(model, x, count, seed=1, return_samples=True).samples
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


@pytest.mark.slow
@inside([name for name in INSIDE if name not in QUICK])
def test_samples_of_any_dropout_are_those_of_keras(build, shape):
    assert_samples_are_those_of_keras(build, shape)


@pytest.mark.slow
@inside(INSIDE)
def test_no_layer_with_dropout_is_changed(build, shape):
    model, x = build(), normal(2, *shape)
    model(x)
    before = state_of(model)

    mc_predict(model, x, 3, return_samples=True)

    assert_as_it_was(model, before)


# The model is left alone


def everything():
    """A network in which training mode would change much."""
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
def test_training_and_prediction_go_on_as_without():
    seen = []
    for sampled in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((3, 4)),
                layers.GRU(5, dropout=0.2),
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
    """A sample is 0 or twice what the rest of the model says without dropout."""
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


def test_all_but_dropout_stays_in_inference_mode_behind_it():
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


class FailsWhenTold(layers.Layer):
    """Fails while the graph runs, not while it is traced."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_all_finite(x, "told to")]):
            return tf.identity(x)


def test_an_exception_while_sampling_leaves_the_model_as_it_was():
    model = of(layers.Dropout(0.5), 4)
    model.add(FailsWhenTold())
    mc_predict(model, normal(2, 4), 2)
    before = state_of(model)

    with pytest.raises(tf.errors.InvalidArgumentError, match="told to"):
        mc_predict(model, np.full((2, 4), np.nan), 2)

    assert_as_it_was(model, before)


def test_a_stateful_layer_behind_the_dropout_is_an_error():
    x = keras.Input(batch_shape=(2, 3, 4))
    recurrent = layers.LSTM(5, stateful=True, name="memory")
    model = keras.Model(x, recurrent(layers.Dropout(0.5)(x)))
    with pytest.raises(ValueError, match=r"memory is stateful.*stateful=True"):
        mc_predict(model, normal(2, 3, 4), 3)


def test_state_of_a_stateful_layer_is_not_moved():
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


# Which layers


def panel():
    """A column for each layer with dropout."""
    x = keras.Input((1,))
    y = keras.Input((1,))
    inner = keras.Model(
        y,
        layers.Concatenate()(
            [layers.Dropout(0.5, name="c")(y), MCDropout(0.5, name="d")(y)]
        ),
        name="inner",
    )
    columns = [
        layers.Dropout(0.5, name="a")(x),
        MCDropout(0.5, name="b")(x),
        inner(x),
        layers.GaussianDropout(0.5, name="e")(x),
        layers.Identity(name="nothing")(x),
    ]
    return keras.Model(x, layers.Concatenate(name="together")(columns))


@pytest.mark.parametrize(
    ("chosen", "on"),
    [
        (None, "abcde"),
        (["a"], "a"),
        (["b"], "b"),
        (["c"], "c"),
        (["inner"], "cd"),
        (["inner", "a"], "acd"),
        (["a", "a"], "a"),
        (("e", "d"), "de"),
    ],
    ids=str,
)
def test_only_chosen_layers_are_on(chosen, on):
    std = mc_predict(panel(), np.ones((1, 1)), 60, layers=chosen).std[0]
    assert [c for c, s in zip("abcde-", std, strict=True) if s > 0] == list(on)


def test_layers_are_chosen_by_object():
    model = panel()
    chosen = [model.get_layer("b"), model.get_layer("inner")]
    std = mc_predict(model, np.ones((1, 1)), 60, layers=chosen).std[0]
    assert (std > 0).tolist() == [False, True, True, True, False, False]


def test_off_layers_are_the_identity():
    mean = mc_predict(panel(), np.ones((1, 1)), 5, layers=["a"]).mean[0]
    np.testing.assert_array_equal(mean[1:], np.ones(5))


def test_a_choice_holds_for_one_call_only():
    model, x = panel(), np.ones((1, 1))
    mc_predict(model, x, 60, layers=["a"])
    assert np.all(mc_predict(model, x, 60).std[0, :-1] > 0)
    assert np.all(mc_predict(model, x, 60, layers=["e"]).std[0, :4] == 0)


def test_a_dropout_of_ones_own_stays_off_when_not_chosen():
    x = keras.Input((1,))
    model = keras.Model(
        x, [layers.Dropout(0.5, name="chosen")(x), AlwaysOn(0.5, name="other")(x)]
    )
    prediction = mc_predict(model, np.ones((5, 1)), 60, layers=["chosen"])
    assert np.all(prediction.std[0] > 0)
    np.testing.assert_array_equal(prediction.mean[1], np.ones((5, 1)))


def test_one_recurrent_layer_of_two():
    x = keras.Input((5, 4))
    one = layers.LSTM(3, dropout=0.5, name="one")(x)
    two = layers.Bidirectional(layers.GRU(3, recurrent_dropout=0.5), name="two")(x)
    model = keras.Model(x, [one, two])
    for chosen, on in (("one", [True, False]), ("two", [False, True])):
        std = mc_predict(model, normal(1, 5, 4), 20, layers=[chosen]).std
        assert [s.max() > 0 for s in std] == on


@pytest.mark.parametrize("chosen", [["missing"], ["a", "missing"]], ids=str)
def test_an_unknown_layer_is_named(chosen):
    with pytest.raises(ValueError, match="missing"):
        mc_predict(panel(), np.ones((1, 1)), layers=chosen)


def test_a_layer_without_dropout_is_named():
    with pytest.raises(ValueError, match="together"):
        mc_predict(panel(), np.ones((1, 1)), layers=["together"])


def test_a_layer_of_another_model_is_an_error():
    with pytest.raises(ValueError, match="layers"):
        mc_predict(panel(), np.ones((1, 1)), layers=[layers.Dropout(0.5, name="a")])


def test_no_layer_chosen_is_an_error():
    with pytest.raises(ValueError, match="layers"):
        mc_predict(panel(), np.ones((1, 1)), layers=[])


@pytest.mark.parametrize("rate", [None, 0.0])
def test_a_model_without_dropout_is_an_error(rate):
    model = of(layers.Dense(2), 4)
    if rate is not None:
        model.add(layers.Dropout(rate))
    with pytest.raises(ValueError, match="dropout"):
        mc_predict(model, normal(2, 4))


def test_a_rate_of_zero_drops_nothing():
    x = keras.Input((1,))
    model = keras.Model(x, [layers.Dropout(0.0)(x), layers.Dropout(0.5)(x)])
    never, often = mc_predict(model, np.ones((1, 1)), 30).std
    assert never == 0
    assert often > 0


# What changes between calls


def test_a_changed_rate_takes_effect():
    model, x = only_dropout(0.5), np.ones((1, 1))
    assert mc_predict(model, x, 60, seed=1, return_samples=True).samples.max() == 2
    model.layers[-1].rate = 0.75
    assert mc_predict(model, x, 60, seed=1, return_samples=True).samples.max() == 4
    model.layers[-1].rate = 0.5
    assert mc_predict(model, x, 60, seed=1, return_samples=True).samples.max() == 2


def test_a_changed_rate_of_a_recurrent_layer_takes_effect():
    """Keras keeps it in the cell."""
    model, x = of(layers.LSTM(3, dropout=0.5), 5, 4), normal(1, 5, 4)
    mc_predict(model, x, 20, seed=1)
    model.layers[-1].cell.dropout = NEVER
    assert mc_predict(model, x, 20, seed=1).std.max() < 1e-6


def test_changed_weights_take_effect():
    model, x = classifier(activation="linear"), normal(3, 4)
    before = mc_predict(model, x, 10, seed=1)
    model.layers[-1].set_weights([2 * w for w in model.layers[-1].get_weights()])
    after = mc_predict(model, x, 10, seed=1)
    np.testing.assert_allclose(after.mean, 2 * before.mean, rtol=1e-6)
    np.testing.assert_allclose(after.std, 2 * before.std, rtol=1e-6)


def test_changed_weights_before_the_dropout_take_effect():
    model, x = of(layers.Dense(1, use_bias=False), 4), normal(3, 4)
    model.add(layers.Dropout(0.5))
    before = mc_predict(model, x, 10, seed=1).mean
    model.layers[0].set_weights([3 * w for w in model.layers[0].get_weights()])
    np.testing.assert_allclose(mc_predict(model, x, 10, seed=1).mean, 3 * before, 1e-4)


def test_a_layer_taken_off_and_another_put_on_take_effect():
    model, x = only_dropout(), np.ones((2, 1))
    mc_predict(model, x, 5)
    model.add(layers.Rescaling(10.0))
    assert mc_predict(model, x, 60, return_samples=True).samples.max() == 20
    model.pop()
    assert mc_predict(model, x, 60, return_samples=True).samples.max() == 2


# Seeds


def draw(model, **kwargs):
    return mc_predict(model, normal(3, 4), 5, return_samples=True, **kwargs).samples


def test_a_seed_repeats_the_samples():
    model = classifier()
    first = draw(model, seed=1)
    model(normal(3, 4), training=True)
    np.testing.assert_array_equal(draw(model, seed=1), first)
    assert not np.array_equal(draw(model, seed=2), first)


def test_a_seed_repeats_the_samples_in_a_copy():
    model = classifier()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(draw(model, seed=1), draw(copy, seed=1))


def test_without_a_seed_no_two_calls_agree():
    model = classifier()
    assert not np.array_equal(draw(model), draw(model))


def test_without_a_seed_keras_governs():
    model = classifier()
    keras.utils.set_random_seed(3)
    first = draw(model), draw(model)
    keras.utils.set_random_seed(3)
    again = draw(model), draw(model)
    np.testing.assert_array_equal(first, again)


# Inputs


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, i):
        part = slice(4 * i, 4 * i + 4)
        return keras.tree.map_structure(lambda a: a[part], self.x), self.y[part]


def slices(*tensors):
    return tf.data.Dataset.from_tensor_slices(tensors).batch(4)


X, Y = normal(10, 4), np.arange(10)
FORMS = {
    "float64": lambda: X.astype("float64"),
    "tensor": lambda: tf.constant(X),
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(X).batch(4),
    "dataset with targets": lambda: slices(X, Y),
    "dataset with weights": lambda: slices(X, Y, np.ones(10)),
    "dataset of unknown size": lambda: slices(X, Y).filter(lambda *_: True),
    "PyDataset": lambda: Batches(X, Y),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_inputs_come_in_any_form(form):
    model = classifier()
    expected = mc_predict(model, X, 6, batch_size=4, seed=1)
    found = mc_predict(model, form(), 6, batch_size=4, seed=1)
    for name in MEASURES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-9
        )


def test_one_input_in_a_list():
    x = keras.Input((4,))
    model = keras.Model([x], layers.Dropout(0.5)(x))
    assert mc_predict(model, [X], 30).std.min() > 0


def two_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    y = layers.Concatenate()([layers.Dropout(0.5)(a), layers.Dense(4)(b)])
    return a, b, layers.Dense(2)(y)


A, B = normal(10, 3), normal(10, 2, seed=1)
PAIRS = {
    "list": lambda: [A, B],
    "tuple": lambda: (A, B),
    "dict": lambda: {"b": B, "a": A},
    "dataset": lambda: slices((A, B), Y),
    "dataset of dicts": lambda: slices({"b": B, "a": A}, Y),
    "PyDataset": lambda: Batches([A, B], Y),
    "PyDataset of dicts": lambda: Batches({"a": A, "b": B}, Y),
}


@pytest.mark.parametrize("form", PAIRS.values(), ids=PAIRS)
def test_several_inputs_come_in_any_form(form):
    a, b, y = two_inputs()
    model = keras.Model([a, b], y)
    expected = mc_predict(model, [A, B], 6, batch_size=4, seed=1)
    found = mc_predict(model, form(), 6, batch_size=4, seed=1)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    assert found.std.max() > 0


def test_a_model_that_takes_a_dict():
    a, b, y = two_inputs()
    by_name, by_place = keras.Model({"b": b, "a": a}, y), keras.Model([a, b], y)
    found = mc_predict(by_name, {"a": A, "b": B}, 6, seed=1)
    expected = mc_predict(by_place, [A, B], 6, seed=1)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)


class TakesADict(keras.Model):
    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.5)

    def call(self, inputs):
        return {"y": self.drop(inputs["a"]), "sum": ops.sum(inputs["b"], -1)}


def test_a_subclassed_model_of_dicts():
    prediction = mc_predict(TakesADict(), {"a": A, "b": B}, 30, return_samples=True)
    certain, random = prediction.samples  # in the order of their names
    np.testing.assert_allclose(certain, np.broadcast_to(B.sum(-1), (30, 10)), rtol=1e-5)
    assert_zero_or_twice(random, A)


def test_inputs_of_different_lengths_are_an_error():
    a, b, y = two_inputs()
    with pytest.raises(ValueError, match=r"length|rows|size|cardinal|samples"):
        mc_predict(keras.Model([a, b], y), [A[:4], B], 3, batch_size=4)


def text_model(rate, recurrent):
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(20, 4, mask_zero=True)(x)
    y = layers.Dropout(rate)(y)
    y = layers.LSTM(5, return_sequences=True)(y)
    return keras.Model(x, layers.GRU(3, recurrent_dropout=recurrent)(y))


WORDS = np.array([[3, 5, 0, 0, 0, 0], [4, 1, 2, 9, 7, 0], [7, 0, 0, 0, 0, 0]])


def test_masks_are_tiled_with_the_rows():
    """Without its mask a sample would go on over the padding."""
    model = text_model(NEVER, 0.0)
    samples = mc_predict(model, WORDS, 4, seed=1, return_samples=True).samples
    for sample in samples:
        expected = model.predict(WORDS, verbose=0)
        np.testing.assert_allclose(sample, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_masked_samples_are_those_of_keras_in_training_mode():
    model, count = text_model(0.5, 0.5), 1000
    drawn = mc_predict(model, WORDS, count, seed=1, return_samples=True).samples
    for i, row in enumerate(WORDS):
        expected = model(np.repeat(row[None], count, 0), training=True).numpy()
        for unit in range(3):
            assert same_distribution(100 * drawn[:, i, unit], 100 * expected[:, unit])


def test_a_mask_given_as_an_argument():
    x, keep = keras.Input((6, 4)), keras.Input((6,), dtype="bool")
    y = layers.LSTM(3)(layers.Dropout(NEVER)(x), mask=keep)
    model = keras.Model([x, keep], y)
    inputs = [normal(3, 6, 4), WORDS > 0]
    samples = mc_predict(model, inputs, 3, seed=1, return_samples=True).samples
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(
        samples, np.broadcast_to(expected, samples.shape), rtol=1e-5, atol=1e-6
    )


def test_texts():
    texts = np.array(["a b", "b c c", "a"])
    vectors = layers.TextVectorization(output_sequence_length=4)
    vectors.adapt(texts)
    x = keras.Input((), dtype="string")
    y = layers.Embedding(9, 4, mask_zero=True)(vectors(x))
    model = keras.Model(x, layers.LSTM(3, dropout=0.5)(y))
    assert np.all(mc_predict(model, texts, 20).std > 0)


def test_one_number_per_input():
    x = keras.Input(())
    model = keras.Model(x, layers.Dropout(0.5)(x))
    inputs = np.arange(1.0, 6.0, dtype="float32")
    prediction = mc_predict(model, inputs, 30, return_samples=True)
    assert prediction.mean.shape == (5,)
    assert_zero_or_twice(prediction.samples, inputs)


def test_sequences_of_another_length_each_time():
    x = keras.Input((None, 2))
    model = keras.Model(x, layers.GRU(3)(layers.Dropout(0.5)(x)))
    for length in (3, 5, 3):
        assert mc_predict(model, normal(2, length, 2), 4).mean.shape == (2, 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions(policy):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(16, "relu", dtype=policy),
            layers.Dropout(0.5, dtype=policy),
            layers.Dense(3, "softmax", dtype=policy),
        ]
    )
    prediction = mc_predict(model, normal(5, 4), 20, return_samples=True)
    assert np.allclose(prediction.mean.sum(-1), 1, atol=1e-2)
    assert_measures(prediction)


def test_a_model_of_a_fixed_batch_size():
    model = keras.Sequential([keras.Input(batch_shape=(4, 9)), layers.Dropout(0.5)])
    x = 1 + np.arange(72, dtype="float32").reshape(8, 9)
    prediction = mc_predict(model, x, 30, batch_size=4, return_samples=True)
    assert prediction.samples.shape == (30, 8, 9)
    assert_zero_or_twice(prediction.samples, x)
    assert len(np.unique(prediction.samples.reshape(30, -1), axis=0)) == 30


# The cut


def residual(rate):
    x = keras.Input((6,))
    before = layers.Dense(6, "relu")(x)
    y = layers.Dense(6)(layers.Dropout(rate)(before))
    return keras.Model(x, layers.Dense(3)(layers.Add()([before, y]) + x)), [(6,)]


def concatenated(rate):
    x = keras.Input((6,))
    one, two = layers.Dense(4)(x), layers.Dense(4, "relu")(x)
    y = layers.Concatenate()([layers.Dropout(rate)(one), two])
    return keras.Model(x, layers.Dense(3)(y)), [(6,)]


def many_inputs(rate):
    a, b = keras.Input((3,), name="a"), keras.Input((5,), name="b")
    y = layers.Dense(4)(layers.Dropout(rate)(a)) * layers.Dense(4)(b)
    return keras.Model([a, b], layers.Dense(3)(y)), [(3,), (5,)]


def many_outputs(rate):
    x = keras.Input((6,))
    shared = layers.Dense(5, "relu")(x)
    dropped = layers.Dropout(rate)(shared)
    return keras.Model(
        x, [layers.Dense(3)(dropped), layers.Dense(2)(shared), shared, x]
    ), [(6,)]


def nested_models(rate):
    y = keras.Input((4,))
    deepest = keras.Sequential(
        [keras.Input((4,)), layers.Dropout(rate), layers.Dense(4, "relu")]
    )
    inner = keras.Model(y, [layers.Dense(4)(y), deepest(y)])
    x = keras.Input((6,))
    first, second = inner(layers.Dense(4)(x))
    return keras.Model(x, layers.Dense(3)(first - 2 * second)), [(6,)]


def shared_layers(rate):
    x = keras.Input((6,))
    dense, drop = layers.Dense(6, "relu"), layers.Dropout(rate)
    y = dense(drop(dense(x)))
    return keras.Model(x, layers.Dense(3)(drop(y) + dense(y))), [(6,)]


def shared_before_and_behind(rate):
    x = keras.Input((6,))
    norm = layers.BatchNormalization()
    dense = layers.Dense(6)
    y = norm(dense(x))
    return keras.Model(x, [norm(dense(layers.Dropout(rate)(y))), y]), [(6,)]


def rows_merged(rate):
    """Between two reshapes there is a row for each position of each input."""
    x = keras.Input((3, 4))
    y = layers.Dense(5, "relu")(ops.reshape(x, (-1, 4)))
    y = layers.Dense(2)(layers.Dropout(rate)(y))
    return keras.Model(x, ops.reshape(y, (-1, 3, 2))), [(3, 4)]


def a_constant(rate):
    x = keras.Input((6,))
    y = layers.Dropout(rate)(x) + ops.ones((1, 6))
    return keras.Model(x, layers.Dense(3)(y)), [(6,)]


def unused_after_the_cut(rate):
    x = keras.Input((6,))
    parts = ops.split(layers.Dense(6)(x), 3, axis=-1)
    return keras.Model(x, layers.Dropout(rate)(parts[1]) * parts[2]), [(6,)]


GRAPHS = [
    residual,
    concatenated,
    many_inputs,
    many_outputs,
    nested_models,
    shared_layers,
    shared_before_and_behind,
    rows_merged,
    a_constant,
    unused_after_the_cut,
]


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_parts_of_a_cut_model_compute_what_the_model_does(graph):
    model, shapes = graph(NEVER)
    x = [normal(5, *shape, seed=i) for i, shape in enumerate(shapes)]
    x = x[0] if len(x) == 1 else x

    found = mc_predict(model, x, 3, seed=1, batch_size=4, return_samples=True).samples

    expected = keras.tree.flatten(model.predict(x, verbose=0))
    for samples, y in zip(keras.tree.flatten(found), expected, strict=True):
        for sample in samples:
            np.testing.assert_allclose(sample, y, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("graph", GRAPHS)
def test_samples_of_a_cut_model_are_those_of_keras_in_training_mode(graph):
    count = 1000
    model, shapes = graph(0.5)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False  # Keras then runs it in inference mode
    x = [1 + normal(1, *shape, seed=i) for i, shape in enumerate(shapes)]
    tiled = [np.repeat(a, count, 0) for a in x]
    x, tiled = (x[0], tiled[0]) if len(x) == 1 else (x, tiled)

    found = mc_predict(model, x, count, seed=1, return_samples=True).samples

    expected = keras.tree.flatten(model(tiled, training=True))
    for samples, y in zip(keras.tree.flatten(found), expected, strict=True):
        samples, y = (np.array(a).reshape(count, -1) for a in (samples, y))  # noqa: PLW2901
        weights = normal(y.shape[1], seed=9)
        assert same_distribution(samples @ weights, y @ weights)


class Counted(layers.Layer):
    """The identity; it counts the rows that it sees."""

    def build(self, shape):
        self.rows = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False
        )

    def call(self, x):
        self.rows.assign_add(ops.shape(x)[0])
        return x


def rows_seen(model, *arguments, **kwargs):
    """In a second call; the first one also traces."""
    counters = [x for x in model._flatten_layers() if isinstance(x, Counted)]
    mc_predict(model, *arguments, **kwargs)
    for counter in counters:
        counter.rows.assign(0)
    mc_predict(model, *arguments, **kwargs)
    return {counter.name: int(counter.rows) for counter in counters}


def test_what_comes_before_the_dropout_runs_once():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Counted(name="before"),
            layers.Dropout(0.5),
            Counted(name="behind"),
        ]
    )
    found = rows_seen(model, normal(10, 4), 7, batch_size=4)
    assert found == {"before": 10, "behind": 70}


def test_each_branch_without_dropout_runs_once():
    x = keras.Input((4,))
    before = Counted(name="before")(x)
    side = Counted(name="side")(layers.Dense(4)(before))
    dropped = Counted(name="dropped")(layers.Dropout(0.5)(before))
    other = Counted(name="other")(layers.Dense(2)(side))
    model = keras.Model(x, [Counted(name="end")(side + dropped), other])
    found = rows_seen(model, normal(5, 4), 300)
    assert found == {
        "before": 5,
        "side": 5,
        "other": 5,
        "dropped": 1500,
        "end": 1500,
    }


def test_the_cut_follows_the_chosen_layers():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dropout(0.5, name="first"),
            Counted(name="between"),
            layers.Dropout(0.5, name="second"),
        ]
    )
    assert rows_seen(model, normal(5, 4), 6) == {"between": 30}
    assert rows_seen(model, normal(5, 4), 6, layers=["second"]) == {"between": 5}


def test_a_shared_layer_runs_once_where_it_comes_first():
    x = keras.Input((4,))
    counted = Counted()
    model = keras.Model(x, counted(layers.Dropout(0.5)(counted(x))))
    assert list(rows_seen(model, normal(5, 4), 6).values()) == [5 + 30]


def test_chunks_are_bounded():
    """The rows at once, whatever the number of samples."""

    class Largest(Counted):
        def call(self, x):
            rows = ops.cast(ops.shape(x)[0], "int32")
            self.rows.assign(ops.maximum(self.rows, rows))
            return x

    model = only_dropout()
    model.add(Largest())
    mc_predict(model, np.ones((32, 1)), 1000)
    assert 32 <= int(model.layers[-1].rows) <= 2048


# The result


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_the_result_is_ready_for_json(activation, keep):
    model = classifier(activation=activation)
    prediction = mc_predict(model, normal(3, 4), 4, return_samples=keep)

    found = json.loads(json.dumps(prediction.to_dict()))

    assert list(found) == [*MEASURES, "quantiles", "covariance", "samples"]
    np.testing.assert_array_equal(found["mean"], prediction.mean)
    assert (found["samples"] is not None) == keep
    assert (found["entropy"] is None) == (activation == "linear")


def test_the_result_of_several_outputs_is_ready_for_json():
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    prediction = mc_predict(keras.Model(x, [y, layers.Softmax()(y)]), normal(3, 4), 4)
    found = json.loads(json.dumps(prediction.to_dict()))
    assert found["entropy"][0] is None
    np.testing.assert_array_equal(found["entropy"][1], prediction.entropy[1])


def test_the_result_as_text():
    prediction = mc_predict(classifier(), normal(7, 4), 4)
    assert "7 inputs" in str(prediction)
    assert f"mutual information {prediction.mutual_information.mean():.3g}" in str(
        prediction
    )
    numbers = str(mc_predict(classifier(activation="linear"), normal(7, 4), 4))
    assert "entropy" not in numbers


def test_the_result_of_several_outputs_as_text():
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    text = str(mc_predict(keras.Model(x, [y, layers.Softmax()(y)]), normal(3, 4), 4))
    assert len(text.splitlines()) == 2


def test_the_result_cannot_be_changed():
    prediction = mc_predict(classifier(), normal(2, 4), 2)
    with pytest.raises(AttributeError):
        prediction.mean = 0


@pytest.mark.parametrize(
    ("outputs", "activation", "y"),
    [
        (3, "softmax", None),
        (3, "softmax", [0, 1, 2, 0, 1]),
        (1, "sigmoid", [0, 1, 1, 0, 1]),
        (1, "linear", None),
        (1, "linear", [0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_the_result_is_drawn(outputs, activation, y):
    model = classifier(outputs=outputs, activation=activation)
    figure = mc_predict(model, normal(5, 4), 4).plot(y)
    assert isinstance(figure, Figure)
    figure.canvas.draw()


def test_right_and_wrong_answers_are_told_apart():
    prediction = mc_predict(classifier(), normal(5, 4), 9, seed=1)
    winners = prediction.mean.argmax(-1)
    y = np.where(np.arange(5) < 2, winners, (winners + 1) % 3)
    figure = prediction.plot(y)
    texts = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert texts == ["right (2)", "wrong (3)"]


def test_several_outputs_are_not_drawn():
    x = keras.Input((4,))
    y = layers.Dropout(0.5)(x)
    with pytest.raises(ValueError, match="output"):
        mc_predict(keras.Model(x, [y, y + 1]), normal(3, 4), 4).plot()


# Arguments


@pytest.mark.parametrize("value", [0, -3, 2.0, "5", None])
@pytest.mark.parametrize("name", ["samples", "batch_size"])
def test_bad_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        mc_predict(classifier(), normal(2, 4), **{name: value})


def test_numbers_of_numpy_are_integers_too():
    prediction = mc_predict(
        classifier(),
        normal(2, 4),
        np.int64(3),
        batch_size=np.int32(1),
        return_samples=True,
    )
    assert prediction.samples.shape == (3, 2, 3)


def test_a_progress_bar_is_shown_if_asked_for(capsys):
    model = classifier()
    mc_predict(model, normal(4, 4), 2, batch_size=2, verbose=0)
    assert capsys.readouterr().out == ""
    mc_predict(model, normal(4, 4), 2, batch_size=2, verbose=1)
    assert "2/2" in capsys.readouterr().out
