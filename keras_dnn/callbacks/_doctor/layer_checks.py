"""Checks of what a training shows of its layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.callbacks._doctor.check import RULE, SETTLED, course_check
from keras_dnn.callbacks._doctor.history import Course
from keras_dnn.diagnostics.check import Check
from keras_dnn.diagnostics.finding import Finding


@course_check(
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
        place = (
            f"it began in {course.bad.layer} ({course.bad.reason})."
            if course.bad.layer
            else "no layer was seen to fail: see the data of that step."
        )
        yield check.finding(
            "error",
            f"Not finite from step {course.bad.step} on; {place}",
            course.bad.layer,
            step=course.bad.step,
            loss=course.bad.loss,
        )


@course_check(
    "exploding",
    "gradients that are far too large, and stay so",
    "Initialise by the activation (for_activation), standardise inputs and targets, "
    "add batch norm and skip connections, or clip by global_clipnorm.",
    1e3,
    "norms of healthy networks lie between 0.01 and 10 once training is under way",
)
def exploding(course: Course, check: Check) -> Iterator[Finding]:
    """In the median of many records, so that an outlier is none."""
    record = np.arange(len(course.steps))
    first = record < max(3, len(record) // 4)
    late = (record >= len(record) // 2) & (course.steps >= SETTLED)
    # The gradient is large from the start if the signal explodes on its way up.
    soaring = course.first > 10 * course.guess if len(course.losses) else False
    seen = first if soaring and _median(course, first) > _median(course, late) else late
    norm = _median(course, seen)
    if norm > (check.threshold or 0.0):
        kernels, medians = _medians(course, course.norms[seen])
        yield check.finding(
            "warning",
            f"The gradients have a norm of {norm:.3g}.",
            _layer(kernels[int(medians.argmax())]) if kernels else None,
            norm=norm,
            largest=float(course.global_norms.max()),
        )


@course_check(
    "dead-units",
    "units that have ended up giving zero on every example",
    "A smaller learning rate, He's initialisation, or a leaky activation.",
    0.5,
    "half of a layer lost",
)
def dead_units(course: Course, check: Check) -> Iterator[Finding]:
    """Says how many there were at the start."""
    yield from _share(course, course.dead, check, "give zero on the whole batch")


@course_check(
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


@course_check(
    "vanishing",
    "gradients that die away on their way down",
    "Use ReLU-like activations with He's initialisation (or SELU with LeCun's), "
    "batch norm, or skip connections.",
    1e-3,
    "a factor of 1,000 from one end of the network to the other",
)
def vanishing(course: Course, check: Check) -> Iterator[Finding]:
    """The lowest kernel's gradient beside the largest one's."""
    kernels, medians = _medians(course, course.norms)
    if len(kernels) < 3 or not medians.max() > 0:
        return
    shares = medians / medians.max()
    limit = check.threshold or 0.0
    if shares[0] < limit:
        highest = int(np.flatnonzero(shares < limit)[-1])
        yield check.finding(
            "warning",
            f"The gradient at the bottom is {shares[0]:.2g} of the largest.",
            _layer(kernels[highest]),
            bottom=float(medians[0]),
            largest=float(medians.max()),
        )


@course_check(
    "update-ratio",
    "layers whose updates are out of proportion to their weights",
    "Rates of their own for these layers (MultiOptimizer), or an adaptive optimizer.",
    1e-3,
    RULE,
)
def update_ratio(course: Course, check: Check) -> Iterator[Finding]:
    """Ten times more or less is worth a note; small ones only before the end."""
    wanted = check.threshold or 1.0
    kernels, medians = _medians(course, course.ratios[len(course.ratios) // 2 :])
    if not kernels:
        return
    for i in (int(medians.argmax()), int(medians.argmin())):
        far = medians[i] / wanted
        if far > 10 or (far < 0.1 and not course.learnt):
            yield check.finding(
                "note",
                f"Updates are {medians[i]:.2g} of the weights in the median.",
                _layer(kernels[i]),
                ratio=float(medians[i]),
            )
            return


def _median(course: Course, records: np.ndarray) -> float:
    return float(np.median(course.global_norms[records])) if records.any() else 0.0


def _medians(course: Course, records: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The kernels of which there are finite numbers, and the median of each."""
    finite = np.isfinite(records)
    known = np.flatnonzero(finite.any(axis=0))
    if not known.size:
        return [], np.empty(0)
    found = np.where(finite, records, np.nan)[:, known]
    return [course.kernels[i] for i in known], np.nanmedian(found, axis=0)


def _layer(path: str) -> str:
    return path.rpartition("/")[0] or path
