"""Inputs, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_dnn._batches.arrays import as_arrays, count_of_rows, rows_of
from keras_dnn._batches.count import size_of_dataset, size_of_py_dataset
from keras_dnn._batches.kinds import (
    batch_of,
    first_of,
    is_batched,
    is_dataset,
    is_generator,
    no_rows,
    read,
)
from keras_dnn._batches.parts import as_tensors
from keras_dnn._tensorflow import tf


def batches(x: Any, batch_size: int) -> Iterator[tuple[Any, int | None]]:
    """All batches of inputs, each with the number of batches if it is known.

    Arrays in a tuple or a list are several inputs, as for `predict`.
    """
    x = read(x)
    if x is None:
        raise ValueError("x must hold arrays with a row for each input. Received: None")
    if is_dataset(x):
        if int(x.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "x must have a finite number of batches: leave out repeat(), or give "
                f"x.take(count). Received: x={x!r}"
            )
        total = size_of_dataset(x)
        for batch in x:
            yield _inputs(batch), total
    elif isinstance(x, keras.utils.PyDataset):
        total = size_of_py_dataset(x)
        for i in range(total):
            yield as_tensors(_inputs(batch_of(x, i))), total
    else:
        x = as_arrays(x)
        rows = count_of_rows(x=x)
        total = math.ceil(rows / batch_size)
        for start in range(0, rows, batch_size):
            yield as_tensors(rows_of(x, slice(start, start + batch_size))), total


def first_batch(
    data: Any,
    name: str = "data",
    *,
    rows_at_once: int | None = None,
    prepare: Callable[[Any], Any] = lambda inputs: inputs,
) -> Any:
    """The inputs of the first batch, or all inputs where the data are not batched.

    Args:
        data: as for `fit`; arrays in a tuple are `(x, y)`, those in a list inputs.
        name: of the argument, for errors.
        rows_at_once: how many rows to take of data that are not batched.
        prepare: what is done with the inputs before. It may make batches of them.
    """
    inputs = _inputs(first_of(data, name))
    if rows_at_once is not None and not is_batched(data):
        inputs = rows_of(as_arrays(inputs, name), slice(rows_at_once))
    return _prepared(inputs, prepare, name)


def first_batches(
    data: Any,
    limit: int,
    batch_size: int,
    name: str = "data",
    *,
    prepare: Callable[[Any], Any] = lambda inputs: inputs,
) -> Iterator[Any]:
    """The inputs of no more than `limit` batches.

    Args:
        data: as for `fit`; arrays in a tuple are `(x, y)`, those in a list inputs.
        limit: the most batches to give.
        batch_size: of the batches that arrays are divided into.
        name: of the argument, for errors.
        prepare: what is done with the inputs of each batch. It may make batches of
            them, of which the first is given.
    """
    data = read(data, name)
    if is_dataset(data):
        for batch in data.take(limit):
            yield _prepared(_inputs(batch), prepare, name)
    elif isinstance(data, keras.utils.PyDataset):
        count = limit if data.num_batches is None else min(limit, data.num_batches)
        for i in range(count):
            yield _prepared(_inputs(batch_of(data, i)), prepare, name)
    else:
        x = as_arrays(_inputs(data), name)
        rows = min(count_of_rows(**{name: x}), limit * batch_size)
        for start in range(0, rows, batch_size):
            some = rows_of(x, slice(start, min(start + batch_size, rows)))
            yield _prepared(some, prepare, name)


def symbolic_inputs(x: Any) -> Any:
    """Symbols like the inputs, with which a call builds a model."""
    if is_generator(x):
        # Its first batch would be missing from training.
        raise ValueError(
            f"model must be built where x is a generator. Received: x={x!r}"
        )
    x = read(x)
    if is_dataset(x):
        # Not by reading: a pass might be all that there is.
        return keras.tree.map_structure(_symbol, _inputs(x.element_spec))
    if is_batched(x):
        x = _inputs(first_of(x))
    return keras.tree.map_structure(_symbol, as_arrays(x))


def _symbol(array: Any) -> keras.KerasTensor:
    dtype = getattr(array.dtype, "name", str(array.dtype))
    if "float" in dtype:
        dtype = keras.config.floatx()
    elif dtype.startswith("str"):
        dtype = "string"
    ragged = sparse = False
    if tf is not None:
        ragged = isinstance(array, tf.RaggedTensor | tf.RaggedTensorSpec)
        sparse = isinstance(array, tf.SparseTensor | tf.SparseTensorSpec)
    return keras.KerasTensor(
        (None, *array.shape[1:]), dtype, sparse=sparse, ragged=ragged
    )


def _inputs(batch: Any) -> Any:
    """The inputs of a batch; a list, unlike a tuple, is several of them."""
    if isinstance(batch, list):
        return batch
    return keras.utils.unpack_x_y_sample_weight(batch)[0]


def _prepared(inputs: Any, prepare: Callable[[Any], Any], name: str) -> Any:
    """The inputs as tensors; of batches that are made of them, the first."""
    inputs = prepare(inputs)
    if is_batched(inputs):
        inputs = _inputs(first_of(inputs, name))
    inputs = as_tensors(inputs, name)
    if not keras.tree.flatten(inputs):
        raise ValueError(no_rows(name))
    count_of_rows(**{name: inputs})
    return inputs
