"""`TrainingEvaluation`: the verdict and the advice that follow from the gaps."""

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_dnn.callbacks import TrainingEvaluation
from keras_dnn.callbacks.training_evaluation import _Row
from tests.callbacks import harness
from tests.callbacks.harness import Observe
from tests.callbacks.test_training_evaluation import data, fit, network

layers = keras.layers


def rule(row, tolerance, target):
    """The rule in the docstring, written again."""
    loss, regularisation, generalisation = row
    scale = max(abs(loss + generalisation), abs(loss))
    if not np.isfinite(generalisation):
        return "unknown"
    if generalisation > tolerance * scale:
        return "overfitting"
    noisy = regularisation > tolerance * scale and regularisation > generalisation
    if noisy or (target is not None and loss > target):
        return "underfitting"
    return "fine"


def gaps(evaluation):
    return zip(
        evaluation.losses,
        evaluation.regularisation_gaps,
        evaluation.generalisation_gaps,
        strict=True,
    )


def test_the_verdict_of_each_epoch_follows_the_rule():
    model = network(layers.Dropout(0.1))
    model.compile(keras.optimizers.Adam(0.03), "mse")
    evaluation = TrainingEvaluation(data(), tolerance=0.15, target=0.5)
    observed = Observe(lambda: evaluation.verdict)
    fit(model, [evaluation, observed], epochs=12)
    assert observed.values == [rule(row, 0.15, 0.5) for row in gaps(evaluation)]
    assert len(set(observed.values)) > 1


DROPOUT = layers.Dropout(0.4)
QUARTERS = st.integers(-8, 8).map(lambda i: i / 4)


@settings(max_examples=200, deadline=None)
@given(
    QUARTERS, QUARTERS, QUARTERS | st.just(np.nan), st.none() | QUARTERS, st.booleans()
)
def test_every_verdict_follows_the_rule(
    loss, regularisation, generalisation, target, drops
):
    evaluation = TrainingEvaluation(None, tolerance=0.25, target=target)
    evaluation._recorded_model = DROPOUT if drops else None
    evaluation._rows = [_Row(loss, 0.0, regularisation, generalisation)]
    expected = rule((loss, regularisation, generalisation), 0.25, target)
    assert evaluation.verdict == expected
    assert ("now 0.4" in evaluation.advice) <= drops


def test_random_labels_are_overfitted():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)).astype("float32")
    y, y_valid = rng.normal(size=(2, 60, 2)).astype("float32")
    model = network(layers.Dense(64, "relu"), layers.Dropout(0.05))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    evaluation = TrainingEvaluation((x, y))
    options = {"validation_data": (x, y_valid), "batch_size": 30}
    harness.fit(model, (x, y), evaluation, epochs=10, **options)
    assert evaluation.verdict == "overfitting"
    assert "Raise the dropout rate (now 0.05)" in evaluation.advice


def test_too_much_dropout_is_underfitting():
    model = network(layers.Dropout(0.9))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    evaluation = TrainingEvaluation(data())
    fit(model, evaluation, epochs=20)
    assert evaluation.verdict == "underfitting"
    assert "Lower the dropout rate (now 0.9)" in evaluation.advice


def test_without_dropout_the_advice_is_to_add_it():
    model = network()
    model.compile(keras.optimizers.Adam(0.1), "mse")
    evaluation = TrainingEvaluation(data(), tolerance=1e-6)
    fit(model, evaluation, epochs=8)
    assert evaluation.verdict == "overfitting"
    assert "Add dropout" in evaluation.advice


def test_without_validation_the_verdict_is_unknown():
    model = network()
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    assert evaluation.verdict == "unknown"
    fit(model, evaluation, validation_data=None)
    assert evaluation.verdict == "unknown"
    assert "validation_data" in evaluation.advice
    assert np.isnan(evaluation.generalisation_gaps).all()
    assert np.isfinite(evaluation.losses).all()


def test_epochs_without_validation_are_skipped():
    model = network()
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    fit(model, evaluation, validation_freq=2)
    assert np.isnan(evaluation.generalisation_gaps).tolist() == [True, False, True]
    assert evaluation.verdict != "unknown"
