"""PyTorch and optax, recorded always and live where they are installed."""

import json
import runpy
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle

RECORD = runpy.run_path(str(Path(__file__).with_name("record.py")))
CASES = json.loads(RECORD["RECORDED"].read_text())["cases"]


def named(rival):
    return [case for case in CASES if case["rival"] in rival]


def label(case):
    values = (str(v) for v in case["arguments"].values())
    return "-".join([case["rival"], *values])


@pytest.fixture(params=["recorded", "live"])
def values_of(request):
    """What the rival of a case computes: read from the file, or computed now."""

    def values(case):
        if request.param == "recorded":
            return case["values"]
        library, _, _ = case["rival"].partition("_")
        pytest.importorskip(library)
        return RECORD[case["rival"]](**case["arguments"])

    return values


@pytest.mark.parametrize("case", named({"torch_nesterov", "optax_nesterov"}), ids=label)
def test_nesterov_agrees_in_float64(case, values_of):
    expected = values_of(case)
    optimizer = Nesterov(**in_float64(case["arguments"]))
    weights = [keras.Variable(w, dtype="float64") for w in RECORD["WEIGHTS"]]
    trajectory = []
    for step in RECORD["gradients"]():
        optimizer.apply([keras.ops.array(g) for g in step], weights)
        trajectory.append(np.concatenate([w.numpy() for w in weights]))
    every = RECORD["EVERY"]
    np.testing.assert_allclose(
        trajectory[every - 1 :: every], expected, rtol=1e-12, atol=1e-13
    )


def in_float64(arguments):
    """Callables for the numbers that a float would be rounded to float32 for."""
    moving = {"learning_rate", "momentum", "weight_decay"}
    return {
        name: (lambda value=value: np.float64(value)) if name in moving else value
        for name, value in arguments.items()
    }


@pytest.mark.parametrize("case", named({"torch_one_cycle"}), ids=label)
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


@pytest.mark.parametrize("case", named({"optax_one_cycle"}), ids=label)
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
