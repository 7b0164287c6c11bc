"""Checks of what the losses of a training tell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.callbacks._doctor.check import RULE, SETTLED, course_check
from keras_dnn.callbacks._doctor.history import Course
from keras_dnn.diagnostics.check import Check
from keras_dnn.diagnostics.finding import Finding

STEPS = 100
"""Fewer are no plateau: training has hardly begun."""

EPOCHS = 3
"""So long dropout must have cost too much, and learning have been slow."""


@course_check(
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
    late = float(np.median(course.losses[-max(5, len(course.losses) // 10) :]))
    risen = len(course.losses) >= SETTLED and late > 1.5 * abs(course.first)
    limit = check.threshold or 0.0
    if ratio > limit or largest > 10 * limit or risen:
        yield check.finding(
            "warning",
            "The loss rises." if risen else "Each step replaces much of the weights.",
            first=course.first,
            last=late,
            update_ratio=ratio,
            largest_ratio=largest,
        )


@course_check(
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


@course_check(
    "underfitting",
    "a network held back by its dropout",
    "Lower the dropout rate.",
    0.1,
    "a tenth of the loss over three epochs, with half of a guess's loss left",
)
def underfitting(course: Course, check: Check) -> Iterator[Finding]:
    """Where dropout costs more than the gap to validation that it could close."""
    if len(course.evaluation) < EPOCHS or course.bad is not None:
        return
    without, limit = course.evaluation, check.threshold or 0.0
    cost, gap, within = (
        float(column[-EPOCHS:].mean())
        for column in (course.noise, course.validation - without, without)
    )
    within += cost
    costly = cost > limit * abs(within) and cost > 2 * gap and course.dropout > 0
    known = bool(np.isfinite(course.guess))
    # Where dropout lets nothing through it costs nothing either. It shows in the first
    # loss, which it makes far larger than that of a guess.
    drowned = course.dropout >= 0.5 and course.first > 2 * course.guess
    drowned = drowned and gap < limit * abs(within)
    # Dropout that costs much does no harm where the network learns all the same.
    slow = without[-1] > 0.75 * without[-EPOCHS - 1 :][0]
    left = without[-1] / (course.guess if known else without[0])
    if (costly or drowned) and slow and left > 0.5:
        yield check.finding(
            "warning",
            f"Dropout makes {cost / abs(within):.0%} of a high loss and gains nothing."
            if costly
            else "So much dropout lets hardly anything through.",
            advice=f"Lower the dropout rate (now {course.dropout:g} at most).",
            with_dropout=within,
            without=within - cost,
            gap=gap,
        )


@course_check(
    "plateau",
    "a loss that has stopped falling while it is still high",
    "Look at the labels and the inputs, try another learning rate, or a network with "
    "more units.",
    0.01,
    "less than 1 % better in the last half of the epochs",
)
def plateau(course: Course, check: Check) -> Iterator[Finding]:
    """Of the reported loss, over four epochs and a hundred steps at least."""
    epochs = course.epochs
    short = len(epochs) < 4 or len(course.losses) < STEPS
    if short or course.learnt or not np.isfinite(epochs).all():
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


@course_check(
    "overfitting",
    "a validation loss that rises while the training loss falls",
    "Stop early, regularise (dropout, l2), or get more data.",
    0.1,
    "a tenth above its lowest, in two epochs: one alone may be chance",
)
def overfitting(course: Course, check: Check) -> Iterator[Finding]:
    """It must have risen again: a gap alone may be harmless."""
    validation = course.validation
    if len(validation) < 3 or not np.isfinite(validation).all():
        return
    lowest, now = float(validation.min()), float(validation[-2:].min())
    training = course.evaluation[-1]
    training = float(training if np.isfinite(training) else course.epochs[-1])
    risen = now > (1 + (check.threshold or 0.0)) * lowest
    # Where next to nothing is left of the loss, a tenth of it is nothing either.
    matters = now - lowest > 0.05 * abs(course.first)
    if risen and matters and now > 1.2 * training:
        yield check.finding(
            "warning",
            f"The validation loss has risen from {lowest:.3g} to {validation[-1]:.3g}.",
            advice=course.advice if course.verdict == "overfitting" else None,
            lowest=lowest,
            epoch=int(validation.argmin()),
            last=float(validation[-1]),
            training=training,
        )
