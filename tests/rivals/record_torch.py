"""Our rules by their arguments, computed by PyTorch. Not imported: see `record.py`.

Left out, because no arguments make the two agree:

- SGD with momentum and `weight_decay`, and every rule but SGD, AdamW and NAdam with
  it: PyTorch adds λθ to the gradient, which then passes through momentum and scaling.
- Momentum at a learning rate that moves: PyTorch's velocity does not include the rate.
- Nesterov with `dampening`: PyTorch refuses it.
- RMSProp with an epsilon: √v + ε and √(v + ε). Without one they agree.
- AdaMax with an epsilon: max(β₂u, |g| + ε) and max(β₂u, |g|) + ε. At β₂ = 0 they agree.
- `global_clipnorm`: `clip_grad_norm_` divides by the norm + 1e-6.
- Adam and AdaMax with betas that move: PyTorch takes powers of the current beta.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def start(
    rule: str,
    weights: list[list[float]],
    learning_rate: float,
    learning_rate_decay: float = 0.0,
    clipvalue: float | None = None,
    **arguments: Any,
) -> Callable[[list[Any]], list[float]]:
    """A step of `rule`: from gradients to the weights after it.

    PyTorch's arguments may be functions of the step's number, which begins at 1.
    """
    parameters = [torch.tensor(w, dtype=torch.float64) for w in weights]
    make, settings = RULES[rule](**arguments)
    settings["lr"] = lambda t: learning_rate / (1 + learning_rate_decay * (t - 1))
    moving = {name: value for name, value in settings.items() if callable(value)}
    first = {name: value(1) for name, value in moving.items()}
    optimizer = make(parameters, **settings | first)
    if settings.get("dampening"):
        for parameter in parameters:
            # Otherwise the first gradient would not be dampened.
            zeros = torch.zeros_like(parameter)
            optimizer.state[parameter]["momentum_buffer"] = zeros
    (group,) = optimizer.param_groups
    taken = 0

    def step(gradients: list[Any]) -> list[float]:
        nonlocal taken
        taken += 1
        group.update({name: value(taken) for name, value in moving.items()})
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = tensor(gradient)
        if clipvalue is not None:
            torch.nn.utils.clip_grad_value_(parameters, clipvalue)
        with float64():
            optimizer.step()
        return torch.cat([p.flatten() for p in parameters]).tolist()

    return step


@contextmanager
def float64() -> Iterator[None]:
    """NAdam keeps its product of momenta in float32 unless that is the default."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def tensor(gradient: Any) -> torch.Tensor:
    """An array, or rows of a table: their numbers, values and how many there are."""
    if not isinstance(gradient, tuple):
        return torch.from_numpy(gradient.copy())
    rows, values, count = gradient
    size = (count, values.shape[1])
    return torch.sparse_coo_tensor([rows], values, size, check_invariants=True)


Rule = tuple[type[torch.optim.Optimizer], dict[str, Any]]


def sgd(
    momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> Rule:
    if momentum and weight_decay:
        raise ValueError("PyTorch's decay would pass through the momentum.")
    return torch.optim.SGD, {
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
    }


def momentum(momentum: float, dampening: float = 0.0) -> Rule:
    return torch.optim.SGD, {"momentum": momentum, "dampening": dampening}


def nesterov(momentum: float) -> Rule:
    return torch.optim.SGD, {"momentum": momentum, "nesterov": True}


def adagrad(initial_accumulator_value: float, epsilon: float) -> Rule:
    # √(s + ε) is the root of an accumulator with a higher initial value.
    begin = initial_accumulator_value + epsilon
    return torch.optim.Adagrad, {"initial_accumulator_value": begin, "eps": 0.0}


def rmsprop(rho: float, momentum: float = 0.0, centered: bool = False) -> Rule:
    return torch.optim.RMSprop, {
        "alpha": rho,
        "momentum": momentum,
        "centered": centered,
        "eps": 0.0,
    }


def adam(beta_1: float, beta_2: float, epsilon: float, amsgrad: bool = False) -> Rule:
    return torch.optim.Adam, {
        "betas": (beta_1, beta_2),
        # Ours is added before the correction of v, PyTorch's after it.
        "eps": lambda t: epsilon / math.sqrt(1 - beta_2**t),
        "amsgrad": amsgrad,
    }


def adamw(weight_decay: float, **arguments: Any) -> Rule:
    _, settings = adam(**arguments)
    return torch.optim.AdamW, {**settings, "weight_decay": weight_decay}


def lazy_adam(beta_1: float, beta_2: float, epsilon: float) -> Rule:
    return torch.optim.SparseAdam, {"betas": (beta_1, beta_2), "eps": epsilon}


def nadam(
    beta_1: float,
    beta_2: float,
    epsilon: float,
    warm_up: float = 0.96,
    weight_decay: float = 0.0,
) -> Rule:
    return torch.optim.NAdam, {
        "betas": (beta_1, beta_2),
        "eps": epsilon,
        # PyTorch's base is always 0.96; this exponent changes it.
        "momentum_decay": math.log(warm_up) / math.log(0.96),
        "weight_decay": weight_decay,
        "decoupled_weight_decay": True,
    }


def adamax(beta_1: float, beta_2: float, epsilon: float = 0.0) -> Rule:
    if epsilon and beta_2:
        raise ValueError("PyTorch's epsilon is inside the maximum.")
    return torch.optim.Adamax, {"betas": (beta_1, beta_2), "eps": epsilon}


def adadelta(rho: float, epsilon: float) -> Rule:
    return torch.optim.Adadelta, {"rho": rho, "eps": epsilon}


RULES = {
    rule.__name__: rule
    for rule in (
        sgd,
        momentum,
        nesterov,
        adagrad,
        rmsprop,
        adam,
        adamw,
        lazy_adam,
        nadam,
        adamax,
        adadelta,
    )
}


def one_cycle(**arguments: Any) -> dict[str, list[float]]:
    """Rate and momentum at each step of `torch.optim.lr_scheduler.OneCycleLR`."""
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
