"""Models with dropout and a second implementation of the measures, for the tests of
mc_predict."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.layers import MCDropout
from keras_dnn.models._sampling import sampler
from keras_dnn.models._sampling.split import split

CLASS_MEASURES = (
    "entropy",
    "expected_entropy",
    "mutual_information",
    "variation_ratio",
)
MEASURES = ("mean", "std", *CLASS_MEASURES)

# A rate at which nothing is ever dropped: samples must equal `predict`, yet the model
# is split and its rows are repeated as for any other.
NEVER = 1e-9


# A second implementation


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
    for name in CLASS_MEASURES:
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


def all_random(monkeypatch):
    """Has mc_predict take all of a model as random, from its inputs on."""

    def unsplit(model, random):
        found = split(model, random)
        graph = found.graph
        return dataclasses.replace(
            found, before=(), after=graph.nodes, cut_set=graph.inputs
        )

    monkeypatch.setattr(sampler, "split", unsplit)


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


# Models with dropout of every kind


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
    """As textbooks write it: without a training argument."""

    def call(self, inputs):
        return super().call(inputs, training=True)


class Block(layers.Layer):
    """A layer with sublayers."""

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
