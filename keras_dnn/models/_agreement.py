"""How far the outputs of one form of a model are from those of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def differences(
    expected: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> tuple[float, float]:
    """The largest and the mean difference, of the output that differs most.

    They are shares of the standard deviation of that output. Where both are NaN, or
    infinite alike, there is no difference; NaN where only one of them is.
    """
    largest, mean = [], []
    pairs = zip(map(_float64, expected), map(_float64, found), strict=True)
    for a, b in pairs:
        if a.shape != b.shape:
            raise ValueError(f"gives the shape {b.shape} instead of {a.shape}")
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        with np.errstate(invalid="ignore"):
            off = np.where(same, 0.0, np.abs(a - b))
        spread = np.std(a[np.isfinite(a)]) if np.isfinite(a).any() else 0.0
        off = off / (spread or 1.0)
        largest.append(off.max(initial=0.0))
        mean.append(off.mean() if off.size else 0.0)
    return float(np.max(largest)), float(np.max(mean))


def accuracy(outputs: Sequence[np.ndarray], labels: np.ndarray) -> float:
    """The share of rows whose largest output is that of the label.

    With one output a row, a probability or a logit, the share on the label's side.
    """
    (y,) = outputs
    if y.shape[-1] > 1:
        return float((y.argmax(-1) == labels).mean())
    border = 0.5 if y.min() >= 0.0 and y.max() <= 1.0 else 0.0
    return float(((y[..., 0] > border) == (labels > 0.5)).mean())


def classes(labels: Any, outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Labels as integers, one for each row of outputs.

    Raises:
        ValueError: if they do not fit the outputs.
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


def _float64(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, "float64")
