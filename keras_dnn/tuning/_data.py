"""Data for a given number of batches."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._tensorflow import tf


def enough(
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int,
    batches: int,
    shuffle: bool,
    seed: int | None,
) -> dict[str, Any]:
    """The arguments of `fit` that give it enough batches."""
    if isinstance(x, tf.data.Dataset):
        return {"x": x.repeat(), "steps_per_epoch": batches}
    if isinstance(x, keras.utils.PyDataset):
        epochs = math.ceil(batches / len(x)) if x.num_batches else 1
        return {"x": x, "epochs": epochs}
    if hasattr(x, "__next__"):
        return {"x": x, "steps_per_epoch": batches}
    _arguments.count("batch_size", batch_size)
    rows = len(keras.tree.flatten(x)[0])
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
        **{
            name: keras.tree.map_structure(choose, value)
            for name, value in arrays.items()
            if value is not None
        },
    }


def build(model: keras.Model, fit: dict[str, Any]) -> None:
    """Builds a model that waits for its first batch."""
    if model.built:
        return
    x = fit["x"]
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x))
    elif isinstance(x, keras.utils.PyDataset):
        batch = x[0]
    elif hasattr(x, "__next__"):
        raise ValueError(
            f"model must be built where x is a generator. Received: model={model}"
        )
    else:
        batch = keras.tree.map_structure(lambda a: a[:1], x)
        model(batch)
        return
    model(keras.utils.unpack_x_y_sample_weight(batch)[0])
