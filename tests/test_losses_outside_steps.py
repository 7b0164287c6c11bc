"""Losses of all kinds that Keras trains on, where something else computes them too."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_dnn.callbacks import TrainingEvaluation
from keras_dnn.diagnostics import check_gradients, preflight
from tests.callbacks.own_steps import single

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X[:, :1]


@keras.saving.register_keras_serializable("tests")
class OwnLoss(keras.Model):
    """Its `compute_loss` knows no `training`, which Keras allows."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 2 * ops.mean(ops.abs(y - y_pred))


@keras.saving.register_keras_serializable("tests")
class Reconstruction(layers.Layer):
    """Adds a loss that needs no targets."""

    def call(self, x, y):
        self.add_loss(ops.mean(ops.square(x - y)))
        return y


class OtherNames(keras.Model):
    """Its results hold no `"loss"`."""

    def test_step(self, data):
        x, y = data
        return {"n_loss": 3 * ops.mean(ops.square(y - self(x, training=False)))}


def functional(cls=keras.Model, loss="mse"):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    model = cls(inputs, layers.Dense(1)(layers.Dropout(0.5)(inputs)))
    model.compile("sgd", loss)
    return model


def autoencoder():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    outputs = layers.Dense(3)(layers.Dense(2, "tanh")(inputs))
    model = keras.Model(inputs, Reconstruction()(inputs, outputs))
    model.compile("adam")
    return model


def evaluated(model, *data):
    evaluation = TrainingEvaluation(data, batch_size=8)
    targets = data[1] if len(data) > 1 else None
    history = model.fit(
        data[0], targets, batch_size=8, verbose=0, callbacks=[evaluation]
    )
    return evaluation, history.history


def test_an_own_loss_without_training_is_evaluated():
    model = functional(OwnLoss)
    evaluation, _ = evaluated(model, X, Y)
    expected = 2 * np.mean(np.abs(Y - model.predict(X, verbose=0)))
    assert evaluation.losses[-1] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_needs_no_targets_is_evaluated():
    model = autoencoder()
    evaluation, _ = evaluated(model, X)
    expected = np.mean((X - model.predict(X, verbose=0)) ** 2)
    assert evaluation.losses[-1] == pytest.approx(expected, rel=1e-5)


def test_where_results_hold_no_loss_it_is_that_of_compile():
    model = functional(OtherNames)
    evaluation, history = evaluated(model, X[:8], Y[:8])
    expected = np.mean((Y[:8] - model.predict(X[:8], verbose=0)) ** 2)
    assert evaluation.losses[-1] == pytest.approx(expected, rel=1e-5)
    assert history["train_eval_n_loss"][-1] == pytest.approx(3 * expected, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "targets"), [(lambda: functional(OwnLoss), Y), (autoencoder, None)]
)
def test_checks_compute_the_same_loss(make, targets):
    assert check_gradients(make(), X, targets, coordinates=4, verbose=0).passed
    found = preflight(make(), X, targets, verbose=0)
    assert not [f for f in found.findings if f.severity == "error"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: preflight(model, X, verbose=0),
        lambda model: check_gradients(model, X, verbose=0),
        lambda model: evaluated(model, X),
    ],
)
def test_a_loss_that_only_train_step_knows_is_refused(ask):
    model = single(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="loss of Single, which is in its train_step"):
        ask(model)


def test_targets_are_asked_for_only_where_the_loss_needs_them():
    with pytest.raises(ValueError, match="y must be given"):
        preflight(functional(), X, verbose=0)
    with pytest.raises(ValueError, match="data must hold inputs and targets"):
        evaluated(functional(), X)
