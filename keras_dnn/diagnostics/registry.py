"""The checks that `preflight` and `Doctor` make, and how to add one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from keras_dnn import _arguments
from keras_dnn.diagnostics._checks import (
    data,
    learning,
    outputs,
    signal,
    structure,
    symmetry,
    training_layers,
    training_losses,
    validation,
)
from keras_dnn.diagnostics.check import Check, Find, When

# Causes before their effects: findings of one severity are reported in this order.
BUILT_IN = (
    data.nonfinite_data,
    data.labels,
    validation.validation_data,
    data.nonfinite_values,
    data.inputs_not_standardised,
    data.targets_not_standardised,
    structure.nothing_trainable,
    outputs.loss_and_activation,
    outputs.output_range,
    symmetry.symmetric_weights,
    structure.useless_bias,
    structure.self_normalisation,
    structure.initializer,
    signal.dead_units,
    signal.saturated_units,
    signal.exploding,
    signal.vanishing,
    signal.no_gradient,
    learning.regularisation,
    learning.initial_loss,
    learning.tiny_batch,
    training_layers.nonfinite,
    training_losses.rate_too_high,
    training_layers.exploding,
    training_losses.underfitting,
    training_layers.dead_units,
    training_layers.saturated_units,
    training_layers.vanishing,
    training_losses.rate_too_low,
    training_losses.plateau,
    training_losses.no_better_than_a_guess,
    training_losses.overfitting,
    training_layers.update_ratio,
)

MOMENTS: tuple[When, ...] = ("before", "during")

REGISTRY: dict[When, dict[str, Check]] = {
    when: {check.name: check for check in BUILT_IN if check.when == when}
    for when in MOMENTS
}

Function = TypeVar("Function", bound=Find)


def register_check(
    name: str,
    *,
    looks_for: str,
    advice: str,
    when: When = "before",
    threshold: float = math.nan,
    source: str = "",
    blocking: bool = False,
    see: str = "",
) -> Callable[[Function], Function]:
    """Adds a function to the checks that `preflight` or `Doctor` makes.

    The function takes what it examines and its `Check`, and yields what
    `check.finding(...)` makes. `preflight` gives it an `Examination`, `Doctor` the
    `TrainingHistory` so far. A new check is made after those there are; one whose name
    is taken replaces the other, in its place.

    Args:
        name: of the problem.
        looks_for: what the check looks for, in a few words.
        advice: what to do about it.
        when: `"before"` for `preflight`, `"during"` for `Doctor`; a `Doctor` makes the
            checks that are registered when it is created.
        threshold: the number at which the problem begins; the function reads it from
            its check, since `preflight` and `Doctor` can be given another one.
        source: where the threshold comes from.
        blocking: whether `preflight` stops after an error from this check, because
            later checks would mean nothing.
        see: where it is explained, such as the address of a page.

    Returns:
        A decorator that leaves the function as it is.

    Raises:
        ValueError: if `when` is neither `"before"` nor `"during"`.

    Example:
        >>> from keras_dnn.diagnostics import register_check, unregister_check
        >>> @register_check(
        ...     "too-deep",
        ...     looks_for="more layers than anybody wants",
        ...     threshold=1000,
        ...     advice="Use fewer layers.",
        ... )
        ... def too_deep(examination, check):
        ...     count = len(examination.layers)
        ...     if count > check.threshold:
        ...         yield check.finding("note", "The network is deep.", layers=count)
        >>> unregister_check("too-deep")
    """
    _arguments.choice("when", when, MOMENTS)

    def register(find: Function) -> Function:
        REGISTRY[when][name] = Check(
            name,
            looks_for,
            advice,
            find,
            when,
            threshold,
            source,
            blocking,
            see,
        )
        return find

    return register


def unregister_check(name: str, when: When = "before") -> None:
    """Removes a check from those that `preflight` or `Doctor` makes.

    Args:
        name: of the check.
        when: `"before"` for a check of `preflight`, `"during"` for one of `Doctor`.

    Raises:
        ValueError: if there is none of this name, or `when` is neither.

    Example:
        >>> from keras_dnn.diagnostics import register_check, unregister_check
        >>> keep = register_check("mine", looks_for="nothing", advice="")(None)
        >>> unregister_check("mine")
    """
    checks = REGISTRY[_arguments.choice("when", when, MOMENTS)]
    _arguments.choice("name", name, tuple(checks))
    del checks[name]


def registered_checks(when: When = "before") -> tuple[Check, ...]:
    """Gives the checks that `preflight` or `Doctor` makes, in their order.

    Args:
        when: `"before"` for the checks of `preflight`, `"during"` for those of
            `Doctor`.

    Returns:
        A tuple of `Check`.

    Raises:
        ValueError: if `when` is neither.

    Example:
        >>> from keras_dnn.diagnostics import registered_checks
        >>> "plateau" in [check.name for check in registered_checks("during")]
        True
    """
    _arguments.choice("when", when, MOMENTS)
    return tuple(REGISTRY[when].values())


def selected(
    when: When, skip: Iterable[str], thresholds: Mapping[str, float] | None
) -> list[Check]:
    """The registered checks without those to skip, with the thresholds given."""
    checks = REGISTRY[when]
    skipped = [skip] if isinstance(skip, str) else list(skip)
    given = dict(thresholds or {})
    for argument, names in (("skip", skipped), ("thresholds", list(given))):
        unknown = [name for name in names if name not in checks]
        if unknown:
            raise ValueError(
                f"{argument} must hold names of checks: {', '.join(checks)}. "
                f"Received: {', '.join(map(repr, unknown))}"
            )
    for name, threshold in given.items():
        if math.isnan(checks[name].threshold):
            raise ValueError(
                f"thresholds must hold checks that have a threshold; {name!r} has none "
                "and can only be left out, by skip. "
                f"Received: thresholds={{{name!r}: {threshold!r}}}"
            )
        given[name] = _arguments.number(
            f"thresholds[{name!r}]", threshold, low=-math.inf, high=math.inf
        )
    return [
        dataclasses.replace(check, threshold=given.get(name, check.threshold))
        for name, check in checks.items()
        if name not in skipped
    ]
