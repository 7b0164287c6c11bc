"""How many batches there are in data."""

from __future__ import annotations

import math
import numbers
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._batches.arrays import count_of_rows
from keras_dnn._batches.kinds import is_batched, is_dataset, is_generator, read


def count_of_batches(x: Any, batch_size: int | None = None) -> int:
    """How many batches `fit` makes of the data in an epoch.

    Args:
        x: arrays, their number of rows, or batched data of a known size.
        batch_size: as for `fit`: 32 by default, `None` for batched data.
    """
    if is_generator(x):
        raise ValueError(
            "x must have a known, finite number of batches, which a generator does not "
            f"say; give a count of samples instead. Received: x={_arguments.shown(x)}"
        )
    if not is_batched(x):
        size = 32 if batch_size is None else _arguments.count("batch_size", batch_size)
        return math.ceil(_count_of_rows(x) / size)
    if batch_size is not None:
        raise ValueError(
            "batch_size must be None for data that is already in batches. "
            f"Received: batch_size={batch_size}, x={x}"
        )
    x = read(x)
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
    if isinstance(x, numbers.Number):
        return _arguments.count("x", x)
    arrays = keras.tree.flatten(x)
    if not all(hasattr(array, "shape") for array in arrays):
        raise ValueError(
            "x must be arrays of one length, data in batches or a count of samples. "
            f"Received: x={_arguments.shown(x)}"
        )
    return count_of_rows(x=x)
