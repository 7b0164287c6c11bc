"""Data that a callback holds, in any of the forms that `fit` takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._tensorflow import tf


def first_batch(data: Any) -> Any:
    """The inputs of the first batch, or of all the data if it is not in batches."""
    if isinstance(data, keras.utils.PyDataset):
        data = data[0]
    elif isinstance(data, tf.data.Dataset):
        data = next(iter(data))
    return _inputs(data)


def first_batches(data: Any, most: int, batch_size: int) -> Iterator[Any]:
    """The inputs of no more than so many batches, made of so many if there are none."""
    if isinstance(data, tf.data.Dataset):
        yield from map(_inputs, data.take(most))
    elif isinstance(data, keras.utils.PyDataset):
        yield from (_inputs(data[i]) for i in range(min(most, data.num_batches)))
    else:
        rows = min(len(keras.tree.flatten(data)[0]), most * batch_size)
        for i in range(0, rows, batch_size):
            yield _inputs(_rows(data, slice(i, i + batch_size)))


def _rows(data: Any, rows: slice) -> Any:
    return keras.tree.map_structure(
        lambda part: None if part is None else part[rows], data
    )


def _inputs(data: Any) -> Any:
    inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return keras.tree.map_structure(_as_tensor, inputs)


def _as_tensor(value: Any) -> Any:
    if isinstance(value, tf.Tensor):
        return value
    array = np.asarray(value)
    # As `fit` does, which gives the model floats of Keras's type.
    if np.issubdtype(array.dtype, np.floating):
        array = array.astype(keras.config.floatx())
    return tf.convert_to_tensor(array)


def part_of(data: Any, samples: int, batch_size: int, seed: int) -> tf.data.Dataset:
    """Batches of some examples of the data, the same each time they are gone through.

    Args:
        data: a tuple of arrays, of which examples are drawn, or a `PyDataset`, of which
            batches are, or a `tf.data.Dataset`, of which the first batches are taken.
        samples: about how many examples there shall be.
        batch_size: of the batches that arrays are made into.
        seed: of the draw.
    """
    if isinstance(data, tf.data.Dataset):
        rows = len(keras.tree.flatten(next(iter(data)))[0])
        return data.take(-(-samples // rows)).cache()
    rng = np.random.default_rng(seed)
    if isinstance(data, keras.utils.PyDataset):
        rows = len(keras.tree.flatten(data[0])[0])
        count = min(-(-samples // rows), data.num_batches)
        chosen = np.sort(rng.choice(data.num_batches, count, replace=False))
        batches = [data[i] for i in chosen.tolist()]
        joined = keras.tree.map_structure(
            lambda *parts: np.concatenate(parts), *batches
        )
        return _batches(joined, rows)
    arrays = keras.tree.map_structure(_as_tensor, data)
    rows = len(keras.tree.flatten(arrays)[0])
    chosen = np.sort(rng.choice(rows, min(samples, rows), replace=False))
    part = keras.tree.map_structure(lambda a: tf.gather(a, chosen), arrays)
    return _batches(part, batch_size)


def _batches(arrays: Any, batch_size: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)
