"""Our rules by their arguments, computed by optax. Not imported: see `record.py`.

Left out, because no arguments make the two agree:

- AdaMax with an epsilon: max(β₂u, |g| + ε) and max(β₂u, |g|) + ε. At β₂ = 0 they agree.
- Nadam with a warm-up of its momentum: optax has none.
- Adam, AdaMax and Nadam with betas that move: optax takes powers of the current beta.
- Sparse gradients: optax has none.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

Rate = Callable[[Any], Any]


def start(
    rule: str,
    weights: list[list[float]],
    learning_rate: float,
    learning_rate_decay: float = 0.0,
    weight_decay: float = 0.0,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    gradient_accumulation_steps: int = 1,
    **arguments: Any,
) -> Callable[[list[Any]], list[float]]:
    """A step of `rule`: from gradients to the weights after it."""

    def rate(count: Any) -> Any:
        return learning_rate / (1 + learning_rate_decay * count)

    parts = []
    if clipnorm is not None:
        parts += [
            optax.masked(
                optax.clip_by_global_norm(clipnorm),
                [i == chosen for i in range(len(weights))],
            )
            for chosen in range(len(weights))
        ]
    if global_clipnorm is not None:
        parts.append(optax.clip_by_global_norm(global_clipnorm))
    if clipvalue is not None:
        parts.append(optax.clip(clipvalue))
    if rule == "adamw":
        arguments["weight_decay"] = weight_decay
        weight_decay = 0.0
    with jax.enable_x64(True):
        parts.append(RULES[rule](rate, **arguments))
        if weight_decay:
            decay = optax.add_decayed_weights(lambda t: -rate(t) * weight_decay)
            parts.append(decay)
        optimizer = optax.chain(*parts)
        if gradient_accumulation_steps > 1:
            optimizer = optax.MultiSteps(
                optimizer,
                every_k_schedule=gradient_accumulation_steps,
                accumulator_dtype="float64",
            )
        theta = [jax.numpy.asarray(w, dtype="float64") for w in weights]
        state = optimizer.init(theta)
        update = jax.jit(optimizer.update)

    def step(gradients: list[Any]) -> list[float]:
        nonlocal theta, state
        with jax.enable_x64(True):
            g = [jax.numpy.asarray(g) for g in gradients]
            updates, state = update(g, state, theta)
            theta = optax.apply_updates(theta, updates)
            return np.concatenate(theta).tolist()

    return step


Rule = optax.GradientTransformation


def sgd(rate: Rate, momentum: float | None = None, nesterov: bool = False) -> Rule:
    return optax.sgd(rate, momentum=momentum, nesterov=nesterov)


def momentum(
    rate: Rate, momentum: float, dampening: float = 0.0, ahead: bool = False
) -> Rule:
    # The rate comes before the trace, so that the velocity includes it, as in Keras.
    return optax.chain(
        optax.scale(1 - dampening),
        optax.scale_by_learning_rate(rate),
        optax.trace(decay=momentum, nesterov=ahead),
    )


def nesterov(rate: Rate, **arguments: Any) -> Rule:
    return momentum(rate, **arguments, ahead=True)


def adagrad(rate: Rate, initial_accumulator_value: float, epsilon: float) -> Rule:
    return optax.adagrad(rate, initial_accumulator_value, eps=epsilon)


def rmsprop(
    rate: Rate,
    rho: float,
    epsilon: float = 0.0,
    momentum: float | None = None,
    centered: bool = False,
) -> Rule:
    return optax.rmsprop(
        rate, decay=rho, eps=epsilon, momentum=momentum, centered=centered
    )


def adam(
    rate: Rate, beta_1: float, beta_2: float, epsilon: float, amsgrad: bool = False
) -> Rule:
    if amsgrad:
        # The largest v is taken before its correction, which is applied to the rate.
        return optax.amsgrad(
            lambda t: rate(t) * root_of_correction(beta_2, t),
            b1=beta_1,
            b2=beta_2,
            eps=epsilon,
            bias_correction_nu=False,
        )
    return optax.inject_hyperparams(optax.adam)(
        rate,
        b1=beta_1,
        b2=beta_2,
        # Ours is added before the correction of v, optax's after it.
        eps=lambda t: epsilon / root_of_correction(beta_2, t),
    )


def adamw(
    rate: Rate, beta_1: float, beta_2: float, epsilon: float, weight_decay: float
) -> Rule:
    return optax.inject_hyperparams(optax.adamw)(
        rate,
        b1=beta_1,
        b2=beta_2,
        eps=lambda t: epsilon / root_of_correction(beta_2, t),
        weight_decay=weight_decay,
    )


def root_of_correction(beta_2: float, count: Any) -> Any:
    """√(1 − β₂ᵗ), where optax's count begins at 0."""
    return jax.numpy.sqrt(1 - beta_2 ** (count + 1.0))


def nadam(
    rate: Rate, beta_1: float, beta_2: float, epsilon: float, warm_up: float
) -> Rule:
    if warm_up != 0:
        raise ValueError("optax's Nadam has no warm-up of its momentum.")
    return optax.nadam(rate, b1=beta_1, b2=beta_2, eps=epsilon)


def adamax(rate: Rate, beta_1: float, beta_2: float, epsilon: float = 0.0) -> Rule:
    if epsilon and beta_2:
        raise ValueError("optax's epsilon is inside the maximum.")
    return optax.adamax(rate, b1=beta_1, b2=beta_2, eps=epsilon)


def adadelta(rate: Rate, rho: float, epsilon: float) -> Rule:
    return optax.adadelta(rate, rho=rho, eps=epsilon)


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
        nadam,
        adamax,
        adadelta,
    )
}


def one_cycle(anneal: str, **arguments: Any) -> dict[str, list[float]]:
    """Rate at steps 0 to `transition_steps` of optax's 1-cycle schedules."""
    make = {
        "cosine": optax.cosine_onecycle_schedule,
        "linear": optax.linear_onecycle_schedule,
    }[anneal]
    with jax.enable_x64(True):
        schedule = make(**arguments)
        steps = range(arguments["transition_steps"] + 1)
        return {"learning_rate": [float(schedule(step)) for step in steps]}
