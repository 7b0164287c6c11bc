"""PyTorch and optax: recorded numbers always, live where they are installed."""

import json
import runpy
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers
from keras_dnn.optimizers.schedules import OneCycle

RECORD = runpy.run_path(str(Path(__file__).with_name("record.py")))
EVERY = RECORD["EVERY"]
CASES = json.loads(RECORD["RECORDED"].read_text())["cases"]
RULES = {
    "sgd": optimizers.SGD,
    "momentum": optimizers.Momentum,
    "nesterov": optimizers.Nesterov,
    "adagrad": optimizers.AdaGrad,
    "rmsprop": optimizers.RMSProp,
    "adam": optimizers.Adam,
    "lazy_adam": optimizers.Adam,
    "adamw": optimizers.AdamW,
    "nadam": optimizers.Nadam,
    "adamax": optimizers.AdaMax,
    "adadelta": optimizers.Adadelta,
}
UNNAMED = {"rmsprop", "adamax"}
"""Rules compared at an epsilon of zero where the case gives none."""


def split(case):
    """The rival's name and the rule's."""
    library, _, rule = case["rival"].partition("_")
    return library, rule


def named(rules):
    return [case for case in CASES if split(case)[1] in rules]


def label(case):
    values = (f"{name}={value}" for name, value in case["arguments"].items())
    return "-".join([case["rival"], *values])


def test_the_recording_has_the_current_cases():
    recorded = [(case["rival"], case["arguments"]) for case in CASES]
    assert recorded == RECORD["CASES"]


def test_every_rule_is_compared_with_every_rival_that_has_it():
    compared = {split(case) for case in CASES}
    rules = RULES.keys() - {"lazy_adam"}
    assert compared >= {(rival, rule) for rival in ("torch", "optax") for rule in rules}


@pytest.fixture(params=["recorded", "live"])
def values_of(request):
    """What the rival of a case computes: read from the file, or computed now."""

    def values(case):
        if request.param == "recorded":
            return case["values"]
        pytest.importorskip(split(case)[0])
        return RECORD["compute"](case["rival"], case["arguments"])

    return values


@pytest.mark.parametrize("case", named(RULES), ids=label)
def test_optimizer_agrees_in_float64(case, values_of):
    expected = values_of(case)
    tolerance = tolerance_of(case)
    np.testing.assert_allclose(
        ours(json.dumps(case)), expected, rtol=tolerance, atol=tolerance / 10
    )


def tolerance_of(case):
    # Like Keras, Nadam rounds the 0.96 of its warm-up to float32 in one of two places.
    if split(case)[1] == "nadam" and "warm_up" not in case["arguments"]:
        return 1e-7
    return 1e-12


@cache
def ours(case):
    """The weights after each tenth step of our own rule."""
    case = json.loads(case)
    _, rule = split(case)
    arguments = {"epsilon": 0.0} if rule in UNNAMED else {}
    arguments |= in_float64(case["arguments"])
    with pytest.MonkeyPatch.context() as patch:
        if "warm_up" in arguments:
            constant = "keras_dnn.optimizers.nadam.DECAY"
            patch.setattr(constant, arguments.pop("warm_up"))
        if rule == "lazy_adam":
            optimizer = RULES[rule](**arguments, sparse="lazy")
            return trajectory(optimizer, RECORD["TABLE"], RECORD["rows"]())
        optimizer = RULES[rule](**arguments)
        return trajectory(optimizer, RECORD["WEIGHTS"], RECORD["gradients"]())


def trajectory(optimizer, weights, given):
    variables = [keras.Variable(w, dtype="float64") for w in weights]
    optimizer.build(variables)

    @tf.function(autograph=False)
    def apply(step):
        optimizer.apply([gradient(*parts) for parts in step], variables)

    weights = []
    for step in given:
        apply([parts(g) for g in step])
        weights.append(np.concatenate([v.numpy().ravel() for v in variables]))
    return weights[EVERY - 1 :: EVERY]


def parts(g):
    """The arguments of `gradient`, as tensors, so that nothing is traced again."""
    return tuple(tf.constant(part) for part in (g if isinstance(g, tuple) else (g,)))


def gradient(values, *rest):
    if not rest:
        return values
    rows, (values, count) = values, rest
    return tf.IndexedSlices(values, rows, tf.stack([count, 2]))


def in_float64(arguments):
    """Callables in place of numbers that would be rounded to float32."""
    moving = {"learning_rate", "momentum", "beta_1", "beta_2", "rho", "weight_decay"}
    ours = {
        name: value if name not in moving or exact(value) else Exactly(value)
        for name, value in arguments.items()
    }
    if decay := ours.pop("learning_rate_decay", None):
        ours["learning_rate"] = Falling(arguments["learning_rate"], decay)
    return ours


def exact(value):
    return float(np.float32(value)) == value


class Exactly:
    def __init__(self, value):
        self.value = np.float64(value)

    def __call__(self):
        return self.value


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """η / (1 + decay · step) in float64."""

    def __init__(self, rate, decay):
        self.rate, self.decay = rate, decay

    def __call__(self, step):
        return self.rate / (1 + self.decay * tf.cast(step, "float64"))


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["rival"] == "torch_one_cycle"],
    ids=label,
)
def test_one_cycle_agrees_with_torch(case, values_of):
    expected = values_of(case)
    a = case["arguments"]
    end = a["total_steps"] - 1
    # PyTorch's knots: the maximum, with three phases the return, and the end.
    top = round(a["pct_start"] * a["total_steps"]) - 1
    turn = 2 * top if a["three_phase"] else end
    schedule = OneCycle(
        a["max_lr"],
        a["total_steps"],
        initial_divisor=a["div_factor"],
        final_divisor=a["final_div_factor"],
        warmup_fraction=top / end,
        final_fraction=(end - turn) / end,
        anneal={"cos": "cosine"}.get(a["anneal_strategy"], "linear"),
    )
    momentum = schedule.momentum(a["max_momentum"], a["base_momentum"])
    assert_same_curve(schedule, expected["learning_rate"])
    assert_same_curve(momentum, expected["momentum"])


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["rival"] == "optax_one_cycle"],
    ids=label,
)
def test_one_cycle_agrees_with_optax(case, values_of):
    expected = values_of(case)
    a = case["arguments"]
    end = a["transition_steps"]
    schedule = OneCycle(
        a["peak_value"],
        end + 1,
        initial_divisor=a["div_factor"],
        final_divisor=a["final_div_factor"],
        warmup_fraction=a["pct_start"],
        final_fraction=1 - a.get("pct_final", 1.0),
        anneal=a["anneal"],
    )
    assert_same_curve(schedule, expected["learning_rate"])


def assert_same_curve(schedule, expected):
    ours = schedule.values(np.arange(len(expected)))
    float32 = np.finfo("float32").eps
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2 * float32 * max(expected))
