"""How many batches there are in data."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._batches.kinds import is_batched, is_dataset


def count_of_batches(x: Any, batch_size: int | None = None) -> int:
    """How many batches `fit` makes of the data in an epoch.

    Args:
        x: arrays, their number of rows, or batched data of a known size.
        batch_size: as for `fit`: 32 by default, `None` for batched data.
    """
    if not is_batched(x):
        size = 32 if batch_size is None else _arguments.count("batch_size", batch_size)
        return math.ceil(_count_of_rows(x) / size)
    if batch_size is not None:
        raise ValueError(
            "batch_size must be None for data that is already in batches. "
            f"Received: batch_size={batch_size}, x={x}"
        )
    count = size_of_dataset(x) if is_dataset(x) else x.num_batches
    if not count:
        raise ValueError(
            "x must have a known, finite number of batches; give a count of samples "
            f"instead. Received: x={x}"
        )
    return count


def size_of_dataset(dataset: Any) -> int | None:
    """The number of batches, `None` if it is unknown or infinite."""
    size = int(dataset.cardinality())
    return None if size < 0 else size


def size_of_py_dataset(data: keras.utils.PyDataset) -> int:
    """The number of batches, which must be finite."""
    if data.num_batches is None:
        raise ValueError(
            f"data must have a finite number of batches. Received: {data!r}"
        )
    return int(data.num_batches)


def _count_of_rows(x: Any) -> int:
    arrays = keras.tree.flatten(x)
    if arrays and all(hasattr(array, "shape") and array.shape for array in arrays):
        sizes = {int(array.shape[0]) for array in arrays}
        if len(sizes) == 1:
            return sizes.pop()
    elif len(arrays) == 1:
        return _arguments.count("x", x)
    raise ValueError(f"x must be arrays of one length or a count. Received: x={x}")
