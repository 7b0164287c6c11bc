"""Which kind of data is given."""

from __future__ import annotations

from typing import Any

import keras


def is_batched(data: Any) -> bool:
    """Whether the data are a `tf.data.Dataset` or a `PyDataset`."""
    return is_dataset(data) or isinstance(data, keras.utils.PyDataset)


def is_dataset(data: Any) -> bool:
    """Whether the data are a `tf.data.Dataset`."""
    # `fit` takes such data on backends where TensorFlow is not imported here, too.
    return hasattr(data, "cardinality")


def is_generator(data: Any) -> bool:
    """Whether the data can be read only once."""
    return hasattr(data, "__next__")


def first_of(data: Any) -> Any:
    """The first batch, or all of the data where they are not batched."""
    if isinstance(data, keras.utils.PyDataset):
        return data[0]
    return next(iter(data)) if is_dataset(data) else data
