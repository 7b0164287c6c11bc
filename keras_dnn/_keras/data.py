"""How Keras reads data that are neither arrays nor of its own kinds."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._tensorflow import tf


def is_loader(data: Any) -> bool:
    """Whether the data are a `DataLoader` of PyTorch or a data set of Grain."""
    adapters = keras.src.trainers.data_adapters
    # Keras knows Grain since 3.12.
    is_grain = getattr(adapters, "is_grain_dataset", adapters.is_torch_dataloader)
    return bool(adapters.is_torch_dataloader(data) or is_grain(data))


def dataset_of(data: Any) -> tf.data.Dataset:
    """The batches of a generator or a loader, as `fit` reads them."""
    adapter = keras.src.trainers.data_adapters.get_data_adapter(data)
    dataset, count = adapter.get_tf_dataset(), adapter.num_batches
    if count is None:
        return dataset
    return dataset.apply(tf.data.experimental.assert_cardinality(count))
