"""Random layers of one's own are found by what they do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops, random

from keras_dnn._keras.layers import sublayers
from keras_dnn.models import mc_predict, to_monte_carlo
from tests.models.mc_cases import normal, same_distribution

X = normal(3, 6)


class DropPath(layers.Layer):
    """Drops all of a row."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = random.SeedGenerator(1)

    def draw(self, shape):
        return random.uniform(shape, seed=self.seeds)

    def call(self, x, training=None):
        if not training:
            return x
        kept = self.draw((ops.shape(x)[0], 1)) < 0.75
        return ops.where(kept, x / 0.75, 0.0)


class InAList(DropPath):
    def __init__(self):
        super().__init__()
        self.several = [random.SeedGenerator(1)]

    def draw(self, shape):
        return random.uniform(tf.stack(shape), seed=self.several[0])


class Binomial(DropPath):
    def draw(self, shape):
        return random.binomial(shape, 1, 0.25, seed=self.seeds)


class AlwaysNoisy(layers.Layer):
    """Random whatever the mode, as the sampling layer of a VAE."""

    def __init__(self):
        super().__init__()
        self.seeds = random.SeedGenerator(1)

    def call(self, x):
        return x + 0.5 * random.normal(ops.shape(x), seed=self.seeds)


class Block(layers.Layer):
    """Draws itself, and has other layers inside that training would change."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = random.SeedGenerator(1)
        self.norm = layers.BatchNormalization(momentum=0.5)
        self.flip = layers.RandomFlip()

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x, training=None):
        x = self.norm(x, training=training)
        return random.dropout(x, 0.25, seed=self.seeds) if training else x


def of(layer):
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((6,)), layers.Dense(6), layer])


LAYERS = [DropPath, InAList, Binomial, AlwaysNoisy]


@pytest.mark.parametrize("make", LAYERS)
def test_samples_are_those_of_the_layer_in_training_mode(make):
    model, count = of(make()), 3000
    found = mc_predict(
        model, X[:1], count, seed=1, return_samples=True, verbose=0
    ).samples[:, 0]
    expected = np.array(model(np.repeat(X[:1], count, 0), training=True))
    weights = normal(6, seed=9)
    assert same_distribution(found @ weights, expected @ weights)


@pytest.mark.parametrize("make", [*LAYERS, Block])
def test_a_seed_repeats_them_and_nothing_moves(make):
    model = of(make())
    states = [v.numpy() for layer in model.layers for v in layer.variables]
    seeds = [g.state.numpy() for g in model.layers[-1]._seed_generators]
    one, other = (mc_predict(model, X, 9, seed=1, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(one.std, other.std)
    assert one.std.max() > 0
    now = [v.numpy() for layer in model.layers for v in layer.variables]
    np.testing.assert_equal(now, states)
    np.testing.assert_equal(
        [g.state.numpy() for g in model.layers[-1]._seed_generators], seeds
    )


def test_what_is_inside_a_random_layer_stays_in_inference_mode():
    model = of(Block())
    found = mc_predict(model, X, 200, seed=1, return_samples=True, verbose=0)
    clean = np.array(model(X))
    kept = found.samples != 0
    np.testing.assert_allclose(
        found.samples[kept], np.broadcast_to(clean / 0.75, kept.shape)[kept], rtol=1e-5
    )


@pytest.mark.parametrize("make", [DropPath, Block])
def test_a_copy_that_is_always_on_switches_them_on(make):
    model = of(make())
    copy = to_monte_carlo(model)
    seeds = {id(g.state) for x in sublayers(copy) for g in x._seed_generators}
    statistics = [v for v in copy.non_trainable_variables if id(v) not in seeds]
    before = [v.numpy() for v in statistics]
    draws = np.stack([copy(X) for _ in range(20)])
    assert draws.std(0).max() > 0
    np.testing.assert_equal([v.numpy() for v in statistics], before)


class WithoutGenerator(layers.Layer):
    def call(self, x, training=None):
        return x * tf.random.uniform(tf.shape(x)) if training else x


class Unseeded(layers.Layer):
    def call(self, x):
        return x + random.normal(ops.shape(x))


def test_a_layer_that_may_be_random_is_named():
    model = of(WithoutGenerator(name="mine"))
    with pytest.raises(ValueError, match=r"WithoutGenerator 'mine' .*SeedGenerator"):
        mc_predict(model, X, 2, verbose=0)
    model.add(layers.Dropout(0.5))
    with pytest.warns(UserWarning, match=r"'mine' .*stays off.*SeedGenerator"):
        mc_predict(model, X, 2, verbose=0)


def test_a_layer_that_draws_without_a_generator_is_named():
    model = of(Unseeded(name="mine"))
    model.add(layers.Dropout(0.5))
    with pytest.raises(ValueError, match=r"'mine' calls keras.random.normal without"):
        mc_predict(model, X, 2, verbose=0)


def test_noise_is_offered_where_there_is_nothing_else():
    model = of(layers.GaussianNoise(0.1, name="noise"))
    with pytest.raises(ValueError, match=r"give layers=\['noise'\]"):
        mc_predict(model, X, 2, verbose=0)
    assert mc_predict(model, X, 9, layers=["noise"], verbose=0).std.min() > 0


def test_augmentation_stays_off():
    class Flip(layers.RandomFlip):
        pass

    model = keras.Sequential(
        [keras.Input((4, 4, 1)), Flip(), layers.Flatten(), layers.Dropout(1e-9)]
    )
    x = normal(3, 4, 4, 1)
    found = mc_predict(model, x, 5, verbose=0)
    np.testing.assert_allclose(found.mean, x.reshape(3, 16), rtol=1e-6)


def test_layers_that_predict_never_calls_are_named():
    class Unused(keras.Model):
        def __init__(self):
            super().__init__(name="mine")
            self.dense, self.drop = layers.Dense(2), layers.Dropout(0.5, name="drop")

        def call(self, x):
            return self.dense(x)

    with pytest.raises(ValueError, match=r"'mine', which calls none of \['drop'\]"):
        mc_predict(Unused(), X, 2, verbose=0)
