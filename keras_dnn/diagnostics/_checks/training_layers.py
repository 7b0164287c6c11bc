"""Checks of what a training shows of its layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._checks.signal import (
    AGAINST_VANISHING,
    FACTOR_OF_1000,
    HALF_A_LAYER,
)
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.training_history import TrainingHistory

THOUSANDTH = "A. Karpathy, CS231n: updates of about a thousandth of the weights"

SETTLED = 50
"""Steps after which initialisation no longer explains what is seen.

With batch norm in each layer the gradient grows by a fifth or so from layer to layer
towards the input (G. Yang et al., "A Mean Field Theory of Batch Normalization", 2019).
That of ResNet50 starts with a norm of 4,800. Adam brings it under 1,000 in 20 steps and
to 100 in 40. Where it does harm it stays: fifty layers without skip connections have
40,000 after 120 steps and learn nothing. The loss of ResNet50 may rise fourfold in the
first ten steps, and has fallen below its first value after twenty.
"""

NEIGHBOURS = 30
"""Ratio between gradients of neighbouring layers that vanishing explains."""


@built_in(
    "nonfinite",
    when="during",
    looks_for="a loss or gradient that is NaN or infinite",
    advice="Look in that layer for a logarithm, root or division of zero, inspect the "
    "data of that step, and try a smaller learning rate or global_clipnorm.",
    source="nothing is learnt from there on",
)
def nonfinite(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Gives the step, and the layer if it can be found."""
    found = history.nonfinite
    if found is not None:
        place = (
            f"it started in the {found.origin} of {found.layer}."
            if found.layer
            else "no layer was seen to cause it: inspect the data of that step."
        )
        what = "The loss or a gradient" if found.metric is None else found.metric
        yield check.finding(
            "error",
            f"{what} is not finite from step {found.step} on; {place}",
            found.layer,
            advice=None
            if found.layer
            else "Look there for values that are missing or far too large, and try a "
            "smaller learning rate or global_clipnorm.",
            step=found.step,
            loss=found.loss,
        )


@built_in(
    "exploding",
    when="during",
    needs=lambda history: len(history.steps),
    looks_for="gradients that are far too large, and stay so",
    threshold=1e3,
    source="norms of healthy networks lie between 0.01 and 10 once training is under "
    "way",
    advice="Initialise weights to suit the activation (for_activation), standardise "
    "inputs and targets, add batch norm and skip connections, or clip by "
    "global_clipnorm.",
)
def exploding(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Uses the median of many records, so that outliers do not count."""
    record = np.arange(len(history.steps))
    first = record < max(3, len(record) // 4)
    late = (record >= len(record) // 2) & (history.steps >= SETTLED)
    # Where the signal explodes going forward, the gradient is large from the start.
    overflowing = (
        history.first_loss > 10 * history.uniform_loss if len(history.losses) else False
    )
    starts_large = overflowing and _median(history, first) > _median(history, late)
    judged = first if starts_large else late
    norm = _median(history, judged)
    if norm > check.threshold:
        kernels, medians = _medians(history, history.norms[judged])
        yield check.finding(
            "warning",
            f"The gradients have a median norm of {norm:.3g}.",
            _layer_of(kernels[int(medians.argmax())]) if kernels else None,
            norm=norm,
            largest=float(history.global_norms.max()),
        )


@built_in(
    "dead-units",
    when="during",
    needs=lambda history: history.dead.size,
    looks_for="units that have come to output zero for every example",
    threshold=0.5,
    source=HALF_A_LAYER,
    advice="Use a smaller learning rate, He initialisation, or a leaky activation.",
)
def dead_units(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Also gives the fraction at the start."""
    yield from _units(
        history, history.dead, check, "of the units output zero for every example"
    )


@built_in(
    "saturated-units",
    when="during",
    needs=lambda history: np.isfinite(history.saturated).any(),
    looks_for="units that have come to lie on the flat side of their activation",
    threshold=0.3,
    source="a unit counts if three quarters of its outputs are where the slope is "
    "under 5% of the steepest",
    advice="Use a smaller learning rate, smaller initial weights, or batch norm.",
)
def saturated_units(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Also gives the fraction at the start."""
    yield from _units(history, history.saturated, check, "of the units are saturated")


def _units(
    history: TrainingHistory, fractions: np.ndarray, check: Check, what: str
) -> Iterator[Finding]:
    if not fractions.size:
        return
    # The output layer may saturate: a confident classifier does.
    now = np.nan_to_num(fractions[-1])[:-1]
    if now.size and now.max() > check.threshold:
        worst = int(now.argmax())
        yield check.finding(
            "note" if history.has_learnt else "warning",
            f"{now[worst]:.0%} {what}.",
            history.layers[worst],
            fraction=float(now[worst]),
            at_first=float(np.nan_to_num(fractions[0, worst])),
        )


@built_in(
    "vanishing",
    when="during",
    needs=lambda history: np.isfinite(history.norms).any(axis=0).sum() >= 3,
    looks_for="gradients that shrink on the way to the first layer",
    threshold=1e-3,
    source=FACTOR_OF_1000,
    advice=AGAINST_VANISHING,
)
def vanishing(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Compares the gradient of the first kernel with the largest one."""
    kernels, medians = _medians(history, history.norms)
    if len(kernels) < 3 or not medians.max() > 0:
        return
    ratios = medians / medians.max()
    # The scores of attention get small gradients by design, but what they weigh is
    # beside them; a gradient that vanishes is small in the layers above too.
    lowest = ratios[: min(3, len(ratios) // 2)].max()
    if ratios[0] < check.threshold and lowest < NEIGHBOURS * check.threshold:
        highest = int(np.flatnonzero(ratios < check.threshold)[-1])
        yield check.finding(
            "note" if history.has_learnt else "warning",
            f"The first layer's gradient is {ratios[0]:.2g} times the largest one.",
            _layer_of(kernels[highest]),
            first_layer=float(medians[0]),
            largest=float(medians.max()),
        )


@built_in(
    "update-ratio",
    when="during",
    needs=lambda history: np.isfinite(history.ratios).any(),
    looks_for="layers whose updates are out of proportion to their weights",
    threshold=1e-3,
    source=THOUSANDTH,
    advice="Give these layers their own learning rate (discriminative_rates or "
    "MultiOptimizer), or use an adaptive optimizer.",
)
def update_ratio(history: TrainingHistory, check: Check) -> Iterator[Finding]:
    """Ten times more or less is worth a note; small ones only before the end.

    Unless the other kernels always moved a hundred times as much.
    """
    kernels, medians = _medians(history, history.ratios[len(history.ratios) // 2 :])
    if not kernels:
        return
    always = dict(zip(*_medians(history, history.ratios), strict=True))
    usual = np.median(list(always.values()))
    for i in (int(medians.argmax()), int(medians.argmin())):
        relative = medians[i] / check.threshold
        is_alone = always[kernels[i]] < 0.01 * usual
        is_early = is_alone or not history.has_learnt
        if relative > 10 or (relative < 0.1 and is_early):
            yield check.finding(
                "note",
                f"The median update is {medians[i]:.2g} times the weights.",
                _layer_of(kernels[i]),
                ratio=float(medians[i]),
            )
            return


def _median(history: TrainingHistory, records: np.ndarray) -> float:
    return float(np.median(history.global_norms[records])) if records.any() else 0.0


def _medians(
    history: TrainingHistory, records: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """The kernels of which there are finite numbers, and the median of each."""
    finite = np.isfinite(records)
    known = np.flatnonzero(finite.any(axis=0))
    if not known.size:
        return [], np.empty(0)
    found = np.where(finite, records, np.nan)[:, known]
    return [history.kernels[i] for i in known], np.nanmedian(found, axis=0)


def _layer_of(path: str) -> str:
    return path.rpartition("/")[0] or path
