"""Records what PyTorch and optax compute, for `test_rivals.py` to compare with.

    python tests/rivals/record.py

writes `recorded.json`. Nothing of Keras is imported: the numbers are the rivals' alone.
Every input is a closed form, so nothing depends on a random generator.
"""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).with_name("recorded.json")
EVERY = 10
"""The optimizers' weights are recorded after each tenth step."""

WEIGHTS = [[0.5, -1.5, 2.0], [1.0, -0.25]]
STEPS = 60


def gradients() -> list[list[np.ndarray]]:
    """For each step the gradients of both weights, in float64."""
    t = np.arange(1.0, STEPS + 1)
    flat = np.sin(np.outer(t, [1.0, 2.3, 3.1, 4.7, 5.9])) * [1, 2, 3, 0.5, 0.1]
    return [[row[:3], row[3:]] for row in flat]


def torch_nesterov(
    learning_rate: float, momentum: float, clipvalue: float | None = None
) -> list[list[float]]:
    """The weights along the way of `torch.optim.SGD(nesterov=True)`."""
    import torch

    weights = [torch.tensor(w, dtype=torch.float64) for w in WEIGHTS]
    optimizer = torch.optim.SGD(
        weights, lr=learning_rate, momentum=momentum, nesterov=True
    )
    trajectory = []
    for step in gradients():
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = torch.from_numpy(gradient.copy())
        if clipvalue is not None:
            torch.nn.utils.clip_grad_value_(weights, clipvalue)
        optimizer.step()
        trajectory.append(torch.cat(weights).tolist())
    return trajectory[EVERY - 1 :: EVERY]


def optax_nesterov(
    learning_rate: float,
    momentum: float,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    weight_decay: float = 0.0,
    gradient_accumulation_steps: int = 1,
) -> list[list[float]]:
    """The weights along the way of optax's Nesterov, clip first and decay last."""
    import jax
    import optax

    with jax.enable_x64(True):
        optimizer = optax.MultiSteps(
            optax.chain(
                optax.identity() if clipvalue is None else optax.clip(clipvalue),
                optax.identity()
                if global_clipnorm is None
                else optax.clip_by_global_norm(global_clipnorm),
                optax.trace(decay=momentum, nesterov=True),
                optax.add_decayed_weights(weight_decay),
                optax.scale_by_learning_rate(learning_rate),
            ),
            every_k_schedule=gradient_accumulation_steps,
            accumulator_dtype="float64",
        )
        weights = [jax.numpy.asarray(w, dtype="float64") for w in WEIGHTS]
        state = optimizer.init(weights)
        trajectory = []
        for step in gradients():
            updates, state = optimizer.update(
                [jax.numpy.asarray(g) for g in step], state, weights
            )
            weights = optax.apply_updates(weights, updates)
            trajectory.append(np.concatenate(weights).tolist())
    return trajectory[EVERY - 1 :: EVERY]


def torch_one_cycle(**arguments: Any) -> dict[str, list[float]]:
    """Rate and momentum at each step of `torch.optim.lr_scheduler.OneCycleLR`."""
    import torch

    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, **arguments)
    (group,) = optimizer.param_groups
    rates, momenta = [], []
    for step in range(arguments["total_steps"]):
        rates.append(float(group["lr"]))
        momenta.append(float(group["momentum"]))
        optimizer.step()
        if step < arguments["total_steps"] - 1:
            scheduler.step()
    return {"learning_rate": rates, "momentum": momenta}


def optax_one_cycle(anneal: str, **arguments: Any) -> dict[str, list[float]]:
    """Rate at steps 0 to `transition_steps` of optax's 1-cycle schedules."""
    import jax
    import optax

    make = {
        "cosine": optax.cosine_onecycle_schedule,
        "linear": optax.linear_onecycle_schedule,
    }[anneal]
    with jax.enable_x64(True):
        schedule = make(**arguments)
        steps = range(arguments["transition_steps"] + 1)
        return {"learning_rate": [float(schedule(step)) for step in steps]}


CASES: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (torch_nesterov, {"learning_rate": 0.01, "momentum": 0.9}),
    (torch_nesterov, {"learning_rate": 0.3, "momentum": 0.5}),
    (torch_nesterov, {"learning_rate": 0.1, "momentum": 0.99, "clipvalue": 0.4}),
    (optax_nesterov, {"learning_rate": 0.01, "momentum": 0.9}),
    (optax_nesterov, {"learning_rate": 0.2, "momentum": 0.7, "clipvalue": 0.4}),
    (optax_nesterov, {"learning_rate": 0.2, "momentum": 0.8, "global_clipnorm": 1.0}),
    (optax_nesterov, {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.2}),
    (
        optax_nesterov,
        {
            "learning_rate": 0.1,
            "momentum": 0.6,
            "global_clipnorm": 0.5,
            "weight_decay": 0.1,
            "gradient_accumulation_steps": 3,
        },
    ),
    *(
        (
            torch_one_cycle,
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
        # `pct_start * total_steps` is whole: where it is not, PyTorch's maximum lies
        # between two steps and is never reached.
        for total_steps, pct_start in [(40, 0.25), (50, 0.4)]
        for anneal in ["cos", "linear"]
        for three_phase in [False, True]
    ),
    *(
        (
            optax_one_cycle,
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
                "rival": rival.__name__,
                "arguments": arguments,
                "values": rival(**arguments),
            }
            for rival, arguments in CASES
        ],
    }
    RECORDED.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
