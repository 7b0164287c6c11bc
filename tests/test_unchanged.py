"""What a function may change for a while is as it was afterwards."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn._keras.randomness import drawn_seed
from keras_dnn._unchanged import (
    moving_variables,
    same_randomness,
    unchanged_by_calls,
    unchanged_by_training,
)
from keras_dnn.initializers import lsuv
from keras_dnn.models import mc_predict, prune
from keras_dnn.tuning import find_learning_rate

X = np.random.default_rng(0).normal(size=(16, 5, 2)).astype("float32")
Y = X.sum(axis=(1, 2))


class Restless(keras.layers.Layer):
    """Keeps states in attributes that Keras does not list."""

    def __init__(self):
        super().__init__()
        self.counts = {"calls": [tf.Variable(0)]}
        self.generator = tf.random.Generator.from_seed(1)
        self.kept = (keras.random.SeedGenerator(1),)

    def call(self, x):
        self.counts["calls"][0].assign_add(1)
        noise = self.generator.normal(tf.shape(x))
        return x + noise + keras.random.normal(tf.shape(x), seed=self.kept[0])


class TwoOptimizers(keras.Model):
    """Trains with optimizers that Keras does not know of."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)
        self.dense.build((None, 2))
        self.others = {"slow": keras.optimizers.Adam(0.1)}
        self.built = True

    def call(self, x):
        return self.dense(x)

    def train_step(self, data):
        gradients = [tf.ones_like(v) for v in self.trainable_variables]
        self.others["slow"].apply(gradients, self.trainable_variables)
        return {"loss": tf.constant(1.0)}


@pytest.fixture(scope="module")
def stateful():
    inputs = keras.Input((5, 2), batch_size=8)
    rnn = layers.LSTM(3, stateful=True)
    model = keras.Model(inputs, layers.Dense(1)(layers.Dropout(0.5)(rnn(inputs))))
    model.compile("sgd", "mse")
    model.predict(X, batch_size=8, verbose=0)
    return model


def values(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def test_states_of_a_recurrent_layer_are_among_what_moves(stateful):
    states = keras.tree.flatten(stateful.layers[1].states)
    assert len(states) == 2
    assert {id(s) for s in states} <= {id(v) for v in moving_variables(stateful)}
    weights = {id(w) for w in stateful.trainable_variables}
    assert not weights & {id(v) for v in moving_variables(stateful)}


@pytest.mark.parametrize(
    "call",
    [
        lambda m: mc_predict(m, X, samples=2, batch_size=8, verbose=0),
        lambda m: prune(m, 0.5, verbose=0),
        lambda m: find_learning_rate(m, X, Y, batch_size=8, steps=3, verbose=0),
    ],
    ids=["mc_predict", "prune", "find_learning_rate"],
)
def test_states_of_a_recurrent_layer_stay(stateful, call):
    states = keras.tree.flatten(stateful.layers[1].states)
    before = values(states)
    assert all(np.any(b) for b in before)
    call(stateful)
    for now, then in zip(values(states), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_states_that_keras_does_not_list_stay():
    layer = Restless()
    model = keras.Sequential([keras.Input((2,)), layer])
    x = np.ones((3, 2), "float32")
    with unchanged_by_calls(model):
        first = model(x).numpy()
        assert not np.array_equal(model(x), first)
    np.testing.assert_array_equal(model(x), first)
    assert int(layer.counts["calls"][0]) == 1


def test_optimizers_of_a_train_step_stay():
    model = TwoOptimizers()
    model.compile("sgd")
    slow = model.others["slow"]
    x = np.ones((4, 2), "float32")
    with unchanged_by_training(model):
        model.fit(x, x, verbose=0)
        assert np.any(slow.variables[2])
    assert int(slow.iterations) == 0
    assert float(slow.learning_rate) == pytest.approx(0.1)
    assert not any(np.any(v) for v in values(slow.variables)[2:])
    model.fit(x, x, epochs=2, verbose=0)
    before = values(slow.variables)
    with unchanged_by_training(model):
        model.fit(x, x, verbose=0)
    for now, then in zip(values(slow.variables), before, strict=True):
        np.testing.assert_array_equal(now, then)


def draws():
    return (
        random.random(),
        np.random.rand(),  # noqa: NPY002
        float(keras.random.uniform(())),
        float(tf.random.uniform(())),
        float(tf.random.get_global_generator().uniform(())),
        next(iter(tf.data.Dataset.range(99).shuffle(99))).numpy(),
    )


def test_random_states_of_the_process_stay():
    with same_randomness():
        keras.utils.set_random_seed(3)
        tf.random.set_global_generator(tf.random.Generator.from_seed(3))
        with same_randomness():
            first = draws()
        with same_randomness():
            assert draws() == first
            keras.utils.set_random_seed(4)
            tf.random.set_global_generator(tf.random.Generator.from_seed(4))
        assert draws() == first
        assert draws() != first


def test_a_drawn_seed_depends_on_the_global_seed_and_moves_nothing():
    with same_randomness():
        keras.utils.set_random_seed(3)
        state = random.getstate()
        first = [drawn_seed(), drawn_seed()]
        assert random.getstate() == state
        assert first[0] != first[1]
        assert keras.src.utils.rng_utils.get_random_seed() == 3
        keras.utils.set_random_seed(3)
        assert [drawn_seed(), drawn_seed()] == first
        keras.utils.set_random_seed(4)
        assert drawn_seed() not in first


def test_the_global_seed_governs_a_call_that_leaves_the_next_weights_alone():
    x = X[:, :, 0]

    def model():
        keras.utils.set_random_seed(1)
        parts = [keras.Input((5,)), layers.Dense(4), layers.Dropout(0.5)]
        made = keras.Sequential([*parts, layers.Dense(1)])
        made.compile("sgd", "mse")
        return made

    def next_weight(call):
        model_ = model()
        found = call(model_)
        return found, float(keras.initializers.GlorotUniform()((6, 1))[0, 0])

    calls = [
        lambda m: mc_predict(m, x, samples=2, verbose=0).mean,
        lambda m: find_learning_rate(m, x, Y, batch_size=4, steps=3, verbose=0).losses,
        lambda m: lsuv(m, x, verbose=0) and m.get_weights()[0],
    ]
    with same_randomness():
        alone = next_weight(lambda m: None)[1]
        for call in calls:
            (first, weight), (second, _) = next_weight(call), next_weight(call)
            np.testing.assert_array_equal(first, second)
            assert weight == alone
