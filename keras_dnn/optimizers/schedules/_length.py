"""How many updates a training makes, for schedules that need to know."""

from __future__ import annotations

from typing import Any

from keras_dnn import _arguments
from keras_dnn._batches import count_of_batches


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
        x: the data as given to `fit`, or a number of samples: arrays (also several, in
            a list, tuple or dict), a `keras.utils.PyDataset`, or a `tf.data.Dataset` of
            known size, already batched.
        batch_size: as given to `fit`; by default 32, as there. `None` for data that is
            already in batches.
        gradient_accumulation_steps: as given to the optimizer.

    Returns:
        The number of updates.

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
    return epochs * count_of_batches(x, batch_size) // every
