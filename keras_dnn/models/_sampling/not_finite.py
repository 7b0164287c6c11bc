"""Predictions that are no finite numbers, and where they come from."""

from __future__ import annotations

import warnings

import keras
import numpy as np

from keras_dnn._keras.layers import sublayers


def warn_if_not_finite(model: keras.Model, mean: np.ndarray | list[np.ndarray]) -> None:
    """Warns of inputs whose predictions are not finite, and says what to do."""
    rows = not_finite(mean)
    if not rows.any():
        return
    broken = [
        layer.name
        for layer in sublayers(model)
        if not isinstance(layer, keras.Model)
        and not all(map(_is_finite, layer.weights))
    ]
    remedy = "Look for NaN in x, and for numbers too large for the model's dtype"
    if broken:
        remedy = (
            f"The layer {broken[0]!r} has weights that are not finite: go back to "
            "weights from before training failed"
        )
    warnings.warn(
        f"The predictions of {rows.sum()} of {len(rows)} inputs are not finite, the "
        f"first at position {rows.argmax()}. {remedy}",
        stacklevel=3,
    )


def not_finite(mean: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Which inputs have a mean, in any output, that is not a finite number."""
    means = mean if isinstance(mean, list) else [mean]
    found = [~np.isfinite(m.reshape(len(m), -1)).all(1) for m in means]
    rows = min(map(len, found))
    return np.asarray(np.any([f[:rows] for f in found], axis=0))


def _is_finite(weight: keras.Variable) -> bool:
    if not keras.backend.is_float_dtype(weight.dtype):
        return True
    values = keras.ops.convert_to_numpy(weight).astype("float64")
    return bool(np.isfinite(values).all())
