"""Checks of the signal and the gradient on their way through the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.layer_signal import LayerSignal

# These also describe the checks of the same problems during training.
HALF_A_LAYER = "half of a layer does not learn"
FACTOR_OF_1000 = "a factor of 1,000 from one end of the network to the other"
AGAINST_VANISHING = (
    "Use ReLU-like activations with He initialisation (or SELU with LeCun's), batch "
    "norm, or skip connections."
)


@built_in(
    "dead-units",
    when="before",
    looks_for="units that output zero for every example",
    threshold=0.5,
    source=HALF_A_LAYER,
    advice="Start biases at zero, use He initialisation or a leaky activation, and "
    "standardise the inputs.",
)
def dead_units(examination: Examination, check: Check) -> Iterator[Finding]:
    """A ReLU that outputs zero for every example gets no gradient."""
    yield from _units(
        examination, check, lambda s: s.dead, "output zero for every example"
    )


@built_in(
    "saturated-units",
    when="before",
    looks_for="units on the flat side of their activation",
    threshold=0.3,
    source="a unit counts if less than 5% of the steepest slope is left on nine "
    "tenths of the examples",
    advice="Use smaller initial weights (for_activation gives them) and standardise "
    "the inputs.",
)
def saturated_units(examination: Examination, check: Check) -> Iterator[Finding]:
    """Where the slope is nearly zero, no gradient gets through."""
    yield from _units(examination, check, lambda s: s.saturated, "are saturated")


@built_in(
    "exploding",
    when="before",
    looks_for="a signal or gradient that grows from layer to layer",
    threshold=1e3,
    source=FACTOR_OF_1000,
    advice="Initialise weights to suit the activation (for_activation), add batch "
    "norm, or use lsuv; clipping only hides the problem.",
)
def exploding(examination: Examination, check: Check) -> Iterator[Finding]:
    """Each layer multiplies: a little too large becomes far too large."""
    overflow = examination.nonfinite
    if overflow is not None and overflow.overflow:
        what = "signal" if overflow.origin == "outputs" else "gradient"
        yield check.finding(
            "warning", f"The {what} overflows to infinity here.", overflow.layer
        )
        return
    forward, backward = _growth(examination)
    if max(forward, backward) > check.threshold:
        what = "signal" if forward >= backward else "gradient"
        yield check.finding(
            "warning",
            f"The {what} grows from layer to layer.",
            _steepest(examination, forward >= backward, grows=True),
            forward=forward,
            backward=backward,
        )


@built_in(
    "vanishing",
    when="before",
    looks_for="a signal or gradient that shrinks from layer to layer",
    threshold=1e-3,
    source=FACTOR_OF_1000,
    advice=AGAINST_VANISHING,
)
def vanishing(examination: Examination, check: Check) -> Iterator[Finding]:
    """Lower layers hardly learn, or the upper ones see hardly any difference."""
    forward, backward = _growth(examination)
    if min(forward, backward) < check.threshold:
        yield check.finding(
            "warning",
            "Differences between examples almost disappear on the way to the output."
            if forward <= backward
            else "The gradient almost disappears on the way to the first layer.",
            _steepest(examination, forward <= backward, grows=False),
            forward=forward,
            backward=backward,
        )


def _growth(examination: Examination) -> tuple[float, float]:
    """How the signal grows to the last hidden layer, the gradient to the first one."""
    hidden = examination.weighted
    if len(hidden) < 2 or not np.isfinite(_sizes(examination)).all():
        return 1.0, 1.0
    # Units that are all equal or all dead are another problem.
    entering = _entering_std(examination, hidden)
    forward = hidden[-1].std / entering if entering > 0 else 1.0
    last = hidden[-1].gradient_norm
    # Where no gradient enters at the top, none is lost below.
    backward = hidden[0].gradient_norm / last if last > 0 else 1.0
    return float(forward), float(backward)


def _entering_std(examination: Examination, hidden: list[LayerSignal]) -> float:
    if not examination.entering:
        return hidden[0].std
    values = [np.asarray(part, "float64") for part in examination.entering]
    return float(np.sqrt(np.mean([v.var(axis=0).mean() for v in values])))


def _sizes(examination: Examination) -> list[float]:
    return [
        size
        for signal in examination.weighted
        for size in (signal.std, signal.gradient_norm)
    ]


def _steepest(examination: Examination, forward: bool, grows: bool) -> str | None:
    """The layer at which the signal, or the gradient, changes most."""
    hidden = examination.weighted
    if len(hidden) < 2:
        return None
    values = np.array([s.std if forward else s.gradient_norm for s in hidden])
    with np.errstate(all="ignore"):
        changes = np.diff(np.log(values if forward else values[::-1]))
    changes = np.where(np.isfinite(changes), changes, np.inf if grows else -np.inf)
    place = int(changes.argmax() if grows else changes.argmin()) + 1
    return hidden[place if forward else -1 - place].path


@built_in(
    "no-gradient",
    when="before",
    looks_for="weights that the loss does not depend on",
    advice="Make sure that the layer is connected to an output that has a loss.",
)
def no_gradient(examination: Examination, check: Check) -> Iterator[Finding]:
    """Keras warns of it only once training runs."""
    variables = examination.model.trainable_variables
    pairs = zip(variables, examination.gradients, strict=True)
    without = [variable.path for variable, norm in pairs if norm is None]
    if without:
        yield check.finding(
            "error",
            f"{len(without)} of {len(variables)} trainable variables get no gradient.",
            without[0].rpartition("/")[0],
            weights=without,
        )


def _units(
    examination: Examination,
    check: Check,
    fraction: Callable[[LayerSignal], float],
    problem: str,
) -> Iterator[Finding]:
    """The layers of which too large a fraction of the units has a problem."""
    found = [
        signal
        for signal in examination.layers
        if fraction(signal) > check.threshold and not signal.is_output
    ]
    if found:
        first = fraction(found[0])
        yield check.finding(
            "warning",
            f"{first:.0%} of the units {problem}.",
            found[0].path,
            fraction=first,
            layers=len(found),
        )
