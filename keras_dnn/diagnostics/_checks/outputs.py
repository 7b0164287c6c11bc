"""Checks of the outputs: whether the loss takes them, and what they can reach."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._yardstick.endings import RANGES, is_taken_back
from keras_dnn.diagnostics._yardstick.output_loss import CROSSENTROPIES, OutputLoss
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding

PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")

SIGMOIDS = ("sigmoid", "hard_sigmoid")

SUM = "The probabilities of one example should sum to 1"

ROUNDING = 1e-2
"""How far probabilities in half precision may be from a sum of 1."""

DISTINCT = 16
"""Of as many different numbers, not all are between 0 and 1 by chance."""


@built_in(
    "loss-and-activation",
    when="before",
    looks_for="an output that is not what the loss takes",
    advice="Either end with softmax (one class of several) or sigmoid (yes or no) and "
    "use from_logits=False, or end without an activation and use from_logits=True.",
)
def loss_and_activation(examination: Examination, check: Check) -> Iterator[Finding]:
    """Keras does not compare the two, and training goes on, badly."""
    for i, loss in enumerate(examination.losses):
        message = _mismatch(examination, i, loss)
        if message is not None:
            # Keras divides probabilities by their sum, so that sigmoids learn, too.
            learns = message.startswith(SUM) and loss.activation in SIGMOIDS
            yield check.finding(
                "note" if learns else "error",
                message,
                loss.layer,
                loss=loss.name,
                from_logits=loss.from_logits,
                activation=loss.activation,
            )


def _mismatch(examination: Examination, index: int, loss: OutputLoss) -> str | None:
    """What is wrong about an ending; `None` if nothing is."""
    wanted, found = CROSSENTROPIES.get(loss.name), loss.activation
    if wanted is None:
        return None
    output = examination.outputs[index]
    if found == "softmax" and loss.classes == 1:
        return "A softmax over one unit always outputs 1."
    if loss.name == "sparse_categorical_crossentropy" and loss.classes == 1:
        return "One unit cannot separate classes: use binary_crossentropy."
    if loss.from_logits:
        if _are_probabilities(output, found) and not is_taken_back(examination, index):
            return (
                f"The loss expects logits, but the output activation is {found}."
                if found
                else "The loss expects logits, but the outputs are probabilities."
            )
        if found not in RANGES or _are_probabilities(output, found):
            return None
        if RANGES[found][0] > -2 and _is_within(output, found):
            return f"The loss expects logits of any size; {found} bounds them."
        return None
    if not np.isfinite(output).all():
        return None
    if output.min() < -ROUNDING or output.max() > 1 + ROUNDING:
        return (
            f"The loss expects probabilities, but the output activation is {found}."
            if found
            else "The loss expects probabilities, but the outputs lie between "
            f"{output.min():.3g} and {output.max():.3g}."
        )
    if wanted == "softmax" and (loss.classes or 1) > 1:
        sums = output.sum(axis=-1)
        if np.abs(sums - 1).max() > ROUNDING:
            return (
                f"{SUM}, as after softmax, but the output activation is {found}."
                if found not in (None, "softmax")
                else f"{SUM}, but sum to {sums.min():.3g} to {sums.max():.3g}."
            )
    return None


def _are_probabilities(output: np.ndarray, activation: str | None) -> bool:
    if activation is not None:
        return activation in PROBABILITIES
    # A layer of the user's own: the outputs tell. Logits lie on both sides of zero.
    if output.min() > 0 and output.max() < 1 and len(np.unique(output)) >= DISTINCT:
        return True
    if output.ndim < 2 or output.shape[-1] < 2 or len(output) < 2:
        return False
    sums = output.sum(axis=-1)
    return bool(output.min() >= 0 and np.abs(sums - 1).max() < ROUNDING)


def _is_within(output: np.ndarray, activation: str) -> bool:
    """Whether outputs lie where the activation puts them, so that it is the last."""
    low, high = RANGES[activation]
    return bool(output.min() >= low - ROUNDING and output.max() <= high + ROUNDING)


@built_in(
    "output-range",
    when="before",
    looks_for="targets that the last activation can never output",
    threshold=0.01,
    source="the error that must be left, a hundredth of the variance of the targets",
    advice="End with an activation that reaches all targets (none at all for numbers "
    "of any size), or scale the targets into its range.",
)
def output_range(examination: Examination, check: Check) -> Iterator[Finding]:
    """Such a network learns to output a bound, where its gradient vanishes."""
    for loss, target, output in zip(
        examination.losses, examination.targets, examination.outputs, strict=False
    ):
        found = loss.activation
        known = loss.takes_numbers and target.dtype.kind in "fiub" and target.size
        if not known or found not in RANGES or not _is_within(output, found):
            continue
        values = np.asarray(target, "float64")
        if not np.isfinite(values).all():
            continue
        low, high = RANGES[found]
        missed = values - np.clip(values, low, high)
        left, spread = float(np.mean(missed**2)), float(np.var(values))
        fraction = left / spread if spread > 0 else float(left > 0)
        sums = values.sum(axis=-1) if found == "softmax" and values.ndim > 1 else None
        if fraction > check.threshold:
            yield check.finding(
                "error" if fraction > 10 * check.threshold else "warning",
                f"The targets lie between {values.min():.3g} and {values.max():.3g}, "
                f"but {found} outputs {_words(low, high)}.",
                loss.layer,
                lowest=float(values.min()),
                highest=float(values.max()),
                outside=float(np.mean(missed != 0)),
                error_left=fraction,
            )
        elif sums is not None and np.abs(sums - 1).mean() > 0.1:
            yield check.finding(
                "error",
                "The numbers that softmax outputs for one example sum to 1, but the "
                f"targets sum to {sums.min():.3g} to {sums.max():.3g}.",
                loss.layer,
                advice="End with sigmoid for classes that do not exclude one another, "
                "or without an activation for numbers.",
                lowest_sum=float(sums.min()),
                highest_sum=float(sums.max()),
            )


def _words(low: float, high: float) -> str:
    if np.isinf(high):
        return f"nothing below {low:.3g}"
    if np.isinf(low):
        return f"nothing above {high:.3g}"
    return f"numbers between {low:.3g} and {high:.3g}"
