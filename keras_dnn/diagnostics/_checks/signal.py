"""Checks of the signal on its way through the layers, forward and back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics.check import Check, register_check
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.layer_signal import LayerSignal


@register_check(
    "dead-units",
    looks_for="units that give zero on every example",
    threshold=0.5,
    source="half of a layer lost",
    advice="Begin biases at zero, use He's initialisation or a leaky activation, "
    "and standardise the inputs.",
)
def dead_units(look: Examination, check: Check) -> Iterator[Finding]:
    """What gives zero on every example gets no gradient."""
    dead = [s for s in look.layers if s.dead > (check.threshold or 0) and not s.output]
    if dead:
        yield check.finding(
            "warning",
            f"{dead[0].dead:.0%} of the units give zero on the whole batch.",
            dead[0].path,
            share=dead[0].dead,
            layers=len(dead),
        )


@register_check(
    "saturated-units",
    looks_for="units on the flat side of their activation",
    threshold=0.3,
    source="a unit counts if on nine tenths of the examples under 5 % of the "
    "steepest slope is left",
    advice="Smaller initial weights (for_activation gives them) and standardised "
    "inputs.",
)
def saturated_units(look: Examination, check: Check) -> Iterator[Finding]:
    """Where the slope is nearly zero no gradient comes through."""
    limit = check.threshold or 0
    found = [s for s in look.layers if s.saturated > limit and not s.output]
    if found:
        yield check.finding(
            "warning",
            f"{found[0].saturated:.0%} of the units are saturated.",
            found[0].path,
            share=found[0].saturated,
            layers=len(found),
        )


@register_check(
    "exploding",
    looks_for="a signal or gradient that grows from layer to layer",
    threshold=1e3,
    source="a factor of 1,000 from one end of the network to the other",
    advice="Initialise by the activation (for_activation), add batch norm, or use "
    "lsuv; clipping hides it only.",
)
def exploding(look: Examination, check: Check) -> Iterator[Finding]:
    """Each layer multiplies: what is a little too large becomes far too large."""
    limit = check.threshold or 0.0
    forward, backward = _ratios(look)
    bad = max(forward, backward)
    if bad > limit or not np.isfinite([look.loss, *_numbers(look)]).all():
        worst = _where(look, forward >= backward, grows=True)
        yield check.finding(
            "warning",
            "The signal grows" if forward >= backward else "The gradient grows",
            worst,
            forward=forward,
            backward=backward,
        )


@register_check(
    "vanishing",
    looks_for="a signal or gradient that dies away from layer to layer",
    threshold=1e-3,
    source="a factor of 1,000 from one end of the network to the other",
    advice="Use ReLU-like activations with He's initialisation (or SELU with "
    "LeCun's), batch norm, or skip connections.",
)
def vanishing(look: Examination, check: Check) -> Iterator[Finding]:
    """Lower layers hardly learn, or the upper ones see hardly any difference."""
    forward, backward = _ratios(look)
    bad = min(forward, backward)
    if bad < (check.threshold or 0.0):
        yield check.finding(
            "warning",
            "Differences between examples die away on the way up."
            if forward <= backward
            else "The gradient dies away on the way down.",
            _where(look, forward <= backward, grows=False),
            forward=forward,
            backward=backward,
        )


def _ratios(look: Examination) -> tuple[float, float]:
    """Spread of the last hidden layer to the inputs', gradient of the first to its."""
    hidden = look.weighted
    if len(hidden) < 2 or not np.isfinite(_numbers(look)).all():
        return 1.0, 1.0
    # A kernel all of whose units are equal or dead is another disease.
    entering = _entering_spread(look, hidden)
    forward = hidden[-1].spread / entering if entering > 0 else 1.0
    last = hidden[-1].gradient
    # Where no gradient comes in from above, none is lost here.
    backward = hidden[0].gradient / last if last > 0 else 1.0
    return float(forward), float(backward)


def _entering_spread(look: Examination, hidden: list[LayerSignal]) -> float:
    if not look.entering:
        return hidden[0].spread
    values = [np.asarray(part, "float64") for part in look.entering]
    return float(np.sqrt(np.mean([v.var(axis=0).mean() for v in values])))


def _numbers(look: Examination) -> list[float]:
    return [n for s in look.weighted for n in (s.spread, s.gradient)]


def _where(look: Examination, forward: bool, grows: bool) -> str | None:
    """The layer at which the largest step is."""
    hidden = look.weighted
    if len(hidden) < 2:
        return None
    values = np.array([s.spread if forward else s.gradient for s in hidden])
    with np.errstate(all="ignore"):
        steps = np.diff(np.log(values if forward else values[::-1]))
    steps = np.where(np.isfinite(steps), steps, np.inf if grows else -np.inf)
    place = int(steps.argmax() if grows else steps.argmin()) + 1
    return hidden[place if forward else -1 - place].path


@register_check(
    "no-gradient",
    looks_for="weights that the loss does not depend on",
    advice="See that the layer is on the way to an output that has a loss.",
)
def no_gradient(look: Examination, check: Check) -> Iterator[Finding]:
    """Keras only warns of it, once training runs."""
    variables = look.model.trainable_variables
    lost = [v.path for v, g in zip(variables, look.gradients, strict=True) if g is None]
    if lost:
        yield check.finding(
            "error",
            f"{len(lost)} of {len(variables)} weights get no gradient.",
            lost[0].rpartition("/")[0],
            weights=lost,
        )
