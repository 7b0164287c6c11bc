"""The examples of a gradient check, read as tensors and checked."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn._batches import (
    as_tensors,
    count_of_rows,
    first_of,
    is_batched,
    require_alone,
    rows_of,
)
from keras_dnn._keras.layers import rows_of_states
from keras_dnn._keras.losses import needs_targets
from keras_dnn._keras.prediction import data_for_keras
from keras_dnn.diagnostics._yardstick.output_loss import output_losses


def for_keras(
    model: keras.Model, x: Any, y: Any, sample_weight: Any
) -> tuple[Any, Any, Any]:
    """The examples as the model's `fit` hands them to Keras's own.

    Of a stateful model, as many as it takes at once.
    """
    given = (x, y, sample_weight)
    if is_batched(x):
        require_alone(x, y=y, sample_weight=sample_weight)
        given = x
    elif (rows := rows_of_states(model)) is not None:
        given = rows_of(given, slice(rows))
    found: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(
        data_for_keras(model, given)
    )
    return found


def examples(x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """The examples as tensors; floats in float64, which is Keras's type here."""
    if is_batched(x):
        require_alone(x, y=y, sample_weight=sample_weight)
        batch: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(first_of(x))
    else:
        batch = (x, y, sample_weight)
    named = {
        name: as_tensors(part, name)
        for name, part in zip(("x", "y", "sample_weight"), batch, strict=True)
    }
    count_of_rows(**named)
    return named["x"], named["y"], named["sample_weight"]


def require_labels(model: keras.Model, y: Any) -> None:
    """Refuses labels that are no class: TensorFlow fails, or makes NaN of them."""
    if y is None and needs_targets(model):
        raise ValueError(
            "y must be given, or x hold batches of (x, y). Received: y=None"
        )
    for loss, labels in zip(output_losses(model), keras.tree.flatten(y), strict=False):
        if loss.name != "sparse_categorical_crossentropy" or loss.classes is None:
            continue
        used = loss.labels_in(np.asarray(labels)) if labels is not None else np.empty(0)
        if not used.size:
            continue
        low, high = int(used.min()), int(used.max())
        if low < 0 or high >= loss.classes:
            raise ValueError(
                f"y must hold labels from 0 to {loss.classes - 1}, for the output has "
                f"{loss.classes} classes. Received: labels from {low} to {high}"
            )
