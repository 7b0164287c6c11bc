"""How many updates a training makes."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_dnn import _arguments


def steps_in(
    epochs: int,
    x: Any,
    batch_size: int | None = None,
    *,
    gradient_accumulation_steps: int = 1,
) -> int:
    """Counts the optimizer's updates in a training, which is what schedules count.

    Args:
        epochs: how many epochs.
        x: the data as given to `fit`, or a count of samples: arrays (also several, in a
            list, tuple or dict), a `keras.utils.PyDataset`, or a `tf.data.Dataset` of
            known size, already batched.
        batch_size: as given to `fit`; by default 32 for arrays and counts, as there.
            Data that is already in batches has none.
        gradient_accumulation_steps: as given to the optimizer.

    Returns:
        The count of updates.

    Raises:
        ValueError: if a size is unknown, infinite or contradictory.

    Example:
        >>> import numpy as np
        >>> from keras_dnn.optimizers.schedules import OneCycle, steps_in
        >>> x = np.zeros((1000, 8))
        >>> steps_in(5, x, batch_size=64)  # 5 epochs of 16 batches
        80
        >>> schedule = OneCycle(0.1, total_steps=steps_in(5, x, batch_size=64))
    """
    epochs = _arguments.count("epochs", epochs)
    every = _arguments.count("gradient_accumulation_steps", gradient_accumulation_steps)
    return epochs * _batches(x, batch_size) // every


def _batches(x: Any, batch_size: int | None) -> int:
    batches = _batches_of_data(x)
    if batches is None:
        size = 32 if batch_size is None else _arguments.count("batch_size", batch_size)
        return math.ceil(_samples(x) / size)
    if batch_size is not None:
        raise ValueError(
            "batch_size must be None for data that is already in batches. "
            f"Received: batch_size={batch_size}, x={x}"
        )
    if batches < 1:
        raise ValueError(
            "x must have a known, finite number of batches; give a count of samples "
            f"instead. Received: x={x}"
        )
    return batches


def _batches_of_data(x: Any) -> int | None:
    """The count of batches, 0 for an unknown one, `None` for data not in batches."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches or 0
    if hasattr(x, "cardinality"):
        return max(int(x.cardinality()), 0)
    return None


def _samples(x: Any) -> int:
    arrays = keras.tree.flatten(x)
    if arrays and all(hasattr(array, "shape") and array.shape for array in arrays):
        sizes = {int(array.shape[0]) for array in arrays}
        if len(sizes) == 1:
            return sizes.pop()
    elif len(arrays) == 1:
        return _arguments.count("x", x)
    raise ValueError(f"x must be arrays of one length or a count. Received: x={x}")
