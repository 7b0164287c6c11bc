"""Checks of what goes into the network, and of what it is to say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._loss import DISTANCES
from keras_dnn.diagnostics.check import Check, register_check
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding


@register_check(
    "nonfinite-data",
    blocking=True,
    looks_for="NaN or infinity in inputs or targets",
    advice="Find where it comes from (a division, a missing value) and mend it there.",
)
def nonfinite_data(look: Examination, check: Check) -> Iterator[Finding]:
    """One NaN is enough to make every weight NaN at the first step."""
    for kind, arrays in (("inputs", look.inputs), ("targets", look.targets)):
        for array in arrays:
            if array.dtype.kind == "f" and (bad := int((~np.isfinite(array)).sum())):
                yield check.finding(
                    "error",
                    f"The {kind} hold values that are not finite.",
                    count=bad,
                    of=array.size,
                )


@register_check(
    "labels",
    blocking=True,
    looks_for="labels that the loss does not take",
    advice="Labels are integers from 0 for a sparse loss, one-hot rows for the other; "
    "and the last layer has a unit for each class.",
)
def labels(look: Examination, check: Check) -> Iterator[Finding]:
    """Out of range, a label gives NaN, zero, or another class's gradient."""
    for loss, target in zip(look.losses, look.targets, strict=False):
        if not target.size or target.dtype.kind not in "fiub":
            continue
        low, high = float(np.min(target)), float(np.max(target))
        if loss.name == "sparse_categorical_crossentropy" and loss.classes:
            whole = bool(np.equal(np.mod(target, 1), 0).all())
            if low < 0 or high >= loss.classes or not whole:
                yield check.finding(
                    "error",
                    f"Labels must be whole numbers from 0 to {loss.classes - 1}.",
                    loss.layer,
                    lowest=low,
                    highest=high,
                    classes=loss.classes,
                )
        elif loss.name == "categorical_crossentropy":
            off = float(np.abs(target.sum(axis=-1) - 1).max())
            if low < 0 or off > 1e-2:
                yield check.finding(
                    "error",
                    "Rows of targets must be probabilities that add up to 1.",
                    loss.layer,
                    lowest=low,
                    off_by=off,
                )
        elif loss.name == "binary_crossentropy" and (low < 0 or high > 1):
            yield check.finding(
                "error",
                "Targets of a binary crossentropy must lie between 0 and 1.",
                loss.layer,
                lowest=low,
                highest=high,
            )


@register_check(
    "inputs-not-standardised",
    looks_for="inputs far from mean 0 and deviation 1",
    threshold=10.0,
    source="LeCun et al., Efficient BackProp, 1998: inputs of mean 0 and like variance",
    advice="Subtract the mean and divide by the deviation, for instance with "
    "keras.layers.Normalization (or Rescaling for pictures) as the first layer.",
)
def inputs_not_standardised(look: Examination, check: Check) -> Iterator[Finding]:
    """Initial weights keep a signal of size 1 at its size; they don't create it."""
    limit = check.threshold or 0.0
    for array in look.entering:
        values = np.asarray(array, "float64").reshape(len(array), -1)
        if not np.isfinite(values).all() or not values.size:
            continue
        size = float(np.sqrt(np.mean(values**2)))
        if size > limit or size < 1 / limit**2:
            yield check.finding(
                "warning",
                f"Inputs have a root mean square of {size:.3g}, where about 1 is "
                "wanted.",
                size=size,
                mean=float(values.mean()),
                deviation=float(values.std()),
            )
            continue
        # Of pictures, features are pixels, some of which hardly ever change.
        if array.ndim != 2:
            continue
        spread = values.std(axis=0)
        moving = spread[spread > 0]
        if moving.size > 1 and moving.max() > 10 * limit * np.median(moving):
            yield check.finding(
                "warning",
                "Some features vary far more than others.",
                largest=float(moving.max()),
                median=float(np.median(moving)),
                feature=int(spread.argmax()),
            )


@register_check(
    "targets-not-standardised",
    looks_for="targets of a regression far from mean 0 and deviation 1",
    threshold=10.0,
    source="the output of a new network is of size 1",
    advice="Standardise the targets, and undo it with a layer behind the trained "
    "network.",
)
def targets_not_standardised(look: Examination, check: Check) -> Iterator[Finding]:
    """A new network says about 0: it first has to learn the mean, step by step."""
    limit = check.threshold or 0.0
    for loss, target in zip(look.losses, look.targets, strict=False):
        if loss.name not in DISTANCES or target.dtype.kind not in "fiu":
            continue
        mean, spread = float(np.mean(target)), float(np.std(target))
        if max(abs(mean), spread) > limit or 0 < spread < 1 / limit**2:
            yield check.finding(
                "warning",
                "The targets are far from mean 0 and deviation 1.",
                mean=mean,
                deviation=spread,
            )
