"""Data for as many batches as a callback lets `fit` make."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches.kinds import is_dataset, is_generator

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
) -> dict[str, Any]:
    """The arguments with which `fit` goes on until a callback stops it.

    They give `count` batches and many more, for loss scaling may skip some steps.
    """
    if is_dataset(x):
        return {"x": x.repeat(), "steps_per_epoch": count, "epochs": PASSES}
    if isinstance(x, keras.utils.PyDataset):
        return {"x": x, "epochs": PASSES * count}
    if is_generator(x):
        return {"x": x, "steps_per_epoch": count}
    _arguments.count("batch_size", batch_size)
    lengths = {
        len(a) for a in keras.tree.flatten((x, y, sample_weight)) if a is not None
    }
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            "x, y and sample_weight must hold arrays of one length, at least 1. "
            f"Received arrays of lengths {sorted(lengths)}"
        )
    rows, wanted = lengths.pop(), count * batch_size
    rng = np.random.default_rng(seed)
    order = [
        rng.permutation(rows) if shuffle else np.arange(rows)
        for _ in range(math.ceil(wanted / rows))
    ]
    chosen = np.concatenate(order)[:wanted]
    arrays = {"x": x, "y": y, "sample_weight": sample_weight}
    return {
        "batch_size": batch_size,
        "epochs": PASSES,
        **{
            name: keras.tree.map_structure(lambda a: np.asarray(a)[chosen], value)
            for name, value in arrays.items()
            if value is not None
        },
    }
