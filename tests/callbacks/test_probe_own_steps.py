"""Probes in a training step of the user's own, against a replay outside of `fit`."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers as ours
from keras_dnn._keras.losses import own_step
from keras_dnn.callbacks import GradientNorms, Probe, StepLogger
from tests.callbacks.own_steps import (
    BATCH,
    ELSEWHERE,
    ROWS,
    Elsewhere,
    Hiding,
    data,
    fit,
    pair,
    single,
)

pytestmark = pytest.mark.as_in_keras


def replay(model):
    """Losses, rates, norms and update ratios of each update, in plain eager code."""
    losses, rates, norms, ratios = [], [], [], []
    for begin in range(0, ROWS, BATCH):
        x = data()[begin : begin + BATCH]
        for loss_of, part, optimizer in model.updates():
            with tf.GradientTape() as tape:
                loss = loss_of(x)
            variables = part.trainable_weights
            gradients = tape.gradient(loss, variables)
            before = {v.path: v.numpy() for v in variables}
            losses.append(float(loss))
            rates.append(float(optimizer.learning_rate))
            optimizer.apply(gradients, variables)
            row = {
                v.path: np.linalg.norm(g)
                for v, g in zip(variables, gradients, strict=True)
            }
            norms.append([row.get(v.path, np.nan) for v in model.trainable_variables])
            moved = [np.linalg.norm(v.numpy() - before[v.path]) for v in variables]
            whole = [np.linalg.norm(before[v.path]) for v in variables]
            ratios.append(np.linalg.norm(moved) / np.linalg.norm(whole))
    return map(np.array, (losses, rates, norms, ratios))


@pytest.fixture(scope="module", params=[keras.optimizers.SGD, ours.SGD])
def make(request):
    return request.param


@pytest.fixture(scope="module")
def watched(make):
    model, norms, log = pair(make), GradientNorms(), StepLogger()
    fit(model, norms, log)
    return model, norms, log


def test_each_update_of_each_optimizer_has_a_row(make, watched):
    _, found, log = watched
    losses, rates, norms, ratios = replay(pair(make))
    np.testing.assert_array_equal(found.steps, np.arange(len(losses)))
    np.testing.assert_allclose(log.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(log.learning_rates, rates, rtol=1e-6)
    np.testing.assert_allclose(found.norms, norms, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found.global_norms, np.sqrt(np.nansum(norms**2, axis=1)), rtol=1e-4
    )
    np.testing.assert_allclose(found.global_ratios, ratios, rtol=1e-3)


@pytest.fixture
def _no_reordering():
    """TensorFlow else rounds differently where a gradient is read twice."""
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    yield
    tf.config.optimizer.set_experimental_options(
        {"arithmetic_optimization": True} | options
    )


@pytest.mark.usefixtures("_no_reordering")
def test_a_model_that_the_step_builds_trains_as_without_a_probe():
    plain, seen = pair(keras.optimizers.SGD, False), pair(keras.optimizers.SGD, False)
    norms, log = GradientNorms(), StepLogger()
    fit(plain)
    fit(seen, norms, log)
    assert norms.norms.shape == (9, 6)
    assert np.isfinite(log.learning_rates).all()
    for a, b in zip(plain.weights, seen.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_blocks_of_compiled_steps(make, watched):
    if make is keras.optimizers.SGD:
        pytest.skip("one of the two is enough")
    model = pair(make, jit_compile=True, steps_per_execution=3)
    norms, log = GradientNorms(), StepLogger()
    fit(model, norms, log)
    np.testing.assert_allclose(norms.norms, watched[1].norms, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(log.losses, watched[2].losses, rtol=1e-5)


def test_replicas_are_seen_together(two_replicas):
    """Each takes the mean of its half: their sum is twice that of one device."""
    with two_replicas.scope():
        model = pair(lambda rate: keras.optimizers.SGD(rate / 2))
        model.built = True
    norms, log = GradientNorms(), StepLogger()
    fit(model, norms, log)
    losses, _, expected, _ = replay(pair(keras.optimizers.SGD))
    np.testing.assert_allclose(norms.norms, 2 * expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(log.losses, 2 * losses, rtol=1e-4)


def test_everything_is_as_it_was_afterwards(watched):
    model = watched[0]
    names = {"train_step", "make_train_function", "apply", "scale_loss"}
    for owner in (model, model.critic_optimizer, model.optimizer):
        assert not names & vars(owner).keys()
    assert tf.GradientTape.gradient.__module__.startswith("tensorflow")


def test_an_own_step_is_known_beneath_the_one_of_a_probe():
    seen = []

    class Look(Probe):
        def create(self, variables):
            seen.append(own_step(self.model, "train_step"))

    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    plain.fit(data(), data()[:, 0], verbose=0, callbacks=[Look()])
    fit(single(keras.optimizers.SGD(0.1)), Look())
    assert seen == [False, True]


class Branching(keras.Model):
    """Updates in every second step only."""

    def __init__(self):
        super().__init__()
        self.net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        self.steps = tf.Variable(0, trainable=False)

    def train_step(self, x):
        def update():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.net(x) ** 2)
            variables = self.net.trainable_variables
            self.optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        self.steps.assign_add(1)
        return {"loss": tf.cond(self.steps % 2 == 1, update, lambda: 0.0)}


def test_a_step_that_updates_under_a_condition():
    model, norms, log = Branching(), GradientNorms(), StepLogger()
    model.compile("sgd")
    model.optimizer.build(model.net.trainable_variables)
    fit(model, norms, log, epochs=2)
    np.testing.assert_array_equal(norms.steps, [0, 1, 2])
    assert len(log.losses) == 3
    assert (norms.norms > 0).all()


# What cannot be seen ------------------------------------------------------------------


def warned_by(model, *callbacks):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, *callbacks, epochs=2)
    return [str(w.message) for w in caught if "see" in str(w.message)]


def test_a_compiled_function_in_the_step_is_named_once():
    found = warned_by(
        single(keras.optimizers.SGD(0.1), Hiding), GradientNorms(), StepLogger()
    )
    assert len(found) == 2
    assert found[0].startswith("GradientNorms sees no update of the weights")
    assert found[1].startswith("StepLogger sees no loss")
    assert all("tf.function" in text and "Hiding" in text for text in found)


def test_what_a_hidden_function_keeps_does_no_harm_later():
    model = single(keras.optimizers.SGD(0.1), Hiding)
    warned_by(model, GradientNorms())
    before = model.net.get_weights()[0]
    fit(model)
    assert (model.net.get_weights()[0] != before).all()


def test_an_optimizer_that_is_no_attribute_is_missed_with_a_remedy():
    model = single(None, Elsewhere)
    ELSEWHERE[model.name] = keras.optimizers.SGD(0.1)
    (found,) = warned_by(model, GradientNorms())
    assert "applies no optimizer that was found" in found
    assert "attribute of the model" in found
