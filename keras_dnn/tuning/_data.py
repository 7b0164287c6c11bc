"""Data for a given number of batches."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._tensorflow import tf

EPOCHS = 20
"""How often the batches of a sweep may come again."""


def enough(
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int,
    batches: int,
    shuffle: bool,
    seed: int | None,
) -> dict[str, Any]:
    """The arguments of `fit` that give it batches until it is told to stop."""
    # More than there are steps, for loss scaling may put some off.
    if isinstance(x, tf.data.Dataset):
        return {"x": x.repeat(), "steps_per_epoch": batches, "epochs": EPOCHS}
    if isinstance(x, keras.utils.PyDataset):
        return {"x": x, "epochs": EPOCHS * batches}
    if hasattr(x, "__next__"):
        return {"x": x, "steps_per_epoch": batches}
    _arguments.count("batch_size", batch_size)
    lengths = {
        len(a) for a in keras.tree.flatten((x, y, sample_weight)) if a is not None
    }
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            "x, y and sample_weight must hold arrays of one length, at least 1. "
            f"Received arrays of lengths {sorted(lengths)}"
        )
    rows = lengths.pop()
    wanted = batches * batch_size
    rng = np.random.default_rng(seed)
    order = [
        rng.permutation(rows) if shuffle else np.arange(rows)
        for _ in range(math.ceil(wanted / rows))
    ]
    chosen = np.concatenate(order)[:wanted]

    def choose(array: Any) -> np.ndarray:
        return np.asarray(array)[chosen]

    arrays = {"x": x, "y": y, "sample_weight": sample_weight}
    return {
        "batch_size": batch_size,
        "epochs": EPOCHS,
        **{
            name: keras.tree.map_structure(choose, value)
            for name, value in arrays.items()
            if value is not None
        },
    }


def build(model: keras.Model, x: Any) -> None:
    """Builds a model that waits for its first batch, with symbols in its place."""
    if model.built:
        return
    if hasattr(x, "__next__"):
        raise ValueError(
            f"model must be built where x is a generator. Received: model={model}"
        )
    if isinstance(x, tf.data.Dataset):
        x = keras.utils.unpack_x_y_sample_weight(next(iter(x)))[0]
    elif isinstance(x, keras.utils.PyDataset):
        x = keras.utils.unpack_x_y_sample_weight(x[0])[0]
    model(keras.tree.map_structure(_symbol, x))


def _symbol(array: Any) -> keras.KerasTensor:
    dtype = keras.backend.standardize_dtype(array.dtype)
    if "float" in dtype:
        dtype = keras.config.floatx()
    return keras.KerasTensor((None, *array.shape[1:]), dtype)
