"""A part of the data: the first examples, or some drawn from all of it."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_dnn._batches.count import size_of_py_dataset
from keras_dnn._batches.kinds import first_of, is_dataset
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor


def first_rows(data: Any, count: int) -> Any:
    """The first examples of a tuple of arrays; anything else as it is."""
    return rows_of(data, slice(count)) if isinstance(data, tuple) else data


def rows_of(data: Any, rows: slice) -> Any:
    """The rows of each array; `None` stays."""
    return keras.tree.map_structure(
        lambda array: None if array is None else array[rows], data
    )


def sample_of(data: Any, samples: int, batch_size: int, seed: int) -> tf.data.Dataset:
    """Batches of some examples of the data, the same in every pass.

    Args:
        data: a tuple of arrays, from which examples are drawn; a `PyDataset`, from
            which batches are drawn; or a `tf.data.Dataset`, whose first batches are
            taken.
        samples: about how many examples to take.
        batch_size: of the batches that arrays are divided into.
        seed: of the draw.
    """
    if is_dataset(data):
        rows = len(keras.tree.flatten(first_of(data))[0])
        return data.take(math.ceil(samples / rows)).cache()
    rng = np.random.default_rng(seed)
    if isinstance(data, keras.utils.PyDataset):
        rows = len(keras.tree.flatten(data[0])[0])
        total = size_of_py_dataset(data)
        count = min(math.ceil(samples / rows), total)
        chosen = np.sort(rng.choice(total, count, replace=False))
        joined = keras.tree.map_structure(
            lambda *parts: np.concatenate(parts), *(data[i] for i in chosen.tolist())
        )
        return _dataset(joined, rows)
    arrays = keras.tree.map_structure(as_tensor, data)
    rows = len(keras.tree.flatten(arrays)[0])
    chosen = np.sort(rng.choice(rows, min(samples, rows), replace=False))
    part = keras.tree.map_structure(lambda array: tf.gather(array, chosen), arrays)
    return _dataset(part, batch_size)


def as_tensor(value: Any) -> Tensor:
    """The value as a tensor, floats in Keras's type as `fit` gives them."""
    if isinstance(value, tf.Tensor):
        return value
    array = np.asarray(value)
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(keras.config.floatx())
    return tf.convert_to_tensor(array)


def _dataset(arrays: Any, batch_size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
