"""Evaluation in the middle of `fit`."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._batches.kinds import first_of, is_batched
from keras_dnn._unchanged import moving_variables, restored


def has_targets(data: Any) -> bool:
    """Whether data hold targets beside the inputs."""
    batch = first_of(data) if is_batched(data) else data
    if not isinstance(batch, tuple):
        return False
    _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return y is not None


def evaluated(model: keras.Model, data: Any, **options: Any) -> dict[str, float]:
    """Loss and metrics; leaves the model and the metrics of the epoch as they are.

    Args:
        model: a compiled model.
        data: a tuple `(x, y)` or `(x, y, sample_weight)`, or batches.
        options: further arguments of `evaluate`.
    """
    x, y, sample_weight = (
        keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(data, tuple)
        else (data, None, None)
    )
    with restored([*model.metrics_variables, *moving_variables(model)]):
        results: dict[str, float] = model.evaluate(
            x, y, sample_weight=sample_weight, verbose=0, return_dict=True, **options
        )
    return results
