"""Inputs, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._batches.count import size_of_dataset, size_of_py_dataset
from keras_dnn._batches.kinds import first_of, is_batched, is_dataset, is_generator
from keras_dnn._batches.parts import as_tensor, rows_of
from keras_dnn._tensorflow import tf


def batches(x: Any, batch_size: int) -> Iterator[tuple[Any, int | None]]:
    """All batches of inputs, each with the number of batches if it is known.

    Arrays in a tuple are several inputs, as for `predict`.
    """
    if is_dataset(x):
        total = size_of_dataset(x)
        for batch in x:
            yield _inputs(batch), total
    elif isinstance(x, keras.utils.PyDataset):
        total = size_of_py_dataset(x)
        for i in range(total):
            yield keras.tree.map_structure(tf.convert_to_tensor, _inputs(x[i])), total
    else:
        rows = _common_length(x)
        x = keras.tree.map_structure(np.asarray, x)
        total = math.ceil(rows / batch_size)
        for start in range(0, rows, batch_size):
            batch = rows_of(x, slice(start, start + batch_size))
            yield keras.tree.map_structure(tf.convert_to_tensor, batch), total


def first_batch(data: Any) -> Any:
    """The inputs of the first batch, or all inputs where the data are not batched."""
    return _input_tensors(first_of(data))


def first_batches(data: Any, limit: int, batch_size: int) -> Iterator[Any]:
    """The inputs of no more than `limit` batches.

    Args:
        data: as for `fit`; arrays in a tuple are `(x, y)`.
        limit: the most batches to give.
        batch_size: of the batches that arrays are divided into.
    """
    if is_dataset(data):
        yield from map(_input_tensors, data.take(limit))
    elif isinstance(data, keras.utils.PyDataset):
        count = limit if data.num_batches is None else min(limit, data.num_batches)
        yield from (_input_tensors(data[i]) for i in range(count))
    else:
        rows = min(len(keras.tree.flatten(data)[0]), limit * batch_size)
        for start in range(0, rows, batch_size):
            yield _input_tensors(rows_of(data, slice(start, start + batch_size)))


def symbolic_inputs(x: Any) -> Any:
    """Symbols like the inputs, with which a call builds a model."""
    if is_generator(x):
        # Its first batch would be missing from training.
        raise ValueError(
            f"model must be built where x is a generator. Received: x={x!r}"
        )
    return keras.tree.map_structure(
        _symbol, _inputs(first_of(x)) if is_batched(x) else x
    )


def _symbol(array: Any) -> keras.KerasTensor:
    dtype = keras.backend.standardize_dtype(array.dtype)
    if "float" in dtype:
        dtype = keras.config.floatx()
    return keras.KerasTensor((None, *array.shape[1:]), dtype)


def _inputs(batch: Any) -> Any:
    return keras.utils.unpack_x_y_sample_weight(batch)[0]


def _input_tensors(batch: Any) -> Any:
    return keras.tree.map_structure(as_tensor, _inputs(batch))


def _common_length(x: Any) -> int:
    arrays = [np.asarray(array) for array in keras.tree.flatten(x)]
    if not all(array.ndim for array in arrays):
        raise ValueError(
            "x must hold arrays with a row for each input, or be a tf.data.Dataset "
            f"or a keras.utils.PyDataset. Received: x={x!r}"
        )
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise ValueError(
            "x must hold arrays of the same length. Received arrays of lengths "
            f"{sorted(lengths)}"
        )
    return lengths.pop()
