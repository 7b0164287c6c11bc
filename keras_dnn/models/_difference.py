"""How far the outputs of a changed model lie from those of the model it was."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn.models._random_inputs import random_inputs


def differences(
    model: keras.Model, changed: keras.Model, data: Any
) -> tuple[float, float]:
    """The largest and the mean difference, as shares of the outputs' spread.

    Of several outputs each has its own spread. NaN if `data` is `None` and the model
    does not run on random inputs.
    """
    if data is None:
        try:
            return differences(model, changed, random_inputs(model, rows=32, size=32))
        except Exception:
            # The model does not run here, or not on inputs of that size.
            return float("nan"), float("nan")
    before, after = (_outputs(m, data) for m in (model, changed))
    errors = [
        np.abs(a - b) / (np.std(a) or 1.0) for a, b in zip(before, after, strict=True)
    ]
    largest = max(float(e.max(initial=0.0)) for e in errors)
    return largest, float(np.mean([e.mean() for e in errors]))


def _outputs(model: keras.Model, data: Any) -> list[np.ndarray]:
    outputs = keras.tree.flatten(model.predict(data, verbose=0))
    return [np.asarray(y, "float64") for y in outputs]
