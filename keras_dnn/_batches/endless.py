"""Data for as many batches as a callback lets `fit` make."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches.arrays import as_arrays, count_of_rows, taken
from keras_dnn._batches.kinds import is_batched, is_dataset, is_generator, read

PASSES = 20
"""How many times `endless` repeats data of a known length."""


def endless(
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    batch_size: int,
    count: int,
    shuffle: bool,
    seed: int | None,
    class_weight: Any = None,
) -> dict[str, Any]:
    """The arguments with which `fit` goes on until a callback stops it.

    They give `count` batches and many more, for loss scaling may skip some steps. Only
    a generator may end before.
    """
    fit: dict[str, Any] = {} if class_weight is None else {"class_weight": class_weight}
    if class_weight is not None and sample_weight is not None:
        raise ValueError(
            "class_weight and sample_weight must not both be given; multiply the "
            "weights of the examples by those of their classes. Received: class_weight="
            f"{_arguments.shown(class_weight)}"
        )
    if is_batched(x):
        require_alone(x, y=y, sample_weight=sample_weight)
    once = is_generator(x)
    x = read(x)
    if is_dataset(x):
        fit["x"] = x if once else x.repeat()
        return {**fit, "steps_per_epoch": count, "epochs": 1 if once else PASSES}
    if isinstance(x, keras.utils.PyDataset):
        if x.num_batches is None:
            return {**fit, "x": x, "steps_per_epoch": count, "epochs": PASSES}
        return {**fit, "x": x, "epochs": PASSES * count}
    _arguments.count("batch_size", batch_size)
    arrays = {
        name: as_arrays(value, name)
        for name, value in {"x": x, "y": y, "sample_weight": sample_weight}.items()
        if value is not None
    }
    if not arrays:
        raise ValueError("x must be given. Received: x=None")
    rows, wanted = count_of_rows(**arrays), count * batch_size
    rng = np.random.default_rng(seed)
    order = [
        rng.permutation(rows) if shuffle else np.arange(rows)
        for _ in range(math.ceil(wanted / rows))
    ]
    chosen = np.concatenate(order)[:wanted]
    return {
        **fit,
        "batch_size": batch_size,
        "epochs": PASSES,
        **{name: taken(value, chosen) for name, value in arrays.items()},
    }


def require_alone(x: Any, **others: Any) -> None:
    """Raises an error if data in batches are given with targets or weights beside."""
    for name, value in others.items():
        if value is not None:
            raise ValueError(
                f"{name} must not be given where x is in batches, which hold it: "
                f"batches of (x, y, sample_weight). Received: x={_arguments.shown(x)}, "
                f"{name}={_arguments.shown(value)}"
            )
