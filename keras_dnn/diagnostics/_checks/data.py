"""Checks of the inputs and the targets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_dnn.diagnostics._yardstick.output_loss import DISTANCES
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding


@built_in(
    "nonfinite-data",
    when="before",
    blocking=True,
    looks_for="NaN or infinity in inputs or targets",
    advice="Find what produces them (a division, a missing value) and fix it there.",
)
def nonfinite_data(examination: Examination, check: Check) -> Iterator[Finding]:
    """One NaN is enough to make every weight NaN at the first step."""
    for kind, arrays in (
        ("inputs", examination.inputs),
        ("targets", examination.targets),
    ):
        for array in arrays:
            if array.dtype.kind == "f" and (bad := int((~np.isfinite(array)).sum())):
                yield check.finding(
                    "error",
                    f"The {kind} contain NaN or infinite values.",
                    count=bad,
                    of=array.size,
                )


@built_in(
    "labels",
    when="before",
    blocking=True,
    looks_for="labels that the loss does not take",
    advice="Use integers from 0 for the sparse loss and one-hot rows for the other, "
    "and give the last layer one unit per class.",
)
def labels(examination: Examination, check: Check) -> Iterator[Finding]:
    """A label out of range gives NaN, zero, or another class's gradient."""
    for loss, target in zip(examination.losses, examination.targets, strict=False):
        if not target.size or target.dtype.kind not in "fiub":
            continue
        used = loss.labels_in(target)
        if not used.size:
            continue
        low, high = float(np.min(used)), float(np.max(used))
        if loss.name == "sparse_categorical_crossentropy" and loss.classes:
            integers = bool(np.equal(np.mod(used, 1), 0).all())
            if low < 0 or high >= loss.classes or not integers:
                yield check.finding(
                    "error",
                    f"Labels must be integers from 0 to {loss.classes - 1}.",
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
                    "Each row of targets must hold probabilities that sum to 1.",
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


@built_in(
    "nonfinite-values",
    when="before",
    blocking=True,
    looks_for="NaN or infinity in weights, or that a layer makes of finite inputs",
    advice="Guard the root, logarithm or division in it against zero and below, for "
    "instance with keras.ops.maximum(x, 1e-7).",
)
def nonfinite_values(examination: Examination, check: Check) -> Iterator[Finding]:
    """What is not finite spreads to every layer above, and in training to all."""
    cause = examination.nonfinite
    if cause is None:
        if not np.isfinite(examination.loss):
            yield check.finding(
                "error",
                "The loss is not finite, though all outputs are.",
                advice="Check the loss: probabilities of exactly 0 or 1, or a "
                "logarithm of what is not above zero.",
                loss=examination.loss,
            )
    elif cause.origin == "weights":
        yield check.finding(
            "error",
            "Weights contain NaN or infinite values.",
            cause.layer,
            advice="Load weights from before they were lost, or create the model "
            "again, and train it with a lower learning rate.",
        )
    elif not cause.overflow:  # That is a signal that explodes.
        what = "outputs are" if cause.origin == "outputs" else "gradient is"
        yield check.finding(
            "error",
            f"The {what} NaN or infinite, though what comes from other layers is not.",
            cause.layer,
        )


@built_in(
    "inputs-not-standardised",
    when="before",
    looks_for="inputs far from mean 0 and standard deviation 1, or all the same",
    threshold=10.0,
    source="LeCun et al., Efficient BackProp, 1998: inputs of mean 0 and like variance",
    advice="Subtract the mean and divide by the standard deviation, for instance with "
    "keras.layers.Normalization (or Rescaling for images) as the first layer.",
)
def inputs_not_standardised(
    examination: Examination, check: Check
) -> Iterator[Finding]:
    """Initial weights keep a signal of size 1 at its size; they do not create it."""
    limit = check.threshold
    entering = [part for part in examination.entering if len(part) > 1]
    if entering and not any(np.ptp(part, axis=0).any() for part in entering):
        yield check.finding(
            "error",
            "What enters the first layer with weights is the same for every example.",
            advice="Look at the inputs as they are given to fit, and at the layers in "
            "front, such as a cropping or a division.",
            value=float(entering[0].flat[0]),
        )
        return
    for array in examination.entering:
        values = np.asarray(array, "float64").reshape(len(array), -1)
        if not np.isfinite(values).all() or not values.size:
            continue
        rms = float(np.sqrt(np.mean(values**2)))
        if rms > limit or rms < 1 / limit**2:
            yield check.finding(
                "warning",
                f"The inputs have a root mean square of {rms:.3g}; it should be "
                "about 1.",
                rms=rms,
                mean=float(values.mean()),
                std=float(values.std()),
            )
            continue
        # The features of images are pixels, some of which hardly ever change.
        if array.ndim != 2:
            continue
        stds = values.std(axis=0)
        varying = stds[stds > 0]
        if varying.size > 1 and varying.max() > 10 * limit * np.median(varying):
            yield check.finding(
                "warning",
                "Some features vary far more than others.",
                largest_std=float(varying.max()),
                median_std=float(np.median(varying)),
                feature=int(stds.argmax()),
            )


@built_in(
    "targets-not-standardised",
    when="before",
    looks_for="targets of a regression far from mean 0 and standard deviation 1",
    threshold=10.0,
    source="the output of a new network is of size 1",
    advice="Standardise the targets, and undo it with a layer after the trained "
    "network.",
)
def targets_not_standardised(
    examination: Examination, check: Check
) -> Iterator[Finding]:
    """A new network outputs about 0: it first has to learn the mean, step by step."""
    limit = check.threshold
    for loss, target in zip(examination.losses, examination.targets, strict=False):
        numeric = target.size and target.dtype.kind in "fiu"
        if loss.name not in DISTANCES or not numeric:
            continue
        mean, std = float(np.mean(target)), float(np.std(target))
        if max(abs(mean), std) > limit or 0 < std < 1 / limit**2:
            yield check.finding(
                "warning",
                "The targets are far from mean 0 and standard deviation 1.",
                mean=mean,
                std=std,
            )
