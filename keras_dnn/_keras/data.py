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


def validation_of(model: keras.Model) -> tf.data.Dataset | None:
    """The batches with which a running `fit` validates.

    Args:
        model: the model, after its first validation in this `fit`.

    Returns:
        The batches; `None` before it, without validation, and where reading data once
        more might change what `fit` reads next.
    """
    adapter = getattr(
        getattr(model, "_eval_epoch_iterator", None), "data_adapter", None
    )
    adapters = keras.src.trainers.data_adapters
    kinds = (
        adapters.array_data_adapter.ArrayDataAdapter,
        adapters.tf_dataset_adapter.TFDatasetAdapter,
    )
    return adapter.get_tf_dataset() if isinstance(adapter, kinds) else None


def dataset_of(data: Any) -> tf.data.Dataset:
    """The batches of a generator or a loader, as `fit` reads them."""
    adapter = keras.src.trainers.data_adapters.get_data_adapter(data)
    dataset, count = adapter.get_tf_dataset(), adapter.num_batches
    if count is None:
        return dataset
    return dataset.apply(tf.data.experimental.assert_cardinality(count))
