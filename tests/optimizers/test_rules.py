"""Every rule is compared with Keras's class and with NumPy in float64."""

import functools
import inspect

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import keras_dnn.optimizers
from tests.optimizers.rule_cases import (
    ALONE,
    MIXED,
    MOVING,
    OTHER_SPELLINGS,
    PACKED,
    RULES,
    assert_equal,
    exact,
    random_training,
    trained,
)

STEPS = 100
SPELLINGS = RULES | OTHER_SPELLINGS


# As Keras


# Not exact in float32, so that they show what Keras rounds.
UNEVEN = {
    "learning_rate": 0.03,
    "momentum": 0.83,
    "rho": 0.87,
    "beta_1": 0.81,
    "beta_2": 0.97,
    "epsilon": 1e-3,
    "initial_accumulator_value": 0.3,
    "weight_decay": 0.07,
}


def uneven(rule):
    return {name: UNEVEN[name] for name in rule.numbers}


@functools.cache
def keras_trajectory(name, dtype):
    rule = SPELLINGS[name]
    training = random_training(MIXED, STEPS)
    return trained(rule.theirs(**uneven(rule)), *training, dtype)


MODES = [
    *((name, {"fused": False}) for name in SPELLINGS),
    *((name, {"fused": True}) for name in RULES),
    *((name, {}) for name in ("rmsprop-centered-momentum", "adam", "nadam")),
]


@pytest.mark.parametrize(("name", "fused"), MODES, ids=str)
def test_trajectory_is_that_of_keras(name, fused):
    rule = SPELLINGS[name]
    optimizer = rule.ours(**uneven(rule), **fused)
    training = random_training(MIXED, STEPS)
    actual = trained(optimizer, *training, jit_compile=True if not fused else None)
    assert_equal(actual, keras_trajectory(name, "float64"))


@pytest.mark.parametrize("name", RULES)
def test_float32_trajectory_is_that_of_keras(name):
    rule = SPELLINGS[name]
    actual = trained(
        rule.ours(**uneven(rule)), *random_training(MIXED, STEPS), "float32"
    )
    np.testing.assert_allclose(
        actual, keras_trajectory(name, "float32"), rtol=1e-5, atol=2e-6
    )


CLASSES = {
    rule.name: (
        getattr(keras_dnn.optimizers, rule.name),
        getattr(keras.optimizers, rule.keras_name),
    )
    for rule in RULES.values()
}
# Keras's SGD has no momentum by default.
DEFAULTS = {"Momentum": {"momentum": 0.9}, "Nesterov": {"momentum": 0.9}}
VARIANTS = {"Nesterov": {"nesterov": True}}


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_are_those_of_keras(name):
    ours, theirs = CLASSES[name]
    training = random_training(PACKED, STEPS)
    expected = theirs(**DEFAULTS.get(name, {}), **VARIANTS.get(name, {}))
    assert_equal(trained(ours(), *training), trained(expected, *training))


@pytest.mark.parametrize("name", CLASSES)
def test_arguments_have_the_order_of_keras(name):
    ours, theirs = (
        list(inspect.signature(c).parameters.values()) for c in CLASSES[name]
    )
    positional = [p for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    for mine, keras_own in zip(positional, theirs, strict=False):
        default = DEFAULTS.get(name, {}).get(mine.name, keras_own.default)
        assert (mine.name, mine.default) == (keras_own.name, default)


# As NumPy


@pytest.mark.parametrize("name", RULES)
def test_weights_that_are_all_large_follow_the_numpy_rule(name):
    rule, training = RULES[name], random_training(ALONE, 20)
    expected = rule.in_numpy(*training, **exact(rule))
    assert_equal(trained(rule.ours(**exact(rule)), *training), expected)


below_one = st.floats(0, 0.984375, width=32)
RANGES = dict.fromkeys(MOVING, below_one) | {
    "learning_rate": st.floats(2**-10, 0.5, width=32),
    # Below, rounding errors of the past outweigh a small square.
    "rho": st.floats(0.25, 0.984375, width=32),
    "beta_2": st.floats(0.25, 0.984375, width=32),
    "epsilon": st.floats(1e-7, 0.1),
    "initial_accumulator_value": st.floats(2**-10, 2, width=32),
    "weight_decay": st.floats(0, 0.5, width=32),
}
clips = st.sampled_from(
    [{}, {"clipnorm": 0.7}, {"global_clipnorm": 0.9}, {"clipvalue": 0.3}]
)
averages = st.just({}) | st.fixed_dictionaries(
    {"ema_momentum": st.floats(0.1, 0.99)},
    optional={"ema_overwrite_frequency": st.integers(1, 7)},
).map(lambda average: average | {"use_ema": True})
others = st.fixed_dictionaries(
    {},
    optional={
        "weight_decay": RANGES["weight_decay"],
        "gradient_accumulation_steps": st.integers(2, 4),
        "loss_scale_factor": st.floats(0.1, 100),
    },
)


@pytest.mark.parametrize("name", RULES)
@given(st.data())
@settings(
    deadline=None,
    max_examples=2,
    derandomize=True,
    phases=[Phase.generate],  # Shrinking takes minutes.
    suppress_health_check=[HealthCheck.differing_executors],
)
def test_random_numbers_follow_the_numpy_rule(name, data):
    rule = RULES[name]
    numbers = {n: RANGES[n] for n in rule.numbers}
    if name in ("momentum", "nesterov"):
        numbers["dampening"] = below_one
    arguments = {
        **data.draw(st.fixed_dictionaries(numbers)),
        **data.draw(clips),
        **data.draw(averages),
        **data.draw(others),
    }
    fused = data.draw(st.sampled_from([None, False, True]))
    start, gradients = random_training(PACKED, 60, seed=data.draw(st.integers(0, 99)))
    expected = rule.in_numpy(start, gradients, **arguments)
    gradients = [g * arguments.get("loss_scale_factor", 1) for g in gradients]
    assert_equal(
        trained(rule.ours(**arguments, fused=fused), start, gradients), expected
    )
