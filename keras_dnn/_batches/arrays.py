"""Arrays of every kind that `fit` takes, and rows of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches.kinds import no_rows
from keras_dnn._tensorflow import tf


def as_arrays(value: Any, name: str = "x") -> Any:
    """The same structure with what can be cut into rows, floats in Keras's type.

    Takes what `fit` takes: arrays of NumPy, JAX and PyTorch, frames and series of
    pandas, sparse matrices of SciPy, and tensors, also ragged and sparse ones. Also
    lists of strings, which a model's own `fit` may take.

    Args:
        value: an array, or a structure of arrays.
        name: of the argument, for errors.
    """
    value = keras.tree.traverse(_of_strings, value)
    return keras.tree.map_structure(lambda leaf: _array(leaf, name), value)


def _of_strings(value: Any) -> np.ndarray | None:
    """A list of strings as an array, for it can't be a list of inputs."""
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return np.array(value)
    return None


def rows_of(data: Any, rows: slice) -> Any:
    """The rows of each array; `None` stays."""
    return keras.tree.map_structure(lambda array: _rows(array, rows), data)


def taken(data: Any, indices: np.ndarray) -> Any:
    """These rows of each array, in this order; `None` stays."""
    return keras.tree.map_structure(lambda array: _taken(array, indices), data)


def joined(parts: list[Any]) -> Any:
    """Structures of arrays, one below the other; `None` stays."""
    return keras.tree.map_structure(lambda *arrays: _joined(arrays), *parts)


def count_of_rows(**arguments: Any) -> int:
    """How many rows all arrays have, which must be the same number, at least 1.

    Args:
        **arguments: structures of arrays by the name of the argument.
    """
    lengths = {
        name: [rows_in(leaf, name) for leaf in keras.tree.flatten(value)]
        for name, value in arguments.items()
        if value is not None
    }
    found = {length for each in lengths.values() for length in each if length >= 0}
    names = _listed(list(lengths))
    if len(found) > 1:
        by_name = "; ".join(
            f"{name} of {' and '.join(str(n) for n in each if n >= 0)}"
            for name, each in lengths.items()
        )
        raise ValueError(
            f"{names} must hold arrays of the same length, a row for each example. "
            f"Received arrays of lengths {sorted(found)}: {by_name}"
        )
    if not found or found == {0}:
        raise ValueError(no_rows(names))
    return found.pop()


def require_rows(data: Any, name: str) -> None:
    """Raises an error if data that Keras will read have no rows; reads nothing."""
    parts = [data] if hasattr(data, "cardinality") else keras.tree.flatten(data)
    for part in parts:
        shape = getattr(part, "shape", None)
        size = int(part.cardinality()) if hasattr(part, "cardinality") else -1
        if (shape and shape[0] == 0) or size == 0:
            raise ValueError(no_rows(name))


def rows_in(array: Any, name: str = "x") -> int:
    """The number of rows of one array; -1 for `None`."""
    if array is None:
        return -1
    if tf is not None and isinstance(array, tf.SparseTensor):
        return int(array.dense_shape[0])
    if tf is not None and isinstance(array, tf.RaggedTensor):
        return int(array.nrows())
    if not array.shape:
        raise ValueError(
            f"{name} must hold arrays with a row for each input; data in batches must "
            f"be batched: dataset.batch(32). Received: {_arguments.shown(array)}"
        )
    return int(array.shape[0])


def _array(x: Any, name: str) -> Any:
    if x is None:
        return None
    if isinstance(x, keras.Variable):
        x = x.value
    if hasattr(x, "tocoo"):  # A sparse matrix of SciPy.
        entries = x.tocoo()
        indices = np.stack([entries.row, entries.col], axis=1).astype("int64")
        x = tf.sparse.reorder(tf.SparseTensor(indices, entries.data, x.shape))
    if tf is not None and isinstance(x, tf.SparseTensor | tf.RaggedTensor):
        return tf.cast(x, keras.config.floatx()) if x.dtype.is_floating else x
    if tf is not None and tf.is_tensor(x):
        x = tf.convert_to_tensor(x)
        return tf.cast(x, keras.config.floatx()) if x.dtype.is_floating else x
    if hasattr(x, "detach"):  # A tensor of PyTorch.
        x = x.detach().cpu()
    if not hasattr(x, "__array__"):
        raise ValueError(
            f"{name} must hold arrays with a row for each input, as for fit; put "
            "numbers into np.array(...). Received where an array should be: "
            f"{_arguments.shown(x)}"
        )
    array = np.asarray(x)
    if array.dtype.kind == "O":
        return _of_objects(array, name)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype(keras.config.floatx())
    return array


def _of_objects(array: np.ndarray, name: str) -> np.ndarray:
    if all(isinstance(item, str) for item in array.flat):
        return array.astype(str)
    if all(isinstance(item, bytes) for item in array.flat):
        # What `numpy()` makes of a tensor of strings.
        return array.astype(bytes)
    try:
        # Columns of pandas with several types of numbers.
        return array.astype(keras.config.floatx())
    except (TypeError, ValueError):
        kinds = sorted({type(item).__name__ for item in array.flat})
        raise ValueError(
            f"{name} must hold numbers or strings, in rows of one length. Received an "
            f"array of objects: {', '.join(kinds[:4])}"
        ) from None


def _rows(array: Any, rows: slice) -> Any:
    if array is None:
        return None
    if tf is not None and isinstance(array, tf.SparseTensor):
        start, stop, _ = rows.indices(int(array.dense_shape[0]))
        others = array.dense_shape[1:]
        return tf.sparse.slice(
            array,
            tf.concat([[start], tf.zeros_like(others)], 0),
            tf.concat([[stop - start], others], 0),
        )
    return array[rows]


def _taken(array: Any, indices: np.ndarray) -> Any:
    if array is None:
        return None
    if isinstance(array, np.ndarray):
        return array[indices]
    if tf is None:
        return keras.ops.take(array, indices, axis=0)
    if isinstance(array, tf.SparseTensor):
        parts = [_rows(array, slice(i, i + 1)) for i in indices.tolist()]
        return tf.sparse.concat(0, parts)
    return tf.gather(array, indices)


def _joined(arrays: tuple[Any, ...]) -> Any:
    if arrays[0] is None:
        return None
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    if tf is None:
        return keras.ops.concatenate(arrays, 0)
    if isinstance(arrays[0], tf.SparseTensor):
        return tf.sparse.concat(0, list(arrays))
    return tf.concat(arrays, 0)


def _listed(names: list[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
