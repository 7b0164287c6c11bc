"""Checks of the validation data, beside the training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np

from keras_dnn.diagnostics._input_numbers import numbers_in
from keras_dnn.diagnostics._yardstick.output_loss import DISTANCES, OutputLoss
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]

ROWS = 10
"""With fewer examples a mean or a standard deviation says little."""

EXPECTED = 10
"""How many examples of a class should be there where there are none."""


@built_in(
    "validation-data",
    when="before",
    needs=lambda examination: examination.validation is not None,
    looks_for="validation data that are not prepared as training data are, or are "
    "training data",
    threshold=0.01,
    source="the fraction of examples that stand in both, beyond natural duplicates",
    advice="Split the data once, by rows and at random (by group or time where rows "
    "belong together), and prepare both parts by the same code, with the means and "
    "scales of the training data.",
)
def validation_data(examination: Examination, check: Check) -> Iterator[Finding]:
    """A validation loss is worth as much as the data that it is computed on."""
    inputs, targets = examination.validation or ([], [])
    known = examination.inputs
    if [_kind(part) for part in inputs] != [_kind(part) for part in known]:
        yield check.finding(
            "error",
            "The inputs of the validation data have other dtypes or ranks than those "
            f"of the training data: {_described(inputs)} and {_described(known)}.",
        )
        return
    for mine, other in zip(known, inputs, strict=True):
        if mine.dtype.kind != other.dtype.kind:
            yield check.finding(
                "note",
                f"The inputs are of {mine.dtype} in training and of {other.dtype} in "
                "validation.",
            )
    model = examination.model
    numbers = numbers_in(model, known), numbers_in(model, inputs)
    yield from _scales(check, "inputs", zip(*numbers, strict=False))
    losses = examination.losses
    both = list(zip(losses, examination.targets, targets, strict=False))
    yield from _scales(check, "targets", ((a, b) for c, a, b in both if _is_far(c)))
    for loss, mine, other in both:
        yield from _classes(check, loss, mine, other)
    yield from _overlap(check, known, inputs)


def _kind(array: np.ndarray) -> tuple[bool, int]:
    return array.dtype.kind in "fiub", array.ndim


def _described(arrays: list[np.ndarray]) -> str:
    return ", ".join(f"{a.dtype} of {a.ndim} dimensions" for a in arrays) or "nothing"


def _is_far(loss: OutputLoss) -> bool:
    return loss.name in DISTANCES


def _scales(check: Check, what: str, pairs: Iterable[Pair]) -> Iterator[Finding]:
    """Whether most features have another mean or another standard deviation."""
    for mine, other in pairs:
        if min(len(mine), len(other)) < ROWS or mine.shape[-1:] != other.shape[-1:]:
            continue
        a, b = _by_feature(mine), _by_feature(other)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            continue
        std, of_other = a.std(axis=0), b.std(axis=0)
        varies = (std > 0) | (of_other > 0)
        if not varies.any():
            continue
        larger, smaller = np.maximum(std, of_other), np.minimum(std, of_other)
        shift = np.abs(a.mean(axis=0) - b.mean(axis=0))
        off = (shift > 2 * larger) | (larger > 3 * smaller)
        sizes = np.sqrt([np.mean(a**2), np.mean(b**2)])
        # Rare features may be zero throughout one part: the size of all has to differ.
        if off[varies].mean() >= 0.5 and sizes.max() > 2 * sizes.min():
            yield check.finding(
                "warning",
                f"The {what} of the validation data are on another scale than those of "
                "the training data.",
                training_mean=float(a.mean()),
                training_std=float(a.std()),
                validation_mean=float(b.mean()),
                validation_std=float(b.std()),
            )


def _by_feature(array: np.ndarray) -> np.ndarray:
    width = array.shape[-1] if array.ndim > 1 else 1
    return np.asarray(array, "float64").reshape(-1, width)


def _classes(
    check: Check, loss: OutputLoss, mine: np.ndarray, other: np.ndarray
) -> Iterator[Finding]:
    """Classes of which one part has many examples and the other none."""
    known, found = _labels(loss, mine), _labels(loss, other)
    if known is None or found is None:
        return
    of_mine, of_other = Counter(known.tolist()), Counter(found.tolist())
    for where, counts, others, rows, there in (
        ("validation", of_other, of_mine, len(found), len(known)),
        ("training", of_mine, of_other, len(known), len(found)),
    ):
        absent = sorted(
            label
            for label, count in others.items()
            if label not in counts and rows * count / there >= EXPECTED
        )
        if absent:
            yield check.finding(
                "warning",
                f"{len(absent)} of {len(others)} classes are missing from the {where} "
                f"data, such as class {absent[0]:g}.",
                loss.layer,
                missing=len(absent),
            )


def _labels(loss: OutputLoss, target: np.ndarray) -> np.ndarray | None:
    """The class of each example; `None` where there is not one for each."""
    if not target.size or target.dtype.kind not in "fiub":
        return None
    if loss.name == "categorical_crossentropy" and target.ndim == 2:
        return np.asarray(target.argmax(axis=-1))
    binary = loss.name == "binary_crossentropy"
    if not binary and loss.name != "sparse_categorical_crossentropy":
        return None
    labels = target.reshape(-1)
    integers = bool(np.equal(np.mod(labels, 1), 0).all())
    return labels if len(labels) == len(target) and integers else None


def _overlap(
    check: Check, known: list[np.ndarray], inputs: list[np.ndarray]
) -> Iterator[Finding]:
    """Validation examples that are training examples, too."""
    mine, other = Counter(_rows(known)), _rows(inputs)
    rows = sum(mine.values())
    if not rows or not other:
        return
    in_both = sum(row in mine for row in other)
    there = set(other)
    of_training = sum(count for row, count in mine.items() if row in there)
    # Rows of a few integers are equal by chance, as often within one part.
    natural = sum(count for count in mine.values() if count > 1) / rows
    fraction = max(in_both / len(other), of_training / rows)
    if in_both > 1 and fraction > check.threshold + 1.5 * natural:
        yield check.finding(
            "warning",
            f"{in_both} of {len(other)} validation examples stand in the training "
            "data, too.",
            in_both=in_both,
            of=len(other),
            duplicates_in_training=natural,
        )


def _rows(arrays: list[np.ndarray]) -> list[int]:
    """A number for each example, the same for the same inputs in other dtypes."""
    if any(part.dtype.kind not in "fiub" for part in arrays):
        return []
    return [
        hash(b"".join(np.asarray(part, "float32").tobytes() for part in row))
        for row in zip(*arrays, strict=False)
    ]
