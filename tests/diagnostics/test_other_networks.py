"""A sample of the networks on which compare_diagnoses.py counts right diagnoses."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")

HEALTHY = ("fraud", "mean_and_variance", "low_rank_adapters")
SICK = (
    "sensor_in_pascal",
    "softmax_taken_for_logits",
    "transformer_without_norms",
    "fourteen_sigmoids",
)
TRAINED = ("rms_prop_on_an_lstm", "root_of_a_difference")


@pytest.fixture(scope="module")
def benchmark():
    """The module of the benchmark, and the networks that nobody has to avoid seeing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        module = importlib.import_module("compare_diagnoses")
        yield module, {case.name: case for case in module.cases("development")}
    for name in ("compare_diagnoses", "recording"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_networks_get_no_warning(benchmark, name):
    module, cases = benchmark
    found = module.examined(cases[name], "development")
    assert found["worse"] == {"preflight": [], "Doctor": []}


@pytest.mark.parametrize("name", SICK + TRAINED)
def test_sick_networks_are_named_first(benchmark, name):
    module, cases = benchmark
    found = module.examined(cases[name], "development")
    (first,) = found["first"].values()
    assert first in cases[name].answers


def test_no_network_is_in_the_half_that_it_was_not_drawn_into(benchmark):
    _, cases = benchmark
    halves = importlib.import_module("diagnosed.case")
    assert {halves.half(name) for name in cases} == {"development"}
    assert halves.half("text_transformer") == "unseen"
