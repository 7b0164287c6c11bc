"""Records what PyTorch and optax compute; `test_rivals.py` compares it with ours.

    python tests/rivals/record.py

writes `recorded.json`. Nothing of Keras is imported: the numbers are the rivals' alone.
Every input is a closed form, so nothing depends on a random generator. The cases are
written in the arguments of our rules; `record_torch.py` and `record_optax.py` translate
them and list the pairs that cannot be translated.
"""

import json
import runpy
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
EVERY = 10
"""Weights are recorded after each tenth step."""

WEIGHTS = [[0.5, -1.5, 2.0], [1.0, -0.25]]
TABLE = [[[0.5, -1.5], [2.0, 1.0], [-0.25, 0.75], [1.5, -2.0]]]
STEPS = 60


def gradients() -> list[list[np.ndarray]]:
    """For each step the gradients of both weights, in float64."""
    t = np.arange(1.0, STEPS + 1)
    flat = np.sin(np.outer(t, [1.0, 2.3, 3.1, 4.7, 5.9])) * [1, 2, 3, 0.5, 0.1]
    return [[row[:3], row[3:]] for row in flat]


def rows() -> list[list[tuple[list[int], np.ndarray, int]]]:
    """For each step three rows of the table's gradient, often one row twice.

    Each is the numbers of the rows, their values, and the number of rows in the table.
    """
    t = np.arange(1.0, STEPS + 1)
    values = np.sin(np.outer(t, [1.0, 2.3, 3.1, 4.7, 5.9, 0.7])).reshape(-1, 3, 2)
    named = [[k % 4, k // 2 % 4, k // 3 % 4] for k in range(STEPS)]
    return [[(n, v, 4)] for n, v in zip(named, values, strict=True)]


@cache
def library(name: str) -> dict[str, Any]:
    """What `record_torch.py` or `record_optax.py` defines."""
    return runpy.run_path(str(HERE / f"record_{name}.py"))


def compute(rival: str, arguments: dict[str, Any]) -> Any:
    """What a rival such as `torch_adam` computes."""
    name, _, what = rival.partition("_")
    if what == "one_cycle":
        return library(name)[what](**arguments)
    sparse = what.startswith("lazy")
    step = library(name)["start"](what, TABLE if sparse else WEIGHTS, **arguments)
    trajectory = [step(given) for given in (rows() if sparse else gradients())]
    return trajectory[EVERY - 1 :: EVERY]


Case = tuple[str, dict[str, Any]]


def both(rule: str, **arguments: Any) -> list[Case]:
    return [(f"{name}_{rule}", arguments) for name in ("torch", "optax")]


def torch(rule: str, **arguments: Any) -> list[Case]:
    return [(f"torch_{rule}", arguments)]


def optax(rule: str, **arguments: Any) -> list[Case]:
    return [(f"optax_{rule}", arguments)]


AROUND = {
    "learning_rate_decay": 0.1,
    "global_clipnorm": 0.5,
    "weight_decay": 0.1,
    "gradient_accumulation_steps": 3,
}
"""The steps around a rule: rate η / (1 + 0.1 t), clipping, decay, accumulation."""

BETAS = {"beta_1": 0.9, "beta_2": 0.999}
FAST = {"beta_1": 0.8125, "beta_2": 0.96875}
"""Exact in float32, so that they can be given as floats."""

CASES: list[Case] = [
    *both("sgd", learning_rate=0.1),
    *both("sgd", learning_rate=0.25, weight_decay=0.125),
    *both("sgd", learning_rate=0.05, momentum=0.9),
    *both("sgd", learning_rate=0.0625, momentum=0.875, nesterov=True),
    *optax("sgd", learning_rate=0.1, clipnorm=0.4, momentum=0.7, weight_decay=0.2),
    *both("momentum", learning_rate=0.01, momentum=0.9),
    *both("momentum", learning_rate=0.25, momentum=0.75, dampening=0.5),
    *torch("momentum", learning_rate=0.1, momentum=0.99, clipvalue=0.4),
    *optax("momentum", learning_rate=0.1, momentum=0.6, dampening=0.6, **AROUND),
    *both("nesterov", learning_rate=0.01, momentum=0.9),
    *torch("nesterov", learning_rate=0.3, momentum=0.5),
    *torch("nesterov", learning_rate=0.1, momentum=0.99, clipvalue=0.4),
    *optax("nesterov", learning_rate=0.25, momentum=0.75, dampening=0.5),
    *optax("nesterov", learning_rate=0.2, momentum=0.7, clipvalue=0.4),
    *optax("nesterov", learning_rate=0.2, momentum=0.8, global_clipnorm=1.0),
    *optax("nesterov", learning_rate=0.1, momentum=0.6, **AROUND),
    *both("adagrad", learning_rate=0.1, initial_accumulator_value=0.125, epsilon=1e-7),
    *both("adagrad", learning_rate=0.5, initial_accumulator_value=0.0, epsilon=0.25),
    *both(
        "adagrad",
        learning_rate=0.1,
        learning_rate_decay=0.2,
        initial_accumulator_value=0.5,
        epsilon=0.0,
    ),
    *both("rmsprop", learning_rate=0.01, rho=0.9),
    *both("rmsprop", learning_rate=0.03125, rho=0.75, centered=True),
    *both("rmsprop", learning_rate=0.01, rho=0.8, momentum=0.6),
    *torch("rmsprop", learning_rate=0.01, rho=0.9, momentum=0.5, centered=True),
    *optax("rmsprop", learning_rate=0.01, rho=0.9, epsilon=0.01),
    *optax(
        "rmsprop",
        learning_rate=0.05,
        rho=0.9,
        epsilon=0.1,
        momentum=0.5,
        centered=True,
        **AROUND,
    ),
    *both("adam", learning_rate=0.01, epsilon=1e-7, **BETAS),
    *both("adam", learning_rate=0.0625, epsilon=0.125, **FAST),
    *both("adam", learning_rate=0.05, epsilon=0.01, amsgrad=True, **BETAS),
    *both(
        "adam",
        learning_rate=0.25,
        learning_rate_decay=0.5,
        epsilon=0.0625,
        amsgrad=True,
        **FAST,
    ),
    *optax("adam", learning_rate=0.05, epsilon=0.01, **FAST, **AROUND),
    *both("adamw", learning_rate=0.01, weight_decay=0.2, epsilon=1e-7, **BETAS),
    *both(
        "adamw",
        learning_rate=0.125,
        learning_rate_decay=0.5,
        weight_decay=0.5,
        epsilon=0.0625,
        **FAST,
    ),
    *torch(
        "adamw",
        learning_rate=0.05,
        weight_decay=0.1,
        epsilon=0.01,
        amsgrad=True,
        **BETAS,
    ),
    *torch("lazy_adam", learning_rate=0.05, epsilon=0.01, **BETAS),
    *torch("nadam", learning_rate=0.01, epsilon=1e-7, **BETAS),
    *torch("nadam", learning_rate=0.05, epsilon=0.01, warm_up=0.9375, **BETAS),
    *torch(
        "nadam",
        learning_rate=0.125,
        learning_rate_decay=0.5,
        epsilon=0.0625,
        weight_decay=0.5,
        warm_up=0.5,
        **FAST,
    ),
    *optax("nadam", learning_rate=0.05, epsilon=0.01, warm_up=0.0, **BETAS),
    *optax("nadam", learning_rate=0.1, epsilon=0.1, warm_up=0.0, **FAST, **AROUND),
    *both("adamax", learning_rate=0.01, **BETAS),
    *both("adamax", learning_rate=0.125, learning_rate_decay=0.5, **FAST),
    *both("adamax", learning_rate=0.1, epsilon=0.25, beta_1=0.9, beta_2=0.0),
    *optax("adamax", learning_rate=0.1, **FAST, **AROUND),
    *both("adadelta", learning_rate=1.0, rho=0.95, epsilon=1e-6),
    *both(
        "adadelta", learning_rate=0.5, learning_rate_decay=0.25, rho=0.75, epsilon=0.01
    ),
    *optax("adadelta", learning_rate=0.5, rho=0.9, epsilon=0.01, **AROUND),
    *(
        (
            "torch_one_cycle",
            {
                "max_lr": 0.3,
                "total_steps": total_steps,
                "pct_start": pct_start,
                "anneal_strategy": anneal,
                "div_factor": 7.0,
                "final_div_factor": 100.0,
                "base_momentum": 0.8,
                "max_momentum": 0.95,
                "three_phase": three_phase,
            },
        )
        # `pct_start * total_steps` is an integer: otherwise PyTorch's maximum lies
        # between two steps and is never reached.
        for total_steps, pct_start in [(40, 0.25), (50, 0.4)]
        for anneal in ["cos", "linear"]
        for three_phase in [False, True]
    ),
    *(
        (
            "optax_one_cycle",
            {
                "anneal": anneal,
                "transition_steps": 40,
                "peak_value": 0.3,
                "pct_start": 0.25,
                "div_factor": 7.0,
                "final_div_factor": 100.0,
                **more,
            },
        )
        for anneal, more in [("cosine", {}), ("linear", {"pct_final": 0.8})]
    ),
]


def main() -> None:
    record = {
        "versions": {name: version(name) for name in ("jax", "optax", "torch")},
        "cases": [
            {
                "rival": rival,
                "arguments": arguments,
                "values": compute(rival, arguments),
            }
            for rival, arguments in CASES
        ],
    }
    RECORDED.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
