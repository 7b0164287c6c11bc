"""Which inputs are quantities, and which are labels of something."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn._keras.layers import sublayers


def numbers_in(model: keras.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The inputs that a model computes with: floats, and integers such as pixels.

    Integers that a model looks up, such as tokens, are not among them.

    Args:
        model: a built model.
        inputs: its inputs, a flat list of arrays.
    """
    looks_up = any(
        isinstance(part, keras.layers.Embedding) for part in sublayers(model)
    )
    declared: list[Any] = keras.tree.flatten(getattr(model, "inputs", None) or [])
    known = len(declared) == len(inputs)

    def is_quantity(index: int, array: np.ndarray) -> bool:
        if array.dtype.kind == "f":
            return True
        if array.dtype.kind not in "iu" or looks_up:
            return False
        if known:
            # Keras casts integers to what the model declares.
            return "float" in str(declared[index].dtype)
        return array.dtype == np.uint8 or array.ndim > 2

    return [part for i, part in enumerate(inputs) if is_quantity(i, part)]
