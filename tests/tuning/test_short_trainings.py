"""What `trials` add to a range test."""

import math

import numpy as np
import pytest

from keras_dnn import optimizers
from keras_dnn.tuning import _short_trainings as short
from keras_dnn.tuning import find_learning_rate
from tests.tuning.sweeping import X, Y, linear_model, replayed


def test_rates_are_half_a_decade_apart_around_the_suggestion():
    np.testing.assert_allclose(
        short.rates_around(0.02, 3), [0.02 / 10**0.5, 0.02, 0.02 * 10**0.5]
    )
    np.testing.assert_allclose(
        short.rates_around(0.02, 2), 0.02 * 10 ** np.array([-0.25, 0.25])
    )


def test_each_training_is_that_of_numpy_and_the_best_is_advised():
    """Also with accumulated gradients; the model is left as it was."""
    optimizer = optimizers.SGD(0.5, gradient_accumulation_steps=2)
    model = linear_model(optimizer)
    settings = {"steps": 40, "batch_size": 24, "shuffle": False, "verbose": 0}
    found = find_learning_rate(model, X, Y, trials=3, **settings)
    sweep = find_learning_rate(model, X, Y, **settings)
    assert sweep.trials == {}
    assert list(found.trials) == short.rates_around(sweep.suggestion, 3)
    for rate, loss in found.trials.items():
        losses = replayed(np.full(80, rate), every=2, batch=24)
        expected = losses[40:].mean() if losses[-1] < losses[0] else math.inf
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
    best = min(found.trials, key=found.trials.get)
    assert found.suggestion == found.suggestions["constant"] == best
    assert found.max_learning_rate == found.suggestions["peak"] == short.OF_PEAK * best
    assert found.interval[0] < best < found.interval[1]
    np.testing.assert_array_equal(model.get_weights()[0], np.zeros((4, 1)))
    assert int(optimizer.iterations) == 0


def test_the_lowest_loss_decides_and_divergence_never_does():
    sweep = find_learning_rate(
        linear_model(optimizers.SGD()), X, Y, steps=40, batch_size=48, seed=1
    )
    found = short.refined(sweep, {0.1: 2.0, 0.3: 1.5, 1.0: math.inf})
    assert found.suggestion == 0.3
    assert found.trials == {0.1: 2.0, 0.3: 1.5, 1.0: math.inf}
    assert "Trials: 0.1 2, 0.3 1.5, 1 inf" in str(found)
    assert "Trials" not in str(sweep)
    lost = short.refined(sweep, {0.1: math.inf, 0.3: math.inf})
    assert lost.suggestion == sweep.suggestion
    assert "Every short training diverged" in lost.note


def test_a_training_that_diverges_has_an_infinite_loss():
    recorder = short.ShortTraining(40, 1, 0.98, 4.0, None)
    for losses, expected in (
        (np.linspace(2, 1, 40), np.linspace(2, 1, 40)[20:].mean()),
        ([*np.linspace(2, 1, 38), np.nan], math.inf),
        (np.geomspace(1, 1e6, 40), math.inf),
    ):
        rows = np.column_stack([np.full(len(losses), 0.1), losses, losses])[
            :, [0, 1, 2]
        ]
        recorder._rows._pieces = [rows]
        assert recorder.loss() == pytest.approx(expected)


def test_data_that_can_be_read_once_are_refused():
    batches = ((X[:8], Y[:8]) for _ in range(400))
    with pytest.raises(ValueError, match="x must be data that can be read again"):
        find_learning_rate(linear_model(optimizers.SGD()), batches, trials=3)
