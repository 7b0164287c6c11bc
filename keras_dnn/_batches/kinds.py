"""Which kind of data is given."""

from __future__ import annotations

import types
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._keras.data import dataset_of, is_loader


def is_batched(data: Any) -> bool:
    """Whether the data come in batches, which hold targets too: anything but arrays."""
    return (
        is_dataset(data)
        or isinstance(data, keras.utils.PyDataset)
        or is_generator(data)
        or is_loader(data)
    )


def is_dataset(data: Any) -> bool:
    """Whether the data are a `tf.data.Dataset`."""
    # `fit` takes such data on backends where TensorFlow is not imported here, too.
    return hasattr(data, "cardinality")


def is_generator(data: Any) -> bool:
    """Whether the data can be read only once."""
    return hasattr(data, "__next__")


def read(data: Any, name: str = "x") -> Any:
    """The data, a generator or a `DataLoader` as a `tf.data.Dataset`.

    The first batches of a generator, from which its types are known, are not lost.
    """
    if is_generator(data) and not isinstance(data, types.GeneratorType):
        raise ValueError(
            f"{name} must be data that fit takes; of iterators it takes generators "
            f"only: ((x, y) for x, y in iterator). Received: {_arguments.shown(data)}"
        )
    if is_generator(data) or is_loader(data):
        return dataset_of(data)
    return data


def first_of(data: Any, name: str = "x") -> Any:
    """The first batch, or all of the data where they are not batched."""
    data = read(data, name)
    if isinstance(data, keras.utils.PyDataset):
        if data.num_batches == 0:
            raise ValueError(no_rows(name))
        return _as_tuple(data[0])
    if not is_dataset(data):
        return data
    batch = next(iter(data), None)
    if batch is None:
        raise ValueError(no_rows(name))
    return batch


def no_rows(name: str) -> str:
    """What an error says of data without a row."""
    return f"{name} must hold at least one row. Received: no rows"


def batch_of(data: keras.utils.PyDataset, index: int) -> Any:
    """A batch of a `PyDataset`, whose list is `[x, y]` as for `fit`."""
    return _as_tuple(data[index])


def _as_tuple(batch: Any) -> Any:
    return tuple(batch) if isinstance(batch, list) else batch
