"""Evaluation in the middle of `fit`."""

from __future__ import annotations

import functools
from typing import Any

import keras

from keras_dnn._batches.kinds import first_of, is_batched
from keras_dnn._unchanged import moving_variables, restored, same_randomness


def has_targets(data: Any) -> bool:
    """Whether data hold targets beside the inputs."""
    batch = first_of(data) if is_batched(data) else data
    if not isinstance(batch, tuple):
        return False
    _, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return y is not None


def evaluated(
    model: keras.Model, data: Any, *, prepared: bool = False, **options: Any
) -> dict[str, float]:
    """Loss and metrics; leaves the model and the metrics of the epoch as they are.

    Args:
        model: a compiled model.
        data: a tuple `(x, y)` or `(x, y, sample_weight)`, or batches.
        prepared: whether what the model's own `evaluate` does before is done already.
        options: further arguments of `evaluate`.
    """
    x, y, sample_weight = (
        keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(data, tuple)
        else (data, None, None)
    )
    evaluate = model.evaluate
    if prepared:
        evaluate = functools.partial(keras.Model.evaluate, model)
    moving = [*model.metrics_variables, *moving_variables(model)]
    with same_randomness(), restored(moving):
        results: dict[str, float] = evaluate(
            x, y, sample_weight=sample_weight, verbose=0, return_dict=True, **options
        )
    return results
