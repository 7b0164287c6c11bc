"""The first and last layers of the networks: standardised inputs, and the output."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._precision import at_least_float32


def first_layers(data: Any, input_shape: Any) -> list[Any]:
    """The input, its standardisation if there are data, and flattening if needed."""
    if (data is None) is (input_shape is None):
        raise ValueError(
            "Either data or input_shape must be given, not both. Received: "
            f"data={None if data is None else type(data).__name__}, "
            f"input_shape={input_shape}"
        )
    if data is None:
        shape = tuple(
            _arguments.count("input_shape", size)
            for size in _arguments.several("input_shape", input_shape)
        )
        found = [keras.Input(shape)]
    else:
        array = _numbers(data)
        shape = array.shape[1:]
        found = [keras.Input(shape), _standardising(array)]
    return found if len(shape) == 1 else [*found, keras.layers.Flatten()]


def _numbers(data: Any) -> np.ndarray:
    array = np.asarray(data)
    if array.ndim < 2 or not len(array) or array.dtype.kind not in "biuf":
        raise ValueError(
            "data must be an array of numbers with a row for each example. Received: "
            f"data of shape {array.shape} and type {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ValueError("data must be finite. Received: data with NaN or infinity")
    return array


def _standardising(array: np.ndarray) -> Any:
    """Standardisation by feature or channel, or of all pixels together."""
    axis = None if array.ndim == 3 else -1
    over = tuple(range(array.ndim - (axis is not None)))
    mean = array.mean(axis=over, dtype="float64")
    variance = array.var(axis=over, dtype="float64")
    # A constant would be divided by zero, or by a rounding error.
    variance = np.where(variance > 1e-14 * np.square(mean), variance, 1.0)
    return keras.layers.Normalization(
        axis=axis,
        mean=mean.tolist(),
        variance=variance.tolist(),
        dtype=_precise(),
        name="standardise",
    )


def last_layer(n_classes: int | None) -> Any:
    """A softmax over classes, or one unit for a regression."""
    if n_classes is None:
        return keras.layers.Dense(1, dtype=_precise(), name="output")
    n_classes = _arguments.count("n_classes", n_classes, least=2)
    return keras.layers.Dense(
        n_classes, activation="softmax", dtype=_precise(), name="classes"
    )


def _precise() -> str:
    """The dtype of the first and the last layer, by the policy of all others."""
    return at_least_float32(str(keras.config.dtype_policy().compute_dtype))


def widths(units: Any) -> list[int]:
    """The numbers of units in the hidden layers."""
    found = [_arguments.count("units", n) for n in _arguments.several("units", units)]
    if not found:
        raise ValueError(
            f"units must have a number for each hidden layer. Received: units={units}"
        )
    return found
