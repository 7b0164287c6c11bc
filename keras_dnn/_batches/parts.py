"""A part of the data: the first examples, or some drawn from all of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_dnn._batches.arrays import (
    as_arrays,
    count_of_rows,
    joined,
    rows_in,
    rows_of,
    taken,
)
from keras_dnn._batches.kinds import batch_of, first_of, is_batched, is_dataset, read
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

NAMES = ("x", "y", "sample_weight")


def first_rows(data: Any, count: int) -> Any:
    """The first examples of a tuple of arrays; anything else as it is."""
    if not isinstance(data, tuple):
        return data
    return rows_of(as_arrays(data, "data"), slice(count))


def sample_of(
    data: Any,
    samples: int,
    batch_size: int,
    seed: int,
    name: str = "data",
    *,
    rows_at_once: int | None = None,
    prepare: Callable[[Any], Any] = lambda data: data,
) -> tf.data.Dataset:
    """Batches of some examples of the data, the same in every pass.

    Args:
        data: a tuple of arrays, from which examples are drawn; a `PyDataset`, from
            which batches are drawn; or other data in batches, whose first ones are
            taken.
        samples: about how many examples to take.
        batch_size: of the batches that arrays are divided into.
        seed: of the draw.
        name: of the argument, for errors.
        rows_at_once: the size that arrays must be divided into, whatever `batch_size`.
        prepare: what is done with the data before; with arrays, with the examples
            drawn. It may make batches of them.
    """
    if is_batched(data):
        data = prepare(data)
    data = read(data, name)
    if is_dataset(data):
        rows = rows_in(keras.tree.flatten(first_of(data, name))[0], name)
        return data.take(math.ceil(samples / max(rows, 1))).cache()
    rng = np.random.default_rng(seed)
    if isinstance(data, keras.utils.PyDataset):
        rows = rows_in(keras.tree.flatten(as_arrays(first_of(data, name), name))[0])
        count, total = math.ceil(samples / max(rows, 1)), data.num_batches
        chosen = np.arange(count)
        if total is not None:
            chosen = np.sort(rng.choice(total, min(count, total), replace=False))
        parts = [as_arrays(batch_of(data, i), name) for i in chosen.tolist()]
        return _dataset(joined(parts), rows)
    arrays = as_arrays(data, name)
    rows = _common_length(arrays, name)
    count = min(samples, rows)
    if rows_at_once is not None:
        batch_size = rows_at_once
        count = _whole_batches(max(samples, batch_size), rows, batch_size, name)
    chosen = np.sort(rng.choice(rows, count, replace=False))
    prepared = prepare(taken(arrays, chosen))
    if is_batched(prepared):
        return read(prepared, name).cache()
    return _dataset(as_arrays(prepared, name), batch_size)


def _whole_batches(samples: int, rows: int, size: int, name: str) -> int:
    """How many rows to take where a model takes batches of one size only."""
    if rows < size:
        raise ValueError(
            f"{name} must hold at least {size} rows, for the model is stateful and "
            f"takes {size} at once. Received: {rows} rows"
        )
    count = min(samples, rows)
    return count - count % size


def as_tensors(data: Any, name: str = "x") -> Any:
    """The same structure of tensors, floats in Keras's type as `fit` gives them."""
    return keras.tree.map_structure(_as_tensor, as_arrays(data, name))


def _as_tensor(array: Any) -> Tensor | None:
    if not isinstance(array, np.ndarray):
        return array
    # Keras's own function takes no strings.
    convert = keras.ops.convert_to_tensor if tf is None else tf.convert_to_tensor
    return convert(array)


def _common_length(arrays: Any, name: str) -> int:
    if isinstance(arrays, tuple) and 2 <= len(arrays) <= len(NAMES):
        parts = dict(zip(NAMES, arrays, strict=False))
        return count_of_rows(
            **{
                f"{part} in {name}" if name == "data" else part: value
                for part, value in parts.items()
            }
        )
    return count_of_rows(**{name: arrays})


def _dataset(arrays: Any, batch_size: int) -> tf.data.Dataset:
    # `from_tensor_slices` would stack the arrays of a list.
    parts = keras.tree.lists_to_tuples(arrays)
    if isinstance(parts, tuple):
        while parts and parts[-1] is None:
            parts = parts[:-1]
    return tf.data.Dataset.from_tensor_slices(parts).batch(batch_size)
