"""How a training went, as arrays, and the checks of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_dnn.callbacks._first_bad_step import BadStep
from keras_dnn.diagnostics.check import Check
from keras_dnn.diagnostics.finding import Finding

RULE = "A. Karpathy, CS231n: updates of about a thousandth of the weights"


@dataclasses.dataclass(frozen=True)
class Course:
    """What was recorded so far.

    Attributes:
        losses: of every step.
        norms: of the gradients of kernels, bottom first, of shape (records, kernels).
        kernels: their paths.
        global_norms: of all gradients, a number a record.
        ratios: of updates to weights, of the shape of `norms`.
        global_ratios: of all weights.
        layers: paths of the layers whose outputs were looked at.
        dead: share of dead units, of shape (looks, layers).
        saturated: share of saturated units, of the same shape.
        epochs: the reported loss of each epoch.
        validation: the validation loss of each epoch, NaN where there was none.
        evaluation: the training loss with dropout off, NaN where it is not known.
        verdict: of `TrainingEvaluation`.
        advice: of `TrainingEvaluation`.
        bad: the first step that was not finite.
    """

    losses: np.ndarray
    norms: np.ndarray
    kernels: list[str]
    global_norms: np.ndarray
    ratios: np.ndarray
    global_ratios: np.ndarray
    layers: list[str]
    dead: np.ndarray
    saturated: np.ndarray
    epochs: np.ndarray
    validation: np.ndarray
    evaluation: np.ndarray
    verdict: str
    advice: str
    bad: BadStep | None

    @property
    def first(self) -> float:
        """The loss of the first steps."""
        return float(np.mean(self.losses[: max(1, min(5, len(self.losses) // 20))]))

    @property
    def last(self) -> float:
        """The loss of the last tenth of the steps."""
        return float(np.mean(self.losses[-max(1, len(self.losses) // 10) :]))

    @property
    def learnt(self) -> bool:
        """Whether the loss has fallen by a third or more."""
        return self.last < 2 / 3 * self.first


CHECKS: dict[str, Check] = {}


def _check(
    name: str, looks_for: str, advice: str, threshold: float | None, source: str
) -> Callable[[Any], Any]:
    def register(find: Any) -> Any:
        CHECKS[name] = Check(name, looks_for, threshold, source, advice, False, find)
        return find

    return register


@_check(
    "nonfinite",
    "a loss or gradient that is NaN or infinite",
    "Look there for a logarithm, root or division of zero, at the data of that step, "
    "and try a smaller learning rate or global_clipnorm.",
    None,
    "nothing is learnt from there on",
)
def nonfinite(course: Course, check: Check) -> Iterator[Finding]:
    """Says the step, and the layer if it can be found."""
    if course.bad is not None:
        place = course.bad.layer or "the data of that step"
        yield check.finding(
            "error",
            f"Not finite from step {course.bad.step} on; it began in {place}"
            + (f" ({course.bad.reason})." if course.bad.layer else "."),
            course.bad.layer,
            step=course.bad.step,
            loss=course.bad.loss,
        )


@_check(
    "rate-too-high",
    "steps so large that they undo one another",
    "Divide the learning rate by 10, or let find_learning_rate suggest one.",
    0.1,
    f"{RULE}; a tenth of the weights at every step is a hundred times that",
)
def rate_too_high(course: Course, check: Check) -> Iterator[Finding]:
    """The first steps tell it best: later the units may be dead."""
    if course.bad is not None or not len(course.losses):
        return
    early = course.global_ratios[: max(3, len(course.global_ratios) // 4)]
    known = bool(np.isfinite(early).any())
    ratio = float(np.nanmedian(early)) if known else 0.0
    # One step as large as the weights can leave all units dead, and small steps after.
    largest = float(np.nanmax(early)) if known else 0.0
    risen = course.last > 1.5 * abs(course.first) and len(course.losses) >= 10
    limit = check.threshold or 0.0
    if ratio > limit or largest > 10 * limit or risen:
        yield check.finding(
            "warning",
            "The loss rises." if risen else "Each step replaces much of the weights.",
            first=course.first,
            last=course.last,
            update_ratio=ratio,
            largest_ratio=largest,
        )


@_check(
    "exploding",
    "gradients that are far too large",
    "Initialise by the activation (for_activation), standardise inputs and targets, "
    "add batch norm, or clip by global_clipnorm.",
    1e3,
    "norms of healthy networks lie between 0.01 and 10",
)
def exploding(course: Course, check: Check) -> Iterator[Finding]:
    """In the median of the first records, so that a single outlier is none."""
    early = course.global_norms[: max(3, len(course.global_norms) // 4)]
    norm = float(np.median(early)) if len(early) else 0.0
    if norm > (check.threshold or 0.0):
        worst = int(np.nanargmax(np.nanmedian(course.norms, axis=0)))
        yield check.finding(
            "warning",
            f"The gradients have a norm of {norm:.3g}.",
            course.kernels[worst].rpartition("/")[0],
            norm=norm,
            largest=float(course.global_norms.max()),
        )


@_check(
    "dead-units",
    "units that have ended up giving zero on every example",
    "A smaller learning rate, He's initialisation, or a leaky activation.",
    0.5,
    "half of a layer lost",
)
def dead_units(course: Course, check: Check) -> Iterator[Finding]:
    """Says how many there were at the start."""
    yield from _share(course, course.dead, check, "give zero on the whole batch")


@_check(
    "saturated-units",
    "units that have ended up on the flat side of their activation",
    "A smaller learning rate, smaller initial weights, or batch norm.",
    0.3,
    "a unit counts if nine tenths of its outputs are where the slope is under 5 %",
)
def saturated_units(course: Course, check: Check) -> Iterator[Finding]:
    """Says how many there were at the start."""
    yield from _share(course, course.saturated, check, "are saturated")


def _share(
    course: Course, shares: np.ndarray, check: Check, what: str
) -> Iterator[Finding]:
    if not shares.size:
        return
    # Outputs are meant to be sure: the last layer may saturate.
    now = np.nan_to_num(shares[-1])[:-1]
    if now.size and now.max() > (check.threshold or 0.0):
        worst = int(now.argmax())
        yield check.finding(
            "warning",
            f"{now[worst]:.0%} of the units {what}.",
            course.layers[worst],
            share=float(now[worst]),
            at_first=float(np.nan_to_num(shares[0, worst])),
        )


@_check(
    "vanishing",
    "gradients that die away on their way down",
    "Use ReLU-like activations with He's initialisation (or SELU with LeCun's), "
    "batch norm, or skip connections.",
    1e-3,
    "a factor of 1,000 from one end of the network to the other",
)
def vanishing(course: Course, check: Check) -> Iterator[Finding]:
    """The lowest kernel's gradient beside the largest one's."""
    if course.norms.shape[1] < 3 or not len(course.norms):
        return
    medians = np.nanmedian(course.norms, axis=0)
    if not np.isfinite(medians).all() or not medians.max() > 0:
        return
    ratio = float(medians[0] / medians.max())
    if ratio < (check.threshold or 0.0):
        small = int(
            np.flatnonzero(medians / medians.max() < (check.threshold or 0))[-1]
        )
        yield check.finding(
            "warning",
            f"The gradient at the bottom is {ratio:.2g} of the largest.",
            course.kernels[small].rpartition("/")[0],
            bottom=float(medians[0]),
            largest=float(medians.max()),
        )


@_check(
    "rate-too-low",
    "steps so small that hardly anything is learnt",
    "Multiply the learning rate by 10, or let find_learning_rate suggest one.",
    1e-4,
    RULE,
)
def rate_too_low(course: Course, check: Check) -> Iterator[Finding]:
    """Small steps are no disease of a training that has come to its end."""
    ratios = course.global_ratios[np.isfinite(course.global_ratios)]
    if len(ratios) < 2 or course.learnt or course.bad is not None:
        return
    ratio = float(np.median(ratios))
    if ratio < (check.threshold or 0.0):
        yield check.finding(
            "warning",
            f"Updates are {ratio:.2g} of the weights, and the loss has hardly moved.",
            update_ratio=ratio,
            first=course.first,
            last=course.last,
        )


@_check(
    "under-fitting",
    "a network held back by its regularisation",
    "Regularise less, train longer, or make the network larger.",
    0.3,
    "dropout and penalties make three tenths of the loss, and the rest is high",
)
def under_fitting(course: Course, check: Check) -> Iterator[Finding]:
    """Where dropout costs more than the gap to validation that it could close."""
    if not len(course.epochs) or course.bad is not None:
        return
    reported, without = float(course.epochs[-1]), float(course.evaluation[-1])
    gap = float(course.validation[-1]) - without
    cost = reported - without
    held_back = cost > (check.threshold or 0.0) * abs(reported) and cost > 2 * gap
    # Dropout that costs much does no harm where the network learns all the same.
    stuck = len(course.epochs) > 2 and without > 0.5 * abs(course.evaluation[0])
    if held_back and stuck:
        yield check.finding(
            "warning",
            "Dropout or penalties cost more than they can gain.",
            advice=course.advice if course.verdict == "under-fitting" else None,
            reported=reported,
            without=without,
            gap=gap,
        )


@_check(
    "plateau",
    "a loss that has stopped falling while it is still high",
    "Look at the labels and the inputs, try another learning rate, or a network with "
    "more units.",
    0.01,
    "less than 1 % better in the last half of the epochs",
)
def plateau(course: Course, check: Check) -> Iterator[Finding]:
    """Of the reported loss, over four epochs at least."""
    epochs = course.epochs
    if len(epochs) < 4 or course.learnt or not np.isfinite(epochs).all():
        return
    half = len(epochs) // 2
    before, after = float(epochs[:half].min()), float(epochs[half:].min())
    if after > before - (check.threshold or 0.0) * abs(before):
        yield check.finding(
            "warning",
            f"The loss has stayed at {after:.3g} for {len(epochs) - half} epochs.",
            before=before,
            after=after,
        )


@_check(
    "over-fitting",
    "a validation loss that rises while the training loss falls",
    "Stop early, regularise (dropout, l2), or get more data.",
    0.1,
    "a tenth above its lowest",
)
def over_fitting(course: Course, check: Check) -> Iterator[Finding]:
    """It must have risen again: a gap alone may be harmless."""
    validation = course.validation
    if len(validation) < 3 or not np.isfinite(validation).all():
        return
    lowest = float(validation.min())
    training = course.evaluation[-1]
    training = float(training if np.isfinite(training) else course.epochs[-1])
    risen = validation[-1] > (1 + (check.threshold or 0.0)) * lowest
    # Where next to nothing is left of the loss, a tenth of it is nothing either.
    matters = validation[-1] - lowest > 0.05 * abs(course.first)
    if risen and matters and validation[-1] > 1.2 * training:
        yield check.finding(
            "warning",
            f"The validation loss has risen from {lowest:.3g} to {validation[-1]:.3g}.",
            advice=course.advice if course.verdict == "over-fitting" else None,
            lowest=lowest,
            epoch=int(validation.argmin()),
            last=float(validation[-1]),
            training=training,
        )


@_check(
    "update-ratio",
    "layers whose updates are out of proportion to their weights",
    "Rates of their own for these layers (MultiOptimizer), or an adaptive optimizer.",
    1e-3,
    RULE,
)
def update_ratio(course: Course, check: Check) -> Iterator[Finding]:
    """Ten times more or less is worth a note; small ones only before the end."""
    if not len(course.ratios):
        return
    wanted = check.threshold or 1.0
    later = course.ratios[len(course.ratios) // 2 :]
    usable = np.isfinite(later).any(axis=0)
    medians = np.full(later.shape[1], wanted)
    medians[usable] = np.nanmedian(later[:, usable], axis=0)
    for i in (int(medians.argmax()), int(medians.argmin())):
        far = medians[i] / wanted
        if far > 10 or (far < 0.1 and not course.learnt):
            yield check.finding(
                "note",
                f"Updates are {medians[i]:.2g} of the weights in the median.",
                course.kernels[i].rpartition("/")[0],
                ratio=float(medians[i]),
            )
            return
