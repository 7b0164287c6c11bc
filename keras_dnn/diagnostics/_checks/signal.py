"""Checks of the signal and the gradient on their way through the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from keras_dnn._keras.layers import own_weights
from keras_dnn.diagnostics._trained import was_trained
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.layer_signal import LayerSignal
from keras_dnn.models._layer_outputs import computing_layers

# These also describe the checks of the same problems during training.
HALF_A_LAYER = "half of a layer does not learn"
FACTOR_OF_1000 = "a factor of 1,000 from one end of the network to the other"
AGAINST_VANISHING = (
    "Use ReLU-like activations with He initialisation (or SELU with LeCun's), batch "
    "norm, or skip connections."
)

FEW = 8
"""Half of fewer units may start dead by chance, where inputs hardly differ."""


@built_in(
    "dead-units",
    when="before",
    needs=lambda examination: any(np.isfinite(s.dead) for s in _hidden(examination)),
    looks_for="units that output zero for every example",
    threshold=0.5,
    source=HALF_A_LAYER,
    advice="Start biases at zero, use He initialisation or a leaky activation, and "
    "standardise the inputs.",
)
def dead_units(examination: Examination, check: Check) -> Iterator[Finding]:
    """A ReLU that outputs zero for every example gets no gradient."""

    def dead(signal: LayerSignal) -> float:
        by_chance = 0 < signal.units < FEW and signal.dead < 1
        return 0.0 if by_chance else signal.dead

    yield from _units(examination, check, dead, "output zero for every example")


@built_in(
    "saturated-units",
    when="before",
    needs=lambda examination: any(
        np.isfinite(s.saturated) for s in _hidden(examination)
    ),
    looks_for="units on the flat side of their activation",
    threshold=0.3,
    source="a unit counts if less than 5% of the steepest slope is left on three "
    "quarters of the examples",
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
    forward, _, backward = _growth(examination)
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
    forward, backward, _ = _growth(examination)
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


class _Growth(NamedTuple):
    """How the signal grows to the top, and how the gradient grows to the bottom.

    A layer that ends a branch may begin at zero, or at a scale of a millionth, and what
    is measured there says nothing of the way past it. Hence what enters the topmost
    layer is measured too, and the gradient of whatever is called before the lowest; a
    network is not accused if one of these is in order.
    """

    forward: float
    backward: float
    least_backward: float


def _growth(examination: Examination) -> _Growth:
    hidden = examination.weighted
    if not hidden or not np.isfinite([s.std for s in hidden]).all():
        return _Growth(1.0, 1.0, 1.0)
    top = [s for s in examination.layers if s.has_kernel][-1]
    # Units that are all equal or all dead are another problem.
    entering = _entering_std(examination, hidden)
    leaving = float(np.nanmax([hidden[-1].std, top.input_std]))
    forward = leaving / entering if entering > 0 else 1.0
    if len(hidden) == 1:
        # Nothing can vanish on the way, but a recurrent state can explode.
        return _Growth(max(1.0, forward), 1.0, 1.0)
    lowest = _lowest_gradient(examination)
    highest = [n for n in (hidden[-1].gradient_norm, top.input_gradient_norm) if n > 0]
    # Where no gradient enters at the top, none is lost below. Where a signal explodes,
    # gradients may overflow.
    if not highest or not lowest > 0 or not np.isfinite([lowest, *highest]).all():
        return _Growth(forward, 1.0, 1.0)
    return _Growth(forward, lowest / min(highest), lowest / max(highest))


def _lowest_gradient(examination: Examination) -> float:
    """The largest gradient at the lowest layer that learns, or before it.

    The first layers may get none at all at first: the one above begins at zero.
    """
    largest, learns = 0.0, False
    for signal in examination.layers:
        largest = max(largest, signal.gradient_norm)
        is_hidden = signal.has_kernel and not signal.is_output
        learns = learns or (is_hidden and signal.is_trainable)
        if learns and largest > 0:
            break
    return largest


def _entering_std(examination: Examination, hidden: list[LayerSignal]) -> float:
    if not examination.entering:
        return hidden[0].std
    values = [np.asarray(part, "float64") for part in examination.entering]
    return float(np.sqrt(np.mean([v.var(axis=0).mean() for v in values])))


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
    advice="Make sure that the layer is connected to an output that has a loss, and "
    "that nothing between the two has a slope of zero everywhere (rounding, argmax, "
    "stop_gradient).",
)
def no_gradient(examination: Examination, check: Check) -> Iterator[Finding]:
    """Keras warns of it only once training runs."""
    variables = examination.model.trainable_variables
    pairs = zip(variables, examination.gradients, strict=True)
    without = [variable.path for variable, norm in pairs if norm is None]
    if without:
        # Such as an expert that got no example of this batch.
        called = {id(signal.layer) for signal in examination.layers}
        idle = [p for p in computing_layers(examination.model) if id(p) not in called]
        unused = {variable.path for part in idle for variable in own_weights(part)}
        rest = [path for path in without if path not in unused]
        yield check.finding(
            "error" if rest else "note",
            f"{len(without)} of {len(variables)} trainable variables get no gradient"
            f"{'' if rest else '; their layers are not called on this batch'}.",
            (rest or without)[0].rpartition("/")[0],
            weights=rest or without,
        )


def _units(
    examination: Examination,
    check: Check,
    fraction: Callable[[LayerSignal], float],
    problem: str,
) -> Iterator[Finding]:
    """The layers of which too large a fraction of the units has a problem."""
    found = [s for s in _hidden(examination) if fraction(s) > check.threshold]
    if found:
        first = fraction(found[0])
        trained = was_trained(found[0].layer, examination.model)
        yield check.finding(
            "note" if trained else "warning",
            f"{first:.0%} of the units {problem}.",
            found[0].path,
            advice="This is common in a network that was trained before, and does "
            "little harm there."
            if trained
            else None,
            fraction=first,
            layers=len(found),
        )


def _hidden(examination: Examination) -> list[LayerSignal]:
    """The layers from the first one that learns on, without outputs."""
    learning = [s.has_kernel and s.is_trainable for s in examination.layers]
    first = learning.index(True) if True in learning else 0
    return [s for s in examination.layers[first:] if not s.is_output]
