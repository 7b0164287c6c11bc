"""The split: what runs once, and that the parts compute what the model does."""

from collections import defaultdict

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_dnn.models import mc_predict
from keras_dnn.models._sampling.split import split
from keras_dnn.models._sampling.switched_on import random_layers
from tests.models.mc_cases import (
    NEVER,
    all_random,
    normal,
    only_dropout,
    same_distribution,
)


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


def shared_before_and_after(rate):
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


def unused_after_the_split(rate):
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
    shared_before_and_after,
    rows_merged,
    a_constant,
    unused_after_the_split,
]
STRAIGHT_IN = (a_constant,)
"""Those whose inputs go into the dropout."""


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_parts_of_a_model_compute_what_the_model_does(graph):
    model, shapes = graph(NEVER)
    x = [normal(5, *shape, seed=i) for i, shape in enumerate(shapes)]
    x = x[0] if len(x) == 1 else x

    found = mc_predict(model, x, 3, seed=1, batch_size=4, return_samples=True).samples

    expected = keras.tree.flatten(model.predict(x, verbose=0))
    for samples, y in zip(keras.tree.flatten(found), expected, strict=True):
        for sample in samples:
            np.testing.assert_allclose(sample, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_same_masks_give_the_same_samples_split_or_not(graph, monkeypatch):
    """Through the whole model, from its inputs on, in float64."""
    keras.config.set_dtype_policy("float64")
    try:
        model, shapes = graph(0.5)
    finally:
        keras.config.set_dtype_policy("float32")
    x = [normal(5, *shape, seed=i).astype("float64") for i, shape in enumerate(shapes)]
    x = x[0] if len(x) == 1 else x

    def drawn(model):
        found = mc_predict(model, x, 3, seed=1, return_samples=True).samples
        return found if isinstance(found, list) else [found]

    in_two_parts = drawn(model)
    assert split(model, random_layers(model)).before or graph in STRAIGHT_IN
    all_random(monkeypatch)
    as_a_whole = drawn(keras.Model(model.inputs, model.outputs))

    for one, other in zip(in_two_parts, as_a_whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-14)
    assert in_two_parts[0].dtype == np.float64
    assert any(np.std(one, axis=0).max() > 0 for one in in_two_parts)


@pytest.mark.slow
@pytest.mark.parametrize("graph", GRAPHS)
def test_samples_of_a_split_model_are_those_of_keras_in_training_mode(graph):
    count = 1000
    model, shapes = graph(0.5)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False  # Keras then runs it in inference mode
    x = [1 + normal(1, *shape, seed=i) for i, shape in enumerate(shapes)]
    repeated = [np.repeat(a, count, 0) for a in x]
    x, repeated = (x[0], repeated[0]) if len(x) == 1 else (x, repeated)

    found = mc_predict(model, x, count, seed=1, return_samples=True).samples

    expected = keras.tree.flatten(model(repeated, training=True))
    for samples, y in zip(keras.tree.flatten(found), expected, strict=True):
        samples, y = (np.array(a).reshape(count, -1) for a in (samples, y))  # noqa: PLW2901
        weights = normal(y.shape[1], seed=9)
        assert same_distribution(samples @ weights, y @ weights)


ROWS = defaultdict(lambda: tf.Variable(0))
"""What `Counted` layers saw; not in these, whose variables mc_predict puts back."""


class Counted(layers.Layer):
    """The identity; it counts the rows that it sees."""

    def build(self, shape):
        ROWS[self.name].assign(0)

    def call(self, x):
        ROWS[self.name].assign_add(ops.shape(x)[0])
        return x


def rows_seen(model, *arguments, **kwargs):
    """In a second call; the first one also traces."""
    counters = [x for x in model._flatten_layers() if isinstance(x, Counted)]
    mc_predict(model, *arguments, **kwargs)
    for counter in counters:
        ROWS[counter.name].assign(0)
    mc_predict(model, *arguments, **kwargs)
    return {counter.name: int(ROWS[counter.name]) for counter in counters}


def test_what_comes_before_the_dropout_runs_once():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Counted(name="before"),
            layers.Dropout(0.5),
            Counted(name="after"),
        ]
    )
    found = rows_seen(model, normal(10, 4), 7, batch_size=4)
    assert found == {"before": 10, "after": 70}


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


def test_the_split_follows_the_chosen_layers():
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
    """Rows are limited, whatever the number of samples."""

    class Largest(Counted):
        def call(self, x):
            rows = ops.cast(ops.shape(x)[0], "int32")
            ROWS[self.name].assign(ops.maximum(ROWS[self.name], rows))
            return x

    model = only_dropout()
    model.add(Largest())
    mc_predict(model, np.ones((32, 1)), 1000)
    assert 32 <= int(ROWS[model.layers[-1].name]) <= 2048
