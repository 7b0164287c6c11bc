"""Dimensions: sampled uniformly on their scale by KerasTuner itself."""

import keras_tuner
import numpy as np
import pytest
from scipy import stats

from keras_dnn.tuning import (
    Dimension,
    border_alarm,
    log_uniform,
    one_minus_log_uniform,
)
from tests.tuning.searching import Search, searched


def sampled(dimension, samples=4000):
    hp = keras_tuner.HyperParameters()
    dimension(hp)
    (inner,) = hp.space
    found = []
    for seed in range(samples):
        hp.values[inner.name] = inner.random_sample(seed)
        found.append(dimension(hp))
    return np.array(found)


@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-1), (0.5, 0.6), (3.0, 3000.0)])
def test_logarithms_are_uniform(low, high):
    x = np.log(sampled(log_uniform("x", low, high)))
    quantiles = (x - np.log(low)) / (np.log(high) - np.log(low))
    assert stats.kstest(quantiles, "uniform").pvalue > 0.01
    assert stats.kstest(quantiles**1.2, "uniform").pvalue < 1e-4


@pytest.mark.parametrize(("low", "high"), [(0.9, 0.999), (0.0, 0.99), (0.5, 0.99999)])
def test_logarithms_of_the_distance_to_one_are_uniform(low, high):
    x = sampled(one_minus_log_uniform("x", low, high))
    quantiles = np.log((1 - x) / (1 - low)) / np.log((1 - high) / (1 - low))
    assert stats.kstest(quantiles, "uniform").pvalue > 0.01
    assert stats.kstest(quantiles**1.2, "uniform").pvalue < 1e-4
    assert low - 1e-12 <= x.min()
    assert x.max() <= high + 1e-12


def test_reverse_log_of_keras_tuner_differs():
    hp = keras_tuner.HyperParameters()
    hp.Float("x", 0.9, 0.999, sampling="reverse_log")
    theirs = np.array([hp.space[0].random_sample(seed) for seed in range(1000)])
    ours = sampled(one_minus_log_uniform("x", 0.9, 0.999), 1000)
    assert np.mean(theirs > 0.99) < 0.15
    assert 0.45 < np.mean(ours > 0.99) < 0.55


def test_reads_the_best_of_a_search(tmp_path):
    momentum = one_minus_log_uniform("momentum", 0.9, 0.999)
    rate = log_uniform("rate", 1e-4, 1.0)

    def score(hp):
        distance = np.log((1 - momentum(hp)) / 0.01) ** 2
        return float(distance + np.log(rate(hp) / 0.02) ** 2)

    search = searched(score, tmp_path, max_trials=60, seed=2)
    best = search.get_best_hyperparameters()[0]
    assert momentum(best) == 1 - best["1 - momentum"]
    assert momentum(best) == pytest.approx(0.99, abs=0.006)
    assert rate(best) == best["rate"] == pytest.approx(0.02, rel=1.0)
    # A process that reads what this one left sees the same.
    again = Search(score, tmp_path, max_trials=60)
    assert momentum(again.get_best_hyperparameters()[0]) == momentum(best)
    assert border_alarm(again).to_dict() == border_alarm(search).to_dict()


def test_the_default_is_the_middle_of_the_scale():
    hp = keras_tuner.HyperParameters()
    assert log_uniform("a", 1e-4, 1e-2)(hp) == pytest.approx(1e-3, rel=1e-12)
    assert one_minus_log_uniform("b", 0.9, 0.999)(hp) == pytest.approx(0.99, rel=1e-12)


def test_works_in_scopes_of_names_and_conditions():
    hp = keras_tuner.HyperParameters()
    hp.Choice("rule", ["sgd", "momentum"])
    momentum = one_minus_log_uniform("momentum", 0.9, 0.999)
    with hp.name_scope("inner"):
        assert momentum(hp) == pytest.approx(0.99)
    assert "inner/1 - momentum" in hp.values
    with hp.conditional_scope("rule", ["momentum"]):
        assert momentum(hp) is None
        assert log_uniform("rate", 0.1, 1)(hp) is None


@pytest.mark.parametrize(
    ("make", "arguments", "word"),
    [
        (log_uniform, ("x", 0.0, 1.0), r"low must be a number in \(0, inf\)"),
        (log_uniform, ("x", 0.1, 0.1), r"high must be a number in \(0.1, inf\)"),
        (log_uniform, ("", 0.1, 1.0), "name"),
        (one_minus_log_uniform, ("x", 0.9, 1.0), r"high must be .* \(0.9, 1\)"),
        (one_minus_log_uniform, ("x", -0.1, 0.9), r"low must be .* \[0, 1\)"),
        (Dimension, ("x", 0.1, 0.9, "linear"), "scale must be 'log' or '1 - x'"),
    ],
)
def test_bad_ranges_are_refused(make, arguments, word):
    with pytest.raises(ValueError, match=word):
        make(*arguments)
