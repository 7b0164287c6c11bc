"""Bad values raise a ValueError that names the argument and shows the value."""

import re

import keras
import pytest

import keras_dnn.optimizers
from keras_dnn.optimizers import Nesterov, schedules
from tests.optimizers.rule_cases import PAIRS, RULES

NAN, INF = float("nan"), float("inf")
NOT_NUMBERS = ["0.5", [0.5], True, NAN, INF]
NEGATIVE = [-0.1, -1]
FROM_ONE = [1, 1.0, 1.5]
NOT_POSITIVE = [0, 0.0, *NEGATIVE]

NOT_BELOW_ONE = [None, *NOT_NUMBERS, *NEGATIVE, *FROM_ONE]
NOT_AT_LEAST_ZERO = [None, *NOT_NUMBERS, *NEGATIVE]

NUMBERS = {
    "learning_rate": NOT_AT_LEAST_ZERO,
    # None is its default, except for AdamW.
    "weight_decay": [*NOT_NUMBERS, *NEGATIVE],
    "momentum": NOT_BELOW_ONE,
    "rho": NOT_BELOW_ONE,
    "beta_1": NOT_BELOW_ONE,
    "beta_2": NOT_BELOW_ONE,
    "dampening": NOT_BELOW_ONE,
    "epsilon": NOT_AT_LEAST_ZERO,
    "initial_accumulator_value": NOT_AT_LEAST_ZERO,
}
CLIP = [*NOT_NUMBERS, *NOT_POSITIVE]
COUNT = [*NOT_POSITIVE, *NOT_NUMBERS, 1.0, 2.5]
BASE = {
    "clipnorm": CLIP,
    "global_clipnorm": CLIP,
    "clipvalue": CLIP,
    "loss_scale_factor": CLIP,
    "ema_momentum": [*NOT_NUMBERS, *NEGATIVE, 1.5],
    "ema_overwrite_frequency": COUNT,
    "gradient_accumulation_steps": [*COUNT, 1],
    "sparse": [None, True, "Lazy", "", 1],
    "nonfinite": [None, False, "raise", 0],
    "fused": ["auto", 2, "True", [True]],
}
NAMES = sorted({rule.name for rule in RULES.values()})
ARGUMENTS = sorted(
    {(rule.name, a) for rule in RULES.values() for a in (*rule.numbers, "weight_decay")}
    | {("SGD", "momentum"), ("Momentum", "dampening"), ("Nesterov", "dampening")}
)


def cases(pairs, values):
    return [(name, argument, v) for name, argument in pairs for v in values[argument]]


def refused(argument, value):
    """A message that begins with the argument's name and ends in the value."""
    ending = re.escape(f"Received: {argument}={value!r}")
    return pytest.raises(ValueError, match=rf"^{argument} must be .*{ending}$")


@pytest.mark.parametrize(("name", "argument", "value"), cases(ARGUMENTS, NUMBERS))
def test_bad_number_of_a_rule_is_named_and_shown(name, argument, value):
    bounds = "[0, 1)" if NUMBERS[argument] is NOT_BELOW_ONE else "[0, inf)"
    with refused(argument, value) as error:
        getattr(keras_dnn.optimizers, name)(**{argument: value})
    assert bounds in str(error.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("argument", BASE)
def test_bad_argument_of_the_base_is_named_and_shown(name, argument):
    ema = {"use_ema": True} if argument.startswith("ema") else {}
    for value in BASE[argument]:
        with refused(argument, value):
            getattr(keras_dnn.optimizers, name)(**{argument: value}, **ema)


def test_missing_ema_momentum_is_named_and_shown():
    with refused("ema_momentum", None):
        keras_dnn.optimizers.Adam(use_ema=True, ema_momentum=None)


SWITCHES = [
    ("SGD", "nesterov"),
    ("RMSProp", "centered"),
    ("Adam", "amsgrad"),
    ("AdamW", "amsgrad"),
    ("Adam", "use_ema"),
]


@pytest.mark.parametrize("value", ["no", None, 2, 0.5])
@pytest.mark.parametrize(("name", "argument"), SWITCHES)
def test_switch_that_is_no_boolean_is_named_and_shown(name, argument, value):
    with refused(argument, value):
        getattr(keras_dnn.optimizers, name)(**{argument: value})


@pytest.mark.parametrize("name", NAMES)
def test_only_one_clip_is_allowed(name):
    with pytest.raises(ValueError, match=r"clipnorm=1\.0, clipvalue=0\.5"):
        getattr(keras_dnn.optimizers, name)(clipnorm=1.0, clipvalue=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_argument_is_shown(name):
    with pytest.raises(ValueError, match=r"'beta_9': 0\.5"):
        getattr(keras_dnn.optimizers, name)(beta_9=0.5)


@pytest.mark.parametrize(("name", "argument"), PAIRS)
def test_variable_in_place_of_a_number_is_refused(name, argument):
    with pytest.raises(ValueError, match=f"^{argument} must be .*: {argument}=Var"):
        RULES[name].ours(**{argument: keras.Variable(0.5)})


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
@pytest.mark.parametrize(("name", "argument"), PAIRS)
def test_bad_number_is_refused_during_training_and_the_old_one_stays(
    name, argument, built
):
    optimizer = RULES[name].ours(**{argument: 0.5})
    if built:
        optimizer.build([keras.Variable(1.0)])
    values = [v for v in NUMBERS[argument] if v is not None]
    for value in values:
        with refused(argument, value):
            setattr(optimizer, argument, value)
        assert float(getattr(optimizer, argument)) == 0.5


def test_a_schedule_whose_brackets_were_forgotten_is_refused():
    rate = schedules.OneCycle(0.1, 10)
    for momentum in (rate.momentum, schedules.OneCycle):
        with pytest.raises(ValueError, match=r"momentum must be a schedule, not what"):
            Nesterov(rate, momentum=momentum)
    Nesterov(rate, momentum=rate.momentum())
