"""The accuracy of a classifier's outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def accuracy(outputs: Sequence[np.ndarray], labels: np.ndarray) -> float:
    """The fraction of rows whose largest output is that of the label.

    With one output per row, a probability or a logit, it counts as the second class
    above 0.5 or 0. NaN answers nothing.
    """
    return float(_right(outputs, labels).mean())


def class_accuracies(
    outputs: Sequence[np.ndarray], labels: np.ndarray
) -> dict[int, float]:
    """The accuracy on the rows of each class that there is among the labels."""
    right = _right(outputs, labels)
    kinds = labels.astype(int) if outputs[0].shape[-1] > 1 else (labels > 0.5) * 1
    return {int(kind): float(right[kinds == kind].mean()) for kind in np.unique(kinds)}


def _right(outputs: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    (y,) = outputs
    answered = ~np.isnan(np.asarray(y, "float64")).any(-1)
    if y.shape[-1] > 1:
        return np.asarray((y.argmax(-1) == labels) & answered)
    finite = y[answered]
    is_probability = finite.size and finite.min() >= 0.0 and finite.max() <= 1.0
    boundary = 0.5 if is_probability else 0.0
    return np.asarray(((y[..., 0] > boundary) == (labels > 0.5)) & answered)


def classes(labels: ArrayLike, outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Labels as integers, one for each row of outputs.

    Raises:
        ValueError: if their shape does not match the outputs.
    """
    found = np.asarray(labels)
    if len(outputs) != 1:
        raise ValueError(
            "labels can be given for a model with one output. Received: a model with "
            f"{len(outputs)} outputs"
        )
    shape = outputs[0].shape
    if len(shape) < 2:
        raise ValueError(
            "labels can be given for outputs with an axis of classes. Received: a "
            f"model with outputs of shape {shape}"
        )
    if found.shape == shape and shape[-1] > 1:
        return np.asarray(found.argmax(-1))
    if found.shape == (*shape[:-1], 1):
        found = found[..., 0]
    if found.shape != shape[:-1]:
        raise ValueError(
            f"labels must have shape {shape[:-1]}, {(*shape[:-1], 1)} or {shape}, as "
            f"the outputs have. Received: shape {found.shape}"
        )
    return found
