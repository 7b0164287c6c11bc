"""The steps around a rule: clips, decay, averages, accumulation, missing gradients."""

import functools

import numpy as np
import pytest

from tests.optimizers.rule_cases import (
    RULES,
    assert_equal,
    exact,
    random_training,
    stepped,
    trained,
)

each_rule = pytest.mark.parametrize("name", RULES)
AVERAGE = {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 7}
SURROUNDINGS = {
    "clipnorm, decay": {"clipnorm": 0.75, "weight_decay": 0.125},
    "global_clipnorm, loss scale, average": {
        "global_clipnorm": 1.5,
        "loss_scale_factor": 8.0,
        **AVERAGE,
    },
    "clipvalue, accumulation, decay": {
        "clipvalue": 0.25,
        "gradient_accumulation_steps": 3,
        "weight_decay": 0.125,
    },
}
AROUND = [(3, 2), (32769,), (2,)]


@functools.cache
def keras_trajectory_in(surrounding, name):
    rule, arguments = RULES[name], exact(RULES[name]) | SURROUNDINGS[surrounding]
    start, gradients = random_training(AROUND, 40)
    # Some gradients of the large weight are below the bound.
    gradients[1] *= np.geomspace(1e-3, 1, 40)[:, None]
    expected = rule.in_numpy(start, gradients, **arguments)
    gradients = [g * arguments.get("loss_scale_factor", 1) for g in gradients]
    return (
        start,
        gradients,
        trained(rule.theirs(**arguments), start, gradients),
        expected,
    )


@each_rule
@pytest.mark.parametrize("surrounding", SURROUNDINGS)
@pytest.mark.parametrize("fused", [False, True], ids=["ops", "fused"])
def test_rule_with_what_is_around_it_is_that_of_keras_and_numpy(
    surrounding, name, fused
):
    rule, arguments = RULES[name], exact(RULES[name]) | SURROUNDINGS[surrounding]
    start, gradients, theirs, numpys = keras_trajectory_in(surrounding, name)
    actual = trained(rule.ours(**arguments, fused=fused), start, gradients)
    assert_equal(actual, theirs)
    assert_equal(actual, numpys)


# Weights without gradients


def gaps(rest):
    """Gradients by step: none for the last weight, sometimes for none in `rest`."""
    start, gradients = random_training([(3, 2), (32769,), (2,), (32770,), (4,)], 8)
    return start, [
        [
            None if i == 4 or (t in (1, 2, 5) and i in rest) else g[t]
            for i, g in enumerate(gradients)
        ]
        for t in range(8)
    ]


@each_rule
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("mode", ["fused", "eager"])
def test_weights_without_gradients_are_unchanged_as_in_keras(name, mode):
    rule = RULES[name]
    arguments = exact(rule) | {"weight_decay": 0.125, "global_clipnorm": 9.0}
    training = gaps(rest=(0, 3))
    ours = rule.ours(**arguments, fused=mode == "fused")
    actual, _ = stepped(ours, *training, eager=mode == "eager")
    expected, _ = stepped(rule.theirs(**arguments), *training, eager=True)
    assert_equal(actual, expected)
    np.testing.assert_array_equal(actual[:, -4:], np.tile(training[0][-1], (8, 1)))


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("name", ["nesterov", "adam"])
def test_averages_of_weights_without_gradients_are_updated_as_in_keras(name):
    rule = RULES[name]
    average = {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 3}
    training = gaps(rest=(0, 1))
    actual, _ = stepped(rule.ours(**exact(rule), **average), *training)
    expected, _ = stepped(rule.theirs(**exact(rule), **average), *training)
    assert_equal(actual, expected)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("name", ["nesterov", "adam"])
def test_weights_without_gradients_are_unchanged_under_accumulation(name):
    rule = RULES[name]
    start, gradients = random_training(AROUND, 12)
    gradients = [gradients[0], None, None]
    arguments = exact(rule) | {"gradient_accumulation_steps": 3, "weight_decay": 0.125}
    actual = trained(rule.ours(**arguments), start, gradients)
    assert_equal(actual, trained(rule.theirs(**arguments), start, gradients))
    assert_equal(actual, rule.in_numpy(start, gradients, **arguments))
